//! What an Ollama server is told.

use serde_json::{Map, Value, json};

use crate::backend::error::RemoteError;
use crate::backend::openai::{number, small_seed};
use crate::backend::settings::OllamaConfig;
use crate::chat::{Message, Role, ToolChoice};
use crate::engine::EngineKind;
use crate::llm::{Format, Generation};
use crate::pool::Stay;

/// The body of a request to `/api/chat`.
///
/// # Errors
/// When Ollama has no way to do what is asked.
pub fn chat(
    request: &Generation,
    messages: &[Message],
    model: &str,
    config: &OllamaConfig,
) -> Result<Value, RemoteError> {
    let mut body = common(request, model, config)?;
    let wire = messages.iter().enumerate();
    let wire = wire.map(|(index, message)| self::message(message, &messages[..index]));
    body.insert("messages".into(), wire.collect());
    match &request.tool_choice {
        ToolChoice::None => {}
        ToolChoice::Auto => {
            let tools = request.tools.iter().map(|tool| {
                json!({
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                })
            });
            let tools: Vec<Value> = tools.collect();
            if !tools.is_empty() {
                body.insert("tools".into(), tools.into());
            }
        }
        ToolChoice::Required | ToolChoice::Named(_) => {
            return Err(unsupported(
                "a model there cannot be made to call a tool: choose auto or none, or another engine",
            ));
        }
    }
    Ok(body.into())
}

/// The body of a request to `/api/generate`.
///
/// # Errors
/// When Ollama has no way to do what is asked.
pub fn completion(
    request: &Generation,
    prompt: &str,
    model: &str,
    config: &OllamaConfig,
) -> Result<Value, RemoteError> {
    if !request.tools.is_empty() && request.tool_choice != ToolChoice::None {
        return Err(unsupported(
            "a rendered prompt (raw_prompt) is completed without tools: send messages, or no tools",
        ));
    }
    let mut body = common(request, model, config)?;
    body.insert("prompt".into(), prompt.into());
    body.insert("raw".into(), true.into());
    Ok(body.into())
}

fn common(request: &Generation, model: &str, config: &OllamaConfig) -> Result<Map<String, Value>, RemoteError> {
    if request.count > 1 {
        return Err(unsupported(format!(
            "it gives one answer to a request, {} are wanted: ask several times, or choose another engine",
            request.count
        )));
    }
    if !request.sampling.logit_bias.is_empty() {
        return Err(unsupported(
            "it knows no logit_bias: leave it out, or choose another engine",
        ));
    }
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("model", model.into());
    put("stream", true.into());
    // A prompt that does not fit is an error, not half a prompt.
    put("truncate", false.into());
    put("shift", false.into());
    match &request.format {
        None => {}
        Some(Format::JsonSchema(schema)) => put("format", schema.clone()),
        Some(Format::Regex(_) | Format::Lark(_) | Format::Gbnf(_)) => {
            return Err(unsupported(
                "it takes no regular expressions and no grammars: send a JSON schema, or choose another engine",
            ));
        }
    }
    if let Some(count) = request.logprobs {
        put("logprobs", true.into());
        put("top_logprobs", count.into());
    }
    match request.stay {
        None => {}
        Some(Stay::Forever) => put("keep_alive", (-1).into()),
        Some(Stay::OneRequest) => put("keep_alive", 0.into()),
        Some(Stay::For(time)) => put("keep_alive", format!("{}ms", time.as_millis()).into()),
    }
    put("options", options(request, config.context_length));
    Ok(body)
}

/// All of them, because models bring defaults of their own.
fn options(request: &Generation, context_length: usize) -> Value {
    let sampling = &request.sampling;
    let mut options = json!({
        "num_ctx": context_length,
        "num_predict": request.max_tokens,
        "temperature": number(sampling.temperature),
        "top_k": sampling.top_k,
        "top_p": number(sampling.top_p),
        "min_p": number(sampling.min_p),
        "repeat_penalty": number(sampling.repetition_penalty),
        "repeat_last_n": -1,
        "frequency_penalty": number(sampling.frequency_penalty),
        "presence_penalty": number(sampling.presence_penalty),
        "stop": request.stop,
    });
    if let Some(seed) = sampling.seed {
        options["seed"] = small_seed(seed).into();
    }
    options
}

fn message(message: &Message, before: &[Message]) -> Value {
    let mut wire = json!({"role": message.role.as_str(), "content": message.content});
    match message.role {
        Role::Assistant if !message.tool_calls.is_empty() => {
            let calls = message.tool_calls.iter();
            let calls =
                calls.map(|call| json!({"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}));
            wire["tool_calls"] = calls.collect();
        }
        Role::Tool => {
            // Ollama goes by the tool's name, which stands in the call that this answers.
            let mut calls = before.iter().rev().flat_map(|message| &message.tool_calls);
            if let Some(call) = calls.find(|call| call.id == message.tool_call_id) {
                wire["tool_name"] = call.name.as_str().into();
            }
            wire["tool_call_id"] = message.tool_call_id.as_str().into();
        }
        Role::System | Role::User | Role::Assistant => {}
    }
    wire
}

fn unsupported(what: impl Into<String>) -> RemoteError {
    RemoteError::unsupported(EngineKind::Ollama, what)
}
