//! The engine `openai`: what is made of what its server says.

use llm_svc::answer::Reason;
use llm_svc::backend::Backend;
use llm_svc::backend::error::ApiKey;
use llm_svc::backend::openai::OpenAi;
use llm_svc::chat::ToolChoice;
use llm_svc::llm::{Answered, Generation, Input};
use serde_json::{Value, json};
use solo_service::{ErrorCode, ServiceError};

use crate::remote::peer::{Peer, Reply};
use crate::remote::{Called, failure, openai_config, question, remote, weather, whole};

pub(crate) fn text(text: &str) -> String {
    json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}).to_string()
}

pub(crate) fn end(reason: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string()
}

/// A whole answer of one piece of text.
pub(crate) fn simple(said: &str) -> Reply {
    Reply::events([text(said).as_str(), end("stop").as_str(), "[DONE]"])
}

fn backend(peer: &Peer) -> OpenAi {
    OpenAi::new(openai_config(&peer.url), None).unwrap()
}

#[tokio::test]
async fn a_dialogue_is_answered() {
    let usage = json!({
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
        "timings": {"prompt_ms": 20.0, "predicted_ms": 40.0},
    });
    let role = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}).to_string();
    let events = [
        role,
        text("Hel"),
        text("lo"),
        end("length"),
        usage.to_string(),
        "[DONE]".to_owned(),
    ];
    let peer = Peer::start([Reply::events(events.iter().map(String::as_str))]).await;
    let answer = backend(&peer).generate(question("Hi")).await.unwrap();
    let whole = whole(answer).await.unwrap();
    assert_eq!((whole.texts, whole.pieces.len()), (vec!["Hello".to_owned()], 3));
    let finished = whole.finished[0];
    assert_eq!(finished.reason, Reason::Length);
    assert_eq!(
        (
            finished.prompt_tokens,
            finished.cached_tokens,
            finished.completion_tokens
        ),
        (9, 4, 2)
    );
    assert_eq!((finished.prefill.as_millis(), finished.decode.as_millis()), (20, 40));

    let seen = &peer.seen()[0];
    assert_eq!(
        (seen.path.as_str(), &seen.authorization),
        ("/v1/chat/completions", &None)
    );
    assert_eq!(
        seen.body,
        json!({
            "model": "small", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 64,
            "temperature": 0.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0,
            "messages": [{"role": "user", "content": "Hi"}],
        })
    );
}

#[tokio::test]
async fn a_rendered_prompt_is_completed() {
    let chunk = json!({"choices": [{"index": 0, "text": " blue", "finish_reason": null, "logprobs": {
        "tokens": [" blue"], "token_logprobs": [-0.5], "top_logprobs": [{" blue": -0.5, " red": -1.0}],
    }}]});
    let last = json!({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]});
    let peer = Peer::start([Reply::events([
        chunk.to_string().as_str(),
        last.to_string().as_str(),
        "[DONE]",
    ])])
    .await;
    let request = Generation {
        input: Input::Raw("The sky is".into()),
        logprobs: Some(2),
        ..question("")
    };
    let whole = whole(backend(&peer).generate(request).await.unwrap()).await.unwrap();
    let Answered::Text { text, tokens, .. } = &whole.pieces[0] else {
        panic!("text is wanted")
    };
    assert_eq!(
        (text.as_str(), tokens[0].bytes.as_slice(), tokens[0].chosen.logprob),
        (" blue", &b" blue"[..], -0.5)
    );
    assert_eq!(tokens[0].alternatives[1].1, b" red");
    assert_eq!(
        whole.finished[0].completion_tokens, 1,
        "a server that counts nothing: pieces are counted"
    );
    let seen = &peer.seen()[0];
    assert_eq!(seen.path, "/v1/completions");
    assert_eq!(
        (&seen.body["prompt"], &seen.body["logprobs"]),
        (&json!("The sky is"), &json!(2))
    );
}

