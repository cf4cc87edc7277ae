//! candle: our own llama-family model on its quantised tensors, on the processor or on CUDA.
//!
//! candle-transformers' models cannot forget the end of a sequence and keep every mask that they ever made; this one keeps
//! its keys and values where a prefix can be used again, and nothing grows with the number of requests. The tests hold
//! its logits against candle-transformers' and llama.cpp's.

mod transformer;
mod weights;

use std::sync::Arc;

use self::transformer::Transformer;
use self::weights::Weights;
use super::{Device, Engine, EngineError, EngineKind, EngineOptions, Progress};
use crate::catalogue::ModelFile;
use crate::tokenizer::{BpeTokenizer, Tokenizer};

/// A model on candle.
pub struct Candle {
    transformer: Transformer,
    tokenizer: Arc<dyn Tokenizer>,
    batch: usize,
}

impl Candle {
    /// Loads a model: reads its weights into memory.
    ///
    /// # Errors
    /// [`EngineError`] names what candle has not, or what failed.
    pub fn load(file: &ModelFile, options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        let tokenizer = tokenizer(file)?;
        let device = match options.device {
            Device::Cpu => candle_core::Device::Cpu,
            Device::Cuda(ordinal) => {
                candle_core::Device::new_cuda(ordinal).map_err(failed("opening the CUDA device"))?
            }
        };
        let computing = candle_core::utils::get_num_threads();
        if options.device == Device::Cpu && computing != options.threads {
            // candle takes its threads from the environment alone.
            tracing::warn!(
                configured = options.threads,
                computing,
                "candle does not use the configured number of threads: set RAYON_NUM_THREADS where the service starts"
            );
        }
        let mut weights = Weights::open(file, device)?;
        let transformer = Transformer::load(&mut weights, options.context_for(&file.facts), progress)?;
        Ok(Self {
            transformer,
            tokenizer,
            batch: options.batch,
        })
    }
}

impl Engine for Candle {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    fn context_length(&self) -> usize {
        self.transformer.context_length()
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn truncate(&mut self, tokens: usize) -> Result<usize, EngineError> {
        // Keys and values beyond a position are overwritten before anything looks at them.
        Ok(tokens)
    }

    fn forward(&mut self, tokens: &[u32], position: usize, logits: Option<&mut Vec<f32>>) -> Result<(), EngineError> {
        let scores = self
            .transformer
            .forward(tokens, position, logits.is_some())
            .map_err(failed("computing a batch"))?;
        if let (Some(logits), Some(scores)) = (logits, scores) {
            *logits = scores;
        }
        Ok(())
    }
}

/// A model's tokenizer, without its weights.
pub(super) fn tokenizer(file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
    Ok(Arc::new(BpeTokenizer::of(&file.header)?))
}

fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported {
        engine: EngineKind::Candle,
        what: what.into(),
    }
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError::Failed {
        engine: EngineKind::Candle,
        what,
        cause: error.into(),
    }
}
