//! What becomes of documents that are to be put, and putting them where other processes put, too.
//!
//! There, the order of the steps is as in [`super`]; the commit is compare-and-swap ([`super::pin`]). A document that another
//! process was faster with is decided again: its chunks are kept if it still takes the same one's place, else they are written
//! anew, with another generation. Until the commit chunks are strays, which others leave alone for an hour.

use std::collections::{HashMap, HashSet};

use arrow_array::RecordBatch;
use jiff::Timestamp;
use uuid::Uuid;

use super::Inner;
use super::change::Change;
use super::document_rows::{DocumentRow, document_row};
use super::documents::now;
use super::pin::{Outcome, Pin, Present};
use super::predicate::Predicate;
use super::rows::rows;
use super::settle::Placed;
use super::shared_table::key;
use super::sharing::{Attempts, Shared};
use crate::document::{DocumentDraft, Put};
use crate::names::{CollectionName, Principal};
use crate::store::StoreError;
use crate::watch::Watch;

/// A document that is to be put.
pub(super) enum Slot {
    /// Nothing was decided.
    Draft(DocumentDraft),
    /// It takes another one's place, or none's.
    Begun(Box<Change>),
    /// It was committed; what comes after a commit is still to be done.
    Committed(Box<Change>),
    /// This is the answer.
    Settled(Put),
}

impl Slot {
    fn draft(&self) -> Option<&DocumentDraft> {
        match self {
            Self::Draft(draft) => Some(draft),
            Self::Begun(change) | Self::Committed(change) => Some(&change.draft),
            Self::Settled(_) => None,
        }
    }

    /// Of what is to be committed.
    pub(super) fn change(&self) -> Option<&Change> {
        match self {
            Self::Begun(change) => Some(change),
            Self::Draft(_) | Self::Committed(_) | Self::Settled(_) => None,
        }
    }

    fn made(&self) -> Option<&Change> {
        match self {
            Self::Committed(change) => Some(change),
            Self::Draft(_) | Self::Begun(_) | Self::Settled(_) => None,
        }
    }

    pub(super) fn put(self) -> Option<Put> {
        match self {
            Self::Settled(put) => Some(put),
            Self::Begun(change) | Self::Committed(change) => Some(put(*change)),
            Self::Draft(_) => None,
        }
    }

    fn committed(self) -> Self {
        match self {
            Self::Begun(change) => Self::Committed(change),
            slot => slot,
        }
    }
}

/// Identifiers that somebody has.
struct Taken {
    ids: HashSet<Uuid>,
    /// Those of them that two documents have.
    twice: HashSet<Uuid>,
}

/// What a put that fails leaves.
#[derive(Default)]
struct UnderWay {
    /// Generations whose chunks were written and that no document has.
    written: HashSet<Uuid>,
    /// Documents whose commit was not answered.
    unanswered: Vec<Placed>,
}

fn put(change: Change) -> Put {
    Put {
        document: change.new.document,
        unchanged: false,
    }
}

impl Inner {
    /// Decides by what is there what becomes of each document: it is begun or settled. Also the generations of those that were
    /// begun before and have to be begun anew.
    pub(super) async fn decide(
        &self,
        principal: &Principal,
        slots: Vec<Slot>,
    ) -> Result<(Vec<Slot>, Vec<Uuid>), StoreError> {
        let drafts: Vec<&DocumentDraft> = slots.iter().filter_map(Slot::draft).collect();
        let mut old = self.rows_of_drafts(principal, &drafts).await?;
        let mut taken = self.taken_ids(&drafts).await?;
        let now = now();
        let (mut decided, mut given_up) = (Vec::with_capacity(slots.len()), Vec::new());
        for slot in slots {
            let (draft, old) = match slot {
                Slot::Settled(put) => {
                    decided.push(Slot::Settled(put));
                    continue;
                }
                Slot::Draft(draft) => {
                    let old = old.remove(&place(&draft));
                    (draft, old)
                }
                Slot::Committed(change) => {
                    let own = old.remove(&place(&change.draft));
                    let own = own.filter(|own| own.generation == change.new.generation);
                    match own {
                        Some(own) if taken.twice.contains(&own.document.id) => (change.draft, Some(own)),
                        Some(_) => {
                            decided.push(Slot::Committed(change));
                            continue;
                        }
                        // Others have changed or deleted it since.
                        None => {
                            decided.push(Slot::Settled(put(*change)));
                            continue;
                        }
                    }
                }
                Slot::Begun(change) => {
                    let old = old.remove(&place(&change.draft));
                    let generation = old.as_ref().map(|old| old.generation);
                    if generation == Some(change.new.generation) {
                        // Its commit was made, and the answer got lost.
                        decided.push(Slot::Committed(change));
                        continue;
                    }
                    let same = generation == change.old.as_ref().map(|old| old.generation);
                    let mut its_own = || change.old.is_some() || taken.ids.insert(change.new.document.id);
                    if same && Shared::is_recent(change.new.generation) && its_own() {
                        decided.push(Slot::Begun(change));
                        continue;
                    }
                    given_up.push(change.new.generation);
                    (change.draft, old)
                }
            };
            decided.push(begin(draft, old, &mut taken, now));
        }
        Ok((decided, given_up))
    }

