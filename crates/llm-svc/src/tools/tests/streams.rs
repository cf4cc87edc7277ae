//! The stream: what is text, what is a call, and that neither depends on how the text was cut.

use proptest::prelude::*;

use super::*;

fn names() -> Vec<String> {
    tools().into_iter().map(|tool| tool.name).collect()
}

/// Text and calls as they come out of `text` cut at `cuts`, neighbours joined; and whether it ended within a call.
fn run(text: &str, cuts: &[usize], trust: Trust) -> (Vec<(String, String)>, bool) {
    let mut stream = ToolStream::new(names(), trust);
    let mut pieces = Vec::new();
    let mut cuts: Vec<usize> = cuts
        .iter()
        .map(|cut| cut % (text.len() + 1))
        .filter(|&cut| text.is_char_boundary(cut))
        .collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        pieces.extend(stream.push(&text[pair[0]..pair[1]]));
    }
    let ended = stream.finish();
    pieces.extend(ended.pieces);
    let mut joined: Vec<(String, String)> = Vec::new();
    let (mut ids, mut calls) = (std::collections::HashSet::new(), 0);
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                assert!(!text.is_empty());
                match joined.last_mut() {
                    Some((kind, last)) if kind == "text" => last.push_str(&text),
                    _ => joined.push(("text".to_owned(), text)),
                }
            }
            Piece::Call {
                call,
                begins,
                arguments,
            } => {
                if let Some((id, name)) = begins {
                    assert!(id.starts_with("call_") && ids.insert(id), "identifiers are unique");
                    assert_eq!(call, calls);
                    calls += 1;
                    joined.push((name, String::new()));
                }
                assert_eq!(call + 1, calls);
                joined.last_mut().unwrap().1.push_str(&arguments);
            }
        }
    }
    assert_eq!(ended.calls, calls);
    (joined, ended.cut)
}

fn told(text: &str, trust: Trust) -> Vec<(String, String)> {
    run(text, &[], trust).0
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|&(kind, text)| (kind.to_owned(), text.to_owned()))
        .collect()
}

const OSLO: (&str, &str) = ("get_weather", "{\"city\": \"Oslo\", \"days\": 3}");
const ON: (&str, &str) = ("set-light", "{\"on\":true}");

#[test]
fn calls_are_found_in_all_forms() {
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (format!("<tool_call>\n{WEATHER}\n</tool_call>"), vec![OSLO]),
        (
            format!("I see.\n\n<tool_call>{WEATHER}</tool_call>\n<tool_call>\n{LIGHT}\n</tool_call>\n"),
            vec![("text", "I see.\n\n"), OSLO, ON],
        ),
        (format!("\n ```json\n{WEATHER}\n```\n"), vec![OSLO]),
        (
            format!("Here:\n```\n{LIGHT}\n``` Done."),
            vec![("text", "Here:\n"), ON, ("text", " Done.")],
        ),
        (format!("\n{WEATHER}"), vec![OSLO]),
        (format!("{WEATHER}\n{LIGHT}\n"), vec![OSLO, ON]),
        (
            "{\n  \"name\" : \"set-light\",\n  \"parameters\": {\"on\": [\"}\\\"\"]}\n}".to_owned(),
            vec![("set-light", "{\"on\": [\"}\\\"\"]}")],
        ),
        (
            "<tool_call>{\"name\": \"get\"}</tool_call>".to_owned(),
            vec![("get", "{}")],
        ),
        (format!("<tool_call>\n{WEATHER}"), vec![OSLO]),
        (
            format!("<tool_call>\n{WEATHER}\nThat was it."),
            vec![OSLO, ("text", "\nThat was it.")],
        ),
    ];
    for (text, expected) in cases {
        for trust in [Trust::Free, Trust::Constrained] {
            assert_eq!(told(&text, trust), pairs(&expected), "{text:?} {trust:?}");
        }
    }
}

#[test]
fn what_only_looks_like_a_call_is_text() {
    let texts = [
        "plain",
        " \n ",
        "1 < 2 and <tool_cal",
        "<tool_call>\n{\"name\": \"unlisted\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": }}\n</tool_call>",
        "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": 1",
        "<tool_call>\n{\"name\": \"get\", \"arguments\": {}, \"id\": 3}\n</tool_call>",
        "  {\"name\": \"get\"}",
        "{\"name\": \"Bob\", \"age\": 3}",
        "text {\"name\": \"get\", \"arguments\": {}}",
        "```json\n{\"name\": \"my-app\"}\n```",
        "```rust\nfn main() {}\n```",
        "<tool_call></tool_call>",
    ];
    for text in texts {
        assert_eq!(told(text, Trust::Free), pairs(&[("text", text)]), "{text:?}");
    }
}

