//! What the service answers, as messages.

use std::time::Duration;

use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::load_model_response::Payload as LoadPayload;
use solo_proto::llm::v1::{
    AlternativeToken, FinishReason, GenerateFinished, GenerateResponse, GenerateStarted, LoadModelResponse, Model,
    TextDelta, TokenLogprob, ToolCallDelta, Usage,
};

use crate::answer::{Finished, Reason, TokenScore};
use crate::llm::{Answered, Described, Loading};

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
        Answered::Text { index, text, tokens } => Payload::Text(TextDelta {
            index: count(index),
            text,
            logprobs: tokens.into_iter().map(token_score).collect(),
        }),
        Answered::ToolCall {
            index,
            call,
            begins,
            arguments,
        } => {
            let (id, name) = begins.unwrap_or_default();
            Payload::ToolCall(ToolCallDelta {
                index: count(index),
                call: count(call),
                id,
                name,
                arguments_json_delta: arguments,
            })
        }
        Answered::Finished { index, finished } => Payload::Finished(completed(index, finished)),
    };
    GenerateResponse { payload: Some(payload) }
}

fn completed(index: usize, finished: Finished) -> GenerateFinished {
    let reason = match finished.reason {
        Reason::Stop => FinishReason::Stop,
        Reason::Length => FinishReason::Length,
        Reason::ToolCalls => FinishReason::ToolCalls,
    };
    GenerateFinished {
        index: count(index),
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
        // What another server offers is installed there.
        installed: described.file.is_some() || !described.engine.is_local(),
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
        model.kv_bytes_per_1k_tokens = described.kv_bytes_per_token.saturating_mul(1000);
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
