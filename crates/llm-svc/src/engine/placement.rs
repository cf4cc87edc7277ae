//! Which GPUs a model goes on, and how much of it: the plan of [`solo_models::fit`] against the memory that is free now.

use solo_models::fit::{Budget, Outcome, Plan};

use super::{EngineError, EngineKind, EngineOptions};
use crate::catalogue::ModelFile;
use crate::device;

/// Where a model goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// GPUs by their CUDA numbers.
    pub gpus: Vec<usize>,
    /// Layers on them; the others are computed on the processor.
    pub layers: u32,
}

/// [`place`] on these GPUs, by what is free on them now. llama.cpp hands layers out by free memory itself, so it is told
/// which GPUs and how many layers.
///
/// # Errors
/// As there, and [`EngineError::Failed`] when a GPU does not answer.
pub(super) fn place_now(
    engine: EngineKind,
    file: &ModelFile,
    options: &EngineOptions,
    ordinals: &[usize],
    several: bool,
) -> Result<Placed, EngineError> {
    place(engine, file, options, &free(engine, ordinals)?, several)
}

/// GPUs, each with the bytes that are free on it now.
///
/// # Errors
/// [`EngineError::Failed`] when one does not answer.
fn free(engine: EngineKind, ordinals: &[usize]) -> Result<Vec<(usize, u64)>, EngineError> {
    let bytes = |&ordinal: &usize| match device::free_bytes(ordinal) {
        Ok(bytes) => Ok((ordinal, bytes)),
        Err(error) => Err(EngineError::Failed {
            engine,
            what: "asking for free memory",
            cause: error.into(),
        }),
    };
    ordinals.iter().map(bytes).collect()
}

/// Places a model on the first GPU that it fits on, else, where `several`, as much of it as fits over all of them.
///
/// # Errors
/// [`EngineError::Unsupported`] with the plan's own numbers when it does not fit.
pub fn place(
    engine: EngineKind,
    file: &ModelFile,
    options: &EngineOptions,
    free: &[(usize, u64)],
    several: bool,
) -> Result<Placed, EngineError> {
    let demand = options.demand(engine, &file.facts);
    let plan = |gpus: &[(usize, u64)]| {
        let budget = Budget {
            ram: solo_service::memory::total_bytes(),
            gpus: gpus.iter().map(|&(_, bytes)| bytes).collect(),
        };
        Plan::of(&file.header, &file.facts, &budget, &demand)
    };
    for gpu in free {
        if let Outcome::Whole(placement) = plan(std::slice::from_ref(gpu)).outcome {
            return Ok(Placed {
                gpus: vec![gpu.0],
                layers: placement.gpu_layers(),
            });
        }
    }
    let over_all = plan(free);
    match &over_all.outcome {
        Outcome::Whole(placement) | Outcome::Partly(placement) if several => {
            let (layers, of) = (placement.gpu_layers(), placement.layers);
            tracing::warn!(model = %file.id, layers, of, plan = %over_all, "the model does not fit on one GPU");
            let held = free.iter().zip(&placement.gpus).filter(|(_, share)| share.layers > 0);
            Ok(Placed {
                gpus: held.map(|(&(ordinal, _), _)| ordinal).collect(),
                layers,
            })
        }
        outcome => {
            let advice = match outcome {
                Outcome::DoesNotFit(_) => "",
                _ => "; the llama-cpp engine lays it over several, and leaves to the processor what is too much",
            };
            Err(EngineError::Unsupported {
                engine,
                what: format!("it does not fit on one GPU: {over_all}{advice}"),
            })
        }
    }
}