#[test]
fn a_broken_call_does_not_hide_the_next() {
    let broken = "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": \n<tool_call>\n{\"name\":\"set-light\",\"arguments\":{\"on\":true}}\n</tool_call>";
    let expected = pairs(&[
        ("text", "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": \n"),
        ON,
    ]);
    assert_eq!(told(broken, Trust::Free), expected);
}

#[test]
fn constrained_arguments_stream_as_they_come() {
    let mut stream = ToolStream::new(names(), Trust::Constrained);
    assert!(stream.push("<tool_call>\n{\"name\": \"set-li").is_empty());
    assert!(stream.push("ght\", \"arguments\": ").is_empty());
    let begun = stream.push("{\"o");
    let [
        Piece::Call {
            call: 0,
            begins: Some((_, name)),
            arguments,
        },
    ] = begun.as_slice()
    else {
        panic!("{begun:?}")
    };
    assert_eq!((name.as_str(), arguments.as_str()), ("set-light", "{\"o"));
    let more = stream.push("n\": true}}");
    let expected = Piece::Call {
        call: 0,
        begins: None,
        arguments: "n\": true}".to_owned(),
    };
    assert_eq!(more, [expected]);
    assert!(stream.push("\n</tool").is_empty());
    let ended = stream.finish();
    assert_eq!((ended.pieces.len(), ended.calls, ended.cut), (0, 1, false));
}

#[test]
fn an_answer_cut_within_a_call_says_so() {
    let (joined, cut) = run(
        "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Os",
        &[],
        Trust::Constrained,
    );
    assert_eq!(joined, pairs(&[("get_weather", "{\"city\": \"Os")]));
    assert!(cut);
    assert!(!run("text", &[], Trust::Constrained).1);
}

#[test]
fn text_goes_out_at_once() {
    let mut stream = ToolStream::new(names(), Trust::Constrained);
    let text = |text: &str| vec![Piece::Text(text.to_owned())];
    assert_eq!(stream.push("Hello <"), text("Hello "));
    assert_eq!(stream.push("b> `x"), text("<b> `x"));
    assert_eq!(stream.push(" é"), text(" é"));
    assert!(stream.push("`").is_empty());
    assert_eq!(stream.finish().pieces, text("`"));
}

#[test]
fn without_names_all_is_text() {
    let text = format!("<tool_call>{WEATHER}</tool_call>");
    let mut stream = ToolStream::new([], Trust::Constrained);
    let mut pieces = stream.push(&text);
    pieces.extend(stream.finish().pieces);
    assert_eq!(pieces, [Piece::Text(text)]);
}

#[test]
fn a_whole_text_is_parsed() {
    let (text, calls) = parse(&format!("Yes. <tool_call>{WEATHER}</tool_call>"), names());
    assert_eq!(text, "Yes. ");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].name.as_str(), &calls[0].arguments),
        ("get_weather", &json!({"city": "Oslo", "days": 3}))
    );
}

/// Texts made of what calls are made of.
fn scraps() -> impl Strategy<Value = String> {
    let scraps = [
        "<tool_call>",
        "</tool_call>",
        "```json",
        "```",
        "\n",
        " ",
        "{\"name\": \"get\", \"arguments\": {",
        "{\"name\": \"set-light\"",
        "}",
        "{",
        "\"",
        "\\",
        "\"arguments\": ",
        "{\"on\": true}",
        WEATHER,
        LIGHT,
        "text",
        "é🦀",
        "<tool_",
        "[1,2]",
        ",",
        "\"name\"",
        "                  ",
    ];
    proptest::collection::vec(proptest::sample::select(scraps.to_vec()), 0..14).prop_map(|scraps| scraps.concat())
}

/// Whether all pieces stand in `text`, in this order. A call without arguments has `{}`, which need not be written.
fn stand_in(pieces: &[(String, String)], text: &str) -> bool {
    let Some(((kind, piece), others)) = pieces.split_first() else {
        return true;
    };
    let written = text.find(piece.as_str()).map(|at| &text[at + piece.len()..]);
    written.is_some_and(|rest| stand_in(others, rest)) || (kind != "text" && piece == "{}" && stand_in(others, text))
}

/// The `{}` of the text after it isn't the call's.
#[test]
fn a_call_without_arguments_takes_none_from_the_text_behind_it() {
    let cut = "{\"name\": \"get\", \"arguments\": {}";
    let text = format!("<tool_call>{{\"name\": \"set-light\"}}{cut}");
    let (joined, _) = run(&text, &[], Trust::Free);
    assert_eq!(joined, pairs(&[("set-light", "{}"), ("text", cut)]));
    assert!(stand_in(&joined, &text));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn cuts_make_no_difference(text in scraps(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
        for trust in [Trust::Free, Trust::Constrained] {
            prop_assert_eq!(run(&text, &cuts, trust), run(&text, &[], trust));
        }
    }

    #[test]
    fn nothing_is_lost(text in scraps(), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let (joined, _) = run(&text, &cuts, Trust::Free);
        prop_assert!(stand_in(&joined, &text), "{joined:?} is not in {text:?}");
        if joined.iter().all(|(kind, _)| kind == "text") {
            let said: String = joined.iter().map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(said, text);
        }
        for (kind, arguments) in joined.iter().filter(|(kind, _)| kind != "text") {
            prop_assert!(names().contains(kind));
            prop_assert!(serde_json::from_str::<serde_json::Map<String, Value>>(arguments).is_ok());
        }
    }

    #[test]
    fn any_text_passes(text in any::<String>(), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let (joined, cut) = run(&text, &cuts, Trust::Free);
        prop_assert!(!cut);
        let said: String = joined.into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(said, text);
    }
}
