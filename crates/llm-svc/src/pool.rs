//! The models in memory, and the thread's turns between them. Lives on the worker's thread; models are loaded beside it, so
//! that those who are answered do not wait for those who load.
//!
//! A model stays until its time is up, until another needs its place, or until it is told to go; never while it answers.
//! The thread tells the rest of the service what is loaded through [`Loaded`], so that nobody has to ask it while it
//! computes.

mod expiry;
mod loaded;
mod resident;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::catalogue::ModelFile;
use crate::engine::{EngineError, EngineKind};
use crate::gauges::Gauges;
use crate::lane::{Lane, LaneOptions, Request};
use crate::news::News;

use resident::Resident;

pub use expiry::expire;
pub use loaded::Loaded;

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

/// Steps of the models that the highest priority uses between two of all models.
const SHARED_EVERY: u64 = 16;

/// How many models there may be, and how large.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Models in memory at once.
    pub models: usize,
    /// Memory for all of them, in bytes.
    pub bytes: u64,
}

/// A model on its way into the pool.
pub struct Arrival {
    /// What it is, and where.
    pub key: Key,
    /// Its file.
    pub file: Arc<ModelFile>,
    /// The model, warmed up.
    pub lane: Lane,
    /// How long it stays.
    pub stay: Stay,
    /// Memory that it needs, in bytes.
    pub bytes: u64,
}

/// Whether a model can be had.
pub enum Presence {
    /// It is in memory.
    Here,
    /// It has to be loaded.
    Absent,
    /// It is about to go, and has to be loaded when it is gone.
    Leaving(watch::Receiver<bool>),
}

/// Why requests cannot be handed over.
pub enum Refusal {
    /// The model is not in memory: here they are back.
    Absent(Vec<Request>),
    /// It is about to go, because somebody said so: here they are back, and when it is gone.
    Leaving(Vec<Request>, watch::Receiver<bool>),
    /// There is no room for what a request with a seed needs.
    Engine(EngineError),
}

/// There is no room for another model: those that are here answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowded {
    /// Bytes that it needs.
    pub needed: u64,
    /// Bytes that are not held by models that answer.
    pub free: u64,
    /// Bytes that all models may have.
    pub budget: u64,
    /// Models that answer.
    pub busy: Vec<String>,
}

/// The models in memory.
pub struct Pool {
    residents: Vec<Resident>,
    limits: Limits,
    options: LaneOptions,
    /// Tokens of the pieces in which prompts with a seed are computed.
    piece: usize,
    loaded: Loaded,
    gauges: Gauges,
    news: News,
    steps: u64,
    /// When the next model's time is up.
    expiry: watch::Sender<Option<Instant>>,
}

impl Pool {
    /// An empty pool.
    pub fn new(
        limits: Limits,
        options: LaneOptions,
        piece: usize,
        loaded: Loaded,
        gauges: Gauges,
        news: News,
        expiry: watch::Sender<Option<Instant>>,
    ) -> Self {
        Self {
            residents: Vec::new(),
            limits,
            options,
            piece,
            loaded,
            gauges,
            news,
            steps: 0,
            expiry,
        }
    }

    /// Whether a model is in memory, from this very file; with `stay`, it stays as long as that says. One that was read
    /// from another file goes.
    pub fn touch(&mut self, key: &Key, file: &Arc<ModelFile>, stay: Option<Stay>) -> Presence {
        let Some(index) = self.find(key) else {
            return Presence::Absent;
        };
        let resident = &mut self.residents[index];
        let replaced = !Arc::ptr_eq(&resident.file, file);
        if replaced && resident.is_idle() {
            self.unload(key);
            return Presence::Absent;
        }
        if replaced {
            resident.leaving.get_or_insert_with(|| watch::channel(false).0);
        }
        if let Some(leaving) = &resident.leaving {
            return Presence::Leaving(leaving.subscribe());
        }
        resident.used = Instant::now();
        resident.stay = stay.unwrap_or(resident.stay);
        self.publish();
        Presence::Here
    }

    /// Makes room for a model of `bytes`, letting idle ones go, the one used longest ago first.
    ///
    /// # Errors
    /// [`Crowded`] when those that answer hold too much.
    pub fn make_room(&mut self, bytes: u64) -> Result<(), Crowded> {
        loop {
            let held: u64 = self.residents.iter().map(|resident| resident.bytes).sum();
            // A model larger than the budget is tried where it is the only one: the machine may have swap.
            let fits = held.saturating_add(bytes) <= self.limits.bytes || self.residents.is_empty();
            if self.residents.len() < self.limits.models && fits {
                return Ok(());
            }
            let idle = self.residents.iter().filter(|resident| resident.is_idle());
            match idle
                .min_by_key(|resident| resident.used)
                .map(|resident| resident.key.clone())
            {
                Some(key) => self.unload(&key),
                None => {
                    return Err(Crowded {
                        needed: bytes,
                        free: self.limits.bytes.saturating_sub(held),
                        budget: self.limits.bytes,
                        busy: self
                            .residents
                            .iter()
                            .map(|resident| resident.key.model.clone())
                            .collect(),
                    });
                }
            };
        }
    }