fn calls(fragments: Value) -> String {
    json!({"choices": [{"index": 0, "delta": {"tool_calls": fragments}}]}).to_string()
}

/// The calls that these events make.
async fn called(events: &[String]) -> Vec<Called> {
    let peer = Peer::start([Reply::events(events.iter().map(String::as_str))]).await;
    let request = Generation {
        tools: vec![weather()],
        tool_choice: ToolChoice::Auto,
        ..question("Weather?")
    };
    let whole = whole(backend(&peer).generate(request).await.unwrap()).await.unwrap();
    assert_eq!(whole.finished[0].reason, Reason::ToolCalls);
    whole.calls
}

#[tokio::test]
async fn tool_calls_come_in_pieces() {
    let call = |id: &str, city: &str| Called {
        id: id.into(),
        name: "weather".into(),
        arguments: format!("{{\"city\":\"{city}\"}}"),
    };
    let numbered = [
        calls(json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": ""}}])),
        calls(json!([{"index": 0, "function": {"arguments": "{\"city\":"}}])),
        calls(json!([{"index": 0, "function": {"name": "", "arguments": "\"Oslo\"}"}}])),
        calls(json!([{"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{\"city\":\"Rom\"}"}}])),
        end("tool_calls"),
        "[DONE]".to_owned(),
    ];
    assert_eq!(called(&numbered).await, [call("a", "Oslo"), call("b", "Rom")]);
    // Without numbers, whole, with arguments that are no string, and "stop" as the reason.
    let whole = [
        calls(json!([{"id": "a", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}])),
        calls(json!([{"id": "b", "function": {"name": "weather", "arguments": "{\"city\":\"Rom\"}"}}])),
        end("stop"),
    ];
    assert_eq!(called(&whole).await, [call("a", "Oslo"), call("b", "Rom")]);
    // All numbered 0.
    let zeros = [
        calls(json!([{"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}])),
        calls(json!([{"index": 0, "id": "b", "function": {"name": "weather", "arguments": "{\"city\":\"Rom\"}"}}])),
        end("tool_calls"),
        "[DONE]".to_owned(),
    ];
    assert_eq!(called(&zeros).await, [call("a", "Oslo"), call("b", "Rom")]);
}

#[tokio::test]
async fn a_tool_that_was_not_offered_is_no_answer() {
    let event = calls(json!([{"index": 0, "id": "a", "function": {"name": "format_disk", "arguments": "{}"}}]));
    let peer = Peer::start([Reply::events([event.as_str(), "[DONE]"])]).await;
    let request = Generation {
        tools: vec![weather()],
        tool_choice: ToolChoice::Auto,
        ..question("?")
    };
    let error = failure(backend(&peer).generate(request).await).await;
    assert!(
        error.to_string().contains("`format_disk`, which it was not offered"),
        "{error}"
    );
}

#[tokio::test]
async fn pieces_of_the_network_cut_characters() {
    let event = format!(
        ": a comment\r\n\r\nevent: message\r\ndata: {}\r\n\r\n",
        text("Grüße 🦀")
    );
    let last = format!("data: {}\n\ndata: [DONE]", end("stop"));
    let bytes = [event.as_bytes(), last.as_bytes()].concat();
    for size in [1, 2, 3, 7] {
        let peer = Peer::start([Reply::ok(bytes.chunks(size).map(<[u8]>::to_vec))]).await;
        let whole = whole(backend(&peer).generate(question("?")).await.unwrap())
            .await
            .unwrap();
        assert_eq!(whole.texts, ["Grüße 🦀"], "in pieces of {size} bytes");
    }
}

#[tokio::test]
async fn several_answers_and_their_tokens() {
    let choice = |index: usize, text: &str| {
        json!({"choices": [{"index": index, "delta": {"content": text}, "logprobs": {"content": [
            {"id": 42, "token": text, "logprob": -0.25, "top_logprobs": [
                {"token": text, "bytes": [65], "logprob": -0.25}, {"token": "b", "logprob": -3.0},
            ]},
        ]}}]})
    };
    let end = |index: usize| json!({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}});
    let events = [choice(1, "one"), choice(0, "zero"), end(1), end(0), usage].map(|event| event.to_string());
    let events = events.iter().map(String::as_str).chain(["[DONE]"]);
    let peer = Peer::start([Reply::events(events)]).await;
    let request = Generation {
        count: 2,
        logprobs: Some(1),
        ..question("?")
    };
    let whole = whole(backend(&peer).generate(request).await.unwrap()).await.unwrap();
    assert_eq!(whole.texts, ["zero", "one"]);
    let Answered::Text { tokens, .. } = &whole.pieces[0] else {
        panic!("text is wanted")
    };
    assert_eq!((tokens[0].chosen.token, tokens[0].bytes.as_slice()), (42, &b"one"[..]));
    assert_eq!(tokens[0].alternatives.len(), 1, "no more than wanted");
    let made: Vec<usize> = whole
        .finished
        .iter()
        .map(|finished| finished.completion_tokens)
        .collect();
    assert_eq!(made.iter().sum::<usize>(), 6, "{made:?}");
    assert!(whole.finished.iter().all(|finished| finished.prompt_tokens == 5));
}

#[tokio::test]
async fn thoughts_are_no_part_of_the_answer() {
    let thought = json!({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}).to_string();
    let peer = Peer::start([Reply::events([
        thought.as_str(),
        text("yes").as_str(),
        end("stop").as_str(),
    ])])
    .await;
    let whole = whole(backend(&peer).generate(question("?")).await.unwrap())
        .await
        .unwrap();
    assert_eq!(whole.texts, ["yes"]);
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    let refusal = r#"{"error":{"message":"Incorrect API key provided: sk-very-secret","code":"invalid_api_key"}}"#;
    let peer = Peer::start([simple("hi"), Reply::status(401, [refusal]), Reply::status(403, ["no"])]).await;
    let mut config = openai_config(&peer.url);
    config.api_key_env = "SOME_KEY".into();
    let backend = OpenAi::new(config, Some(ApiKey::new("sk-very-secret"))).unwrap();
    whole(backend.generate(question("?")).await.unwrap()).await.unwrap();
    assert_eq!(peer.seen()[0].authorization.as_deref(), Some("Bearer sk-very-secret"));
    for _ in 0..2 {
        let error = failure(backend.generate(question("?")).await).await;
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::FailedPrecondition, "REMOTE_UNAUTHORIZED")
        );
        let told = format!("{error} {error:?}");
        assert!(told.contains("SOME_KEY") && !told.contains("sk-very-secret"), "{told}");
    }
    assert_eq!(peer.seen().len(), 3, "what is refused is not sent again");
    assert!(!format!("{:?}", ApiKey::new("sk-very-secret")).contains("secret"));
}

#[tokio::test]
async fn an_unknown_model_is_told_with_those_there_are() {
    let list = r#"{"object":"list","data":[{"id":"org/Other-7B"},{"id":"small-2"}]}"#;
    let refusal = r#"{"error":{"message":"The model `small` does not exist.","code":404}}"#;
    let peer = Peer::start([
        Reply::status(404, [refusal]),
        Reply::ok([list]),
        Reply::status(400, [refusal]),
        Reply::ok([list]),
        Reply::status(404, ["Not Found"]),
        Reply::status(404, ["Not Found"]),
    ])
    .await;
    let backend = backend(&peer);
    for _ in 0..2 {
        let error = failure(backend.generate(question("?")).await).await;
        assert_eq!((error.code(), error.reason()), (ErrorCode::NotFound, "UNKNOWN_MODEL"));
        assert!(
            error
                .to_string()
                .contains("no model \"small\"; it offers: org/Other-7B, small-2"),
            "{error}"
        );
    }
    let error = failure(backend.generate(question("?")).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::FailedPrecondition, "REMOTE_MISCONFIGURED")
    );
    assert!(error.to_string().contains("llm.openai.base_url"), "{error}");
}

