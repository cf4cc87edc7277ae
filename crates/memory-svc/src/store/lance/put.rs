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
use super::pin::{Outcome, Present};
use super::predicate::Predicate;
use super::rows::rows;
use super::shared_table::key;
use super::sharing::{Attempts, Shared};
use crate::document::{DocumentDraft, Put};
use crate::names::{CollectionName, Principal};
use crate::store::StoreError;

/// A document that is to be put.
pub(super) enum Slot {
    /// Nothing was decided.
    Draft(DocumentDraft),
    /// It takes another one's place, or none's.
    Begun(Box<Change>),
    /// This is the answer.
    Settled(Put),
}

impl Slot {
    fn draft(&self) -> Option<&DocumentDraft> {
        match self {
            Self::Draft(draft) => Some(draft),
            Self::Begun(change) => Some(&change.draft),
            Self::Settled(_) => None,
        }
    }

    pub(super) fn change(&self) -> Option<&Change> {
        match self {
            Self::Begun(change) => Some(change),
            Self::Draft(_) | Self::Settled(_) => None,
        }
    }

    pub(super) fn put(self) -> Option<Put> {
        match self {
            Self::Settled(put) => Some(put),
            Self::Begun(change) => Some(put(*change)),
            Self::Draft(_) => None,
        }
    }

