//! What a server that speaks OpenAI's interface is told.

use serde_json::{Map, Value, json};

use crate::backend::error::RemoteError;
use crate::backend::settings::{GrammarStyle, OpenAiConfig};
use crate::chat::{Message, Role, ToolChoice};
use crate::engine::EngineKind;
use crate::llm::{Format, Generation};

/// The body of a request to `/chat/completions`.
///
/// # Errors
/// When the server has no way to do what is asked.
pub fn chat(
    request: &Generation,
    messages: &[Message],
    model: &str,
    config: &OpenAiConfig,
) -> Result<Value, RemoteError> {
    let mut body = common(request, model, config)?;
    body.insert("messages".into(), messages.iter().map(message).collect());
    if let Some(count) = request.logprobs {
        body.insert("logprobs".into(), true.into());
        // llama.cpp's server takes 0 for "no log-probabilities"; what is too much is left out again in `wire`.
        body.insert("top_logprobs".into(), count.max(1).into());
    }
    // A model that must not call tools is not told of any: then it cannot.
    if !request.tools.is_empty() && request.tool_choice != ToolChoice::None {
        // llama.cpp's server passes over a `tool_choice` that names a tool; one that must be called where there is no other
        // means the same to all.
        let named = |name: &str| match &request.tool_choice {
            ToolChoice::Named(only) => name == only,
            ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => true,
        };
        let tools = request.tools.iter().filter(|tool| named(&tool.name)).map(|tool| {
            json!({
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            })
        });
        let tools: Vec<Value> = tools.collect();
        if tools.is_empty() {
            return Err(unsupported(
                "the tool that must be called is not among those that were sent",
            ));
        }
        let must = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        body.insert("tools".into(), tools.into());
        body.insert("tool_choice".into(), if must { "required" } else { "auto" }.into());
        body.insert("parallel_tool_calls".into(), request.parallel_tools.into());
    }
    match &request.format {
        None => {}
        Some(Format::JsonSchema(schema)) => drop(body.insert("response_format".into(), response_format(schema))),
        Some(format) => constrain(&mut body, format, config.grammar_style)?,
    }
    Ok(body.into())
}

/// The body of a request to `/completions`.
///
/// # Errors
/// When the server has no way to do what is asked.
pub fn completion(
    request: &Generation,
    prompt: &str,
    model: &str,
    config: &OpenAiConfig,
) -> Result<Value, RemoteError> {
    if !request.tools.is_empty() && request.tool_choice != ToolChoice::None {
        return Err(unsupported(
            "a rendered prompt (raw_prompt) is completed without tools: send messages, or no tools",
        ));
    }
    let mut body = common(request, model, config)?;
    body.insert("prompt".into(), prompt.into());
    if let Some(count) = request.logprobs {
        body.insert("logprobs".into(), count.max(1).into());
    }
    match (&request.format, config.grammar_style) {
        (None, _) => {}
        (Some(Format::JsonSchema(schema)), GrammarStyle::LlamaServer) => {
            body.insert("json_schema".into(), schema.clone());
        }
        (Some(Format::JsonSchema(schema)), GrammarStyle::Vllm | GrammarStyle::VllmGuided) => {
            body.insert("response_format".into(), response_format(schema));
        }
        (Some(Format::JsonSchema(_)), GrammarStyle::None) => {
            return Err(unsupported(
                "no schema is known to hold for a rendered prompt (raw_prompt) there: send messages, or say in \
                 llm.openai.grammar_style what kind of server it is",
            ));
        }
        (Some(format), style) => constrain(&mut body, format, style)?,
    }
    Ok(body.into())
}

