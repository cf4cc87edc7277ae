//! The engines that embed documents: several of a thread each do more than one of several threads, which wait for one
//! another at every layer.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use solo_service::{Context, Worker, cpu};
use tokio::sync::{OnceCell, Semaphore};

use super::{Embedder, EmbeddingError, Load, missing, run};
use crate::error::Error;

type EmbeddingWorker = Worker<Box<dyn Embedder>>;

const PANICKED: Error = Error::Panicked {
    doing: "loading the engines for documents",
};

/// The engines for documents, which are loaded when the first document wants them: each holds the weights once more, and many a
/// Solo is only talked to. Cheap to clone.
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
        if self.engines.get().is_none() {
            let pool = self.clone();
            // In a task of its own: whoever waits may go away, what is being loaded stays.
            let loading = tokio::spawn(async move { pool.engines.get_or_try_init(|| pool.load()).await.map(drop) });
            loading.await.map_err(|_| PANICKED)??;
        }
        self.engines.get().ok_or(PANICKED)
    }

    async fn load(&self) -> Result<Engines, Error> {
        let loads = self.first.run(|embedder, _| embedder.for_documents()).await?;
        let start = |load: Load| {
            let load = move || {
                cpu::let_others_go_first();
                load()
            };
            Worker::start(&self.context, "document-embeddings", self.queue, load)
        };
        let mut workers = try_join_all(loads.into_iter().map(start)).await.map_err(Error::Model)?;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use solo_service::{CancelToken, StartupError};

    use super::*;

    /// An engine of which there can be two more.
    #[derive(Clone, Default)]
    struct Counted {
        loads: Arc<AtomicUsize>,
        broken: Arc<AtomicBool>,
    }

    impl Embedder for Counted {
        fn embed(&mut self, texts: &[String], _: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
            Ok(texts.iter().map(|_| vec![1.0]).collect())
        }

        fn for_documents(&self) -> Vec<Load> {
            let one = |_| -> Load {
                // Of an attempt that failed one load may end later than the other: it fails as well.
                let (engine, broken) = (self.clone(), self.broken.load(Ordering::SeqCst));
                Box::new(move || {
                    if broken {
                        return Err(StartupError::other("no room"));
                    }
                    engine.loads.fetch_add(1, Ordering::SeqCst);
                    Ok(Box::new(engine))
                })
            };
            (0..2).map(one).collect()
        }
    }

    #[tokio::test]
    async fn engines_are_loaded_when_somebody_wants_them_and_stay_when_nobody_waits() {
        let context = Context::for_tests("memory-svc").await;
        let engine = Counted::default();
        let (loads, broken) = (Arc::clone(&engine.loads), Arc::clone(&engine.broken));
        let load = move || Ok(Box::new(engine) as Box<dyn Embedder>);
        let first = Worker::start(&context, "embeddings", 8, load).await.unwrap();
        let pool = Pool::new(&context, 8, first);
        assert_eq!(loads.load(Ordering::SeqCst), 0);
        broken.store(true, Ordering::SeqCst);
        assert!(matches!(pool.engines().await, Err(Error::Model(_))));
        assert_eq!(loads.load(Ordering::SeqCst), 0);
        broken.store(false, Ordering::SeqCst);
        // Its caller goes away; the next two find what it began.
        assert!(futures::poll!(Box::pin(pool.engines())).is_pending());
        let (one, other) = tokio::join!(pool.engines(), pool.engines());
        assert_eq!((one.unwrap().size(), other.unwrap().size()), (2, 2));
        assert_eq!(loads.load(Ordering::SeqCst), 2);
        let vectors = pool.engines().await.unwrap().embed(vec!["a".into(), "b".into()]).await;
        assert_eq!(vectors.unwrap().len(), 2);
    }
}
