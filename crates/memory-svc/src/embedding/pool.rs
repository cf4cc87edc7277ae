//! The engines that embed documents: several of a thread each do more than one of several threads, which wait for one
//! another at every layer.

use std::sync::{Arc, Mutex, PoisonError};

use solo_service::{Context, Worker, cpu};
use tokio::sync::{OnceCell, Semaphore};

use super::{Embedder, EmbeddingError, missing, run};
use crate::error::Error;

type EmbeddingWorker = Worker<Box<dyn Embedder>>;

/// The engines for documents, which are loaded when the first document wants them: each holds the weights once more, and many a
/// Solo answers questions all day and takes nothing in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    context: Context,
    /// Texts that may wait for each.
    queue: usize,
    /// The engine of queries. It says what the others are; where there can be no others it embeds documents, too.
    first: EmbeddingWorker,
    engines: Arc<OnceCell<Engines>>,
}

impl Pool {
    pub(super) fn new(context: &Context, queue: usize, first: EmbeddingWorker) -> Self {
        Self {
            context: context.clone(),
            queue,
            first,
            engines: Arc::default(),
        }
    }

    /// The engines; the first call loads them.
    pub(super) async fn engines(&self) -> Result<&Engines, Error> {
        self.engines.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<Engines, Error> {
        let mut workers = Vec::new();
        for load in self.first.run(|embedder, _| embedder.for_documents()).await? {
            let load = move || {
                cpu::let_others_go_first();
                load()
            };
            let started = Worker::start(&self.context, "document-embeddings", self.queue, load).await;
            workers.push(started.map_err(|error| EmbeddingError::Engine(error.into()))?);
        }
        if workers.is_empty() {
            workers.push(self.first.clone());
        }
        Ok(Engines::new(workers))
    }
}

/// Engines, each in the hands of one batch at most. Batches wait in the order in which they came.
pub(super) struct Engines {
    size: usize,
    /// As many permits as there are workers in `idle`.
    turns: Semaphore,
    idle: Mutex<Vec<EmbeddingWorker>>,
}

impl Engines {
    fn new(workers: Vec<EmbeddingWorker>) -> Self {
        Self {
            size: workers.len(),
            turns: Semaphore::new(workers.len()),
            idle: Mutex::new(workers),
        }
    }

    /// How many batches are embedded at once.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The embeddings of a batch, as soon as an engine is free.
    pub(super) async fn embed(&self, batch: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        // The semaphore is never closed.
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|closed| EmbeddingError::Engine(closed.into()))?;
        let taken = Taken::from(&self.idle)?;
        let wanted = batch.len();
        let vectors = run(&taken.worker, batch).await?;
        if vectors.len() == wanted {
            Ok(vectors)
        } else {
            Err(missing().into())
        }
    }
}

/// A worker that goes back when its batch is done, or nobody waits for it any more.
struct Taken<'a> {
    worker: EmbeddingWorker,
    idle: &'a Mutex<Vec<EmbeddingWorker>>,
}

impl<'a> Taken<'a> {
    fn from(idle: &'a Mutex<Vec<EmbeddingWorker>>) -> Result<Self, Error> {
        let worker = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Whoever has a turn finds one.
        let worker = worker.ok_or_else(|| EmbeddingError::Engine("no engine is free".into()))?;
        Ok(Self { worker, idle })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.worker.clone());
    }
}
