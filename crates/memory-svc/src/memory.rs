//! What the service does, in its own terms: takes documents in, finds them again, keeps facts.

mod copy;
mod embed;
mod exchange;
mod import;
mod ingest;
mod reembed;
mod search;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use solo_service::Context;
use tokio::sync::{Mutex, RwLockReadGuard, watch};
use uuid::Uuid;

use crate::config::Config;
use crate::content::Incoming;
use crate::document::Passage;
use crate::embedding::{Embeddings, Identity, Loaders};
use crate::error::Error;
use crate::extract::reader::Reader;
use crate::fact::{Fact, FactChange, MAX_CHANGES, check_confidence, check_text};
use crate::figures::Figures;
use crate::names::Principal;
use crate::rerank::Rerankings;
use crate::store::{self, Opened, Place, Store};
pub use exchange::{Exchanged, Exported};
pub use import::Imported;
pub(crate) use ingest::Ready;
pub use ingest::{Progress, Taken, Upload};
pub use reembed::Step;

/// Most facts near a text.
const MAX_NEAR_FACTS: usize = 50;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Parts>);

struct Parts {
    current: RwLock<Arc<Current>>,
    /// Read while something is written; written while another store takes the place of the present one.
    switching: tokio::sync::RwLock<()>,
    reembedding: Mutex<Option<reembed::Running>>,
    /// Hears of each store that takes another's place.
    stores: watch::Sender<Arc<dyn Store>>,
    /// `None`: no other store can take the place of this one.
    place: Option<Place>,
    loaders: Loaders,
    /// `None`: hits stay in the order in which they were found.
    rerankings: Option<Rerankings>,
    reader: Reader,
    config: Config,
    /// Where documents wait until they are read.
    spool: PathBuf,
    figures: Figures,
    context: Context,
}

/// A store and the engine that made its vectors: they belong together.
pub(crate) struct Current {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) embeddings: Embeddings,
    /// The store's.
    pub(crate) folder: PathBuf,
}

/// What finds and sorts: the engines in use, and how others are loaded.
pub struct Engines {
    /// Turns text into vectors.
    pub embeddings: Embeddings,
    /// Loads others.
    pub loaders: Loaders,
    /// Puts what was found in a better order; `None`: nothing does.
    pub rerankings: Option<Rerankings>,
}

/// The present store, which stays the present one for as long as this is held.
pub(crate) struct Writing<'a> {
    current: Arc<Current>,
    _switching: RwLockReadGuard<'a, ()>,
}

impl Writing<'_> {
    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.current.store
    }

    /// The engine whose vectors are in it.
    pub(crate) fn embeddings(&self) -> &Embeddings {
        &self.current.embeddings
    }
}

impl Memory {
    /// Puts the parts together.
    pub fn new(opened: Opened, engines: Engines, reader: Reader, config: Config, context: Context) -> Self {
        let Opened { store, folder, place } = opened;
        let Engines {
            embeddings,
            loaders,
            rerankings,
        } = engines;
        embeddings.announce(&context.status);
        Self(Arc::new(Parts {
            stores: watch::Sender::new(Arc::clone(&store)),
            current: RwLock::new(Arc::new(Current {
                store,
                embeddings,
                folder,
            })),
            switching: tokio::sync::RwLock::default(),
            reembedding: Mutex::default(),
            place,
            loaders,
            rerankings,
            reader,
            spool: config.spool(&context.global),
            config,
            figures: Figures::new(context.status.clone()),
            context,
        }))
    }

