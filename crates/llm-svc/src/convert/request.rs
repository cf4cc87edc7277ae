//! What a request asks for, checked.

use std::net::SocketAddr;
use std::time::Duration;

use solo_proto::llm::v1::response_format::Format as WireFormat;
use solo_proto::llm::v1::tool_choice::Mode;
use solo_proto::llm::v1::{
    GenerateRequest, Message as WireMessage, Role as WireRole, Sampling as WireSampling, Tool as WireTool,
    ToolCall as WireToolCall, ToolChoice as WireToolChoice, content_part,
};
use solo_service::RequestContext;

use crate::chat::{Message, Role, Tool, ToolCall, ToolChoice};
use crate::config::SamplingDefaults;
use crate::engine::EngineKind;
use crate::error::Error;
use crate::llm::{Caller, Format, Generation, Input};
use crate::pool::Stay;
use crate::sampling::Sampling;
use crate::tools;

/// The most stop strings, and their longest, in bytes.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;
/// The most alternatives of a token.
const MAX_LOGPROBS: u32 = 20;
/// The most answers to one request.
const MAX_ANSWERS: u32 = 8;

/// What a request asks for.
pub(crate) fn generation(
    request: GenerateRequest,
    defaults: SamplingDefaults,
    caller: Caller,
) -> Result<Generation, Error> {
    let count = request.n.max(1);
    if count > MAX_ANSWERS {
        return Err(Error::invalid("n", format!("is {count}: 1 to {MAX_ANSWERS} is wanted")));
    }
    let engine = match request.engine.as_str() {
        "" => None,
        name => Some(EngineKind::parse(name).ok_or_else(|| {
            Error::invalid(
                "engine",
                format!(
                    "`{}` is unknown: llama-cpp, candle, openai or ollama is wanted",
                    name.escape_debug()
                ),
            )
        })?),
    };
    if let Some(count) = request.logprobs.filter(|&count| count > MAX_LOGPROBS) {
        return Err(Error::invalid(
            "logprobs",
            format!("is {count}: 0 to {MAX_LOGPROBS} is wanted"),
        ));
    }
    let (sampling, stop) = sampling(request.sampling.unwrap_or_default(), defaults)?;
    let tools = self::tools(request.tools);
    let wire = request.tool_choice.unwrap_or_default();
    let parallel_tools = wire.parallel;
    let tool_choice = tool_choice(wire, &tools)?;
    tools::check(&tools, &tool_choice)?;
    let format = request.response_format.and_then(|format| format.format).map(format);
    if format.is_some() && !matches!(tool_choice, ToolChoice::None) {
        let problem = "and tools that may be called exclude each other: leave one out, or choose MODE_NONE";
        return Err(Error::invalid("response_format", problem));
    }
    Ok(Generation {
        model: request.model,
        engine,
        input: input(request.messages, request.raw_prompt)?,
        tools,
        tool_choice,
        parallel_tools,
        format,
        count: count as usize,
        sampling,
        stop,
        max_tokens: request.max_tokens as usize,
        logprobs: request.logprobs.map(|count| count as usize),
        stay: request
            .keep_alive
            .map(|time| stay(time, Stay::For(Duration::ZERO)))
            .transpose()?,
        caller,
    })
}

/// Whose requests are counted together: a principal over one connection.
pub(crate) fn client(context: &RequestContext, peer: Option<SocketAddr>) -> String {
    match peer {
        Some(peer) => format!("{}@{peer}", context.principal),
        None => context.principal.clone(),
    }
}

/// The text to go on from.
pub(crate) fn input(messages: Vec<WireMessage>, raw: bool) -> Result<Input, Error> {
    if messages.is_empty() {
        return Err(Error::invalid("messages", "is empty: at least one message is wanted"));
    }
    if !raw {
        let messages = messages.into_iter().enumerate();
        return messages
            .map(|(index, wire)| message(index, wire))
            .collect::<Result<_, _>>()
            .map(Input::Chat);
    }
    match <[WireMessage; 1]>::try_from(messages) {
        Ok([wire]) => content(0, wire).map(Input::Raw),
        Err(messages) => Err(Error::invalid(
            "messages",
            format!("has {} messages: a raw prompt is exactly one", messages.len()),
        )),
    }
}

