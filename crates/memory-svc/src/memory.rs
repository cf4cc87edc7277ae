//! What the service does, in its own terms: takes documents in, finds them again, keeps facts.

mod exchange;
mod ingest;
mod search;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use solo_service::{Context, EventPublisher};
use uuid::Uuid;

use crate::config::Config;
use crate::content::Incoming;
use crate::document::Passage;
use crate::embedding::Embeddings;
use crate::error::Error;
use crate::extract::reader::Reader;
use crate::fact::{Fact, FactChange, MAX_CHANGES, check_confidence, check_text};
use crate::figures::Figures;
use crate::names::Principal;
use crate::rerank::Rerankings;
use crate::store::Store;
pub use exchange::{Exchanged, Exported, Imported};
pub(crate) use ingest::Ready;
pub use ingest::{Progress, Taken, Upload};

/// Most facts near a text.
const MAX_NEAR_FACTS: usize = 50;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Parts>);

struct Parts {
    store: Arc<dyn Store>,
    embeddings: Embeddings,
    /// `None`: hits stay in the order in which they were found.
    rerankings: Option<Rerankings>,
    reader: Reader,
    config: Config,
    /// Where documents wait until they are read.
    spool: PathBuf,
    figures: Figures,
    events: EventPublisher,
}

impl Memory {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn Store>,
        embeddings: Embeddings,
        rerankings: Option<Rerankings>,
        reader: Reader,
        config: Config,
        figures: Figures,
        context: &Context,
    ) -> Self {
        Self(Arc::new(Parts {
            store,
            embeddings,
            rerankings,
            reader,
            spool: config.spool(&context.global),
            config,
            figures,
            events: context.events.clone(),
        }))
    }

    /// The store, for what needs no embedding.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
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
        let vector = self.0.embeddings.query(text).await?;
        Ok(self.store().near_facts(principal, &vector, limit).await?)
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
        let vectors = self.0.embeddings.documents(texts, |_| ()).await?;
        for (draft, vector) in changes.iter_mut().filter_map(FactChange::draft_mut).zip(vectors) {
            draft.vector = vector;
        }
        let facts = self.store().apply_facts(principal, changes).await?;
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
