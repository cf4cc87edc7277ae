//! Changes of the embedding model.

use solo_proto::memory::v1::{ReembedDone, ReembedProgress, ReembedRequest, ReembedResponse, reembed_response};

use crate::config::{EmbeddingConfig, EngineKind};
use crate::error::Error;
use crate::memory::Step;
use crate::names::shorten;

/// The engine that a request names, and what it leaves out as it is `configured`.
pub fn embedding(request: ReembedRequest, configured: &EmbeddingConfig) -> Result<EmbeddingConfig, Error> {
    let ReembedRequest { model, engine, weights } = request;
    if model.is_empty() {
        return Err(Error::invalid(
            "model",
            "NO_MODEL",
            "an installed embedding model is wanted",
        ));
    }
    let engine = match engine.as_str() {
        "" => configured.engine,
        "onnx" => EngineKind::Onnx,
        "candle" => EngineKind::Candle,
        other => {
            let message = format!("`{}` is no engine: \"onnx\" or \"candle\" is wanted", shorten(other));
            return Err(Error::invalid("engine", "UNKNOWN_ENGINE", message));
        }
    };
    Ok(EmbeddingConfig {
        engine,
        model,
        weights: if weights.is_empty() {
            configured.weights.clone()
        } else {
            weights
        },
        ..configured.clone()
    })
}

/// A step.
pub fn reembedding(step: Step) -> Result<ReembedResponse, Error> {
    let payload = match step {
        Step::Copying { done, total } => reembed_response::Payload::Progress(ReembedProgress {
            chunks_done: done,
            chunks_total: total,
        }),
        Step::Done { identity, embedded } => reembed_response::Payload::Done(ReembedDone {
            model: identity.model,
            dimension: u32::try_from(identity.dimension).unwrap_or(u32::MAX),
            embedded,
        }),
        Step::Failed { problem } => return Err(Error::NotReembedded { problem }),
    };
    Ok(ReembedResponse { payload: Some(payload) })
}
