//! The engine's own thread: one engine, one OS thread, one bounded queue of jobs.
//!
//! Engines are synchronous and hold state that must not be shared. Callers hand over a closure; a full queue refuses at
//! once; a caller that goes away cancels its job, queued or running, through a [`CancelToken`] that the engine checks
//! inside. An engine that panics takes its thread down: health turns NOT_SERVING and the process ends, so that whoever
//! runs it starts a clean one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use solo_proto::status::v1::QueueStatus;
use tokio::sync::{mpsc, oneshot};

use crate::error::{ErrorCode, ServiceError};
use crate::service::{Context, StartupError};

/// Says that a job is no longer wanted. Cheap to clone, cheap to ask from inside a hot loop.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the job. Never taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// True once nobody wants the job's result.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for engines that poll a raw one.
    pub fn as_flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// Cancels its token when dropped.
#[derive(Debug)]
pub struct CancelOnDrop(pub CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller went away")]
pub struct Cancelled;

/// Why a job was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// As many jobs wait as may.
    #[error("{worker} is busy: {capacity} jobs wait already; try again in a moment")]
    QueueFull {
        /// Name of the worker.
        worker: &'static str,
        /// Jobs that may wait.
        capacity: usize,
    },
    /// The engine's thread has ended.
    #[error("{worker} has stopped; it is being restarted")]
    Stopped {
        /// Name of the worker.
        worker: &'static str,
    },
    /// The engine panicked during this very job.
    #[error("{worker} failed on this request; it is being restarted")]
    Panicked {
        /// Name of the worker.
        worker: &'static str,
    },
}

impl ServiceError for WorkerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::QueueFull { .. } => ErrorCode::ResourceExhausted,
            Self::Stopped { .. } => ErrorCode::Unavailable,
            Self::Panicked { .. } => ErrorCode::Internal,
        }
    }
    fn reason(&self) -> &str {
        match self {
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::Stopped { .. } => "ENGINE_STOPPED",
            Self::Panicked { .. } => "ENGINE_PANICKED",
        }
    }
    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::QueueFull { .. }).then_some(Duration::from_secs(1))
    }
}

type Job<E> = Box<dyn FnOnce(&mut E) + Send>;

/// Handle of an engine's thread. Clones share it; when the last is dropped, the queue is worked off and the thread ends.
pub struct Worker<E> {
    name: &'static str,
    capacity: usize,
    jobs: mpsc::Sender<Job<E>>,
    waiting: Arc<Waiting>,
}

impl<E> Clone for Worker<E> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            capacity: self.capacity,
            jobs: self.jobs.clone(),
            waiting: Arc::clone(&self.waiting),
        }
    }
}