#[tokio::test]
async fn models_have_other_names_there() {
    let list = r#"{"data":[{"id":"org/Model"},{"id":"other"}]}"#;
    let peer = Peer::start([simple("hi"), Reply::ok([list])]).await;
    let mut config = openai_config(&peer.url);
    config.models = vec!["small=org/Model".into()];
    let backend = OpenAi::new(config, None).unwrap();
    whole(backend.generate(question("?")).await.unwrap()).await.unwrap();
    assert_eq!(peer.seen()[0].body["model"], json!("org/Model"));
    assert_eq!(backend.models().await.unwrap(), ["small", "other"]);
}

#[tokio::test]
async fn refusals_keep_the_servers_words() {
    let context = r#"{"error":{"code":400,"message":"request (3000 tokens) exceeds the available context size (2048 tokens)","type":"exceed_context_size_error"}}"#;
    let schema = r#"{"detail":"unrecognized type nonsense"}"#;
    let peer = Peer::start([
        Reply::status(400, [context]),
        Reply::status(422, [schema]),
        Reply::status(500, ["CUDA error:\n  out of memory"]),
        Reply::status(307, [""]).header("location", "http://elsewhere.example/v1"),
    ])
    .await;
    let backend = backend(&peer);
    let cases = [
        (
            ErrorCode::InvalidArgument,
            "CONTEXT_EXCEEDED",
            "(3000 tokens) exceeds the available context size (2048 tokens)",
        ),
        (
            ErrorCode::InvalidArgument,
            "REMOTE_REFUSED",
            "unrecognized type nonsense",
        ),
        (ErrorCode::Unavailable, "REMOTE_FAILED", "CUDA error: out of memory"),
        (
            ErrorCode::FailedPrecondition,
            "REMOTE_MISCONFIGURED",
            "redirects to http://elsewhere.example/v1",
        ),
    ];
    for (code, reason, says) in cases {
        let error = failure(backend.generate(question("?")).await).await;
        assert_eq!((error.code(), error.reason()), (code, reason), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.field(), (reason == "CONTEXT_EXCEEDED").then_some("messages"));
    }
    assert_eq!(
        peer.seen().len(),
        cases.len(),
        "none of these is sent again, and the redirect is not followed"
    );
}

