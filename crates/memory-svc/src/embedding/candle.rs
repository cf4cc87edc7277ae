//! Sentence embeddings by a BERT model on candle: on the processor or a GPU, in f32 or f16.
//!
//! The pools of threads are the engine's own, because the process's would also serve LanceDB. A query is so short that one
//! thread does it in the time that several would need to meet, and on a busy machine in much less: it waits for nobody. A GPU
//! has no use for any: whoever tells it what to do is the engine's own thread, because its work is in order only within one.

mod encoder;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::Config as BertConfig;
use solo_service::{CancelToken, StartupError};
use tokenizers::{Encoding, Tokenizer};

use super::bert::{Parts, damaged, encode, locate};
use super::device::Chosen;
use super::{Embedder, EmbeddingError, Load, Loader};
use crate::bert::Padded;
use crate::config::{EmbeddingConfig, Precision};
use encoder::Encoder;

/// Tokens up to which one thread does the work: candle's own loops stay on one thread up to 64 Ki numbers, too.
const SHORT_TOKENS: usize = 40;
/// Texts that a GPU embeds in one go, and that a query may have to wait for.
const GPU_BATCH: usize = 32;

/// Prepares to load `config.model` from `models_dir`; only the tokenizer is read yet, and the device is there.
///
/// # Errors
/// A model that is not installed, or whose tokenizer or configuration cannot be read, or a GPU that cannot be had.
pub fn loader(models_dir: &Path, config: &EmbeddingConfig, threads: usize) -> Result<Loader, StartupError> {
    let weights = locate(models_dir, &config.model, "model")?;
    let parts = Parts::read(models_dir, config)?;
    let bert: BertConfig = parts.config()?;
    let Parts {
        identity,
        tokenizer,
        counter,
        ..
    } = parts;
    let Chosen { device, name, why_cpu } = config.device.choose()?;
    if !why_cpu.is_empty() {
        tracing::info!(why = why_cpu, "embeddings are computed on the processor");
    }
    let dtype = match config.precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
    };
    let (model, place, on_gpu) = (identity.model.clone(), name.clone(), device.is_cuda());
    let load = move || -> Result<Box<dyn Embedder>, StartupError> {
        let bad_file = |error: candle_core::Error| damaged(&model, &weights, &error.to_string());
        let content = std::fs::read(&weights).map_err(|error| bad_file(error.into()))?;
        let tensors = VarBuilder::from_buffered_safetensors(content, dtype, &device).map_err(bad_file)?;
        let encoder = Encoder::load(tensors, &bert).map_err(|error| {
            if on_gpu {
                // Mostly for want of memory.
                StartupError::other(format!("model \"{model}\" cannot be loaded onto {place}: {error}"))
            } else {
                bad_file(error)
            }
        })?;
        let pools = if on_gpu { None } else { Some(Pools::new(threads)?) };
        Ok(Box::new(Bert {
            encoder: Arc::new(encoder),
            tokenizer,
            pools,
        }))
    };
    Ok(Loader {
        engine: "candle",
        device: name,
        batch: if on_gpu { GPU_BATCH } else { 1 },
        identity,
        counter,
        load: Box::new(load),
    })
}

/// The model, loaded.
struct Bert {
    encoder: Arc<Encoder>,
    tokenizer: Tokenizer,
    /// `None` on a GPU.
    pools: Option<Pools>,
}

impl Bert {
    /// Unit vectors of encoded texts.
    fn forward(&self, encoded: &[Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let Padded {
            rows,
            columns,
            ids,
            types,
            mask,
        } = Padded::<u32>::new(encoded);
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, (rows, columns), self.encoder.device());
        let mask = tensor(mask)?.to_dtype(DType::F32)?;
        let hidden = self.encoder.forward(&tensor(ids)?, &tensor(types)?, &mask)?;
        // Sums of hundreds of numbers are taken in f32, whatever they were computed in.
        let hidden = hidden.to_dtype(DType::F32)?;
        let sum = hidden.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
        let mean = sum.broadcast_div(&mask.sum_keepdim(1)?)?;
        let length = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
        let vectors: Vec<Vec<f32>> = mean.broadcast_div(&length)?.to_vec2()?;
        if vectors.iter().flatten().any(|x| !x.is_finite()) {
            candle_core::bail!("a vector is no number: where memory.embedding.precision is f16, f32 has a wider range");
        }
        Ok(vectors)
    }
}

/// Threads of the processor.
struct Pools {
    threads: usize,
    one: rayon::ThreadPool,
    many: rayon::ThreadPool,
}

impl Pools {
    fn new(threads: usize) -> Result<Self, StartupError> {
        Ok(Self {
            threads,
            one: pool(1)?,
            many: pool(threads)?,
        })
    }

    /// The one for so many tokens.
    fn for_tokens(&self, tokens: usize) -> &rayon::ThreadPool {
        if tokens <= SHORT_TOKENS { &self.one } else { &self.many }
    }
}

/// Threads of the calling one's priority.
fn pool(threads: usize) -> Result<rayon::ThreadPool, StartupError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|index| format!("embed-{index}"))
        .build()
        .map_err(StartupError::other)
}

impl Embedder for Bert {
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = encode(&self.tokenizer, texts)?;
        if cancel.is_cancelled() {
            return Err(EmbeddingError::Cancelled);
        }
        let engine = &*self;
        let tokens: usize = encoded.iter().map(Encoding::len).sum();
        let vectors = match &engine.pools {
            Some(pools) => pools.for_tokens(tokens).install(|| engine.forward(&encoded)),
            None => engine.forward(&encoded),
        };
        vectors.map_err(|error| EmbeddingError::Engine(error.into()))
    }

    fn for_documents(&self) -> Vec<Load> {
        // A GPU does one thing after another, and the more of it at once the better.
        let Some(pools) = &self.pools else {
            return Vec::new();
        };
        let one = |_| -> Load {
            // The weights are shared.
            let (encoder, tokenizer) = (Arc::clone(&self.encoder), self.tokenizer.clone());
            Box::new(move || {
                Ok(Box::new(Self {
                    encoder,
                    tokenizer,
                    pools: Some(Pools::new(1)?),
                }))
            })
        };
        (0..pools.threads.max(1)).map(one).collect()
    }
}
