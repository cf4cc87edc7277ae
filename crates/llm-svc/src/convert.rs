//! Messages of `solo.llm.v1` to the service's own terms and back. The only file that knows both.

use std::time::{Duration, Instant};

use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::load_model_response::Payload as LoadPayload;
use solo_proto::llm::v1::{
    AlternativeToken, FinishReason, GenerateFinished, GenerateRequest, GenerateResponse, GenerateStarted,
    LoadModelResponse, Message as WireMessage, Model, Role as WireRole, Sampling as WireSampling, TextDelta,
    TokenLogprob, Tool, Usage, content_part,
};

use crate::chat::{Message, Role};
use crate::config::SamplingDefaults;
use crate::engine::EngineKind;
use crate::error::Error;
use crate::llm::{Answered, Described, Generation, Input, Loading};
use crate::pool::Stay;
use crate::sampling::Sampling;
use crate::session::{Finished, Reason, TokenScore};

/// The most stop strings, and their longest, in bytes.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;
/// The most alternatives of a token.
const MAX_LOGPROBS: u32 = 20;

/// What a request asks for.
pub(crate) fn generation(
    request: GenerateRequest,
    defaults: SamplingDefaults,
    deadline: Option<Instant>,
) -> Result<Generation, Error> {
    refuse_tools(&request.tools)?;
    if request.tool_choice.is_some_and(|choice| choice.mode > 2) {
        return Err(Error::NotBuilt("tool calls are"));
    }
    if request.response_format.is_some_and(|format| format.format.is_some()) {
        return Err(Error::NotBuilt("response formats (JSON schema, regex, grammars) are"));
    }
    if request.n > 1 {
        return Err(Error::NotBuilt("several answers to one request (n > 1) are"));
    }
    let engine = match request.engine.as_str() {
        "" => None,
        name => Some(EngineKind::parse(name).ok_or_else(|| {
            Error::invalid(
                "engine",
                format!("`{}` is unknown: llama-cpp or candle is wanted", name.escape_debug()),
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
    Ok(Generation {
        model: request.model,
        engine,
        input: input(request.messages, request.raw_prompt)?,
        sampling,
        stop,
        max_tokens: request.max_tokens as usize,
        logprobs: request.logprobs.map(|count| count as usize),
        stay: request
            .keep_alive
            .map(|time| stay(time, Stay::For(Duration::ZERO)))
            .transpose()?,
        deadline,
    })
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

/// Tools need constrained decoding, which this version does not have.
pub(crate) fn refuse_tools(tools: &[Tool]) -> Result<(), Error> {
    if tools.is_empty() {
        Ok(())
    } else {
        Err(Error::NotBuilt("tools are"))
    }
}

fn message(index: usize, wire: WireMessage) -> Result<Message, Error> {
    let role = match WireRole::try_from(wire.role) {
        Ok(WireRole::System) => Role::System,
        Ok(WireRole::User) => Role::User,
        Ok(WireRole::Assistant) => Role::Assistant,
        Ok(WireRole::Tool) => return Err(Error::NotBuilt("results of tool calls in messages are")),
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
    if !wire.tool_calls.is_empty() {
        return Err(Error::NotBuilt("tool calls in messages are"));
    }
    Ok(Message {
        role,
        content: content(index, wire)?,
    })
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

/// A piece of an answer.
pub(crate) fn answered(answered: Answered) -> GenerateResponse {
    let payload = match answered {
        Answered::Started {
            model,
            engine,
            queued,
            prompt_tokens,
            cached_tokens,
        } => Payload::Started(GenerateStarted {
            model,
            engine: engine.as_str().to_owned(),
            queue_ms: ms(queued),
            prompt_tokens: count(prompt_tokens),
            cached_tokens: count(cached_tokens),
        }),
        Answered::Text { text, tokens } => Payload::Text(TextDelta {
            index: 0,
            text,
            logprobs: tokens.into_iter().map(token_score).collect(),
        }),
        Answered::Finished(finished) => Payload::Finished(completed(finished)),
    };
    GenerateResponse { payload: Some(payload) }
}

fn completed(finished: Finished) -> GenerateFinished {
    let reason = match finished.reason {
        Reason::Stop => FinishReason::Stop,
        Reason::Length => FinishReason::Length,
    };
    GenerateFinished {
        index: 0,
        reason: reason.into(),
        usage: Some(Usage {
            prompt_tokens: count(finished.prompt_tokens),
            cached_tokens: count(finished.cached_tokens),
            completion_tokens: count(finished.completion_tokens),
            prefill_ms: ms(finished.prefill),
            decode_ms: ms(finished.decode),
        }),
    }
}

fn token_score(score: TokenScore) -> TokenLogprob {
    let alternatives = score.alternatives.into_iter();
    TokenLogprob {
        token: score.chosen.token,
        bytes: score.bytes,
        logprob: score.chosen.logprob,
        alternatives: alternatives
            .map(|(scored, bytes)| AlternativeToken {
                token: scored.token,
                bytes,
                logprob: scored.logprob,
            })
            .collect(),
    }
}

/// A model.
pub(crate) fn model(described: Described) -> Model {
    let mut model = Model {
        id: described.id,
        installed: described.file.is_some(),
        loaded: described.loaded,
        engine: described.engine.as_str().to_owned(),
        context_length: count(described.context_length),
        supports_tools: described.supports_tools,
        ..Model::default()
    };
    if let Some(file) = described.file {
        model.architecture = file.facts.architecture.clone();
        model.trained_context_length = file.facts.trained_context;
        model.file_bytes = file.header.file_bytes;
        model.parameters = file.facts.parameters;
        model.quantization = file.facts.quantization.clone();
        model.kv_bytes_per_1k_tokens = described.engine.kv_bytes_per_token(&file.facts).saturating_mul(1000);
        model.chat_template = file.facts.chat_template.clone().unwrap_or_default();
    }
    model
}

/// How far loading has come.
pub(crate) fn loading(loading: Loading) -> LoadModelResponse {
    let payload = match loading {
        Loading::Progress(share) => LoadPayload::Progress(share),
        Loading::Done(described) => LoadPayload::Loaded(model(described)),
    };
    LoadModelResponse { payload: Some(payload) }
}

/// A count on the wire.
pub(crate) fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
