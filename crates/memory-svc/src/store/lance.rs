//! The store on LanceDB: a folder of tables, one for each kind of thing, each row keyed by principal.
//!
//! Lance commits one table at a time, each commit atomic (a new manifest). A document's chunks and its row in `documents`
//! are two commits, so **the row decides**: it names the *generation* of chunks that belongs to it, and chunks of any
//! other generation do not exist for readers.
//!
//! | Putting a new version | A crash right after leaves |
//! |---|---|
//! | 1. chunks of the new generation are appended | the old version; the new chunks are strays |
//! | 2. the row is replaced: this is the commit | the new version; the old chunks are strays |
//! | 3. chunks of the old generation are deleted | the new version |
//!
//! Many documents are put in the same three commits.
//!
//! Strays are swept when the store is opened. While it is open, `hidden` holds the generations that searches must not see:
//! the new one before step 2, the old one after. Searches read `hidden` and pin their tables' state under one lock, so
//! they see one version or the other, never both or none. Deleting is the same without step 1. What searches by meaning find
//! is held in memory, too ([`resident`]): there, one version takes the other's place right after step 2.
//!
//! One process owns the folder (a lock file says so) and one write runs at a time; reads are concurrent. Writes run as
//! tasks of their own, so that a caller that goes away cannot stop one between two steps.
//!
//! Where several processes share the store ([`sharing`]), each has one write at a time, and of two that meet the slower one is
//! decided again ([`put`]). What is live is then looked up in `documents` after each search, instead of in `hidden`, and nothing is
//! held in memory.

mod change;
mod collections;
mod creating;
mod document_rows;
mod documents;
mod expire;
mod facts;
mod failure;
mod identity;
mod index;
mod nearest;
mod open;
mod passages;
mod piece;
mod pin;
mod predicate;
mod put;
mod resident;
mod restore;
mod rows;
mod schema;
mod settle;
mod shared_table;
mod sharing;
mod snapshot;
mod table;
mod tend;
mod verify;
mod watches;

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{Mutex, RwLock, watch};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Backlog, FactPage, Snapshot, Statistics, Store, StoreError, Verification};
use crate::document::{ChunkDraft, Collection, Document, DocumentDraft, DocumentFilter, Passage, Put, Stored};
use crate::fact::{Fact, FactChange, FactVersion, Forgotten, Selector};
use crate::names::{CollectionName, DocumentUri, Principal};
use crate::page::{Page, PageRequest};
use crate::query::{Found, Query};
use crate::retention::Limits;
use crate::watch::Watch;
pub use index::Indexing;
use predicate::Predicate;
use resident::Resident;
use sharing::Shared;
pub use sharing::{KEPT, Sharing};
use table::Table;

/// LanceDB in a folder. Cheap to clone.
#[derive(Clone)]
pub struct LanceStore {
    inner: Arc<Inner>,
    writes: TaskTracker,
}

struct Inner {
    dimension: usize,
    documents: Table,
    chunks: Table,
    facts: Table,
    collections: Table,
    watches: Table,
    /// Held while a write runs.
    writing: Mutex<()>,
    /// Read while a state is read that must not lose its files, however long that takes; taken before `writing`.
    reading: Arc<RwLock<()>>,
    /// Generations of chunks that readers must not see. All of them are strays when no write runs.
    hidden: RwLock<HashSet<Uuid>>,
    resident: Resident,
    counts: nearest::Counts,
    backlog: watch::Sender<Backlog>,
    indexing: Indexing,
    /// `None`: no other process has the store.
    shared: Option<Shared>,
    /// What happens right after the next commit of a put where others write, too, and the answer to it.
    #[cfg(test)]
    after_commit: std::sync::Mutex<Option<futures::future::BoxFuture<'static, pin::Outcome>>>,
    /// Locked for as long as the store is open, where it is a folder.
    _lock: Option<File>,
}