    /// Takes a model in. One of the same name that is still here makes way.
    pub fn insert(&mut self, arrival: Arrival) {
        self.unload(&arrival.key);
        self.news.ready(&arrival.key.model);
        self.loaded.add(arrival.key.clone(), arrival.lane.engine().tokenizer());
        self.residents.push(Resident {
            key: arrival.key,
            file: arrival.file,
            lane: arrival.lane,
            exact: None,
            stay: arrival.stay,
            used: Instant::now(),
            bytes: arrival.bytes,
            busy: false,
            leaving: None,
        });
        self.publish();
    }

    /// Hands the requests of one caller to a model.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn submit(&mut self, key: &Key, file: &Arc<ModelFile>, requests: Vec<Request>) -> Result<(), Refusal> {
        let Some(index) = self.find(key) else {
            return Err(Refusal::Absent(requests));
        };
        let resident = &mut self.residents[index];
        if let Some(leaving) = &resident.leaving {
            return Err(Refusal::Leaving(requests, leaving.subscribe()));
        }
        if !Arc::ptr_eq(&resident.file, file) {
            return Err(Refusal::Absent(requests));
        }
        let seeded = requests.iter().any(|request| request.job.sampling.seed.is_some());
        let lane = if seeded && !resident.lane.engine().capabilities().batch_invariant {
            if resident.exact.is_none() {
                let twin = resident.lane.engine().exact_twin(self.piece).map_err(Refusal::Engine)?;
                let options = LaneOptions {
                    exact: Some(self.piece),
                    ..self.options
                };
                resident.exact = Some(Lane::new(twin, &options));
            }
            resident.exact.as_mut()
        } else {
            None
        };
        let lane = lane.unwrap_or(&mut resident.lane);
        for request in requests {
            lane.submit(request);
        }
        resident.busy = true;
        resident.used = Instant::now();
        self.publish();
        Ok(())
    }

    /// Computes one step of every model that has something to do, those first whose callers go first. False when there is
    /// nothing to do.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let top = self.residents.iter().filter_map(Resident::priority).max();
        let everybody = self.steps.is_multiple_of(SHARED_EVERY);
        let turn = |resident: &Resident| everybody || resident.priority() == top;
        let mut came = false;
        for resident in self.residents.iter_mut().filter(|resident| turn(resident)) {
            for lane in resident.lanes() {
                came |= lane.admit();
            }
        }
        if came {
            // The step takes its time: whoever looks meanwhile sees who runs and who waits.
            self.publish();
        }
        let mut more = false;
        for resident in &mut self.residents {
            if turn(resident) {
                for lane in resident.lanes() {
                    more |= lane.turn();
                    self.gauges.note(&lane.take_tally());
                }
            } else {
                more |= resident.busy;
            }
        }
        self.settle();
        self.publish();
        more
    }

    /// Lets go what has answered and is not to stay.
    fn settle(&mut self) {
        let mut gone = Vec::new();
        for resident in &mut self.residents {
            if resident.busy && resident.is_idle() {
                resident.busy = false;
                resident.used = Instant::now();
                let brief = matches!(resident.stay, Stay::OneRequest | Stay::For(Duration::ZERO));
                if brief || resident.leaving.is_some() {
                    gone.push(resident.key.clone());
                }
            }
        }
        for key in &gone {
            self.unload(key);
        }
    }

    /// Lets a model go from every engine, at once or when it has answered. Returns the memory that it needed and, where
    /// it still answers, when it is gone; `None` when it was nowhere.
    pub fn dismiss(&mut self, model: &str) -> Option<(u64, Vec<watch::Receiver<bool>>)> {
        let keys = self.residents.iter().map(|resident| resident.key.clone());
        let keys: Vec<Key> = keys.filter(|key| key.model == model).collect();
        let mut waits = Vec::new();
        let mut freed = 0;
        for key in &keys {
            let Some(index) = self.find(key) else { continue };
            let resident = &mut self.residents[index];
            freed += resident.bytes;
            if resident.is_idle() {
                self.unload(key);
            } else {
                let leaving = resident.leaving.get_or_insert_with(|| watch::channel(false).0);
                waits.push(leaving.subscribe());
            }
        }
        (!keys.is_empty()).then_some((freed, waits))
    }

    /// Lets go what nobody has used for as long as it may stay.
    pub fn expire(&mut self, now: Instant) {
        let late = |resident: &&Resident| resident.expires().is_some_and(|expiry| expiry <= now);
        let late: Vec<Key> = self
            .residents
            .iter()
            .filter(late)
            .map(|resident| resident.key.clone())
            .collect();
        for key in &late {
            self.unload(key);
        }
        self.publish();
    }

    fn unload(&mut self, key: &Key) {
        let Some(index) = self.find(key) else { return };
        let mut resident = self.residents.swap_remove(index);
        for lane in resident.lanes() {
            lane.close();
        }
        self.loaded.remove(key);
        if let Some(leaving) = &resident.leaving {
            leaving.send_replace(true);
        }
        self.news.unloaded(&key.model);
        tracing::info!(model = %key.model, engine = %key.engine, "model unloaded");
        self.publish();
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.residents.iter().position(|resident| resident.key == *key)
    }

    fn publish(&self) {
        let lanes = self
            .residents
            .iter()
            .flat_map(|resident| std::iter::once(&resident.lane).chain(&resident.exact));
        self.gauges.show(self.residents.len(), lanes);
        let next = self.residents.iter().filter_map(Resident::expires).min();
        self.expiry
            .send_if_modified(|known| std::mem::replace(known, next) != next);
    }
}
