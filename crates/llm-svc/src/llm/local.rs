//! Engines in this process: getting a model into memory, and an answer out of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use solo_models::fit::Needs;
use solo_service::{CancelOnDrop, CancelToken, Context, StartupError, Worker};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::blocking;
use super::terms::{Answered, Generation};
use crate::answer::{Event, Interrupted, Job};
use crate::backend::Answer;
use crate::catalogue::ModelFile;
use crate::config::Config;
use crate::engine::{EngineKind, EngineOptions, Engines, Progress};
use crate::error::Error;
use crate::gauges::Gauges;
use crate::lane::{Lane, LaneOptions, Request};
use crate::news::News;
use crate::pool::{Arrival, Key, Limits, Loaded, Pool, Presence, Refusal, Stay, expire};

/// Name of the thread that computes.
pub(super) const WORKER: &str = "llm";
/// Hand-overs to the thread that may wait for the end of a step. Requests themselves wait in the scheduler.
const HAND_OVERS: usize = 1024;
/// How often a model is brought back that went before a request reached it.
const TRIES: usize = 3;

/// The engines of this process.
pub(super) struct Local {
    pub(super) engines: Arc<dyn Engines>,
    pub(super) options: EngineOptions,
    pub(super) loaded: Loaded,
    lane: LaneOptions,
    worker: Worker<Pool>,
    /// How long models stay where nobody says.
    stay: Stay,
    news: News,
    /// One model is loaded at a time: disks and processors are shared, and two callers of one model wait for one load.
    loading: Mutex<()>,
    /// Requests that may wait.
    queue: usize,
    /// A place for each request that waits or runs: whoever finds none is refused at once, whatever the thread does.
    places: Arc<Semaphore>,
}

impl Local {
    /// Starts the thread. The second value lets models go whose time is up.
    pub(super) async fn start(
        config: &Config,
        context: &Context,
        options: EngineOptions,
        engines: Arc<dyn Engines>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), StartupError> {
        let loaded = Loaded::default();
        let lane = LaneOptions {
            parallel: config.parallel,
            step: Duration::from_millis(config.step_ms),
            exact: None,
        };
        let limits = Limits {
            models: config.max_loaded_models,
            bytes: config.memory_bytes(&options.device).map_err(StartupError::other)?,
        };
        let places = Arc::new(Semaphore::new(config.queue + config.parallel));
        let news = News::new(context.events.clone());
        let gauges = Gauges::new(context.status.clone(), Arc::clone(&places), config.parallel);
        let (expiry, expires) = watch::channel(None);
        let piece = options.batch.min(Config::EXACT_PIECE);
        let pool = Pool::new(limits, lane, piece, loaded.clone(), gauges, news.clone(), expiry);
        let worker = Worker::start_stepping(context, WORKER, HAND_OVERS, move || Ok(pool), Pool::step).await?;
        let expiring = expire(worker.clone(), expires, context.shutdown.clone());
        let stay = u64::try_from(config.keep_alive_s).map_or(Stay::Forever, |s| Stay::For(Duration::from_secs(s)));
        let local = Self {
            engines,
            options,
            loaded,
            lane,
            worker,
            stay,
            news,
            loading: Mutex::default(),
            queue: config.queue,
            places,
        };
        Ok((local, expiring))
    }

    /// Brings a model into memory, if it is not there, telling how far that has come.
    pub(super) async fn load(
        self: &Arc<Self>,
        key: &Key,
        file: &Arc<ModelFile>,
        stay: Option<Stay>,
        progress: &Progress,
    ) -> Result<(), Error> {
        if self.touch(key, file, stay).await? {
            return Ok(());
        }
        let _alone = self.loading.lock().await;
        // Somebody else may have brought it meanwhile.
        if self.touch(key, file, stay).await? {
            return Ok(());
        }
        let demand = self.options.demand(key.engine, &file.facts);
        let bytes = Needs::of(&file.header, &file.facts, &demand).total();
        let room = self.worker.run(move |pool, _| pool.make_room(bytes)).await?;
        room.map_err(|crowded| Error::Crowded {
            model: file.id.clone(),
            crowded,
        })?;
        let (local, kind, loaded) = (Arc::clone(self), key.engine, Arc::clone(file));
        let progress = self.news.loading(&file.id, Arc::clone(progress));
        let lane = blocking(move || local.bring(kind, &loaded, &progress)).await;
        let arrival = Arrival {
            key: key.clone(),
            file: Arc::clone(file),
            lane: lane.inspect_err(|error| self.news.failed(&file.id, error))?,
            stay: stay.unwrap_or(self.stay),
            bytes,
        };
        Ok(self.worker.run(move |pool, _| pool.insert(arrival)).await?)
    }