    /// The rows that drafts take the place of; makes sure that their collections exist.
    async fn rows_of_drafts(
        &self,
        principal: &Principal,
        drafts: &[&DocumentDraft],
    ) -> Result<HashMap<(CollectionName, String), DocumentRow>, StoreError> {
        let mut collections: HashMap<&CollectionName, Vec<String>> = HashMap::new();
        for draft in drafts {
            let uris = collections.entry(&draft.collection).or_default();
            uris.push(draft.uri.as_str().to_owned());
        }
        let mut found = HashMap::new();
        for (collection, uris) in collections {
            self.ensure_collection(principal, collection).await?;
            let which = Predicate::of(principal)
                .is("collection", collection.as_str())
                .any_of("uri", uris);
            for row in self.document_rows(&which).await? {
                found.insert((collection.clone(), row.document.uri.clone()), row);
            }
        }
        Ok(found)
    }

    /// Those of the identifiers that drafts were given elsewhere which somebody has here, whoever it is: identifiers are
    /// everybody's, and a row of another is not to be replaced.
    async fn taken_ids(&self, drafts: &[&DocumentDraft]) -> Result<Taken, StoreError> {
        let (mut ids, mut twice) = (HashSet::new(), HashSet::new());
        let given: Vec<String> = drafts
            .iter()
            .filter_map(|draft| Some(draft.history?.id.to_string()))
            .collect();
        if given.is_empty() {
            return Ok(Taken { ids, twice });
        }
        let which = Predicate::of_everybody("id", given);
        for row in rows(&self.documents.read(&which, &["id"]).await?) {
            let id = row.id("id")?;
            if !ids.insert(id) {
                twice.insert(id);
            }
        }
        Ok(Taken { ids, twice })
    }

    /// Puts documents where others put, too; `watch`: the watched folder that they are of. The caller holds the write lock.
    pub(super) async fn put_shared(
        &self,
        principal: &Principal,
        drafts: Vec<DocumentDraft>,
        watch: Option<&Watch>,
    ) -> Result<Vec<Put>, StoreError> {
        let slots = drafts.into_iter().map(Slot::Draft).collect();
        let mut under_way = UnderWay::default();
        let done = self
            .put_as_often_as_needed(principal, slots, watch, &mut under_way)
            .await;
        let error = match done {
            Ok(puts) => return Ok(puts),
            Err(error) => error,
        };
        let UnderWay { written, unanswered } = under_way;
        // Of what failed in the database or was not answered nobody knows whether it is there; the next sweep does.
        if !error.is_of_the_database() {
            let unknown: HashSet<Uuid> = unanswered.iter().map(|placed| placed.generation).collect();
            let strays: Vec<Uuid> = written.difference(&unknown).copied().collect();
            if !strays.is_empty() {
                self.drop_chunks_or_later(&strays).await;
            }
        }
        self.take_back_where_gone(principal, watch, &unanswered).await?;
        Err(error)
    }

