//! Engines that are other servers. [`peer`] plays whatever a server may do, well or badly; [`echo`] is a small Ollama that
//! keeps to the protocol; `llama_server` asks a real one.

mod decode;
mod echo;
mod llama_server;
mod ollama;
mod openai;
mod openai_body;
mod patience;
mod peer;
mod service;

use std::time::{Duration, Instant};

use futures::StreamExt;
use llm_svc::answer::Finished;
use llm_svc::backend::Answer;
use llm_svc::backend::error::RemoteError;
use llm_svc::backend::settings::{GrammarStyle, Limits, OllamaConfig, OpenAiConfig};
use llm_svc::chat::{Message, Role, Tool, ToolChoice};
use llm_svc::error::Error;
use llm_svc::llm::{Answered, Caller, Generation, Input};
use llm_svc::sampling::Sampling;
use serde_json::json;
use solo_service::Priority;

/// What a test may wait for something that should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn limits() -> Limits {
    Limits {
        start_timeout_s: 10.0,
        connect_timeout_s: 5.0,
        first_token_timeout_s: 60.0,
        idle_timeout_s: 60.0,
        retries: 2,
        retry_backoff_s: 0.001,
        max_requests: 8,
    }
}

pub(crate) fn openai_config(url: &str) -> OpenAiConfig {
    OpenAiConfig {
        enabled: true,
        base_url: format!("{url}/v1"),
        api_key_env: String::new(),
        models: Vec::new(),
        context_length: 2048,
        grammar_style: GrammarStyle::None,
        extended_sampling: true,
        limits: limits(),
    }
}

pub(crate) fn ollama_config(url: &str) -> OllamaConfig {
    OllamaConfig {
        enabled: true,
        base_url: url.to_owned(),
        api_key_env: String::new(),
        models: Vec::new(),
        context_length: 2048,
        limits: limits(),
    }
}

pub(crate) fn dialogue(messages: Vec<Message>) -> Generation {
    Generation {
        model: "small".into(),
        engine: None,
        input: Input::Chat(messages),
        tools: Vec::new(),
        tool_choice: ToolChoice::None,
        parallel_tools: false,
        format: None,
        count: 1,
        sampling: Sampling::default(),
        stop: Vec::new(),
        max_tokens: 64,
        logprobs: None,
        stay: None,
        caller: Caller {
            client: "test".into(),
            priority: Priority::default(),
            deadline: None,
        },
    }
}

pub(crate) fn question(text: &str) -> Generation {
    dialogue(vec![Message::new(Role::User, text)])
}

pub(crate) fn weather() -> Tool {
    Tool {
        name: "weather".into(),
        description: "Tells the weather".into(),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    }
}

pub(crate) fn until(time: Duration) -> Option<Instant> {
    Some(Instant::now() + time)
}

/// A call of a tool, put together.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Called {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// A whole answer.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) texts: Vec<String>,
    pub(crate) pieces: Vec<Answered>,
    pub(crate) calls: Vec<Called>,
    pub(crate) finished: Vec<Finished>,
}

/// Reads an answer to its end.
pub(crate) async fn whole(mut answer: Answer) -> Result<Whole, Error> {
    let mut whole = Whole::default();
    assert!(
        matches!(answer.next().await, Some(Ok(Answered::Started { .. }))),
        "an answer begins with `Started`"
    );
    while let Some(answered) = answer.next().await {
        let answered = answered?;
        assert!(
            whole.finished.is_empty() || matches!(answered, Answered::Finished { .. }),
            "nothing but ends follows an end"
        );
        match &answered {
            Answered::Started { .. } => panic!("an answer begins once"),
            Answered::Text { index, text, .. } => {
                whole.texts.resize(whole.texts.len().max(index + 1), String::new());
                whole.texts[*index].push_str(text);
            }
            Answered::ToolCall {
                call,
                begins,
                arguments,
                ..
            } => {
                assert_eq!(begins.is_some(), *call == whole.calls.len(), "a call begins once");
                if let Some((id, name)) = begins.clone() {
                    let arguments = String::new();
                    whole.calls.push(Called { id, name, arguments });
                }
                whole.calls[*call].arguments.push_str(arguments);
            }
            Answered::Finished { finished, .. } => whole.finished.push(*finished),
        }
        whole.pieces.push(answered);
    }
    Ok(whole)
}

pub(crate) fn remote(error: Error) -> RemoteError {
    match error {
        Error::Remote(error) => error,
        other => panic!("unexpected {other:?}"),
    }
}

/// What an answer that breaks off says.
pub(crate) async fn failure(answer: Result<Answer, Error>) -> Error {
    match answer {
        Ok(answer) => whole(answer).await.expect_err("this answer should fail"),
        Err(error) => error,
    }
}