/// The tools of a request. That they can be called is checked by [`tools::check`].
pub(crate) fn tools(wire: Vec<WireTool>) -> Vec<Tool> {
    let tool = |tool: WireTool| Tool {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters.map_or(serde_json::Value::Null, json_object),
    };
    wire.into_iter().map(tool).collect()
}

fn tool_choice(wire: WireToolChoice, tools: &[Tool]) -> Result<ToolChoice, Error> {
    match Mode::try_from(wire.mode) {
        Ok(Mode::None) => Ok(ToolChoice::None),
        Ok(Mode::Unspecified | Mode::Auto) if tools.is_empty() => Ok(ToolChoice::None),
        Ok(Mode::Unspecified | Mode::Auto) => Ok(ToolChoice::Auto),
        Ok(Mode::Required) => Ok(ToolChoice::Required),
        Ok(Mode::Named) => Ok(ToolChoice::Named(wire.name)),
        Err(_) => Err(Error::invalid(
            "tool_choice.mode",
            format!("is {}, which is no mode", wire.mode),
        )),
    }
}

fn format(wire: WireFormat) -> Format {
    match wire {
        WireFormat::JsonSchema(schema) => Format::JsonSchema(json_object(schema)),
        WireFormat::Regex(regex) => Format::Regex(regex),
        WireFormat::Lark(grammar) => Format::Lark(grammar),
        WireFormat::Gbnf(grammar) => Format::Gbnf(grammar),
    }
}

/// A JSON object as it came over the wire; numbers that are whole are integers again.
fn json_object(wire: prost_types::Struct) -> serde_json::Value {
    // The wire keeps no order; a fixed one lets prompts of the same tools share their prefix.
    let fields = wire.fields.into_iter().map(|(key, value)| (key, json_value(value)));
    serde_json::Value::Object(fields.collect())
}

fn json_value(wire: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match wire.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(flag)) => flag.into(),
        // Doubles hold whole numbers exactly up to 2⁵³.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
            (number as i64).into()
        }
        Some(Kind::NumberValue(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_value).collect(),
        Some(Kind::StructValue(fields)) => json_object(fields),
    }
}

fn message(index: usize, wire: WireMessage) -> Result<Message, Error> {
    let role = match WireRole::try_from(wire.role) {
        Ok(WireRole::System) => Role::System,
        Ok(WireRole::User) => Role::User,
        Ok(WireRole::Assistant) => Role::Assistant,
        Ok(WireRole::Tool) => Role::Tool,
        Ok(WireRole::Unspecified) => {
            let problem = "is unset: system, user, assistant or tool is wanted";
            return Err(Error::invalid(format!("messages[{index}].role"), problem));
        }
        Err(_) => {
            let problem = format!(
                "is {}, which is no role: system, user, assistant or tool is wanted",
                wire.role
            );
            return Err(Error::invalid(format!("messages[{index}].role"), problem));
        }
    };
    if !wire.tool_calls.is_empty() && role != Role::Assistant {
        let problem = format!(
            "is set on a message of the {}: only the assistant calls tools",
            role.as_str()
        );
        return Err(Error::invalid(format!("messages[{index}].tool_calls"), problem));
    }
    if wire.tool_call_id.is_empty() == (role == Role::Tool) {
        let problem = match role {
            Role::Tool => "is empty: the call that this is the result of is wanted",
            _ => "is set on a message that is no tool's",
        };
        return Err(Error::invalid(format!("messages[{index}].tool_call_id"), problem));
    }
    let tool_call_id = wire.tool_call_id.clone();
    let calls = wire.tool_calls.iter().enumerate();
    let tool_calls = calls.map(|(call, wire)| tool_call(&format!("messages[{index}].tool_calls[{call}]"), wire));
    Ok(Message {
        tool_calls: tool_calls.collect::<Result<_, _>>()?,
        tool_call_id,
        ..Message::new(role, content(index, wire)?)
    })
}

