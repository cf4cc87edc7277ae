//! Sentence embeddings by a BERT model on candle: f32 on the CPU.
//!
//! After sentence-transformers (Reimers and Gurevych, 2019): token vectors of the last layer are averaged where the
//! attention mask is set, and the mean is brought to length 1, so that a dot product is the cosine.
//!
//! The pools of threads are the engine's own, because the process's would also serve LanceDB. A query is so short that one
//! thread does it in the time that several would need to meet, and on a busy machine in much less: it waits for nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config as BertConfig};
use solo_service::{CancelToken, StartupError, cpu};
use tokenizers::{Tokenizer, TruncationParams};

use super::{Embedder, EmbeddingError, Identity, Loader, TokenCounter};
use crate::config::EmbeddingConfig;

/// Tokens up to which one thread does the work: candle's own loops stay on one thread up to 64 Ki numbers, too.
const SHORT_TOKENS: usize = 40;

/// Prepares to load `config.model` from `models_dir`; only the tokenizer is read yet.
///
/// # Errors
/// A model that is not installed, or whose tokenizer or configuration cannot be read.
pub fn loader(models_dir: &Path, config: &EmbeddingConfig, threads: usize) -> Result<Loader, StartupError> {
    let locate = |role: &str| {
        solo_models::locate(models_dir, &config.model, role).map_err(|missing| StartupError::MissingModel {
            message: missing.to_string(),
        })
    };
    let (weights, tokenizer_file, config_file) = (locate("model")?, locate("tokenizer")?, locate("config")?);
    let model = config.model.clone();
    let damaged = |file: &Path, problem: String| damaged(&model, file, &problem);
    let bert = std::fs::read_to_string(&config_file)
        .map_err(|error| damaged(&config_file, error.to_string()))
        .and_then(|text| {
            serde_json::from_str::<BertConfig>(&text).map_err(|error| damaged(&config_file, error.to_string()))
        })?;
    if config.max_tokens > bert.max_position_embeddings {
        return Err(StartupError::Config(format!(
            "memory.embedding.max_tokens: model \"{model}\" has {} positions, found {}",
            bert.max_position_embeddings, config.max_tokens
        )));
    }
    let tokenizer = Tokenizer::from_file(&tokenizer_file)
        .map_err(|error| damaged(&tokenizer_file, error.to_string()))
        .and_then(|tokenizer| {
            prepared(tokenizer, config.max_tokens).map_err(|error| damaged(&tokenizer_file, error.to_string()))
        })?;
    let identity = Identity {
        model: config.model.clone(),
        dimension: bert.hidden_size,
    };
    let mut counting = tokenizer.clone();
    // Counting must see the whole text.
    counting
        .with_truncation(None)
        .map_err(|error| damaged(&tokenizer_file, error.to_string()))?;
    Ok(Loader {
        engine: "candle",
        device: "cpu",
        identity,
        counter: Arc::new(WordPiece(counting)),
        load: Box::new(move || Ok(Box::new(Bert::load(&model, weights, &bert, tokenizer, threads)?))),
    })
}

/// The tokenizer as embeddings want it: its file may pad to a fixed length and cut at another.
fn prepared(mut tokenizer: Tokenizer, max_tokens: usize) -> tokenizers::Result<Tokenizer> {
    tokenizer.with_padding(None);
    tokenizer.with_truncation(Some(TruncationParams {
        max_length: max_tokens,
        ..TruncationParams::default()
    }))?;
    // "[SEP]" in a document is text.
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

fn damaged(model: &str, file: &Path, problem: &str) -> StartupError {
    let message = format!(
        "model \"{model}\" is damaged: {} cannot be read ({problem}); run `solo models verify {model}`, then `solo models pull {model}`",
        file.display()
    );
    StartupError::MissingModel { message }
}

/// Counts with the model's own tokenizer.
struct WordPiece(Tokenizer);

impl TokenCounter for WordPiece {
    fn count(&self, text: &str) -> usize {
        // WordPiece fails on no text: what it does not know is one unknown token. Were it to fail, each character counts.
        self.0
            .encode_fast(text, false)
            .map_or_else(|_| text.chars().count(), |encoding| encoding.len())
    }
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

    /// Unit vectors of encoded texts, padded to the longest of them.
    fn forward(&self, encoded: &[tokenizers::Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let (rows, columns) = (
            encoded.len(),
            encoded.iter().map(tokenizers::Encoding::len).max().unwrap_or(0),
        );
        let mut ids = vec![0_u32; rows * columns];
        let mut mask = vec![0_f32; rows * columns];
        for (row, encoding) in encoded.iter().enumerate() {
            let start = row * columns;
            ids[start..start + encoding.len()].copy_from_slice(encoding.get_ids());
            mask[start..start + encoding.len()].fill(1.0);
        }
        let ids = Tensor::from_vec(ids, (rows, columns), &self.device)?;
        let mask = Tensor::from_vec(mask, (rows, columns), &self.device)?;
        let types = ids.zeros_like()?;
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
        let encoded: Result<Vec<_>, _> = texts
            .iter()
            .map(|text| self.tokenizer.encode_fast(text.as_str(), true))
            .collect();
        let encoded = encoded.map_err(EmbeddingError::Engine)?;
        if cancel.is_cancelled() {
            return Err(EmbeddingError::Cancelled);
        }
        let engine = &*self;
        let tokens: usize = encoded.iter().map(tokenizers::Encoding::len).sum();
        let pool = if tokens <= SHORT_TOKENS {
            &engine.one
        } else {
            &engine.many
        };
        pool.install(|| engine.forward(&encoded))
            .map_err(|error| EmbeddingError::Engine(error.into()))
    }

    fn another(&self) -> Result<Option<Box<dyn Embedder>>, StartupError> {
        let pool = |threads| pool(threads, cpu::let_others_go_first);
        Ok(Some(Box::new(Self {
            model: Arc::clone(&self.model),
            tokenizer: self.tokenizer.clone(),
            device: self.device.clone(),
            threads: self.threads,
            one: pool(1)?,
            many: pool(self.threads)?,
        })))
    }
}