impl LanceStore {
    /// Runs a write to its end, whatever becomes of the caller. Of one that failed nobody knows what it committed: then what
    /// is held in memory is let go.
    async fn write<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let work = work(Arc::clone(&inner));
        self.detached(async move {
            let done = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                Err(StoreError::Backend {
                    doing: "ran a write",
                    source: "it panicked".into(),
                })
            });
            if done.as_ref().is_err_and(StoreError::is_of_the_database) {
                let _writing = inner.writing.lock().await;
                inner.resident.drop_all();
                inner.note_write(true);
            }
            // Whoever wrote it sees it; at the latest when somebody looks again.
            if let Err(error) = inner.follow().await {
                tracing::warn!(error = %solo_service::error::chain(&error), "the newest state of the store could not be read");
            }
            done
        })
        .await
    }

    /// Runs what changes no row to its end, whatever becomes of the caller.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writes.spawn(work).await.map_err(|error| StoreError::Backend {
            doing: "ran a task",
            source: error.into(),
        })?
    }

    /// Reads the tables into memory where nothing is held and there is room, and puts what is held in order.
    async fn hold(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            inner.hold().await?;
            inner.rearrange().await
        })
        .await
    }
}

#[async_trait]
impl Store for LanceStore {
    async fn create_collection(
        &self,
        principal: &Principal,
        name: &CollectionName,
        description: &str,
    ) -> Result<Collection, StoreError> {
        let (principal, name, description) = (principal.clone(), name.clone(), description.to_owned());
        self.write(|inner| async move { inner.create_collection(&principal, &name, &description).await })
            .await
    }

    async fn restore_collection(&self, principal: &Principal, collection: &Collection) -> Result<(), StoreError> {
        let (principal, collection) = (principal.clone(), collection.clone());
        self.write(|inner| async move { inner.restore_collection(&principal, &collection).await })
            .await
    }

    async fn collections(
        &self,
        principal: &Principal,
        page: &PageRequest<CollectionName>,
    ) -> Result<Page<Collection>, StoreError> {
        self.inner.look().await?;
        self.inner.list_collections(principal, page).await
    }

    async fn delete_collection(&self, principal: &Principal, name: &CollectionName) -> Result<u64, StoreError> {
        let (principal, name) = (principal.clone(), name.clone());
        self.write(|inner| async move { inner.delete_collection(&principal, &name).await })
            .await
    }

    async fn find_document(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri: &DocumentUri,
    ) -> Result<Option<Document>, StoreError> {
        self.inner.look().await?;
        self.inner.find_document(principal, collection, uri).await
    }

    async fn put_documents(&self, principal: &Principal, drafts: Vec<DocumentDraft>) -> Result<Vec<Put>, StoreError> {
        let principal = principal.clone();
        self.write(|inner| async move { inner.put_documents(&principal, drafts).await })
            .await
    }

    async fn put_watched(&self, watch: &Watch, drafts: Vec<DocumentDraft>) -> Result<Vec<Put>, StoreError> {
        let watch = watch.clone();
        self.write(|inner| async move { inner.put_watched(&watch, drafts).await })
            .await
    }

    async fn contents(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri_prefix: &str,
    ) -> Result<Vec<Stored>, StoreError> {
        self.inner.look().await?;
        self.inner.contents(principal, collection, uri_prefix).await
    }

    async fn find_content(&self, principal: &Principal, sha256: &[u8; 32]) -> Result<Option<Uuid>, StoreError> {
        self.inner.look().await?;
        self.inner.find_content(principal, sha256).await
    }

    async fn chunks(&self, principal: &Principal, id: Uuid) -> Result<Vec<ChunkDraft>, StoreError> {
        self.inner.look().await?;
        self.inner.chunks_of(principal, id).await
    }

    async fn document(&self, principal: &Principal, id: Uuid) -> Result<Document, StoreError> {
        self.inner.look().await?;
        Ok(self.inner.document_row(principal, id).await?.document)
    }

