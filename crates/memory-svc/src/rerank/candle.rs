//! Reranking by a BERT cross-encoder on candle: f32 on the CPU.
//!
//! After Nogueira and Cho (2019), as sentence-transformers' cross-encoders are published: query and text go through BERT as a
//! pair, the pooled first token through one linear layer, and the sigmoid of that one number is the score. The pool of threads
//! is the engine's own, because the process's would also serve LanceDB.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear, ops::sigmoid};
use candle_transformers::models::bert::{BertModel, Config as BertConfig};
use solo_service::{CancelToken, StartupError};
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use super::{Loader, RerankError, Reranker};
use crate::bert::{self, Padded};
use crate::config::RerankConfig;

/// Pairs that go through the model in one go; between batches a caller that went away is noticed.
const BATCH: usize = 8;

/// Prepares to load the model in `folder`; only its configuration and tokenizer are read yet.
///
/// # Errors
/// A file that is missing or cannot be read, or a model of another kind.
pub fn loader(folder: &Path, config: &RerankConfig, threads: usize) -> Result<Loader, StartupError> {
    let model = config.model.clone();
    let [weights, tokenizer_file, config_file] =
        ["model.safetensors", "tokenizer.json", "config.json"].map(|name| folder.join(name));
    for file in [&weights, &tokenizer_file, &config_file] {
        if !file.is_file() {
            return Err(unusable(&model, file, "there is no such file"));
        }
    }
    let shape: BertConfig =
        bert::read_json(&config_file).map_err(|error| unusable(&model, &config_file, &error.to_string()))?;
    if let Some(kind) = shape.model_type.as_deref().filter(|kind| *kind != "bert") {
        return Err(unusable(&model, &config_file, &format!("it is of type \"{kind}\"")));
    }
    if config.max_tokens > shape.max_position_embeddings {
        return Err(StartupError::Config(format!(
            "memory.rerank.max_tokens: model \"{model}\" has {} positions, found {}",
            shape.max_position_embeddings, config.max_tokens
        )));
    }
    let pairs = bert::tokenizer(&tokenizer_file)
        .map(|tokenizer| Pairs::new(tokenizer, config.max_tokens))
        .map_err(|error| unusable(&model, &tokenizer_file, &error.to_string()))?;
    Ok(Loader {
        engine: "candle",
        model: model.clone(),
        load: Box::new(move || Ok(Box::new(CrossEncoder::load(&model, &weights, &shape, pairs, threads)?))),
    })
}

fn unusable(model: &str, file: &Path, problem: &str) -> StartupError {
    let message = format!(
        "model \"{model}\" cannot rerank: {}: {problem}; memory.rerank.model wants the folder of a BERT cross-encoder with one \
         label: model.safetensors, tokenizer.json and config.json",
        file.display()
    );
    StartupError::MissingModel { message }
}

/// How a query and a text become one input.
struct Pairs {
    tokenizer: Tokenizer,
    /// Tokens that both may have together, special ones not counted.
    room: usize,
}

impl Pairs {
    fn new(tokenizer: Tokenizer, max_tokens: usize) -> Self {
        let special = tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(true));
        Self {
            tokenizer,
            room: max_tokens.saturating_sub(special),
        }
    }

    /// The query before each text. What is too long is cut off at its end: a query that takes more than half of the room, and
    /// of a text what the query leaves no room for.
    fn encode(&self, query: &str, texts: &[String]) -> tokenizers::Result<Vec<Encoding>> {
        let query = self.tokens(query, self.room / 2)?;
        let pair = |text: &String| {
            let text = self.tokens(text, self.room - query.len())?;
            self.tokenizer.post_process(query.clone(), Some(text), true)
        };
        texts.iter().map(pair).collect()
    }

    /// The first tokens of a text, without special ones.
    fn tokens(&self, text: &str, most: usize) -> tokenizers::Result<Encoding> {
        let mut tokens = self.tokenizer.encode_fast(text, false)?;
        tokens.truncate(most, 0, TruncationDirection::Right);
        // It keeps what it cut off.
        drop(tokens.take_overflowing());
        Ok(tokens)
    }
}

/// The model, loaded.
struct CrossEncoder {
    bert: BertModel,
    pooler: Linear,
    classifier: Linear,
    pairs: Pairs,
    pool: rayon::ThreadPool,
}

impl CrossEncoder {
    fn load(
        name: &str,
        weights: &Path,
        shape: &BertConfig,
        pairs: Pairs,
        threads: usize,
    ) -> Result<Self, StartupError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("rerank-{index}"))
            .build()
            .map_err(StartupError::other)?;
        let size = shape.hidden_size;
        let load = || -> candle_core::Result<Self> {
            let content = std::fs::read(weights)?;
            let tensors = VarBuilder::from_buffered_safetensors(content, DType::F32, &Device::Cpu)?;
            Ok(Self {
                bert: BertModel::load(tensors.pp("bert"), shape)?,
                pooler: linear(size, size, tensors.pp("bert.pooler.dense"))?,
                classifier: linear(size, 1, tensors.pp("classifier"))?,
                pairs,
                pool,
            })
        };
        load().map_err(|error| unusable(name, weights, &error.to_string()))
    }

    /// The scores of encoded pairs.
    fn forward(&self, pairs: &[Encoding]) -> candle_core::Result<Vec<f32>> {
        let Padded {
            rows,
            columns,
            ids,
            types,
            mask,
        } = Padded::<u32>::new(pairs);
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, (rows, columns), &Device::Cpu);
        let hidden = self
            .bert
            .forward(&tensor(ids)?, &tensor(types)?, Some(&tensor(mask)?))?;
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let pooled = self.pooler.forward(&first)?.tanh()?;
        sigmoid(&self.classifier.forward(&pooled)?)?.flatten_all()?.to_vec1()
    }
}

impl Reranker for CrossEncoder {
    fn score(&mut self, query: &str, texts: &[String], cancel: &CancelToken) -> Result<Vec<f32>, RerankError> {
        let pairs = self.pairs.encode(query, texts).map_err(RerankError::Engine)?;
        let mut pairs: Vec<(usize, Encoding)> = pairs.into_iter().enumerate().collect();
        // Padding costs as much as text does: pairs of about the same length go together.
        pairs.sort_by_key(|(_, pair)| pair.len());
        let (places, pairs): (Vec<usize>, Vec<Encoding>) = pairs.into_iter().unzip();
        let mut scores = vec![0.0; places.len()];
        let engine = &*self;
        for (places, pairs) in places.chunks(BATCH).zip(pairs.chunks(BATCH)) {
            if cancel.is_cancelled() {
                return Err(RerankError::Cancelled);
            }
            let found = engine
                .pool
                .install(|| engine.forward(pairs))
                .map_err(|error| RerankError::Engine(error.into()))?;
            for (place, score) in places.iter().zip(found) {
                scores[*place] = score;
            }
        }
        Ok(scores)
    }
}
