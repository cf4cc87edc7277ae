//! The way to the engine: one thread, a bounded queue, and a second look where words repeat themselves.
//!
//! Callers that may be told "busy" are refused when the queue is full (the first piece of a recording); callers that
//! have already promised an answer wait in line (the end of an utterance, later pieces), first come first served, so that
//! load shows as latency and no audio is dropped. Partial transcripts only take the engine when it is idle.
//!
//! Recordings have an engine of their own where that is possible (the weights are shared), on a thread that lets others go
//! first: nobody who speaks waits behind half a minute of a recording.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use solo_service::{Context, StartupError, StatusBoard, Worker, WorkerError, cpu};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{Config, GateConfig};
use crate::engine::{Decoded, EngineError, EngineInfo, Request, SpeechToText};
use crate::error::SttError;
use crate::gate::{self, Reason};

/// How much the newest decode counts in the real-time factor that is shown.
const RTF_WEIGHT: f64 = 0.2;
/// How long to wait when the queue holds only jobs whose callers have gone: the engine throws them out by itself.
const ABANDONED_JOBS: Duration = Duration::from_millis(10);
const WORKER: &str = "whisper";
const FILE_WORKER: &str = "whisper-files";

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Refuse.
    Refuse,
    /// Wait in line.
    Wait,
}

/// What became of a stretch of speech.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Words that are believed.
    Heard {
        /// The words.
        decoded: Decoded,
        /// Time that the engine took.
        spent: Duration,
    },
    /// Words that are not.
    Rejected {
        /// Why.
        reason: Reason,
        /// What the model wrote.
        text: String,
        /// Time that the engine took.
        spent: Duration,
    },
}

/// Handle of the engine; cheap to clone.
#[derive(Clone)]
pub(crate) struct Decoder {
    worker: Worker<Box<dyn SpeechToText>>,
    name: &'static str,
    info: Arc<EngineInfo>,
    gate: Arc<GateConfig>,
    /// One for each job that may wait, and one for the job that runs.
    places: Arc<Semaphore>,
    queue: usize,
    status: StatusBoard,
    real_time_factor: Arc<Mutex<Option<f64>>>,
}

impl Decoder {
    /// Starts the engine's thread and loads the engine on it.
    ///
    /// # Errors
    /// What `load` says.
    pub(crate) async fn start(
        config: &Config,
        context: &Context,
        load: impl FnOnce() -> Result<Box<dyn SpeechToText>, StartupError> + Send + 'static,
    ) -> Result<Self, StartupError> {
        let worker = Worker::start(context, WORKER, config.queue, load).await?;
        let info = worker
            .run(|engine, _| engine.info())
            .await
            .map_err(StartupError::other)?;
        Ok(Self {
            worker,
            name: WORKER,
            info: Arc::new(info),
            gate: Arc::new(config.gate.clone()),
            places: Arc::new(Semaphore::new(config.queue + 1)),
            queue: config.queue,
            status: context.status.clone(),
            real_time_factor: Arc::default(),
        })
    }