    /// Loads and warms up. Takes seconds: not for the reactor's threads, nor for the one that computes.
    fn bring(&self, kind: EngineKind, file: &ModelFile, progress: &Progress) -> Result<Lane, Error> {
        let failed = |error| Error::Engine {
            model: file.id.clone(),
            error: Arc::new(error),
        };
        let begun = Instant::now();
        let mut lane = Lane::new(self.engines.load(kind, file, progress).map_err(failed)?, &self.lane);
        lane.warm_up().map_err(failed)?;
        let can = lane.engine().capabilities();
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            model = %file.id, engine = %kind, context = can.context_length, kv_blocks = can.blocks, ms, "model loaded"
        );
        Ok(lane)
    }

    /// True when a model is in memory; waits for one that is about to go.
    async fn touch(&self, key: &Key, file: &Arc<ModelFile>, stay: Option<Stay>) -> Result<bool, Error> {
        loop {
            let (key, file) = (key.clone(), Arc::clone(file));
            match self.worker.run(move |pool, _| pool.touch(&key, &file, stay)).await? {
                Presence::Here => return Ok(true),
                Presence::Absent => return Ok(false),
                Presence::Leaving(gone) => wait_until(gone).await,
            }
        }
    }

    /// Places for `count` answers, before anything is done for them: under load, refusing must cost next to nothing.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(super) fn places(&self, count: usize) -> Result<OwnedSemaphorePermit, Error> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places).try_acquire_many_owned(count);
        places.map_err(|_| Error::QueueFull { capacity: self.queue })
    }

    /// Has a model answer a job, once for each of `seeds`, which have `places`. What goes wrong comes out of the answer.
    pub(super) fn answer(
        self: &Arc<Self>,
        key: Key,
        file: Arc<ModelFile>,
        job: &Job,
        seeds: &[Option<u64>],
        mut places: OwnedSemaphorePermit,
        request: &Generation,
    ) -> Answer {
        let (stay, caller) = (request.stay, &request.caller);
        let cancel = CancelToken::new();
        let guard = CancelOnDrop(cancel.clone());
        let (sinks, events): (Vec<_>, Vec<_>) = seeds.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let asked = Instant::now();
        let request = |(sink, &seed): (_, &Option<u64>)| {
            let mut job = job.clone();
            job.sampling.seed = seed;
            Request {
                job,
                client: caller.client.clone(),
                priority: caller.priority,
                deadline: caller.deadline,
                asked,
                cancel: cancel.clone(),
                sink,
                place: places.split(1),
            }
        };
        let requests: Vec<Request> = sinks.into_iter().zip(seeds).map(request).collect();
        let (local, deadline) = (Arc::clone(self), caller.deadline);
        Box::pin(async_stream::stream! {
            let _guard = guard;
            let handed = local.hand_over(&key, &file, requests, stay, cancel);
            if let Err(error) = within(deadline, handed).await {
                yield Err(error);
                return;
            }
            let mut answer = merge(events, key);
            while let Some(item) = answer.next().await {
                yield item;
            }
        })
    }

    /// Brings the model, if it is not there, and gives it the requests.
    async fn hand_over(
        self: &Arc<Self>,
        key: &Key,
        file: &Arc<ModelFile>,
        mut requests: Vec<Request>,
        stay: Option<Stay>,
        cancel: CancelToken,
    ) -> Result<(), Error> {
        let watched: Progress = Arc::new(move |_| !cancel.is_cancelled());
        for _ in 0..TRIES {
            self.load(key, file, stay, &watched).await?;
            let (to, of) = (key.clone(), Arc::clone(file));
            match self.worker.run(move |pool, _| pool.submit(&to, &of, requests)).await? {
                Ok(()) => return Ok(()),
                Err(Refusal::Absent(back)) => requests = back,
                Err(Refusal::Leaving(back, gone)) => {
                    requests = back;
                    wait_until(gone).await;
                }
                Err(Refusal::Engine(error)) => {
                    return Err(Error::Engine {
                        model: key.model.clone(),
                        error: Arc::new(error),
                    });
                }
            }
        }
        Err(Error::NotLoaded {
            model: key.model.clone(),
        })
    }

    /// Lets a model go from every engine once it has answered; returns the memory that it needed.
    pub(super) async fn unload(&self, model: String) -> Result<u64, Error> {
        let asked = model.clone();
        let dismissed = self.worker.run(move |pool, _| pool.dismiss(&asked)).await?;
        let (freed, waits) = dismissed.ok_or(Error::NotLoaded { model })?;
        for gone in waits {
            wait_until(gone).await;
        }
        Ok(freed)
    }
}

/// Waits until a model is gone.
async fn wait_until(mut gone: watch::Receiver<bool>) {
    // An error says that it is gone, too.
    let _ = gone.wait_for(|gone| *gone).await;
}

/// Loading takes its time, too: the deadline covers it.
async fn within(deadline: Option<Instant>, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    match deadline {
        None => work.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(done) => done,
            Err(_) => Err(Error::Deadline),
        },
    }
}

/// What several answers show, as one stream.
fn merge(events: Vec<mpsc::UnboundedReceiver<Result<Event, Interrupted>>>, key: Key) -> Answer {
    let streams = events.into_iter().enumerate().map(|(index, mut receiver)| {
        let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        Box::pin(stream.map(move |event| (index, event))) as BoxStream<'static, _>
    });
    let mut merged = futures::stream::select_all(streams);
    Box::pin(async_stream::stream! {
        let (mut wanted, mut started) = (merged.len(), false);
        while let Some((index, event)) = merged.next().await {
            match event {
                Ok(Event::Started { .. }) if std::mem::replace(&mut started, true) => {}
                Ok(Event::Started { queued, prompt_tokens, cached_tokens }) => {
                    let (model, engine) = (key.model.clone(), key.engine);
                    yield Ok(Answered::Started { model, engine, queued, prompt_tokens, cached_tokens });
                }
                Ok(Event::Text { text, tokens }) => yield Ok(Answered::Text { index, text, tokens }),
                Ok(Event::Finished(finished)) => {
                    yield Ok(Answered::Finished { index, finished });
                    wanted -= 1;
                }
                Err(why) => {
                    yield Err(Error::interrupted(why, &key));
                    return;
                }
            }
        }
        if wanted > 0 {
            // The thread is gone, and with it what it owed.
            yield Err(Error::Worker(solo_service::WorkerError::Panicked { worker: WORKER }));
        }
    })
}