    /// After its commit: the answer; a draft with another identifier if its generation was taken back.
    fn committed(self, taken_back: &[Uuid]) -> Self {
        match self {
            Self::Begun(change) if taken_back.contains(&change.new.generation) => {
                let Change { mut draft, .. } = *change;
                if let Some(history) = &mut draft.history {
                    history.id = Uuid::now_v7();
                }
                Self::Draft(draft)
            }
            Self::Begun(change) => Self::Settled(put(*change)),
            slot => slot,
        }
    }
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
                Slot::Begun(change) => {
                    let old = old.remove(&place(&change.draft));
                    let generation = old.as_ref().map(|old| old.generation);
                    if generation == Some(change.new.generation) {
                        // Its commit was made, and the answer got lost.
                        decided.push(Slot::Settled(put(*change)));
                        continue;
                    }
                    let same = generation == change.old.as_ref().map(|old| old.generation);
                    let mut its_own = || change.old.is_some() || taken.insert(change.new.document.id);
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
    async fn taken_ids(&self, drafts: &[&DocumentDraft]) -> Result<HashSet<Uuid>, StoreError> {
        let ids: Vec<String> = drafts
            .iter()
            .filter_map(|draft| Some(draft.history?.id.to_string()))
            .collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let which = Predicate::of_everybody("id", ids);
        let batches = self.documents.read(&which, &["id"]).await?;
        rows(&batches).map(|row| row.id("id")).collect()
    }

    /// Puts documents where others put, too. The caller holds the write lock.
    pub(super) async fn put_shared(
        &self,
        principal: &Principal,
        drafts: Vec<DocumentDraft>,
    ) -> Result<Vec<Put>, StoreError> {
        let slots = drafts.into_iter().map(Slot::Draft).collect();
        let mut written = HashSet::new();
        let done = self.put_as_often_as_needed(principal, slots, &mut written).await;
        // Of what failed in the database nobody knows whether it is there; the next sweep does.
        if done.as_ref().is_err_and(|error| !error.is_of_the_database()) && !written.is_empty() {
            self.drop_chunks_or_later(&Vec::from_iter(written)).await;
        }
        done
    }

    /// `written` will hold the generations whose chunks were written and that no document has.
    async fn put_as_often_as_needed(
        &self,
        principal: &Principal,
        mut slots: Vec<Slot>,
        written: &mut HashSet<Uuid>,
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
            let changes: Vec<&Change> = slots.iter().filter_map(Slot::change).collect();
            // What turned out to be committed belongs to a document now.
            let begun: HashSet<Uuid> = changes.iter().map(|change| change.new.generation).collect();
            written.retain(|generation| begun.contains(generation));
            let (Some(pin), false) = (pin, changes.is_empty()) else {
                return Ok(slots.into_iter().filter_map(Slot::put).collect());
            };
            self.write_chunks(principal, &changes, written).await?;
            let rows: Result<Vec<RecordBatch>, _> = changes
                .iter()
                .map(|change| document_row(principal, &change.new))
                .collect();
            let outcome = self
                .documents
                .merge(&pin, &key::DOCUMENTS, rows?, Present::Replaced)
                .await?;
            if outcome == Outcome::Done {
                written.clear();
                self.settle_put(principal, &changes).await?;
                let twice = self.given_twice(principal, &changes).await?;
                if twice.is_empty() {
                    return Ok(slots.into_iter().filter_map(Slot::put).collect());
                }
                self.take_back(&twice).await?;
                slots = slots.into_iter().map(|slot| slot.committed(&twice)).collect();
                continue;
            }
            tracing::debug!(?outcome, "documents are decided again");
            if let Err(busy) = attempts.again().await {
                if outcome == Outcome::Unknown {
                    // They may have been committed: the next sweep knows.
                    written.clear();
                }
                return Err(busy);
            }
        }
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

    /// After the commit: removes the chunks of what was replaced, and of what came into a collection that was deleted meanwhile.
    /// The deletion looks for documents once more, too, after its own commit: one of both sees the other.
    async fn settle_put(&self, principal: &Principal, changes: &[&Change]) -> Result<(), StoreError> {
        let old: Vec<Uuid> = changes
            .iter()
            .filter_map(|change| Some(change.old.as_ref()?.generation))
            .collect();
        if !old.is_empty() {
            self.drop_chunks_or_later(&old).await;
        }
        self.note_write(!old.is_empty());
        let collections: HashSet<&CollectionName> = changes.iter().map(|change| &change.draft.collection).collect();
        self.collections.reload().await?;
        for collection in collections {
            let Err(gone) = self.ensure_collection(principal, collection).await else {
                continue;
            };
            if matches!(gone, StoreError::NotFound { .. }) {
                let inside = changes.iter().filter(|change| change.draft.collection == *collection);
                let generations: Vec<Uuid> = inside.map(|change| change.new.generation).collect();
                self.take_back(&generations).await?;
            }
            return Err(gone);
        }
        Ok(())
    }

    /// Those of the documents just put, by their generations, whose identifier, which they were given elsewhere, another document
    /// was given at the same moment, perhaps another principal's: no key makes two such commits meet. Both look after their own:
    /// one of both sees the other.
    pub(super) async fn given_twice(
        &self,
        principal: &Principal,
        changes: &[&Change],
    ) -> Result<Vec<Uuid>, StoreError> {
        let given: HashMap<Uuid, &DocumentRow> = changes
            .iter()
            .filter(|change| change.old.is_none() && change.draft.history.is_some())
            .map(|change| (change.new.document.id, &change.new))
            .collect();
        if given.is_empty() {
            return Ok(Vec::new());
        }
        self.follow().await?;
        let which = Predicate::of_everybody("id", given.keys().map(Uuid::to_string));
        let columns = ["id", "principal", "collection", "uri"];
        let mut twice = HashSet::new();
        for row in rows(&self.documents.read(&which, &columns).await?) {
            let Some(DocumentRow { document, generation }) = given.get(&row.id("id")?) else {
                continue;
            };
            let place = (row.text("principal")?, row.text("collection")?, row.text("uri")?);
            if place != (principal.as_str(), document.collection.as_str(), document.uri.as_str()) {
                twice.insert(*generation);
            }
        }
        Ok(twice.into_iter().collect())
    }

    /// Deletes documents that were just put, by their generations.
    pub(super) async fn take_back(&self, generations: &[Uuid]) -> Result<(), StoreError> {
        let which = Predicate::of_everybody("generation", generations.iter().map(Uuid::to_string));
        self.documents.delete(&which).await?;
        self.drop_chunks_or_later(generations).await;
        self.note_write(true);
        Ok(())
    }
}

fn begin(mut draft: DocumentDraft, old: Option<DocumentRow>, taken: &mut HashSet<Uuid>, now: Timestamp) -> Slot {
    if let Some(history) = &mut draft.history
        && !taken.insert(history.id)
    {
        history.id = Uuid::now_v7();
    }
    match old {
        Some(old) if draft.is_stale_beside(&old.document) => Slot::Settled(Put {
            document: old.document,
            unchanged: true,
        }),
        old => Slot::Begun(Box::new(Change::new(old, draft, now))),
    }
}

fn place(draft: &DocumentDraft) -> (CollectionName, String) {
    (draft.collection.clone(), draft.uri.as_str().to_owned())
}