    /// The way to a second engine for work that may wait; this one where there can be no second.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) async fn for_recordings(&self, context: &Context) -> Result<Self, StartupError> {
        let another = self.worker.run(|engine, _| engine.another()).await;
        let Some(engine) = another.map_err(StartupError::other)?.map_err(StartupError::other)? else {
            return Ok(self.clone());
        };
        let load = move || {
            cpu::let_others_go_first();
            Ok(engine as Box<dyn SpeechToText>)
        };
        Ok(Self {
            worker: Worker::start(context, FILE_WORKER, self.queue, load).await?,
            name: FILE_WORKER,
            places: Arc::new(Semaphore::new(self.queue + 1)),
            ..self.clone()
        })
    }

    /// What the engine is and can.
    pub(crate) fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// True when nothing is decoded and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.places.available_permits() == self.queue + 1
    }

    /// Decodes a stretch of speech and judges the words. Dropping the future cancels.
    ///
    /// # Errors
    /// When the queue is full (and `patience` is short), or the engine fails.
    pub(crate) async fn decode(&self, request: Request, patience: Patience) -> Result<Verdict, SttError> {
        let _place = self.place(patience).await?;
        let mut request = self.bounded(request);
        let (mut decoded, mut spent) = self.run(Arc::clone(&request), patience).await?;
        let mut judged = gate::judge(&decoded, &request.samples, &self.gate);
        if judged == Err(Reason::Repetition) && !request.full_window {
            // A window fitted to the audio makes the model loop now and then; the whole one seldom does.
            tracing::debug!(
                tokens = decoded.tokens,
                "words repeat themselves: decoding again with the full window"
            );
            request = Arc::new(Request {
                full_window: true,
                ..Arc::unwrap_or_clone(request)
            });
            let (second, more) = self.run(Arc::clone(&request), patience).await?;
            (decoded, spent) = (second, spent + more);
            judged = gate::judge(&decoded, &request.samples, &self.gate);
        }
        Ok(match judged {
            Ok(()) => Verdict::Heard { decoded, spent },
            Err(reason) => Verdict::Rejected {
                reason,
                text: decoded.text,
                spent,
            },
        })
    }

    /// Decodes a stretch that is still growing, once; `None` when the engine is busy or the words are not believed.
    /// Dropping the future cancels.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) async fn guess(&self, request: Request) -> Result<Option<String>, SttError> {
        let Ok(_place) = self.place(Patience::Refuse).await else {
            return Ok(None);
        };
        let request = self.bounded(request);
        match self.run(Arc::clone(&request), Patience::Refuse).await {
            Ok((decoded, _)) => {
                let believed = gate::judge(&decoded, &request.samples, &self.gate).is_ok();
                Ok(believed.then_some(decoded.text))
            }
            Err(SttError::Worker(WorkerError::QueueFull { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A request that goes no further than to the token that shows that words repeat themselves.
    fn bounded(&self, request: Request) -> Arc<Request> {
        let most = gate::most_tokens(&request.samples, &self.gate);
        Arc::new(Request {
            max_tokens: Some(most + 1),
            ..request
        })
    }

    async fn place(&self, patience: Patience) -> Result<SemaphorePermit<'_>, SttError> {
        match patience {
            Patience::Wait => Ok(self.places.acquire().await.expect("the semaphore is never closed")),
            Patience::Refuse => self.places.try_acquire().map_err(|_| {
                WorkerError::QueueFull {
                    worker: self.name,
                    capacity: self.queue,
                }
                .into()
            }),
        }
    }

    async fn run(&self, request: Arc<Request>, patience: Patience) -> Result<(Decoded, Duration), SttError> {
        let seconds = request.samples.len() as f64 / 16_000.0;
        let (decoded, spent) = loop {
            let request = Arc::clone(&request);
            let job = self.worker.run(move |engine, cancel| {
                let started = Instant::now();
                (engine.transcribe(&request, cancel), started.elapsed())
            });
            match job.await {
                Err(WorkerError::QueueFull { .. }) if patience == Patience::Wait => {
                    tokio::time::sleep(ABANDONED_JOBS).await;
                }
                outcome => break outcome?,
            }
        };
        let decoded = decoded.map_err(|error| match error {
            EngineError::Cancelled => SttError::Cancelled,
            error => SttError::Engine(error),
        })?;
        self.note_speed(spent.as_secs_f64() / seconds.max(0.1));
        Ok((decoded, spent))
    }

    fn note_speed(&self, factor: f64) {
        let mut shown = self.real_time_factor.lock().unwrap_or_else(PoisonError::into_inner);
        let smoothed = shown.map_or(factor, |before| before + RTF_WEIGHT * (factor - before));
        *shown = Some(smoothed);
        self.status.gauge("real_time_factor", "1", smoothed);
    }
}
