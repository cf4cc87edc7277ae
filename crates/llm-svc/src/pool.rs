//! The models in memory. Lives on the worker's thread, which runs one request at a time: so whatever is loaded and not
//! running now may go.
//!
//! A model stays until its time is up, until another needs its place, or until it is told to go. The thread tells the
//! rest of the service what is loaded through [`Loaded`], so that nobody has to ask it while it computes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use solo_service::{CancellationToken, StatusBoard, Worker, WorkerError};
use tokio::sync::watch;

use crate::catalogue::ModelFile;
use crate::engine::{EngineKind, Engines, Progress};
use crate::error::Error;
use crate::prompt::Prompter;
use crate::session::{Finished, Session};
use crate::tokenizer::Tokenizer;

/// A model on an engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The engine.
    pub engine: EngineKind,
    /// The model's id.
    pub model: String,
}

/// How long a model stays in memory unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until its place is needed.
    Forever,
    /// So long after its last request; zero: not at all.
    For(Duration),
    /// Until the next request has ended.
    OneRequest,
}

/// What is in memory, for everybody to see, and the prompters made of it.
#[derive(Clone, Default)]
pub struct Loaded(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    tokenizers: HashMap<Key, Arc<dyn Tokenizer>>,
    /// A prompter may hold a model in memory through its tokenizer, so it goes when the model goes.
    prompters: HashMap<Key, (Arc<ModelFile>, Arc<Prompter>)>,
}

impl Loaded {
    /// True when the model is in memory.
    pub fn contains(&self, key: &Key) -> bool {
        self.lock().tokenizers.contains_key(key)
    }

    /// The tokenizer of a model in memory.
    pub fn tokenizer(&self, key: &Key) -> Option<Arc<dyn Tokenizer>> {
        self.lock().tokenizers.get(key).cloned()
    }

    /// The prompter of a model, if there is one for this very file.
    pub fn prompter(&self, key: &Key, file: &Arc<ModelFile>) -> Option<Arc<Prompter>> {
        let shelf = self.lock();
        let (of, prompter) = shelf.prompters.get(key)?;
        Arc::ptr_eq(of, file).then(|| Arc::clone(prompter))
    }

    /// Keeps a prompter for later.
    pub fn keep(&self, key: Key, file: &Arc<ModelFile>, prompter: &Arc<Prompter>) {
        self.lock()
            .prompters
            .insert(key, (Arc::clone(file), Arc::clone(prompter)));
    }

    fn add(&self, key: Key, tokenizer: Arc<dyn Tokenizer>) {
        let mut shelf = self.lock();
        // One that was made before the model was there has a vocabulary of its own.
        shelf.prompters.remove(&key);
        shelf.tokenizers.insert(key, tokenizer);
    }

