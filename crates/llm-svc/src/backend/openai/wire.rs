//! What a server that speaks OpenAI's interface says.
//!
//! The interface as OpenAI describes it, and what others make of it: vLLM and llama.cpp add fields, leave some out and put
//! `null` into others. What is not understood and not needed is passed over; what is needed and not there is an error.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Reason, TokenScore};
use crate::backend::piece::{DecodeError, Piece, Usage};
use crate::backend::refusal::words;
use crate::sampling::Scored;

/// The data of a stream's last event.
const DONE: &str = "[DONE]";

#[derive(Deserialize)]
struct Chunk {
    object: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    timings: Option<Timings>,
    error: Option<Value>,
    code: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: usize,
    /// In answers to messages.
    delta: Option<Delta>,
    /// In answers to rendered prompts.
    text: Option<String>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    /// What vLLM and llama.cpp call a model's thoughts.
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    /// In place of content, where the model refuses.
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    index: Option<usize>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

/// Chat gives `content`; the older completions give lists beside each other.
#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Token>>,
    tokens: Option<Vec<String>>,
    token_logprobs: Option<Vec<Option<f32>>>,
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

/// A token and how likely it was. llama.cpp tells its number, others do not.
#[derive(Deserialize)]
pub(crate) struct Token {
    #[serde(default)]
    id: u32,
    token: String,
    bytes: Option<Vec<u8>>,
    logprob: Option<f32>,
    #[serde(default)]
    top_logprobs: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<usize>,
    completion_tokens: Option<usize>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

/// llama.cpp's.
#[derive(Deserialize)]
struct Timings {
    prompt_ms: Option<f64>,
    predicted_ms: Option<f64>,
}

/// What the data of one event says.
///
/// # Errors
/// When it is no chunk of an answer.
pub fn decode(event: &str) -> Result<Vec<Piece>, DecodeError> {
    if event.trim() == DONE {
        return Ok(vec![Piece::Done]);
    }
    let chunk: Chunk = serde_json::from_str(event)
        .map_err(|error| DecodeError(format!("an event of its answer is no chunk of one: {error}")))?;
    if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
        return Ok(vec![failed(event, &chunk)]);
    }
    let mut pieces = Vec::new();
    for choice in chunk.choices.into_iter().flatten() {
        decode_choice(choice, &mut pieces)?;
    }
    if chunk.usage.is_some() || chunk.timings.is_some() {
        pieces.push(Piece::Usage(usage(chunk.usage, chunk.timings)));
    }
    Ok(pieces)
}

fn decode_choice(choice: Choice, pieces: &mut Vec<Piece>) -> Result<(), DecodeError> {
    let (index, tokens) = (choice.index, choice.logprobs.map(scores).unwrap_or_default());
    let mut text = choice.text;
    let mut calls = None;
    if let Some(delta) = choice.delta {
        let thinks = [&delta.reasoning_content, &delta.reasoning];
        if thinks.into_iter().flatten().any(|thought| !thought.is_empty()) {
            pieces.push(Piece::Thinking);
        }
        text = text.or(delta.content).or(delta.refusal);
        calls = delta.tool_calls;
    }
    let text = text.unwrap_or_default();
    if !text.is_empty() || !tokens.is_empty() {
        pieces.push(Piece::Text { index, text, tokens });
    }
    for call in calls.into_iter().flatten() {
        let (name, arguments) = match call.function {
            Some(function) => (function.name, function.arguments),
            None => (None, None),
        };
        pieces.push(Piece::Call {
            index,
            call: call.index,
            id: call.id,
            name,
            arguments: match arguments {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text,
                // Some servers forget to write the JSON as a string.
                Some(other) => other.to_string(),
            },
        });
    }
    if let Some(reason) = choice.finish_reason {
        pieces.push(Piece::End {
            index,
            reason: self::reason(&reason)?,
        });
    }
    Ok(())
}

fn reason(name: &str) -> Result<Reason, DecodeError> {
    match name {
        "stop" | "eos" | "stop_sequence" => Ok(Reason::Stop),
        "length" => Ok(Reason::Length),
        "tool_calls" | "function_call" => Ok(Reason::ToolCalls),
        "content_filter" => Err(DecodeError("its content filter ended the answer".to_owned())),
        other => {
            let other: String = other.escape_debug().take(64).collect();
            Err(DecodeError(format!("an answer ended for the unknown reason `{other}`")))
        }
    }
}

fn usage(usage: Option<WireUsage>, timings: Option<Timings>) -> Usage {
    let time = |ms: Option<f64>| ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
    let mut all = Usage::default();
    if let Some(usage) = usage {
        all.prompt = usage.prompt_tokens;
        all.completion = usage.completion_tokens;
        all.cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
    }
    if let Some(timings) = timings {
        all.prefill = time(timings.prompt_ms);
        all.decode = time(timings.predicted_ms);
    }
    all
}

fn failed(event: &str, chunk: &Chunk) -> Piece {
    let code = chunk.error.as_ref().map(|error| &error["code"]).or(chunk.code.as_ref());
    let status = match code {
        Some(Value::Number(number)) => number.as_u64().and_then(|code| u16::try_from(code).ok()),
        _ => None,
    };
    Piece::Failed {
        status: status.filter(|status| (400..600).contains(status)).unwrap_or(500),
        words: words(event.as_bytes()),
    }
}

fn scores(logprobs: Logprobs) -> Vec<TokenScore> {
    if let Some(tokens) = logprobs.content {
        return tokens.into_iter().filter_map(score).collect();
    }
    let (tokens, chosen) = (
        logprobs.tokens.unwrap_or_default(),
        logprobs.token_logprobs.unwrap_or_default(),
    );
    let mut tops = logprobs.top_logprobs.unwrap_or_default().into_iter();
    let scored = tokens.into_iter().zip(chosen).filter_map(|(token, logprob)| {
        let top = tops.next().flatten().unwrap_or_default();
        let mut alternatives: Vec<_> = top
            .into_iter()
            .filter_map(|(token, logprob)| {
                let logprob = logprob.as_f64()? as f32;
                Some((Scored { token: 0, logprob }, token.into_bytes()))
            })
            .collect();
        alternatives.sort_by(|(a, _), (b, _)| b.logprob.total_cmp(&a.logprob));
        let chosen = Scored {
            token: 0,
            logprob: logprob?,
        };
        Some(TokenScore {
            chosen,
            bytes: token.into_bytes(),
            alternatives,
        })
    });
    scored.collect()
}

/// A token's score; its number is 0 where the server does not tell it.
pub(crate) fn score(token: Token) -> Option<TokenScore> {
    let scored = |token: Token| {
        let logprob = token.logprob.filter(|logprob| !logprob.is_nan())?;
        let bytes = token.bytes.unwrap_or_else(|| token.token.into_bytes());
        Some((
            Scored {
                token: token.id,
                logprob,
            },
            bytes,
            token.top_logprobs,
        ))
    };
    let (chosen, bytes, top) = scored(token)?;
    let alternatives = top.into_iter().flatten().filter_map(scored);
    Some(TokenScore {
        chosen,
        bytes,
        alternatives: alternatives.map(|(scored, bytes, _)| (scored, bytes)).collect(),
    })
}
