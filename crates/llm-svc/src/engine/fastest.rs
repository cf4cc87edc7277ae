//! Which engine of this process is the faster one for a model (docs/adr/0013).

use super::{EngineKind, EngineOptions, candle};
use crate::catalogue::ModelFile;
use crate::device::Device;

/// The engine, and why it is that one.
pub(super) fn of(file: &ModelFile, options: &EngineOptions) -> (EngineKind, String) {
    match (&options.device, candle::suits(file, options)) {
        (device @ Device::Cuda(_), _) => (EngineKind::LlamaCpp, format!("llama-cpp, the faster one on {device}")),
        (Device::Cpu, Ok(())) => (
            EngineKind::Candle,
            "candle, the faster one on this processor".to_owned(),
        ),
        (Device::Cpu, Err(why)) => (EngineKind::LlamaCpp, format!("llama-cpp, because {why}")),
    }
}
