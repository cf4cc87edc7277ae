//! Which engine of this process is the faster one for a model (docs/adr/0013, 0014).

use super::{EngineKind, EngineOptions, candle};
use crate::catalogue::ModelFile;
use crate::device::Device;

/// The engine, and why it is that one.
pub(super) fn of(file: &ModelFile, options: &EngineOptions) -> (EngineKind, String) {
    if let device @ Device::Cuda(_) = &options.device {
        return (EngineKind::LlamaCpp, format!("llama-cpp, the faster one on {device}"));
    }
    match candle::suits(file, options) {
        Ok(()) => (
            EngineKind::Candle,
            "candle, the faster one on this processor".to_owned(),
        ),
        Err(why) => (EngineKind::LlamaCpp, format!("llama-cpp, because {why}")),
    }
}