    /// The store, for reading what needs no embedding.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.current().store)
    }

    /// The store, and each one that takes its place.
    pub fn stores(&self) -> watch::Receiver<Arc<dyn Store>> {
        self.0.stores.subscribe()
    }

    /// The store and its engine, for reading.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store, for writing. Nothing may be waited for meanwhile that writes, too.
    pub(crate) async fn writing(&self) -> Writing<'_> {
        let switching = self.0.switching.read().await;
        Writing {
            current: self.current(),
            _switching: switching,
        }
    }

    /// Puts another store and engine in place of the present ones, which it gives back. The caller keeps others from writing.
    fn replace(&self, next: Arc<Current>) -> Arc<Current> {
        next.embeddings.announce(&self.0.context.status);
        self.0.stores.send_replace(Arc::clone(&next.store));
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, next)
    }

    /// A store in a folder of its own.
    async fn open_beside(&self, folder: &Path, identity: &Identity) -> Result<Arc<dyn Store>, Error> {
        Ok(store::open(&self.0.config, folder, identity).await?)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// An upload's bytes while they arrive.
    pub fn incoming(&self) -> Incoming {
        Incoming::new(&self.0.spool)
    }

    /// Where documents wait until they are read.
    pub(crate) fn spool(&self) -> &Path {
        &self.0.spool
    }

    /// Brings the status up to date after a write.
    pub async fn count(&self) {
        match self.store().statistics().await {
            Ok(statistics) => self.0.figures.counts(statistics),
            Err(error) => tracing::warn!(error = %solo_service::error::chain(&error), "the store could not be counted"),
        }
    }

    /// Facts that hold now, nearest to a text first.
    pub async fn near_facts(
        &self,
        principal: &Principal,
        text: String,
        limit: usize,
    ) -> Result<Vec<(Fact, f32)>, Error> {
        check_text(&text, "text")?;
        let limit = if limit == 0 {
            self.0.config.search.limit.min(MAX_NEAR_FACTS)
        } else {
            limit
        };
        if limit > MAX_NEAR_FACTS {
            let message = format!("{limit} facts are too many: 1 to {MAX_NEAR_FACTS} is wanted");
            return Err(Error::invalid("limit", "BAD_LIMIT", message));
        }
        let current = self.current();
        let vector = current.embeddings.query(text).await?;
        Ok(current.store.near_facts(principal, &vector, limit).await?)
    }

    /// Changes facts, all or none.
    pub async fn apply_facts(&self, principal: &Principal, mut changes: Vec<FactChange>) -> Result<Vec<Fact>, Error> {
        if !(1..=MAX_CHANGES).contains(&changes.len()) {
            let message = format!("{} changes; 1 to {MAX_CHANGES} are wanted", changes.len());
            return Err(Error::invalid("changes", "BAD_CHANGES", message));
        }
        let mut changed = std::collections::HashSet::new();
        if let Some(twice) = changes
            .iter()
            .filter_map(FactChange::known)
            .find(|known| !changed.insert(known.id))
        {
            let message = format!("fact {} is changed twice in one call", twice.id);
            return Err(Error::invalid("changes", "BAD_CHANGES", message));
        }
        let mut texts = Vec::new();
        for draft in changes.iter_mut().filter_map(FactChange::draft_mut) {
            check_text(&draft.text, "changes.fact.text")?;
            check_confidence(draft.confidence, "changes.fact.confidence")?;
            texts.push(draft.text.clone());
        }
        let writing = self.writing().await;
        let vectors = writing.embeddings().few(texts).await?;
        for (draft, vector) in changes.iter_mut().filter_map(FactChange::draft_mut).zip(vectors) {
            draft.vector = vector;
        }
        let facts = writing.store().apply_facts(principal, changes).await?;
        drop(writing);
        self.count().await;
        Ok(facts)
    }

    /// A range of a document's text, `context` bytes wider on both sides; no range: from the beginning. No more than is
    /// shown at once (`max_passage_bytes`); the passage says what it covers.
    pub async fn passage(
        &self,
        principal: &Principal,
        id: Uuid,
        range: Option<Range<u64>>,
        context: u64,
    ) -> Result<Passage, Error> {
        let most = self.0.config.max_passage_bytes as u64;
        let Some(range) = range else {
            return Ok(self.store().passage(principal, id, 0..most).await?);
        };
        if range.start > range.end {
            let message = format!("the range ends at {} before it starts at {}", range.end, range.start);
            return Err(Error::invalid("range", "BAD_RANGE", message));
        }
        let start = range.start.saturating_sub(context);
        let end = range.end.saturating_add(context).min(start.saturating_add(most));
        let passage = self.store().passage(principal, id, start..end).await?;
        if range.start > passage.document.text_bytes {
            let message = format!(
                "the range starts at {}; the text has {} bytes",
                range.start, passage.document.text_bytes
            );
            return Err(Error::invalid("range", "BAD_RANGE", message));
        }
        Ok(passage)
    }
}