#[tokio::test]
async fn a_server_that_does_not_keep_to_its_interface_is_told_so() {
    let oversize = format!("data: {}", "x".repeat(2 << 20));
    let error = json!({"error": {"message": "the engine died", "code": 500}}).to_string();
    let cases = [
        (Reply::ok(["data: <html>\n\n"]), "REMOTE_PROTOCOL", "no chunk"),
        (Reply::ok([oversize]), "REMOTE_PROTOCOL", "more than 1048576 bytes"),
        (Reply::ok([b"data: \xff\xfe\n\n".to_vec()]), "REMOTE_PROTOCOL", "utf-8"),
        (
            Reply::events([text("a").as_str(), error.as_str()]),
            "REMOTE_FAILED",
            "the engine died",
        ),
        (
            Reply::events([text("a").as_str(), "[DONE]"]),
            "REMOTE_BROKEN",
            "done after 0 of 1",
        ),
        (
            Reply::events([text("a").as_str()]),
            "REMOTE_BROKEN",
            "closed the connection",
        ),
        (
            Reply::events([end("abort").as_str()]),
            "REMOTE_PROTOCOL",
            "unknown reason `abort`",
        ),
    ];
    for (reply, reason, says) in cases {
        let peer = Peer::start([reply]).await;
        let error = remote(failure(backend(&peer).generate(question("?")).await).await);
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::Unavailable, reason),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(
            peer.seen().len(),
            1,
            "an answer that has begun is never asked for again"
        );
    }
}
