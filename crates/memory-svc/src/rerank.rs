//! What was found is read again beside the question, and put in a better order: the [`Reranker`] trait, its engines, and the
//! thread they run on.
//!
//! Embeddings know a text without its question; a reranker sees both at once, which is better and far slower. So it gets only
//! the best hits of a search (`memory.rerank.candidates`), and only where a person has configured one.

pub mod candle;

use std::path::PathBuf;

use solo_service::{CancelToken, Context, GlobalConfig, StartupError, Worker};

use crate::config::{Config, RerankEngine};
use crate::error::Error;

/// An engine that compares texts with a query. Synchronous; it is called on a thread of its own.
pub trait Reranker: Send + 'static {
    /// How well each text answers the query, 0.0 to 1.0, in their order.
    ///
    /// # Errors
    /// [`RerankError`].
    fn score(&mut self, query: &str, texts: &[String], cancel: &CancelToken) -> Result<Vec<f32>, RerankError>;
}

/// Why texts could not be compared with a query.
#[derive(Debug, thiserror::Error)]
pub enum RerankError {
    /// Nobody wants the result any more.
    #[error("the caller went away")]
    Cancelled,
    /// The engine failed.
    #[error("the reranking engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An engine about to be loaded on its thread.
pub struct Loader {
    /// Name of the engine, for the log.
    pub engine: &'static str,
    /// Its model, for the log.
    pub model: String,
    /// Loads it.
    pub load: Box<dyn FnOnce() -> Result<Box<dyn Reranker>, StartupError> + Send>,
}

/// The loader of the engine that the configuration names; `None`: it names none.
///
/// # Errors
/// A model that is not there, cannot be read, or is of another kind.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Result<Option<Loader>, StartupError> {
    match config.rerank.engine {
        RerankEngine::None => Ok(None),
        RerankEngine::Candle => {
            // A path that starts at the root stays as it is.
            let path = solo_service::config::path_or(&config.rerank.model, PathBuf::new);
            let folder = global.models_dir.join(path);
            candle::loader(&folder, &config.rerank, config.engine_threads(global)).map(Some)
        }
    }
}

/// The engine in use. Cheap to clone.
#[derive(Clone)]
pub struct Rerankings {
    worker: Worker<Box<dyn Reranker>>,
    candidates: usize,
}

impl Rerankings {
    /// Loads the engine on its thread and compares two texts to see that it works.
    ///
    /// # Errors
    /// Whatever loading says, or an engine that gives no usable score.
    pub async fn start(context: &Context, config: &Config, loader: Loader) -> Result<Self, StartupError> {
        let Loader { engine, model, load } = loader;
        let load = move || {
            let mut reranker = load()?;
            let warm = reranker
                .score("a question", &["an answer".to_owned()], &CancelToken::new())
                .map_err(StartupError::other)?;
            match warm.as_slice() {
                [score] if score.is_finite() => Ok(reranker),
                _ => Err(StartupError::other("the reranking engine gives no usable scores")),
            }
        };
        let worker = Worker::start(context, "reranking", config.queue, load).await?;
        tracing::info!(engine, model, "what is found is reranked");
        Ok(Self {
            worker,
            candidates: config.rerank.candidates,
        })
    }

    /// How many of the best hits are reranked where `limit` are wanted.
    pub fn candidates(&self, limit: usize) -> usize {
        self.candidates.max(limit)
    }

    /// How well each text answers the query, 0.0 to 1.0, in their order, as soon as the engine is free.
    ///
    /// # Errors
    /// A full queue, or an engine that fails.
    pub async fn scores(&self, query: String, texts: Vec<String>) -> Result<Vec<f32>, Error> {
        let wanted = texts.len();
        let job = move |reranker: &mut Box<dyn Reranker>, cancel: &CancelToken| reranker.score(&query, &texts, cancel);
        let scores = self.worker.run(job).await??;
        if scores.len() == wanted && scores.iter().all(|score| score.is_finite()) {
            Ok(scores)
        } else {
            let problem = "it gave another number of scores than it was given texts, or one that is no number";
            Err(RerankError::Engine(problem.into()).into())
        }
    }
}