/// When each waiting job was handed over, oldest first.
#[derive(Default)]
struct Waiting(Mutex<VecDeque<Instant>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: 'static> Worker<E> {
    /// Starts the thread, builds the engine on it with `load`, and waits until that has worked. How many jobs wait is
    /// shown in the status.
    ///
    /// # Errors
    /// Whatever `load` says; a panic in it is [`StartupError::Engine`].
    pub async fn start<F>(context: &Context, name: &'static str, capacity: usize, load: F) -> Result<Self, StartupError>
    where
        F: FnOnce() -> Result<E, StartupError> + Send + 'static,
    {
        let worker = Self::start_stepping(context, name, capacity, load, |_| false).await?;
        // An engine that another took the place of has no queue any more.
        let probe = Arc::downgrade(&worker.waiting);
        context.status.add_queue(move || {
            let waiting = probe.upgrade()?;
            let waiting = waiting.lock();
            Some(QueueStatus {
                depth: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
                capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
                oldest_ms: waiting.front().map_or(0, |since| since.elapsed().as_millis() as u64),
            })
        });
        Ok(worker)
    }

    /// [`Worker::start`] for an engine that works on by itself between jobs: `step` does a little of what there is to do
    /// and says whether there may be more. Jobs are short there (they hand work over), and never wait for more than a step.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_stepping<F, S>(
        context: &Context,
        name: &'static str,
        capacity: usize,
        load: F,
        mut step: S,
    ) -> Result<Self, StartupError>
    where
        F: FnOnce() -> Result<E, StartupError> + Send + 'static,
        S: FnMut(&mut E) -> bool + Send + 'static,
    {
        let capacity = capacity.max(1);
        let (jobs, mut queue) = mpsc::channel::<Job<E>>(capacity);
        let (loaded, ready) = oneshot::channel();
        let waiting = Arc::new(Waiting::default());
        let thread_waiting = Arc::clone(&waiting);
        let (health, failed, runtime) = (
            context.health.clone(),
            context.failed.clone(),
            tokio::runtime::Handle::current(),
        );
        let alive = context.engines.token();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped last, when the engine is gone.
                let _alive = alive;
                let mut engine = match catch_unwind(AssertUnwindSafe(load)) {
                    Ok(Ok(engine)) => engine,
                    Ok(Err(error)) => return drop(loaded.send(Err(error))),
                    Err(_) => {
                        return drop(loaded.send(Err(StartupError::other(format!("{name} panicked while it loaded")))));
                    }
                };
                if loaded.send(Ok(())).is_err() {
                    return;
                }
                let mut busy = false;
                loop {
                    let job = match queue.try_recv() {
                        Ok(job) => Some(job),
                        Err(mpsc::error::TryRecvError::Disconnected) => return,
                        Err(mpsc::error::TryRecvError::Empty) if busy => None,
                        Err(mpsc::error::TryRecvError::Empty) => match queue.blocking_recv() {
                            Some(job) => Some(job),
                            None => return,
                        },
                    };
                    let done = catch_unwind(AssertUnwindSafe(|| match job {
                        Some(job) => {
                            thread_waiting.lock().pop_front();
                            job(&mut engine);
                            true
                        }
                        None => step(&mut engine),
                    }));
                    match done {
                        Ok(more) => busy = more,
                        Err(_) => {
                            // Its state is unknown now. Callers hear of it by their dropped channels.
                            runtime.block_on(health.not_serving("the engine panicked"));
                            failed.cancel();
                            return;
                        }
                    }
                }
            })
            .map_err(StartupError::other)?;
        ready
            .await
            .map_err(|_| StartupError::other(format!("{name}'s thread ended while it loaded")))??;
        Ok(Self {
            name,
            capacity,
            jobs,
            waiting,
        })
    }

    /// Runs one job and waits for its result. Dropping the future cancels it.
    pub async fn run<T, F>(&self, job: F) -> Result<T, WorkerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut E, &CancelToken) -> T + Send + 'static,
    {
        let token = CancelToken::new();
        let guard = CancelOnDrop(token.clone());
        let (send, receive) = oneshot::channel();
        self.enqueue(Box::new(move |engine| {
            if !token.is_cancelled() {
                // A caller that went away meanwhile wants no answer.
                let _ = send.send(job(engine, &token));
            }
        }))?;
        let result = receive.await.map_err(|_| WorkerError::Panicked { worker: self.name });
        drop(guard);
        result
    }

    /// Runs one job that emits as it goes. At most `buffer` items wait for the reader; dropping the stream cancels.
    pub fn stream<T, F>(&self, buffer: usize, job: F) -> Result<JobStream<T>, WorkerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut E, &Emit<T>, &CancelToken) + Send + 'static,
    {
        let token = CancelToken::new();
        let (send, items) = mpsc::channel(buffer.max(1));
        let guard = CancelOnDrop(token.clone());
        self.enqueue(Box::new(move |engine| {
            if !token.is_cancelled() {
                job(
                    engine,
                    &Emit {
                        items: send,
                        token: token.clone(),
                    },
                    &token,
                );
            }
        }))?;
        Ok(JobStream { _guard: guard, items })
    }

    fn enqueue(&self, job: Job<E>) -> Result<(), WorkerError> {
        // Noted before it is sent, so that the thread can never take a job that was not noted.
        let mut waiting = self.waiting.lock();
        match self.jobs.try_send(job) {
            Ok(()) => {
                waiting.push_back(Instant::now());
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(WorkerError::QueueFull {
                worker: self.name,
                capacity: self.capacity,
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(WorkerError::Stopped { worker: self.name }),
        }
    }
}

/// Where a job puts what it makes.
#[derive(Debug)]
pub struct Emit<T> {
    items: mpsc::Sender<T>,
    token: CancelToken,
}

impl<T> Emit<T> {
    /// Hands an item to the reader; waits while the reader is behind.
    ///
    /// # Errors
    /// [`Cancelled`] when nobody reads any more: the engine should stop.
    pub fn send(&self, item: T) -> Result<(), Cancelled> {
        if self.token.is_cancelled() {
            return Err(Cancelled);
        }
        self.items.blocking_send(item).map_err(|_| Cancelled)
    }
}

/// What a job emits. Ends when the job ends; dropping it cancels the job.
#[derive(Debug)]
pub struct JobStream<T> {
    // Dropped before `items`: an engine that finds its channel closed finds its token cancelled too.
    _guard: CancelOnDrop,
    items: mpsc::Receiver<T>,
}

impl<T> Stream for JobStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<T>> {
        self.items.poll_recv(context)
    }
}

#[cfg(test)]
mod tests;
