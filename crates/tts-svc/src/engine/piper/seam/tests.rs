use super::*;

fn node(op_type: &str, input: &[&str], output: &str) -> Node {
    Node {
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        ..Node::default()
    }
}

fn value(name: &str) -> Value {
    Value {
        name: name.to_owned(),
        kind: None,
    }
}

fn weights(name: &str) -> Vec<u8> {
    TensorName { name: name.to_owned() }.encode_to_vec()
}

/// The bones of a voice.
fn voice() -> Graph {
    Graph {
        node: vec![
            node("Constant", &[], "scale"),
            node("Gather", &["emb", "input"], "embedded"),
            node("Ceil", &["embedded"], "w_ceil"),
            node("Mul", &["embedded", "scale"], "z"),
            node("Conv", &["z", FIRST_WEIGHTS, "shared"], "c"),
            node("Div", &["c", "scale"], "d"),
            node("Tanh", &["d"], "output"),
        ],
        name: "voice".into(),
        initializer: vec![
            weights("emb"),
            weights(FIRST_WEIGHTS),
            weights("shared"),
            weights("unused"),
        ],
        input: vec![value("input")],
        output: vec![value("output")],
        sparse_initializer: Vec::new(),
    }
}

fn model(graph: Graph) -> Vec<u8> {
    Model {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![vec![16, 15]],
        functions: Vec::new(),
    }
    .encode_to_vec()
}

fn halves(graph: Graph) -> Option<(Graph, Graph)> {
    let halves = split(&model(graph)).unwrap()?;
    let graph = |bytes: &[u8]| {
        let model = Model::decode(bytes).unwrap();
        assert_eq!((model.ir_version, model.opset_import), (8, vec![vec![16, 15]]));
        model.graph.unwrap()
    };
    Some((graph(&halves.encoder), graph(&halves.decoder)))
}

fn names(values: &[Value]) -> Vec<&str> {
    values.iter().map(|value| value.name.as_str()).collect()
}

fn nodes(graph: &Graph) -> Vec<&str> {
    graph.node.iter().map(|node| node.name.as_str()).collect()
}

fn held(graph: &Graph) -> Vec<String> {
    let name = |bytes: &Vec<u8>| TensorName::decode(bytes.as_slice()).unwrap().name;
    graph.initializer.iter().map(name).collect()
}

#[test]
fn the_cut_is_before_the_first_convolution_of_the_decoder() {
    let (encoder, decoder) = halves(voice()).unwrap();
    assert_eq!(nodes(&encoder), ["scale", "embedded", "w_ceil", "z"]);
    assert_eq!(nodes(&decoder), ["scale", "c", "d", "output"]);
    assert_eq!(
        (names(&encoder.input), names(&encoder.output)),
        (vec!["input"], vec!["z", "w_ceil"])
    );
    assert_eq!(
        (names(&decoder.input), names(&decoder.output)),
        (vec!["z"], vec!["output"])
    );
    assert_eq!(held(&encoder), ["emb", "unused"]);
    assert_eq!(held(&decoder), [FIRST_WEIGHTS, "shared"]);
}

#[test]
fn a_graph_of_another_shape_is_not_cut() {
    let without = |name: &str| {
        let mut graph = voice();
        graph.node.retain(|node| node.name != name);
        halves(graph)
    };
    assert!(without("c").is_none() && without("w_ceil").is_none());
    // A decoder that wants the speaker, too.
    let mut graph = voice();
    graph.node[5].input.push("embedded".into());
    assert!(halves(graph).is_none());
    let mut graph = voice();
    graph.node.push(node("If", &["scale"], "either"));
    assert!(halves(graph).is_none());
    assert!(split(&[]).unwrap().is_none());
}

#[test]
fn what_is_no_model_is_an_error() {
    assert!(split(b"this is not a graph").is_err());
}
