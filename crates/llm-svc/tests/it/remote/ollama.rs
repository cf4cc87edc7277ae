//! The engine `ollama`, against a server that keeps to its protocol.

use std::time::Duration;

use llm_svc::answer::Reason;
use llm_svc::backend::Backend;
use llm_svc::backend::ollama::{Ollama, chat};
use llm_svc::chat::{Message, Role, ToolCall, ToolChoice};
use llm_svc::llm::{Answered, Format, Generation, Input};
use llm_svc::pool::Stay;
use llm_svc::sampling::Sampling;
use serde_json::{Value, json};
use solo_service::{ErrorCode, ServiceError};

use crate::remote::peer::{Peer, Reply};
use crate::remote::{dialogue, echo, failure, ollama_config, question, weather, whole};

async fn backend() -> Ollama {
    Ollama::new(ollama_config(&echo::start().await), None).unwrap()
}

fn on(request: Generation) -> Generation {
    Generation {
        model: "echo".into(),
        ..request
    }
}

#[tokio::test]
async fn a_dialogue_is_answered() {
    let backend = backend().await;
    let messages = vec![
        Message::new(Role::System, "be brief"),
        Message::new(Role::User, "say it: Grüße 🦀 all"),
    ];
    let request = Generation {
        stay: Some(Stay::For(Duration::from_secs(90))),
        logprobs: Some(1),
        sampling: Sampling {
            seed: Some(u64::MAX),
            ..Sampling::default()
        },
        ..on(dialogue(messages))
    };
    let whole = whole(backend.generate(request).await.unwrap()).await.unwrap();
    assert_eq!(whole.texts, ["say it: Grüße 🦀 all"]);
    let finished = whole.finished[0];
    assert_eq!(
        (finished.reason, finished.prompt_tokens, finished.completion_tokens),
        (Reason::Stop, 7, 5)
    );
    assert_eq!((finished.prefill.as_millis(), finished.decode.as_millis()), (36, 72));
    let Answered::Text { tokens, .. } = &whole.pieces[0] else {
        panic!("text is wanted")
    };
    assert_eq!(
        (tokens[0].bytes.as_slice(), tokens[0].alternatives.len()),
        (&b"say "[..], 1)
    );
    assert_eq!(backend.models().await.unwrap(), ["echo:latest"]);
}

#[tokio::test]
async fn answers_end_where_they_should() {
    let backend = backend().await;
    let short = Generation {
        max_tokens: 2,
        ..on(question("one two three"))
    };
    let answer = whole(backend.generate(short).await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.texts[0].as_str(), answer.finished[0].reason),
        ("one two ", Reason::Length)
    );
    let stopped = Generation {
        stop: vec!["three".into()],
        ..on(question("one two three"))
    };
    let answer = whole(backend.generate(stopped).await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.texts[0].as_str(), answer.finished[0].reason),
        ("one two ", Reason::Stop)
    );
}

#[tokio::test]
async fn a_rendered_prompt_is_completed() {
    let request = Generation {
        input: Input::Raw("as it is".into()),
        ..on(question(""))
    };
    let whole = whole(backend().await.generate(request).await.unwrap()).await.unwrap();
    assert_eq!(whole.texts, ["as it is"]);
}

#[tokio::test]
async fn a_schema_is_obeyed() {
    let schema = json!({"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]});
    let request = Generation {
        format: Some(Format::JsonSchema(schema)),
        ..on(question("well"))
    };
    let whole = whole(backend().await.generate(request).await.unwrap()).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&whole.texts[0]).unwrap(),
        json!({"said": "well"})
    );
}

