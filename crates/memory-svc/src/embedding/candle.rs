//! Sentence embeddings by a BERT model on candle: f32 on the CPU.
//!
//! The pools of threads are the engine's own, because the process's would also serve LanceDB. A query is so short that one
//! thread does it in the time that several would need to meet, and on a busy machine in much less: it waits for nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config as BertConfig};
use solo_service::{CancelToken, StartupError, cpu};
use tokenizers::{Encoding, Tokenizer};

use super::bert::{Parts, damaged, encode, locate};
use super::{Embedder, EmbeddingError, Loader};
use crate::bert::Padded;
use crate::config::EmbeddingConfig;

/// Tokens up to which one thread does the work: candle's own loops stay on one thread up to 64 Ki numbers, too.
const SHORT_TOKENS: usize = 40;

/// Prepares to load `config.model` from `models_dir`; only the tokenizer is read yet.
///
/// # Errors
/// A model that is not installed, or whose tokenizer or configuration cannot be read.
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
    let model = identity.model.clone();
    Ok(Loader {
        engine: "candle",
        device: "cpu",
        identity,
        counter,
        load: Box::new(move || Ok(Box::new(Bert::load(&model, weights, &bert, tokenizer, threads)?))),
    })
}

/// The model, loaded.
struct Bert {
    model: Arc<BertModel>,
    tokenizer: Tokenizer,
    device: Device,
    threads: usize,
    one: rayon::ThreadPool,
    many: rayon::ThreadPool,
}

impl Bert {
    fn load(
        name: &str,
        weights: PathBuf,
        config: &BertConfig,
        tokenizer: Tokenizer,
        threads: usize,
    ) -> Result<Self, StartupError> {
        let device = Device::Cpu;
        let content = std::fs::read(&weights).map_err(|error| damaged(name, &weights, &error.to_string()))?;
        let model = VarBuilder::from_buffered_safetensors(content, DType::F32, &device)
            .and_then(|tensors| BertModel::load(tensors, config))
            .map_err(|error| damaged(name, &weights, &error.to_string()))?;
        let (one, many) = (pool(1, || ())?, pool(threads, || ())?);
        Ok(Self {
            model: Arc::new(model),
            tokenizer,
            device,
            threads,
            one,
            many,
        })
    }

    /// Unit vectors of encoded texts.
    fn forward(&self, encoded: &[Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let Padded {
            rows,
            columns,
            ids,
            types,
            mask,
        } = Padded::<u32>::new(encoded);
        let ids = Tensor::from_vec(ids, (rows, columns), &self.device)?;
        let mask = Tensor::from_vec(mask, (rows, columns), &self.device)?.to_dtype(DType::F32)?;
        let types = Tensor::from_vec(types, (rows, columns), &self.device)?;
        let hidden = self.model.forward(&ids, &types, Some(&mask))?;
        let sum = hidden.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
        let mean = sum.broadcast_div(&mask.sum_keepdim(1)?)?;
        let length = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
        mean.broadcast_div(&length)?.to_vec2()
    }
}

/// `begin` is the first thing that each thread does.
fn pool(threads: usize, begin: fn()) -> Result<rayon::ThreadPool, StartupError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|index| format!("embed-{index}"))
        .start_handler(move |_| begin())
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
        let pool = if tokens <= SHORT_TOKENS {
            &engine.one
        } else {
            &engine.many
        };
        pool.install(|| engine.forward(&encoded))
            .map_err(|error| EmbeddingError::Engine(error.into()))
    }

    fn for_documents(&self) -> Result<Vec<Box<dyn Embedder>>, StartupError> {
        let one = || -> Result<Box<dyn Embedder>, StartupError> {
            let pool = || pool(1, cpu::let_others_go_first);
            Ok(Box::new(Self {
                model: Arc::clone(&self.model),
                tokenizer: self.tokenizer.clone(),
                device: self.device.clone(),
                threads: 1,
                one: pool()?,
                many: pool()?,
            }))
        };
        // The weights are shared.
        (0..self.threads.max(1)).map(|_| one()).collect()
    }
}