fn tool_call(field: &str, wire: &WireToolCall) -> Result<ToolCall, Error> {
    let arguments = if wire.arguments_json.is_empty() {
        "{}"
    } else {
        &wire.arguments_json
    };
    match serde_json::from_str(arguments) {
        Ok(arguments @ serde_json::Value::Object(_)) => Ok(ToolCall {
            id: wire.id.clone(),
            name: wire.name.clone(),
            arguments,
        }),
        Ok(_) => Err(Error::invalid(format!("{field}.arguments_json"), "is no JSON object")),
        Err(error) => Err(Error::invalid(
            format!("{field}.arguments_json"),
            format!("is no JSON: {error}"),
        )),
    }
}

fn content(index: usize, wire: WireMessage) -> Result<String, Error> {
    let texts = wire.parts.into_iter().enumerate().map(|(part, wire)| match wire.part {
        Some(content_part::Part::Text(text)) => Ok(text),
        None => Err(Error::invalid(
            format!("messages[{index}].parts[{part}]"),
            "is empty: text is wanted",
        )),
    });
    texts.collect()
}

fn sampling(wire: WireSampling, defaults: SamplingDefaults) -> Result<(Sampling, Vec<String>), Error> {
    let within = |name: &str, value: Option<f32>, low: f32, high: f32, otherwise: f32| match value {
        None => Ok(otherwise),
        Some(value) if (low..=high).contains(&value) => Ok(value),
        Some(value) => Err(Error::invalid(
            format!("sampling.{name}"),
            format!("is {value}: {low} to {high} is wanted"),
        )),
    };
    let mut logit_bias = Vec::new();
    for (token, bias) in wire.logit_bias {
        logit_bias.push((token, within("logit_bias", Some(bias), -100.0, 100.0, 0.0)?));
    }
    logit_bias.sort_unstable_by_key(|&(token, _)| token);
    if wire.stop.len() > MAX_STOPS {
        let problem = format!("has {} strings: at most {MAX_STOPS} are taken", wire.stop.len());
        return Err(Error::invalid("sampling.stop", problem));
    }
    if let Some(index) = wire
        .stop
        .iter()
        .position(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
    {
        let problem = format!("has {} bytes: 1 to {MAX_STOP_BYTES} are wanted", wire.stop[index].len());
        return Err(Error::invalid(format!("sampling.stop[{index}]"), problem));
    }
    let sampling = Sampling {
        temperature: within("temperature", wire.temperature, 0.0, 2.0, defaults.temperature)?,
        top_k: wire.top_k.map_or(defaults.top_k, |k| k as usize),
        top_p: within("top_p", wire.top_p, 0.0, 1.0, defaults.top_p)?,
        min_p: within("min_p", wire.min_p, 0.0, 1.0, 0.0)?,
        repetition_penalty: within("repetition_penalty", wire.repetition_penalty, 1.0, 2.0, 1.0)?,
        frequency_penalty: within("frequency_penalty", wire.frequency_penalty, -2.0, 2.0, 0.0)?,
        presence_penalty: within("presence_penalty", wire.presence_penalty, -2.0, 2.0, 0.0)?,
        seed: wire.seed,
        logit_bias,
    };
    Ok((sampling, wire.stop))
}

/// How long a model stays; `zero` is what a time of 0 means.
pub(crate) fn stay(time: prost_types::Duration, zero: Stay) -> Result<Stay, Error> {
    if time.seconds < 0 || time.nanos < 0 {
        return Ok(Stay::Forever);
    }
    match Duration::try_from(time) {
        Ok(Duration::ZERO) => Ok(zero),
        Ok(time) => Ok(Stay::For(time)),
        Err(_) => Err(Error::invalid("keep_alive", "is no duration")),
    }
}