#[tokio::test]
async fn tools_are_called_and_answer() {
    let backend = backend().await;
    let ask = |messages, tool_choice| Generation {
        tools: vec![weather()],
        tool_choice,
        ..on(dialogue(messages))
    };
    let mut messages = vec![Message::new(Role::User, "call it")];
    let called = whole(backend.generate(ask(messages.clone(), ToolChoice::Auto)).await.unwrap())
        .await
        .unwrap();
    assert_eq!((called.calls.len(), called.finished[0].reason), (1, Reason::ToolCalls));
    let call = &called.calls[0];
    assert!(call.id.starts_with("call_") && call.name == "weather");
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
    assert_eq!(arguments, json!({"city": "Oslo"}));

    messages.push(Message {
        tool_calls: vec![ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments,
        }],
        ..Message::new(Role::Assistant, "")
    });
    messages.push(Message {
        tool_call_id: call.id.clone(),
        ..Message::new(Role::Tool, "rain")
    });
    let told = whole(backend.generate(ask(messages, ToolChoice::Auto)).await.unwrap())
        .await
        .unwrap();
    assert_eq!(told.texts, ["weather says rain"]);

    let none = ask(vec![Message::new(Role::User, "call it")], ToolChoice::None);
    let none = whole(backend.generate(none).await.unwrap()).await.unwrap();
    assert!(none.calls.is_empty());
    assert_eq!(none.texts, ["call it"]);
}

#[tokio::test]
async fn refusals_are_the_servers() {
    let backend = backend().await;
    let unknown = Generation {
        model: "other:7b".into(),
        ..question("?")
    };
    let error = failure(backend.generate(unknown).await).await;
    assert_eq!((error.code(), error.reason()), (ErrorCode::NotFound, "UNKNOWN_MODEL"));
    assert!(
        error.to_string().contains("\"other:7b\"; it offers: echo:latest"),
        "{error}"
    );

    let long = on(question(&"word ".repeat(3000)));
    let error = failure(backend.generate(long).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::InvalidArgument, "CONTEXT_EXCEEDED")
    );

    let error = failure(backend.generate(on(question("die"))).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::Unavailable, "REMOTE_FAILED")
    );
    assert!(error.to_string().contains("the runner has died"), "{error}");
}

#[test]
fn what_ollama_has_no_way_to_do_is_refused() {
    let config = ollama_config("http://x");
    let tools = |tool_choice| Generation {
        tools: vec![weather()],
        tool_choice,
        ..question("?")
    };
    let cases = [
        (tools(ToolChoice::Required), "made to call a tool"),
        (tools(ToolChoice::Named("weather".into())), "made to call a tool"),
        (
            Generation {
                count: 2,
                ..question("?")
            },
            "one answer",
        ),
        (
            Generation {
                format: Some(Format::Regex("a".into())),
                ..question("?")
            },
            "no regular expressions",
        ),
        (
            Generation {
                sampling: Sampling {
                    logit_bias: vec![(1, 1.0)],
                    ..Sampling::default()
                },
                ..question("?")
            },
            "logit_bias",
        ),
    ];
    for (request, says) in cases {
        let error = chat(&request, &[], "small", &config).unwrap_err();
        assert_eq!(error.code(), ErrorCode::FailedPrecondition);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn lines_are_cut_and_bounded() {
    let said = r#"{"message":{"content":"Grüße 🦀"},"done":false}"#;
    let text = format!(
        "{said}\r\n\n{}",
        r#"{"message":{"content":""},"done":true,"done_reason":"stop"}"#
    );
    for size in [1, 2, 5] {
        let peer = Peer::start([Reply::ok(text.as_bytes().chunks(size).map(<[u8]>::to_vec))]).await;
        let backend = Ollama::new(ollama_config(&peer.url), None).unwrap();
        let whole = whole(backend.generate(question("?")).await.unwrap()).await.unwrap();
        assert_eq!(whole.texts, ["Grüße 🦀"], "in pieces of {size} bytes");
    }
    let cases = [
        ("x".repeat(2 << 20), "REMOTE_PROTOCOL", "more than 1048576 bytes"),
        (format!("{said}\nnonsense\n"), "REMOTE_PROTOCOL", "no part of one"),
        (format!("{said}\n"), "REMOTE_BROKEN", "closed the connection"),
    ];
    for (body, reason, says) in cases {
        let peer = Peer::start([Reply::ok([body])]).await;
        let backend = Ollama::new(ollama_config(&peer.url), None).unwrap();
        let error = failure(backend.generate(question("?")).await).await;
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::Unavailable, reason),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
    }
}
