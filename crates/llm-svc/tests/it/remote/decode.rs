//! Whatever a server says, understanding it never panics.

use std::time::Instant;

use llm_svc::answer::Reason;
use llm_svc::backend::piece::{Assembly, Piece};
use llm_svc::backend::{ollama, openai};
use llm_svc::chat::ToolChoice;
use llm_svc::engine::EngineKind;
use proptest::prelude::*;

use crate::remote::{question, weather};

/// JSON that looks like an event as often as not.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let keys = prop::sample::select(vec![
        "choices",
        "delta",
        "content",
        "index",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "logprobs",
        "top_logprobs",
        "token",
        "logprob",
        "bytes",
        "timings",
        "prompt_ms",
        "error",
        "message",
        "done",
        "done_reason",
        "response",
        "eval_count",
        "eval_duration",
        "thinking",
        "text",
        "id",
        "code",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        prop::sample::select(vec!["stop", "length", "tool_calls", "weather", "", "é🦀"]).prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    let name = prop::option::of(prop::sample::select(vec!["weather", "other", ""]).prop_map(str::to_owned));
    let id = prop::option::of(prop::sample::select(vec!["a", "b", ""]).prop_map(str::to_owned));
    prop_oneof![
        (0_usize..3, ".{0,4}").prop_map(|(index, text)| Piece::Text {
            index,
            text,
            tokens: Vec::new()
        }),
        (0_usize..3, prop::option::of(0_usize..3), id, name, ".{0,4}").prop_map(
            |(index, call, id, name, arguments)| {
                Piece::Call {
                    index,
                    call,
                    id,
                    name,
                    arguments,
                }
            }
        ),
        (0_usize..3).prop_map(|index| Piece::End {
            index,
            reason: Reason::Stop
        }),
        Just(Piece::Usage(Default::default())),
        Just(Piece::Thinking),
        Just(Piece::Done),
    ]
}

proptest! {
    #[test]
    fn any_event_is_understood_or_refused(value in value(), text in ".{0,80}") {
        for event in [value.to_string(), text] {
            let _ = openai::decode(&event);
            let _ = ollama::decode(&event);
        }
    }

    #[test]
    fn any_pieces_make_an_answer_or_an_error(pieces in prop::collection::vec(piece(), 0..24)) {
        let request = llm_svc::llm::Generation { count: 2, tools: vec![weather()], tool_choice: ToolChoice::Auto, ..question("?") };
        let now = Instant::now();
        let mut assembly = Assembly::new(EngineKind::OpenAi, &request, now);
        for piece in pieces {
            if assembly.take(piece, now).is_err() {
                return Ok(());
            }
        }
        if let Ok(ends) = assembly.finish(now) {
            prop_assert_eq!(ends.len(), 2);
        }
    }
}
