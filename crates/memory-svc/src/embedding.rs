//! Text becomes vectors: the [`Embedder`] trait, its engines, and the thread they run on.
//!
//! One engine, one thread. A query must not wait for a document: documents have an engine of their own where that is possible
//! (the weights are shared), on threads that let others go first. Where it is not, a document is embedded in small batches of
//! which at most one is queued at a time, whatever the number of documents, so that a query waits for about one batch at most.

mod bert;
pub mod candle;
pub mod onnx;

use std::fmt;
use std::sync::Arc;

use solo_service::{CancelToken, Context, GlobalConfig, StartupError, Worker, cpu};
use tokio::sync::Semaphore;

use crate::config::{Config, EngineKind};
use crate::error::Error;

/// An engine that embeds texts. Synchronous; it is called on a thread of its own.
pub trait Embedder: Send + 'static {
    /// The embeddings of `texts`, in their order: unit vectors of [`Identity::dimension`] components.
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError>;

    /// A second one on the same weights, for work that may wait, whose threads let others go first; `None`: there can be only
    /// one.
    ///
    /// # Errors
    /// When there is no room for it.
    fn another(&self) -> Result<Option<Box<dyn Embedder>>, StartupError> {
        Ok(None)
    }
}

/// Counts tokens as the embedding model does.
///
/// The count of a text must be the sum of the counts of its words, split at blanks: true of WordPiece, and close enough
/// elsewhere.
pub trait TokenCounter: Send + Sync + 'static {
    /// Tokens of `text`, the model's special ones not counted.
    fn count(&self, text: &str) -> usize;
}

/// Why a text could not be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// Nobody wants the result any more.
    #[error("the caller went away")]
    Cancelled,
    /// The engine failed.
    #[error("the embedding engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What makes vectors comparable: those of another identity mean something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Identifier of the model.
    pub model: String,
    /// Components of its vectors.
    pub dimension: usize,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\" ({} dimensions)", self.model, self.dimension)
    }
}

/// An engine about to be loaded on its thread.
pub struct Loader {
    /// Name of the engine, for the status.
    pub engine: &'static str,
    /// Where it computes, for the status.
    pub device: &'static str,
    /// What it will be.
    pub identity: Identity,
    /// How its model counts tokens.
    pub counter: Arc<dyn TokenCounter>,
    /// Loads it.
    pub load: Box<dyn FnOnce() -> Result<Box<dyn Embedder>, StartupError> + Send>,
}

/// The loader of the engine that the configuration names.
///
/// # Errors
/// A model that is not installed, or whose tokenizer or configuration cannot be read.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Result<Loader, StartupError> {
    let (models_dir, threads) = (&global.models_dir, config.embedding_threads(global));
    match config.embedding.engine {
        EngineKind::Onnx => onnx::loader(models_dir, &config.embedding, threads),
        EngineKind::Candle => candle::loader(models_dir, &config.embedding, threads),
    }
}

/// The engine in use. Cheap to clone.
#[derive(Clone)]
pub struct Embeddings {
    worker: Worker<Box<dyn Embedder>>,
    /// The same as `worker` where there can be only one.
    document_worker: Worker<Box<dyn Embedder>>,
    counter: Arc<dyn TokenCounter>,
    identity: Identity,
    batch: usize,
    documents: Arc<Semaphore>,
}

impl Embeddings {
    /// Loads the engine on its thread and embeds a text to see that it works.
    pub async fn start(context: &Context, config: &Config, loader: Loader) -> Result<Self, StartupError> {
        let Loader {
            engine,
            device,
            identity,
            counter,
            load,
        } = loader;
        context.status.set_engine(engine);
        context.status.set_device(device);
        context.status.set_model(identity.model.clone());
        let dimension = identity.dimension;
        let load = move || {
            let mut embedder = load()?;
            let warm = embedder
                .embed(&["a first text".to_owned()], &CancelToken::new())
                .map_err(StartupError::other)?;
            match warm.as_slice() {
                [vector] if vector.len() == dimension && vector.iter().all(|x| x.is_finite()) => Ok(embedder),
                _ => Err(StartupError::other("the embedding engine gives no usable vectors")),
            }
        };
        let worker = Worker::start(context, "embeddings", config.queue, load).await?;
        let another = worker.run(|embedder, _| embedder.another()).await;
        let document_worker = match another.map_err(StartupError::other)?? {
            Some(embedder) => {
                let load = move || {
                    cpu::let_others_go_first();
                    Ok(embedder)
                };
                Worker::start(context, "document-embeddings", config.queue, load).await?
            }
            None => worker.clone(),
        };
        let batch = config.embedding.batch.max(1);
        Ok(Self {
            worker,
            document_worker,
            counter,
            identity,
            batch,
            documents: Arc::new(Semaphore::new(1)),
        })
    }

    /// What makes its vectors comparable.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How its model counts tokens.
    pub fn counter(&self) -> &Arc<dyn TokenCounter> {
        &self.counter
    }

    /// The embedding of one short text, as soon as the engine is free.
    pub async fn query(&self, text: String) -> Result<Vec<f32>, Error> {
        let mut vectors = run(&self.worker, vec![text]).await?;
        vectors.pop().ok_or_else(|| missing().into())
    }

    /// The embeddings of many texts, in their order, batch by batch; `progress` hears how many are done.
    pub async fn documents(
        &self,
        texts: Vec<String>,
        mut progress: impl FnMut(usize) + Send,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter();
        loop {
            let batch: Vec<String> = texts.by_ref().take(self.batch).collect();
            if batch.is_empty() {
                return Ok(vectors);
            }
            let wanted = vectors.len() + batch.len();
            // The semaphore is never closed.
            let turn = self
                .documents
                .acquire()
                .await
                .map_err(|closed| EmbeddingError::Engine(closed.into()))?;
            vectors.extend(run(&self.document_worker, batch).await?);
            drop(turn);
            if vectors.len() != wanted {
                return Err(missing().into());
            }
            progress(vectors.len());
        }
    }
}

async fn run(worker: &Worker<Box<dyn Embedder>>, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
    Ok(worker
        .run(move |embedder, cancel| embedder.embed(&texts, cancel))
        .await??)
}

fn missing() -> EmbeddingError {
    EmbeddingError::Engine("it gave another number of vectors than it was given texts".into())
}