fn common(request: &Generation, model: &str, config: &OpenAiConfig) -> Result<Map<String, Value>, RemoteError> {
    let sampling = &request.sampling;
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("model", model.into());
    put("stream", true.into());
    put("stream_options", json!({"include_usage": true}));
    put("max_tokens", request.max_tokens.into());
    put("temperature", number(sampling.temperature));
    put("top_p", number(sampling.top_p));
    put("frequency_penalty", number(sampling.frequency_penalty));
    put("presence_penalty", number(sampling.presence_penalty));
    if request.count > 1 {
        put("n", request.count.into());
    }
    if let Some(seed) = sampling.seed {
        put("seed", small_seed(seed).into());
    }
    if !request.stop.is_empty() {
        put("stop", json!(request.stop));
    }
    if !sampling.logit_bias.is_empty() {
        let bias = sampling.logit_bias.iter();
        let bias: Map<_, _> = bias.map(|&(token, bias)| (token.to_string(), number(bias))).collect();
        put("logit_bias", bias.into());
    }
    if config.extended_sampling {
        // Always said, because servers have defaults of their own.
        put("top_k", sampling.top_k.into());
        put("min_p", number(sampling.min_p));
        // vLLM's name and llama.cpp's; neither minds the other.
        put("repetition_penalty", number(sampling.repetition_penalty));
        put("repeat_penalty", number(sampling.repetition_penalty));
        return Ok(body);
    }
    let beyond = [
        ("top_k", sampling.top_k != 0),
        ("min_p", sampling.min_p > 0.0),
        ("repetition_penalty", sampling.repetition_penalty != 1.0),
    ];
    match beyond.into_iter().find(|(_, set)| *set) {
        Some((name, _)) => Err(unsupported(format!(
            "OpenAI's own interface has no {name}: leave it out, or set llm.openai.extended_sampling = true if the server \
             has it"
        ))),
        None => Ok(body),
    }
}

fn message(message: &Message) -> Value {
    let mut wire = json!({"role": message.role.as_str(), "content": message.content});
    match message.role {
        Role::Assistant if !message.tool_calls.is_empty() => {
            let calls = message.tool_calls.iter().map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments.to_string()},
                })
            });
            wire["tool_calls"] = calls.collect();
        }
        Role::Tool => wire["tool_call_id"] = message.tool_call_id.as_str().into(),
        Role::System | Role::User | Role::Assistant => {}
    }
    wire
}

fn response_format(schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}})
}

/// Regular expressions and grammars, which OpenAI's own interface does not have.
fn constrain(body: &mut Map<String, Value>, format: &Format, style: GrammarStyle) -> Result<(), RemoteError> {
    let (kind, text) = match format {
        Format::JsonSchema(_) => return Ok(()),
        Format::Regex(text) => ("regex", text),
        Format::Lark(text) => ("lark", text),
        Format::Gbnf(text) => ("gbnf", text),
    };
    match (style, kind) {
        (GrammarStyle::Vllm, "regex") => drop(body.insert("structured_outputs".into(), json!({"regex": text}))),
        (GrammarStyle::Vllm, _) => drop(body.insert("structured_outputs".into(), json!({"grammar": text}))),
        (GrammarStyle::VllmGuided, "regex") => drop(body.insert("guided_regex".into(), text.as_str().into())),
        (GrammarStyle::VllmGuided, _) => drop(body.insert("guided_grammar".into(), text.as_str().into())),
        (GrammarStyle::LlamaServer, "gbnf") => drop(body.insert("grammar".into(), text.as_str().into())),
        (GrammarStyle::LlamaServer, _) => {
            return Err(unsupported(format!(
                "llama.cpp's server takes no {kind}: send GBNF or a JSON schema, or choose another engine"
            )));
        }
        (GrammarStyle::None, _) => {
            return Err(unsupported(format!(
                "OpenAI's own interface takes no {kind}: send a JSON schema, choose another engine, or say in \
                 llm.openai.grammar_style how the server takes it"
            )));
        }
    }
    Ok(())
}

/// A number as people write it: 0.7, not 0.699999988079071.
pub(crate) fn number(value: f32) -> Value {
    // What Display writes for a finite f32 is a number.
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// A seed that every server takes: some know 31 bits. Those that have no more stay what they are.
pub(crate) fn small_seed(seed: u64) -> u64 {
    const MAX: u64 = i32::MAX as u64;
    if seed <= MAX {
        seed
    } else {
        (seed ^ (seed >> 31) ^ (seed >> 62)) & MAX
    }
}

fn unsupported(what: impl Into<String>) -> RemoteError {
    RemoteError::unsupported(EngineKind::OpenAi, what)
}