    async fn put_as_often_as_needed(
        &self,
        principal: &Principal,
        mut slots: Vec<Slot>,
        watch: Option<&Watch>,
        under_way: &mut UnderWay,
    ) -> Result<Vec<Put>, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            self.follow().await?;
            let pin = self.documents.pin().await?;
            let (decided, given_up) = self.decide(principal, slots).await?;
            slots = decided;
            if !given_up.is_empty() {
                self.drop_chunks_or_later(&given_up).await;
            }
            let begun: Vec<&Change> = slots.iter().filter_map(Slot::change).collect();
            // What turned out to be committed belongs to a document now.
            let generations: HashSet<Uuid> = begun.iter().map(|change| change.new.generation).collect();
            under_way.written.retain(|generation| generations.contains(generation));
            if let (Some(pin), false) = (pin, begun.is_empty()) {
                let outcome = self.commit_put(principal, &pin, &begun, &mut under_way.written).await?;
                if outcome != Outcome::Done {
                    tracing::debug!(?outcome, "documents are decided again");
                    if outcome == Outcome::Unknown {
                        let unanswered = begun.iter().map(|change| Placed::of(change));
                        under_way.unanswered.extend(unanswered);
                    }
                    attempts.again().await?;
                    continue;
                }
                under_way.written.clear();
            }
            slots = slots.into_iter().map(Slot::committed).collect();
            // Those, too, whose answer got lost.
            let committed: Vec<&Change> = slots.iter().filter_map(Slot::made).collect();
            if !committed.is_empty() {
                self.settle_put(principal, watch, &committed).await?;
                if !self.given_twice(principal, &committed).await?.is_empty() {
                    // Decided again, it gets another identifier.
                    attempts.again().await?;
                    continue;
                }
            }
            return Ok(slots.into_iter().filter_map(Slot::put).collect());
        }
    }

    async fn commit_put(
        &self,
        principal: &Principal,
        pin: &Pin,
        changes: &[&Change],
        written: &mut HashSet<Uuid>,
    ) -> Result<Outcome, StoreError> {
        self.write_chunks(principal, changes, written).await?;
        let rows: Result<Vec<RecordBatch>, _> = changes
            .iter()
            .map(|change| document_row(principal, &change.new))
            .collect();
        let outcome = self
            .documents
            .merge(pin, &key::DOCUMENTS, rows?, Present::Replaced)
            .await?;
        #[cfg(test)]
        let outcome = self.answer_in_tests(outcome).await;
        Ok(outcome)
    }

    async fn write_chunks(
        &self,
        principal: &Principal,
        changes: &[&Change],
        written: &mut HashSet<Uuid>,
    ) -> Result<(), StoreError> {
        let new: Vec<&&Change> = changes
            .iter()
            .filter(|change| !written.contains(&change.new.generation))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let rows: Result<Vec<RecordBatch>, _> = new.iter().map(|change| self.chunk_rows(principal, change)).collect();
        self.chunks.append(rows?).await?;
        written.extend(new.iter().map(|change| change.new.generation));
        Ok(())
    }
}

fn begin(mut draft: DocumentDraft, old: Option<DocumentRow>, taken: &mut Taken, now: Timestamp) -> Slot {
    // A put that was interrupted left it so.
    let is_twice = |old: &DocumentRow| {
        let id = old.document.id;
        draft.history.is_some_and(|history| history.id == id) && taken.twice.contains(&id)
    };
    let twice = old.as_ref().is_some_and(is_twice);
    if let Some(history) = &mut draft.history
        && !taken.ids.insert(history.id)
    {
        history.id = Uuid::now_v7();
    }
    match old {
        Some(old) if draft.is_stale_beside(&old.document) => {
            if twice && draft.content_sha256 == old.document.content_sha256 {
                return Slot::Begun(Box::new(Change::renamed(old, draft, now)));
            }
            Slot::Settled(Put {
                document: old.document,
                unchanged: true,
            })
        }
        Some(old) if twice => Slot::Begun(Box::new(Change::renamed(old, draft, now))),
        old => Slot::Begun(Box::new(Change::new(old, draft, now))),
    }
}

fn place(draft: &DocumentDraft) -> (CollectionName, String) {
    (draft.collection.clone(), draft.uri.as_str().to_owned())
}
