//! What an Ollama server says: one JSON object a line, the last of them with `done` and what it took.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Reason;
use crate::backend::openai::{Token, score};
use crate::backend::piece::{DecodeError, Piece, Usage};
use crate::backend::refusal::words;

#[derive(Deserialize)]
struct Line {
    /// In answers to messages.
    message: Option<Message>,
    /// In answers to rendered prompts.
    response: Option<String>,
    thinking: Option<String>,
    logprobs: Option<Vec<Token>>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<usize>,
    /// Nanoseconds, like all times.
    prompt_eval_duration: Option<u64>,
    eval_count: Option<usize>,
    eval_duration: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: Option<Value>,
}

/// What one line says.
///
/// # Errors
/// When it is no line of an answer.
pub fn decode(event: &str) -> Result<Vec<Piece>, DecodeError> {
    let line: Line = serde_json::from_str(event)
        .map_err(|error| DecodeError(format!("a line of its answer is no part of one: {error}")))?;
    if line.error.is_some() {
        return Ok(vec![Piece::Failed {
            status: 500,
            words: words(event.as_bytes()),
        }]);
    }
    let mut pieces = Vec::new();
    let (mut text, mut thinking, mut calls) = (line.response, line.thinking, Vec::new());
    if let Some(message) = line.message {
        text = text.or(message.content);
        thinking = thinking.or(message.thinking);
        calls = message.tool_calls.unwrap_or_default();
    }
    if thinking.is_some_and(|thought| !thought.is_empty()) {
        pieces.push(Piece::Thinking);
    }
    let tokens: Vec<_> = line.logprobs.into_iter().flatten().filter_map(score).collect();
    let text = text.unwrap_or_default();
    if !text.is_empty() || !tokens.is_empty() {
        pieces.push(Piece::Text { index: 0, text, tokens });
    }
    for call in calls {
        pieces.push(Piece::Call {
            index: 0,
            // Calls come whole.
            call: None,
            id: call.id,
            name: Some(call.function.name),
            arguments: match call.function.arguments {
                None | Some(Value::Null) => "{}".to_owned(),
                Some(arguments) => arguments.to_string(),
            },
        });
    }
    if line.done {
        let reason = match line.done_reason.as_deref() {
            // Servers before 0.1.45 give no reason.
            None | Some("stop" | "") => Reason::Stop,
            Some("length") => Reason::Length,
            Some(other) => {
                let other: String = other.escape_debug().take(64).collect();
                return Err(DecodeError(format!("an answer ended for the unknown reason `{other}`")));
            }
        };
        pieces.push(Piece::End { index: 0, reason });
        pieces.push(Piece::Usage(Usage {
            prompt: line.prompt_eval_count,
            cached: None,
            completion: line.eval_count,
            prefill: line.prompt_eval_duration.map(Duration::from_nanos),
            decode: line.eval_duration.map(Duration::from_nanos),
        }));
        pieces.push(Piece::Done);
    }
    Ok(pieces)
}