    fn remove(&self, key: &Key) {
        let mut shelf = self.lock();
        shelf.prompters.remove(key);
        shelf.tokenizers.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Entries are whole or absent: a panic elsewhere cannot leave one half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The models in memory.
pub struct Pool {
    engines: Arc<dyn Engines>,
    residents: Vec<Resident>,
    most: usize,
    loaded: Loaded,
    status: StatusBoard,
    /// When the next model's time is up.
    expiry: watch::Sender<Option<Instant>>,
}

struct Resident {
    key: Key,
    file: Arc<ModelFile>,
    session: Session,
    stay: Stay,
    used: Instant,
    /// Memory that it needs, as far as its file tells.
    bytes: u64,
}

impl Resident {
    fn expires(&self) -> Option<Instant> {
        match self.stay {
            Stay::For(time) => self.used.checked_add(time),
            Stay::Forever | Stay::OneRequest => None,
        }
    }
}

impl Pool {
    /// An empty pool of at most `most` models.
    pub fn new(
        engines: Arc<dyn Engines>,
        most: usize,
        loaded: Loaded,
        status: StatusBoard,
        expiry: watch::Sender<Option<Instant>>,
    ) -> Self {
        Self {
            engines,
            residents: Vec::new(),
            most,
            loaded,
            status,
            expiry,
        }
    }

    /// Loads a model if it is not there, and warms it up. A model that is there stays as long as `stay` says, or, without
    /// one, as it did; one that is loaded now stays as long as `stay` or else `otherwise` says.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn load(
        &mut self,
        engine: EngineKind,
        file: &Arc<ModelFile>,
        stay: Option<Stay>,
        otherwise: Stay,
        progress: &Progress,
    ) -> Result<&mut Session, Error> {
        let key = Key {
            engine,
            model: file.id.clone(),
        };
        let same = |resident: &Resident| Arc::ptr_eq(&resident.file, file);
        if self
            .residents
            .iter()
            .any(|resident| resident.key == key && !same(resident))
        {
            // The file was replaced meanwhile.
            self.unload(&key);
        }
        let index = match self.residents.iter().position(|resident| resident.key == key) {
            Some(index) => index,
            None => self.bring(key, file, otherwise, progress)?,
        };
        let resident = &mut self.residents[index];
        resident.used = Instant::now();
        resident.stay = stay.unwrap_or(resident.stay);
        self.publish();
        Ok(&mut self.residents[index].session)
    }

    fn bring(&mut self, key: Key, file: &Arc<ModelFile>, stay: Stay, progress: &Progress) -> Result<usize, Error> {
        let failed = |error| Error::Engine {
            model: file.id.clone(),
            error,
        };
        while self.residents.len() >= self.most {
            let oldest = self
                .residents
                .iter()
                .min_by_key(|resident| resident.used)
                .map(|resident| resident.key.clone());
            // There is one: `most` is at least 1.
            if let Some(key) = oldest {
                self.unload(&key);
            }
        }
        let begun = Instant::now();
        let mut session = Session::new(self.engines.load(key.engine, file, progress).map_err(failed)?);
        session.warm_up().map_err(failed)?;
        let context = session.engine().context_length() as u64;
        let bytes = file.header.file_bytes + context * key.engine.kv_bytes_per_token(&file.facts);
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(model = %key.model, engine = %key.engine, context, ms, "model loaded");
        self.loaded.add(key.clone(), session.engine().tokenizer());
        self.residents.push(Resident {
            key,
            file: Arc::clone(file),
            session,
            stay,
            used: Instant::now(),
            bytes,
        });
        Ok(self.residents.len() - 1)
    }

    /// Ends a request on a model: notes its figures, and lets the model go if that was agreed.
    pub fn release(&mut self, key: &Key, finished: Option<&Finished>) {
        let Some(resident) = self.residents.iter_mut().find(|resident| resident.key == *key) else {
            return;
        };
        resident.used = Instant::now();
        self.status
            .gauge("kv_cache_tokens", "{token}", resident.session.known_tokens() as f64);
        self.status.gauge("kv_cache_use", "1", resident.session.fill());
        if let Some(finished) = finished {
            let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-6);
            let computed = finished.prompt_tokens - finished.cached_tokens;
            self.status
                .gauge("prefill_rate", "{token}/s", rate(computed, finished.prefill));
            if finished.completion_tokens > 0 {
                self.status.gauge(
                    "decode_rate",
                    "{token}/s",
                    rate(finished.completion_tokens, finished.decode),
                );
            }
        }
        if resident.stay == Stay::OneRequest || resident.stay == Stay::For(Duration::ZERO) {
            self.unload(key);
        }
        self.publish();
    }

    /// Lets a model go; returns the memory that it needed, or `None` when it was not there.
    pub fn unload(&mut self, key: &Key) -> Option<u64> {
        let index = self.residents.iter().position(|resident| resident.key == *key)?;
        let resident = self.residents.swap_remove(index);
        self.loaded.remove(key);
        tracing::info!(model = %key.model, engine = %key.engine, "model unloaded");
        self.publish();
        Some(resident.bytes)
    }

    /// Lets a model go from every engine; returns the memory that it needed, or `None` when it was nowhere.
    pub fn unload_everywhere(&mut self, model: &str) -> Option<u64> {
        let keys: Vec<Key> = self
            .residents
            .iter()
            .map(|r| r.key.clone())
            .filter(|key| key.model == model)
            .collect();
        keys.iter().filter_map(|key| self.unload(key)).reduce(|a, b| a + b)
    }

    /// Lets go what nobody has used for as long as it may stay.
    pub fn expire(&mut self, now: Instant) {
        let late = |resident: &&Resident| resident.expires().is_some_and(|expiry| expiry <= now);
        let keys: Vec<Key> = self
            .residents
            .iter()
            .filter(late)
            .map(|resident| resident.key.clone())
            .collect();
        for key in &keys {
            self.unload(key);
        }
        self.publish();
    }

    fn publish(&self) {
        self.status
            .gauge("models_loaded", "{model}", self.residents.len() as f64);
        let next = self.residents.iter().filter_map(Resident::expires).min();
        self.expiry.send_replace(next);
    }
}

/// Lets models go whose time is up, until `shutdown`.
pub async fn expire(worker: Worker<Pool>, mut expires: watch::Receiver<Option<Instant>>, shutdown: CancellationToken) {
    loop {
        let next = *expires.borrow_and_update();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = expires.changed() => if changed.is_err() { return },
            () = due => {
                match worker.run(|pool, _| pool.expire(Instant::now())).await {
                    Ok(()) => {}
                    // Requests are waiting: they go first.
                    Err(WorkerError::QueueFull { .. }) => tokio::time::sleep(Duration::from_secs(1)).await,
                    Err(error) => {
                        tracing::warn!(%error, "models are not unloaded any more");
                        return;
                    }
                }
            }
        }
    }
}
