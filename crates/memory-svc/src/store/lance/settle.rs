//! What comes after documents were put where other processes write, too: what they took the place of goes, and so do they if what
//! they need has gone meanwhile. A commit whose answer got lost is no exception.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Inner;
use super::change::Change;
use super::document_rows::DocumentRow;
use super::predicate::Predicate;
use super::rows::rows;
use super::sharing::Attempts;
use crate::names::{CollectionName, Principal};
use crate::store::StoreError;
use crate::watch::Watch;

/// A document that was put, or may have been.
pub(super) struct Placed {
    pub(super) collection: CollectionName,
    pub(super) generation: Uuid,
    /// It took no other's place.
    is_new: bool,
}

impl Placed {
    pub(super) fn of(change: &Change) -> Self {
        Self {
            collection: change.draft.collection.clone(),
            generation: change.new.generation,
            is_new: change.old.is_none(),
        }
    }
}

/// What documents must not stay without.
#[derive(Clone, Copy)]
enum Need<'a> {
    Collection(&'a CollectionName),
    Watch(&'a Watch),
}

impl Need<'_> {
    /// Of a watched folder those that took another one's place were there when watching ended, and whoever ended it may have
    /// wanted to keep them.
    fn is_of(self, placed: &Placed) -> bool {
        match self {
            Self::Collection(name) => placed.collection == *name,
            Self::Watch(_) => placed.is_new,
        }
    }
}

impl Inner {
    /// After the commit: removes the chunks of what was replaced, and looks for what the documents need.
    pub(super) async fn settle_put(
        &self,
        principal: &Principal,
        watch: Option<&Watch>,
        changes: &[&Change],
    ) -> Result<(), StoreError> {
        let old: Vec<Uuid> = changes
            .iter()
            .filter_map(|change| Some(change.old.as_ref()?.generation))
            .collect();
        if !old.is_empty() {
            self.drop_chunks_or_later(&old).await;
        }
        self.note_write(!old.is_empty());
        let placed: Vec<Placed> = changes.iter().map(|change| Placed::of(change)).collect();
        self.take_back_where_gone(principal, watch, &placed).await
    }

    /// Deletes documents that came into a collection that was deleted meanwhile, or of a folder that is not watched any more; then
    /// that is the error. Whoever deletes a collection or ends a watch looks for documents after that, too: one of both sees the
    /// other.
    pub(super) async fn take_back_where_gone(
        &self,
        principal: &Principal,
        watch: Option<&Watch>,
        placed: &[Placed],
    ) -> Result<(), StoreError> {
        if placed.is_empty() {
            return Ok(());
        }
        let collections: HashSet<&CollectionName> = placed.iter().map(|placed| &placed.collection).collect();
        let mut needs: Vec<Need<'_>> = collections.into_iter().map(Need::Collection).collect();
        needs.extend(watch.map(Need::Watch));
        let mut looked = Ok(());
        for need in needs {
            let Err(error) = self.ensure_still_there(principal, need).await else {
                continue;
            };
            if matches!(error, StoreError::NotFound { .. }) {
                let without = placed.iter().filter(|placed| need.is_of(placed));
                let generations: Vec<Uuid> = without.map(|placed| placed.generation).collect();
                self.take_back(&generations).await?;
            }
            looked = Err(error);
        }
        looked
    }

    /// [`StoreError::NotFound`], by the newest state: it is not. Where that cannot be said it is asked again, for what was
    /// committed must not stay without it.
    async fn ensure_still_there(&self, principal: &Principal, need: Need<'_>) -> Result<(), StoreError> {
        let mut attempts = Attempts::default();
        loop {
            let looked = match need {
                Need::Collection(name) => match self.collections.reload().await {
                    Ok(()) => self.ensure_collection(principal, name).await,
                    Err(error) => Err(error),
                },
                Need::Watch(watch) => self.ensure_watched(watch).await,
            };
            match looked {
                Ok(()) => return Ok(()),
                Err(gone @ StoreError::NotFound { .. }) => return Err(gone),
                Err(error) => {
                    if attempts.again().await.is_err() {
                        return Err(error);
                    }
                }
            }
        }
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
    async fn take_back(&self, generations: &[Uuid]) -> Result<(), StoreError> {
        if generations.is_empty() {
            return Ok(());
        }
        let which = Predicate::of_everybody("generation", generations.iter().map(Uuid::to_string));
        let mut attempts = Attempts::default();
        while let Err(error) = self.documents.delete(&which).await {
            if attempts.again().await.is_err() {
                return Err(error);
            }
        }
        self.drop_chunks_or_later(generations).await;
        self.note_write(true);
        Ok(())
    }
}
