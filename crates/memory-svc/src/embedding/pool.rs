//! The engines that embed documents: several of a thread each do more than one of several threads, which wait for one
//! another at every layer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::{Embedder, EmbeddingError, missing, run};
use crate::error::Error;
use solo_service::Worker;

type EmbeddingWorker = Worker<Box<dyn Embedder>>;

/// Engines, each in the hands of one batch at most. Batches wait in the order in which they came. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    size: usize,
    /// As many permits as there are workers in `idle`.
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<EmbeddingWorker>>>,
}

impl Pool {
    pub(super) fn new(workers: Vec<EmbeddingWorker>) -> Self {
        Self {
            size: workers.len(),
            turns: Arc::new(Semaphore::new(workers.len())),
            idle: Arc::new(Mutex::new(workers)),
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
