//! Text becomes vectors: the [`Embedder`] trait, its engines, and the thread they run on.
//!
//! One engine, one thread. A query must not wait for a document: documents have engines of their own where that is possible,
//! on threads that let others go first ([`pool`]). Where it is not, as on a GPU, a document is embedded in batches of which at
//! most one is queued at a time, whatever the number of documents, so that a query waits for about one batch at most.

mod bert;
pub mod candle;
pub mod device;
pub mod onnx;
mod pool;

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use solo_service::{CancelToken, Context, GlobalConfig, StartupError, StatusBoard, Worker};

use crate::config::{Config, EmbeddingConfig, EngineKind};
use crate::error::Error;
use pool::Pool;

/// An engine that embeds texts. Synchronous; it is called on a thread of its own.
pub trait Embedder: Send + 'static {
    /// The embeddings of `texts`, in their order: unit vectors of [`Identity::dimension`] components.
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError>;

    /// How others of the same model are loaded, for work that may wait; all together use as many threads as this one. Each is
    /// loaded on a thread that lets others go first, and so do the threads that it starts. Empty: there can be only one.
    fn for_documents(&self) -> Vec<Load> {
        Vec::new()
    }
}

/// Loads an engine, on the thread that it will work on.
pub type Load = Box<dyn FnOnce() -> Result<Box<dyn Embedder>, StartupError> + Send>;

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

/// What makes vectors comparable: those of another identity mean something else. The engine, its device and its precision are no
/// part of it: between them a model's vectors differ by rounding only.
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
    pub device: String,
    /// Texts that it best embeds in one go while a document is taken in.
    pub batch: usize,
    /// What it will be.
    pub identity: Identity,
    /// How its model counts tokens.
    pub counter: Arc<dyn TokenCounter>,
    /// Loads it.
    pub load: Load,
}

/// Prepares to load other engines than the configured one.
pub type Loaders = Arc<dyn Fn(&EmbeddingConfig) -> Result<Loader, StartupError> + Send + Sync>;

/// Those of this build, with the rest of the configuration as it is.
pub fn loaders(config: &Config, global: &Arc<GlobalConfig>) -> Loaders {
    let (config, global) = (config.clone(), Arc::clone(global));
    Arc::new(move |embedding| {
        let config = Config {
            embedding: embedding.clone(),
            ..config.clone()
        };
        from_config(&config, &global)
    })
}

/// The loader of the engine that the configuration names.
///
/// # Errors
/// A model that is not installed, or whose tokenizer or configuration cannot be read, or a GPU that cannot be had.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Result<Loader, StartupError> {
    let (models_dir, threads) = (&global.models_dir, config.engine_threads(global));
    match config.embedding.engine {
        EngineKind::Onnx => onnx::loader(models_dir, &config.embedding, threads),
        EngineKind::Candle => candle::loader(models_dir, &config.embedding, threads),
    }
}

/// The engine in use. Cheap to clone.
#[derive(Clone)]
pub struct Embeddings {
    worker: Worker<Box<dyn Embedder>>,
    pool: Pool,
    counter: Arc<dyn TokenCounter>,
    identity: Identity,
    engine: &'static str,
    device: String,
    batch: usize,
}

impl Embeddings {
    /// Loads the engine on its thread and embeds a text to see that it works.
    pub async fn load(context: &Context, config: &Config, loader: Loader) -> Result<Self, StartupError> {
        let Loader {
            engine,
            device,
            batch,
            identity,
            counter,
            load,
        } = loader;
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
        let batch = match config.embedding.batch {
            0 => batch,
            configured => configured,
        };
        Ok(Self {
            pool: Pool::new(context, config.queue, worker.clone()),
            worker,
            counter,
            identity,
            engine,
            device,
            batch,
        })
    }

    /// Says on the status board that this engine is the one in use.
    pub fn announce(&self, status: &StatusBoard) {
        status.set_engine(self.engine);
        status.set_device(self.device.clone());
        status.set_model(self.identity.model.clone());
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

    /// The embeddings of a few short texts, in their order, by the same engine.
    pub async fn few(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        let wanted = texts.len();
        let vectors = run(&self.worker, texts).await?;
        if vectors.len() == wanted {
            Ok(vectors)
        } else {
            Err(missing().into())
        }
    }

    /// The embeddings of many texts, in their order, in batches side by side; `progress` hears how many are done.
    pub async fn documents(
        &self,
        texts: Vec<String>,
        mut progress: impl FnMut(usize) + Send,
    ) -> Result<Vec<Vec<f32>>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let engines = self.pool.engines().await?;
        let mut vectors = Vec::with_capacity(texts.len());
        let batches: Vec<Vec<String>> = texts.chunks(self.batch).map(<[String]>::to_vec).collect();
        let mut embedded = stream::iter(batches)
            .map(|batch| engines.embed(batch))
            .buffered(engines.size());
        while let Some(batch) = embedded.try_next().await? {
            vectors.extend(batch);
            progress(vectors.len());
        }
        Ok(vectors)
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
