//! A small Ollama: the protocol as its documentation and its own client describe it, over a model that repeats what it was
//! told last. What the protocol does not know is refused, so that a client that makes something up is found out.

// A refusal is a whole response; it is made once in a test.
#![allow(clippy::result_large_err)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::remote::peer::serve;

/// The server's only model.
pub(crate) const MODEL: &str = "echo:latest";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatRequest {
    model: String,
    messages: Vec<Message>,
    tools: Option<Vec<Value>>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Common {
    stream: Option<bool>,
    format: Option<Value>,
    options: Option<Options>,
    keep_alive: Option<Value>,
    truncate: Option<bool>,
    shift: Option<bool>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateRequest {
    model: String,
    prompt: String,
    raw: Option<bool>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    tool_calls: Vec<Value>,
    tool_name: Option<String>,
    #[serde(rename = "tool_call_id")]
    _tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    num_ctx: usize,
    num_predict: i64,
    seed: Option<i64>,
    stop: Option<Vec<String>>,
    #[serde(rename = "temperature")]
    _temperature: Option<f32>,
    #[serde(rename = "top_k")]
    _top_k: Option<i64>,
    #[serde(rename = "top_p")]
    _top_p: Option<f32>,
    #[serde(rename = "min_p")]
    _min_p: Option<f32>,
    #[serde(rename = "repeat_penalty")]
    _repeat_penalty: Option<f32>,
    #[serde(rename = "repeat_last_n")]
    _repeat_last_n: Option<i64>,
    #[serde(rename = "frequency_penalty")]
    _frequency_penalty: Option<f32>,
    #[serde(rename = "presence_penalty")]
    _presence_penalty: Option<f32>,
}

/// Starts it; returns its address.
pub(crate) async fn start() -> String {
    let tags = json!({"models": [{
        "name": MODEL, "model": MODEL, "modified_at": "2025-10-03T23:34:03.409490317-07:00", "size": 1, "digest": "0",
        "details": {"format": "gguf", "family": "llama", "parameter_size": "1", "quantization_level": "Q4_K_M"},
    }]});
    let router = Router::new()
        .route("/api/tags", get(async |State(tags): State<Value>| axum::Json(tags)))
        .route("/api/chat", post(chat))
        .route("/api/generate", post(generate))
        .with_state(tags);
    serve(router).await
}

/// What it says instead of an answer.
type Refusal = (StatusCode, String);

fn refuse((status, words): Refusal) -> Response<Body> {
    let body = Body::from(json!({"error": words}).to_string());
    Response::builder().status(status).body(body).unwrap()
}

fn parse<T: for<'a> Deserialize<'a>>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// What any model says to such a request before it answers.
fn check(model: &str, prompt: &str, common: &Common) -> Result<(), Refusal> {
    if model != MODEL && MODEL.strip_suffix(":latest") != Some(model) {
        return Err((StatusCode::NOT_FOUND, format!("model '{model}' not found")));
    }
    let options = common
        .options
        .as_ref()
        .ok_or_else(|| (StatusCode::BAD_REQUEST, "options are wanted".to_owned()))?;
    assert_eq!(
        (common.truncate, common.shift),
        (Some(false), Some(false)),
        "no prompt may be cut in silence"
    );
    assert!(common.stream.unwrap_or(true));
    assert!(options.seed.is_none_or(|seed| seed >= 0));
    assert!(common.top_logprobs.is_none_or(|count| count <= 20));
    if let Some(keep_alive) = &common.keep_alive {
        let duration = keep_alive.as_str().is_some_and(|text| text.ends_with("ms"));
        assert!(keep_alive.is_i64() || duration, "{keep_alive}");
    }
    if words(prompt).len() >= options.num_ctx {
        let words = "the input length exceeds the context length";
        return Err((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    Ok(())
}

/// Its tokens are words with the space before them.
fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

/// The lines of an answer: `said` in tokens, each put into a line by `put`, and the last line.
fn lines(prompt: &str, said: &str, common: &Common, put: impl Fn(&str) -> Map<String, Value>) -> Response<Body> {
    let options = common.options.as_ref().unwrap();
    let stops = options.stop.clone().unwrap_or_default();
    let end = stops.iter().filter_map(|stop| said.find(stop.as_str())).min();
    let said = &said[..end.unwrap_or(said.len())];
    let tokens = words(said);
    let most = usize::try_from(options.num_predict).unwrap_or(usize::MAX);
    let reason = if tokens.len() > most { "length" } else { "stop" };
    let head = json!({"model": MODEL, "created_at": "2025-10-17T23:14:07.414671Z"});
    let line = |fields: Map<String, Value>, done: bool| {
        let mut line = head.as_object().unwrap().clone();
        line.extend(fields);
        line.insert("done".into(), done.into());
        line
    };
    let mut out = Vec::new();
    let made = tokens.len().min(most);
    for token in tokens.into_iter().take(most) {
        let mut fields = put(token);
        if common.logprobs == Some(true) {
            let alternative = json!({"token": token, "logprob": -0.5, "bytes": token.as_bytes()});
            let count = common.top_logprobs.unwrap_or(0) as usize;
            let top = vec![alternative; count.min(1)];
            let told = json!([{"token": token, "logprob": -0.5, "bytes": token.as_bytes(), "top_logprobs": top}]);
            fields.insert("logprobs".into(), told);
        }
        out.push(line(fields, false));
    }
    let mut last = line(put(""), true);
    last.extend(
        json!({
            "done_reason": reason, "total_duration": 4_648_158_584_u64, "load_duration": 4_071_084,
            "prompt_eval_count": words(prompt).len(), "prompt_eval_duration": 36_000_000,
            "eval_count": made, "eval_duration": 72_000_000,
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    out.push(last);
    respond(out)
}

fn respond(lines: Vec<Map<String, Value>>) -> Response<Body> {
    let chunks = lines.into_iter().map(|line| {
        let line = format!("{}\n", Value::from(line));
        Ok::<_, std::convert::Infallible>(Bytes::from(line))
    });
    Response::builder()
        .header("content-type", "application/x-ndjson")
        .body(Body::from_stream(futures::stream::iter(chunks)))
        .unwrap()
}

async fn chat(State(_): State<Value>, body: Bytes) -> Response<Body> {
    let request: ChatRequest = match parse(&body) {
        Ok(request) => request,
        Err(refusal) => return refuse(refusal),
    };
    let prompt: String = request
        .messages
        .iter()
        .map(|message| format!("{} ", message.content))
        .collect();
    if let Err(refusal) = check(&request.model, &prompt, &request.common) {
        return refuse(refusal);
    }
    let last = request.messages.last().unwrap();
    let put = |text: &str| {
        let message = json!({"message": {"role": "assistant", "content": text}});
        message.as_object().unwrap().clone()
    };
    if last.role == "user"
        && last.content.starts_with("call")
        && let Some(tools) = &request.tools
    {
        // Calls come whole, in a line of their own, without ids.
        let calls: Vec<Value> = tools
            .iter()
            .map(|tool| json!({"function": {"name": tool["function"]["name"], "arguments": {"city": "Oslo"}}}))
            .collect();
        let call = json!({"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": false});
        let last = json!({"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 3, "eval_count": 9, "prompt_eval_duration": 1, "eval_duration": 1});
        return respond([call, last].map(|line| line.as_object().unwrap().clone()).to_vec());
    }
    if last.content == "die" {
        return respond(vec![
            put("dying "),
            json!({"error": "the runner has died"}).as_object().unwrap().clone(),
        ]);
    }
    let said = match (&request.common.format, last.role.as_str()) {
        (Some(schema), _) => json!({ schema["required"][0].as_str().unwrap(): last.content }).to_string(),
        (None, "tool") => {
            let called = &request.messages[request.messages.len() - 2].tool_calls[0]["function"];
            assert!(called["arguments"].is_object(), "arguments are no string here");
            assert_eq!(called["name"].as_str(), last.tool_name.as_deref());
            format!("{} says {}", last.tool_name.as_deref().unwrap(), last.content)
        }
        (None, _) => last.content.clone(),
    };
    lines(&prompt, &said, &request.common, put)
}

async fn generate(State(_): State<Value>, body: Bytes) -> Response<Body> {
    let request: GenerateRequest = match parse(&body) {
        Ok(request) => request,
        Err(refusal) => return refuse(refusal),
    };
    if let Err(refusal) = check(&request.model, &request.prompt, &request.common) {
        return refuse(refusal);
    }
    assert_eq!(request.raw, Some(true), "a rendered prompt is not rendered again");
    lines(&request.prompt, &request.prompt, &request.common, |text| {
        json!({"response": text}).as_object().unwrap().clone()
    })
}
