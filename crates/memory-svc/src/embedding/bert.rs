//! What the engines of embeddings have in common: the files of a model, its tokenizer, and how tokens become a vector.
//!
//! After sentence-transformers (Reimers and Gurevych, 2019): token vectors of the last layer are averaged where the
//! attention mask is set, and the mean is brought to length 1, so that a dot product is the cosine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use solo_service::StartupError;
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use super::{EmbeddingError, Identity, TokenCounter};
use crate::bert;
use crate::config::EmbeddingConfig;

/// A model's tokenizer and what its configuration says, read and checked.
pub(super) struct Parts {
    pub(super) identity: Identity,
    pub(super) tokenizer: Tokenizer,
    pub(super) counter: Arc<dyn TokenCounter>,
    config_file: PathBuf,
}

/// Of a model's `config.json`, what every engine needs to know.
#[derive(Deserialize)]
struct Sizes {
    hidden_size: usize,
    max_position_embeddings: usize,
}

impl Parts {
    /// Reads them from `models_dir`.
    ///
    /// # Errors
    /// A model that is not installed, or whose tokenizer or configuration cannot be read.
    pub(super) fn read(models_dir: &Path, config: &EmbeddingConfig) -> Result<Self, StartupError> {
        let model = &config.model;
        let tokenizer_file = locate(models_dir, model, "tokenizer")?;
        let config_file = locate(models_dir, model, "config")?;
        let sizes: Sizes = read_json(model, &config_file)?;
        if config.max_tokens > sizes.max_position_embeddings {
            return Err(StartupError::Config(format!(
                "memory.embedding.max_tokens: model \"{model}\" has {} positions, found {}",
                sizes.max_position_embeddings, config.max_tokens
            )));
        }
        let bad_tokenizer = |error: tokenizers::Error| damaged(model, &tokenizer_file, &error.to_string());
        // Counting must see the whole text.
        let counting = bert::tokenizer(&tokenizer_file).map_err(bad_tokenizer)?;
        let tokenizer = cutting(counting.clone(), config.max_tokens).map_err(bad_tokenizer)?;
        let identity = Identity {
            model: model.clone(),
            dimension: sizes.hidden_size,
        };
        Ok(Self {
            identity,
            tokenizer,
            counter: Arc::new(WordPiece(counting)),
            config_file,
        })
    }

    /// The configuration as an engine wants it.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, StartupError> {
        read_json(&self.identity.model, &self.config_file)
    }
}

/// The file of a model with a role.
pub(super) fn locate(models_dir: &Path, model: &str, role: &str) -> Result<PathBuf, StartupError> {
    solo_models::locate(models_dir, model, role).map_err(missing)
}

pub(super) fn missing(missing: solo_models::MissingModel) -> StartupError {
    StartupError::MissingModel {
        message: missing.to_string(),
    }
}

pub(super) fn damaged(model: &str, file: &Path, problem: &str) -> StartupError {
    let message = format!(
        "model \"{model}\" is damaged: {} cannot be read ({problem}); run `solo models verify {model}`, then `solo models pull {model}`",
        file.display()
    );
    StartupError::MissingModel { message }
}

fn read_json<T: DeserializeOwned>(model: &str, file: &Path) -> Result<T, StartupError> {
    bert::read_json(file).map_err(|error| damaged(model, file, &error.to_string()))
}

/// The tokenizer as embeddings want it: what is longer is cut off.
fn cutting(mut tokenizer: Tokenizer, max_tokens: usize) -> tokenizers::Result<Tokenizer> {
    tokenizer.with_truncation(Some(TruncationParams {
        max_length: max_tokens,
        ..TruncationParams::default()
    }))?;
    Ok(tokenizer)
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

/// The tokens of each text.
pub(super) fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Encoding>, EmbeddingError> {
    let encoded = texts.iter().map(|text| tokenizer.encode_fast(text.as_str(), true));
    encoded.collect::<Result<_, _>>().map_err(EmbeddingError::Engine)
}