    async fn documents(
        &self,
        principal: &Principal,
        filter: &DocumentFilter,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Document>, StoreError> {
        self.inner.look().await?;
        self.inner.list_documents(principal, filter, page).await
    }

    async fn delete_documents(&self, principal: &Principal, ids: &[Uuid]) -> Result<u64, StoreError> {
        let (principal, ids) = (principal.clone(), ids.to_vec());
        self.write(|inner| async move { inner.delete_documents(&principal, &ids).await })
            .await
    }

    async fn passage(&self, principal: &Principal, id: Uuid, range: Range<u64>) -> Result<Passage, StoreError> {
        self.inner.look().await?;
        self.inner.passage(principal, id, range).await
    }

    async fn search(&self, principal: &Principal, query: &Query) -> Result<Found, StoreError> {
        self.inner.look().await?;
        self.inner.search(principal, query).await
    }

    async fn near_facts(
        &self,
        principal: &Principal,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<(Fact, f32)>, StoreError> {
        self.inner.look().await?;
        self.inner.near_facts(principal, vector, limit).await
    }

    async fn apply_facts(&self, principal: &Principal, changes: Vec<FactChange>) -> Result<Vec<Fact>, StoreError> {
        let principal = principal.clone();
        self.write(|inner| async move { inner.apply_facts(&principal, changes).await })
            .await
    }

    async fn facts(&self, principal: &Principal, past: bool, page: &PageRequest<Uuid>) -> Result<FactPage, StoreError> {
        self.inner.look().await?;
        self.inner.list_facts(principal, past, page).await
    }

    async fn forget(&self, principal: &Principal, selector: &Selector) -> Result<Forgotten, StoreError> {
        let (principal, selector) = (principal.clone(), selector.clone());
        self.write(|inner| async move { inner.forget(&principal, &selector).await })
            .await
    }

    async fn watches(&self) -> Result<Vec<Watch>, StoreError> {
        self.inner.look().await?;
        self.inner.read_watches().await
    }

    async fn add_watch(&self, watch: &Watch) -> Result<(), StoreError> {
        let watch = watch.clone();
        self.write(|inner| async move { inner.add_watch(&watch).await }).await
    }

    async fn remove_watch(&self, principal: &Principal, id: Uuid) -> Result<(), StoreError> {
        let principal = principal.clone();
        self.write(|inner| async move { inner.remove_watch(&principal, id).await })
            .await
    }

    async fn snapshot(&self, principal: &Principal) -> Result<Snapshot, StoreError> {
        Arc::clone(&self.inner).snapshot(principal).await
    }

    async fn whole_documents(
        &self,
        principal: &Principal,
        ids: &[Uuid],
    ) -> Result<Vec<(Document, Vec<ChunkDraft>)>, StoreError> {
        self.inner.look().await?;
        self.inner.whole_documents(principal, ids).await
    }

    async fn fact_histories(&self, principal: &Principal) -> Result<Vec<FactVersion>, StoreError> {
        self.inner.look().await?;
        self.inner.fact_versions(&Predicate::of(principal)).await
    }

    async fn restore_facts(&self, principal: &Principal, versions: Vec<FactVersion>) -> Result<u64, StoreError> {
        let principal = principal.clone();
        self.write(|inner| async move { inner.restore_facts(&principal, versions).await })
            .await
    }

    async fn expire(&self, limits: &Limits) -> Result<Forgotten, StoreError> {
        let limits = *limits;
        self.write(|inner| async move { inner.expire(&limits).await }).await
    }

    async fn principals(&self) -> Result<HashSet<Principal>, StoreError> {
        self.inner.look().await?;
        self.inner.principals().await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.inner.look().await?;
        self.inner.statistics().await
    }

    fn backlog(&self) -> watch::Receiver<Backlog> {
        self.inner.backlog.subscribe()
    }

    async fn compact(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move { inner.compact().await }).await
    }

    async fn index(&self) -> Result<(), StoreError> {
        self.hold().await?;
        self.inner.index().await
    }

    async fn know_new_words(&self) -> Result<bool, StoreError> {
        self.inner.know_new_words().await
    }

    async fn warm(&self) -> Result<(), StoreError> {
        self.hold().await?;
        if self.inner.resident.is_held() {
            return Ok(());
        }
        futures::try_join!(self.inner.chunks.warm(), self.inner.facts.warm()).map(drop)
    }

    async fn verify(&self) -> Result<Verification, StoreError> {
        self.inner.verify().await
    }

    async fn prune(&self, retain: Duration) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move { inner.prune(retain).await }).await
    }

    async fn settle(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}

#[cfg(test)]
mod tests;
