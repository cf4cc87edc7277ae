//! Cuts a voice's graph in two, so that the first samples need not wait for the last.
//!
//! A VITS graph is one piece in Piper's export, but two things in truth: what makes a latent frame for every hop of audio
//! (text encoder, durations, flow) looks at the whole sentence; what makes samples of frames (the HiFi-GAN decoder) looks at
//! a few frames at a time. Cut between them, the decoder can run over the frames in pieces, each with some frames of
//! context, and gives the very same samples. The first half also gives the number of frames of every phoneme, which the
//! export keeps to itself.
//!
//! The graph is read as what it is, a message of Protocol Buffers (onnx.proto, IR version 8), of which only the parts that
//! matter here are taken apart. A graph that is not shaped as expected is not cut: the voice then speaks in one piece.

use std::collections::{HashMap, HashSet};

use prost::Message;

/// The decoder's first node is the one convolution with these weights.
const FIRST_WEIGHTS: &str = "dec.conv_pre.weight";
/// ONNX's number of 32-bit floats.
const FLOAT: i32 = 1;

/// `onnx.ModelProto`. Fields that are not named here are training's and are not needed to run it.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    opset_import: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "25")]
    functions: Vec<Vec<u8>>,
}

/// `onnx.GraphProto`.
#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    /// Weights, not taken apart.
    #[prost(bytes = "vec", repeated, tag = "5")]
    initializer: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    sparse_initializer: Vec<Vec<u8>>,
}

/// `onnx.NodeProto`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    attribute: Vec<Vec<u8>>,
    #[prost(string, tag = "7")]
    domain: String,
    #[prost(string, tag = "8")]
    overload: String,
}

/// `onnx.ValueInfoProto`; the type is that of a tensor.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

/// `onnx.TypeProto`.
#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

/// `onnx.TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    shape: Option<Vec<u8>>,
}

/// The name of an `onnx.TensorProto`.
#[derive(Clone, PartialEq, Message)]
struct TensorName {
    #[prost(string, tag = "8")]
    name: String,
}

/// The two halves, each a model of its own.
pub(super) struct Halves {
    /// From the voice's inputs to `latent` f32[1, channels, frames] and `durations` f32[1, 1, ids], in this order.
    pub(super) encoder: Vec<u8>,
    /// From `latent` f32[1, channels, frames] to the voice's output.
    pub(super) decoder: Vec<u8>,
}

/// Cuts a model. `None` when it is not shaped as Piper's export of a voice with one speaker.
///
/// # Errors
/// When it is no model at all.
pub(super) fn split(model: &[u8]) -> Result<Option<Halves>, prost::DecodeError> {
    let mut model = Model::decode(model)?;
    let Some(graph) = model.graph.take() else {
        return Ok(None);
    };
    let Some(seam) = Seam::find(&graph) else {
        return Ok(None);
    };
    let (encoder, decoder) = seam.cut(graph)?;
    let mut encode = |graph| {
        model.graph = Some(graph);
        model.encode_to_vec()
    };
    Ok(Some(Halves {
        encoder: encode(encoder),
        decoder: encode(decoder),
    }))
}

/// Where a graph is cut.
struct Seam {
    latent: String,
    durations: String,
    /// Indices of the decoder's nodes.
    decoder: HashSet<usize>,
}

impl Seam {
    fn find(graph: &Graph) -> Option<Self> {
        // Graphs within nodes see the tensors around them without naming them as inputs.
        if graph
            .node
            .iter()
            .any(|node| ["If", "Loop", "Scan"].contains(&node.op_type.as_str()))
        {
            return None;
        }
        let only = |test: &dyn Fn(&Node) -> bool| {
            let mut found = graph.node.iter().filter(|node| test(node));
            found.next().filter(|_| found.next().is_none())
        };
        let first =
            only(&|node| node.op_type == "Conv" && node.input.get(1).is_some_and(|name| name == FIRST_WEIGHTS))?;
        let durations = only(&|node| node.op_type == "Ceil")?.output.first()?;
        let latent = first.input.first()?;

        // All that depends on the latent frames is the decoder; what else that needs must be constant.
        let mut made = HashSet::from([latent.as_str()]);
        let mut decoder = HashSet::new();
        for (index, node) in graph.node.iter().enumerate() {
            if node.input.iter().any(|name| made.contains(name.as_str())) {
                decoder.insert(index);
                made.extend(node.output.iter().map(String::as_str));
            }
        }
        let makers: HashMap<_, _> = (graph.node.iter().enumerate())
            .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
            .collect();
        let inputs: HashSet<_> = graph.input.iter().map(|input| input.name.as_str()).collect();
        let mut constants = HashSet::new();
        for name in decoder.iter().flat_map(|index| &graph.node[*index].input) {
            match makers.get(name.as_str()) {
                _ if made.contains(name.as_str()) => {}
                Some(maker) if graph.node[*maker].op_type == "Constant" => {
                    constants.insert(*maker);
                }
                None if !inputs.contains(name.as_str()) => {}
                // The speaker of a voice with several.
                _ => return None,
            }
        }
        decoder.extend(constants);
        let ends_there = graph.output.iter().all(|output| made.contains(output.name.as_str()));
        (ends_there && graph.output.len() == 1).then(|| Self {
            latent: latent.clone(),
            durations: durations.clone(),
            decoder,
        })
    }

    fn cut(self, graph: Graph) -> Result<(Graph, Graph), prost::DecodeError> {
        let float = |name: &str| Value {
            name: name.to_owned(),
            kind: Some(Kind {
                tensor: Some(TensorKind {
                    element: FLOAT,
                    shape: None,
                }),
            }),
        };
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for (index, node) in graph.node.into_iter().enumerate() {
            if self.decoder.contains(&index) {
                // A constant may serve both halves; it costs nothing.
                if node.op_type == "Constant" {
                    before.push(node.clone());
                }
                behind.push(node);
            } else {
                before.push(node);
            }
        }
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let used = |nodes: &[Node]| -> HashSet<String> { nodes.iter().flat_map(|node| node.input.clone()).collect() };
        let (used_before, used_behind) = (used(&before), used(&behind));
        for weights in graph.initializer {
            let name = TensorName::decode(weights.as_slice())?.name;
            match (used_before.contains(&name), used_behind.contains(&name)) {
                (true, true) => {
                    front.push(weights.clone());
                    back.push(weights);
                }
                (_, true) => back.push(weights),
                (_, false) => front.push(weights),
            }
        }
        let encoder = Graph {
            node: before,
            name: graph.name.clone(),
            initializer: front,
            input: graph.input,
            output: vec![float(&self.latent), float(&self.durations)],
            sparse_initializer: graph.sparse_initializer,
        };
        let decoder = Graph {
            node: behind,
            name: graph.name,
            initializer: back,
            input: vec![float(&self.latent)],
            output: graph.output,
            sparse_initializer: Vec::new(),
        };
        Ok((encoder, decoder))
    }
}

#[cfg(test)]
mod tests;
