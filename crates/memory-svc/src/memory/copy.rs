//! One store made equal to another, with vectors of its own engine.

use std::collections::{HashMap, HashSet};

use tokio::sync::watch;
use uuid::Uuid;

use super::reembed::Step;
use super::{Current, Memory};
use crate::document::{Collection, Document, DocumentDraft, DocumentFilter};
use crate::error::Error;
use crate::fact::{FactVersion, Selector};
use crate::names::{CollectionName, Principal};
use crate::page::PageRequest;
use crate::store::{Store, StoreError};

/// Documents that are copied in one step.
const DOCUMENTS: usize = 64;
/// Pieces that are embedded in one step, about; how far it is is said after each.
const PIECES: usize = 64;

/// A copy on its way.
pub(super) struct Copying<'a> {
    memory: &'a Memory,
    steps: &'a watch::Sender<Step>,
    /// Collections that the second store has, of the principal whose turn it is.
    collections: HashSet<CollectionName>,
    done: u64,
    /// Pieces and facts that were embedded.
    pub(super) embedded: u64,
}

impl<'a> Copying<'a> {
    pub(super) fn new(memory: &'a Memory, steps: &'a watch::Sender<Step>) -> Self {
        Self {
            memory,
            steps,
            collections: HashSet::new(),
            done: 0,
            embedded: 0,
        }
    }

    /// Makes `to` hold what the present store holds: what it lacks is embedded, what is gone or changed is deleted first.
    /// What is written meanwhile is for the next pass.
    pub(super) async fn make_equal(&mut self, to: &Current) -> Result<(), Error> {
        let from = self.memory.current();
        self.done = 0;
        let (here, there) = (from.store.principals().await?, to.store.principals().await?);
        for principal in here.union(&there) {
            self.collections = copy_collections(&from, to, principal).await?;
            self.copy_documents(&from, to, principal).await?;
            self.copy_facts(&from, to, principal).await?;
        }
        let (here, there) = (from.store.watches().await?, to.store.watches().await?);
        for watch in here.iter().filter(|watch| !there.contains(watch)) {
            take_over(&from, to, &watch.principal, &watch.collection).await?;
            to.store.add_watch(watch).await?;
        }
        for watch in there.iter().filter(|watch| !here.contains(watch)) {
            to.store.remove_watch(&watch.principal, watch.id).await?;
        }
        Ok(())
    }

    async fn copy_documents(&mut self, from: &Current, to: &Current, principal: &Principal) -> Result<(), Error> {
        let here = documents(&*from.store, principal).await?;
        let there = documents(&*to.store, principal).await?;
        let is_there = |id: &Uuid, document: &Document| there.get(id).is_some_and(|other| is_same(document, other));
        let stale = |id: &&Uuid| here.get(*id).is_none_or(|document| !is_there(id, document));
        let stale: Vec<Uuid> = there.keys().filter(stale).copied().collect();
        for some in stale.chunks(DOCUMENTS) {
            to.store.delete_documents(principal, some).await?;
        }
        let mut missing = Vec::new();
        for (id, document) in &here {
            if is_there(id, document) {
                self.done += u64::from(document.chunks);
            } else {
                missing.push(*id);
            }
        }
        let total = from.store.statistics().await?.chunks;
        // Oldest first, as they were put.
        missing.sort_unstable();
        for some in missing.chunks(DOCUMENTS) {
            let (mut group, mut pieces) = (Vec::new(), 0);
            for (document, chunks) in from.store.whole_documents(principal, some).await? {
                pieces += chunks.len();
                group.push(DocumentDraft::of(document, chunks)?);
                if pieces >= PIECES {
                    self.copy_group(from, to, principal, std::mem::take(&mut group), total)
                        .await?;
                    pieces = 0;
                }
            }
            self.copy_group(from, to, principal, group, total).await?;
        }
        Ok(())
    }

    async fn copy_group(
        &mut self,
        from: &Current,
        to: &Current,
        principal: &Principal,
        mut group: Vec<DocumentDraft>,
        total: u64,
    ) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        self.memory.embed_again(&to.embeddings, &mut group).await?;
        let pieces: u64 = group.iter().map(|draft| draft.chunks.len() as u64).sum();
        let collections = group.iter().map(|draft| &draft.collection);
        self.ensure(from, to, principal, collections.collect()).await?;
        to.store.put_documents(principal, group).await?;
        self.embedded += pieces;
        self.done += pieces;
        self.steps.send_replace(Step::Copying {
            done: self.done,
            total: total.max(self.done),
        });
        Ok(())
    }

    async fn copy_facts(&mut self, from: &Current, to: &Current, principal: &Principal) -> Result<(), Error> {
        let here = facts(&*from.store, principal).await?;
        let there = facts(&*to.store, principal).await?;
        let is_there = |id: &Uuid, history: &[FactVersion]| there.get(id).is_some_and(|other| is_copy(history, other));
        for id in there.keys() {
            if here.get(id).is_none_or(|history| !is_there(id, history)) {
                to.store.forget(principal, &Selector::Fact(*id)).await?;
            }
        }
        let missing = here.into_iter().filter(|(id, history)| !is_there(id, history));
        let mut versions: Vec<FactVersion> = missing.flat_map(|(_, history)| history).collect();
        if versions.is_empty() {
            return Ok(());
        }
        let texts = versions.iter().map(|version| version.fact.text.clone()).collect();
        let vectors = to.embeddings.documents(texts, |_| ()).await?;
        for (version, vector) in versions.iter_mut().zip(vectors) {
            version.vector = vector;
        }
        self.embedded += versions.len() as u64;
        let collections = versions.iter().map(|version| &version.fact.collection);
        self.ensure(from, to, principal, collections.collect()).await?;
        to.store.restore_facts(principal, versions).await?;
        Ok(())
    }

    /// Makes the collections that were made in the meantime.
    async fn ensure(
        &mut self,
        from: &Current,
        to: &Current,
        principal: &Principal,
        collections: HashSet<&CollectionName>,
    ) -> Result<(), StoreError> {
        for name in collections {
            if self.collections.insert(name.clone()) {
                take_over(from, to, principal, name).await?;
            }
        }
        Ok(())
    }
}

/// Says which ones there are then.
async fn copy_collections(
    from: &Current,
    to: &Current,
    principal: &Principal,
) -> Result<HashSet<CollectionName>, StoreError> {
    let all = PageRequest::everything();
    let (here, there) = (
        from.store.collections(principal, &all).await?.items,
        to.store.collections(principal, &all).await?.items,
    );
    for collection in &there {
        if !here.iter().any(|other| is_same_collection(collection, other)) {
            to.store.delete_collection(principal, &collection.name).await?;
        }
    }
    for collection in &here {
        to.store.restore_collection(principal, collection).await?;
    }
    Ok(here.into_iter().map(|collection| collection.name).collect())
}

/// Makes a collection as it is in `from`, unless there is one of that name.
async fn take_over(
    from: &Current,
    to: &Current,
    principal: &Principal,
    name: &CollectionName,
) -> Result<(), StoreError> {
    let here = from.store.collections(principal, &PageRequest::everything()).await?;
    if let Some(collection) = here.items.iter().find(|collection| collection.name == *name) {
        return to.store.restore_collection(principal, collection).await;
    }
    // It is gone by now: the next pass deletes it with what comes into it.
    match to.store.create_collection(principal, name, "").await {
        Ok(_) | Err(StoreError::CollectionExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Somebody's documents by their identifiers.
async fn documents(store: &dyn Store, principal: &Principal) -> Result<HashMap<Uuid, Document>, StoreError> {
    let filter = DocumentFilter::default();
    let mut found = HashMap::new();
    let mut page = PageRequest {
        size: 1000,
        after: None,
    };
    loop {
        let documents = store.documents(principal, &filter, &page).await?;
        page.after = documents.items.last().map(|document| document.id);
        found.extend(documents.items.into_iter().map(|document| (document.id, document)));
        if documents.next.is_none() {
            return Ok(found);
        }
    }
}

/// Somebody's facts with all their versions, by their identifiers.
async fn facts(store: &dyn Store, principal: &Principal) -> Result<HashMap<Uuid, Vec<FactVersion>>, StoreError> {
    let mut histories: HashMap<Uuid, Vec<FactVersion>> = HashMap::new();
    for version in store.fact_histories(principal).await? {
        histories.entry(version.fact.id).or_default().push(version);
    }
    Ok(histories)
}

fn is_same_collection(a: &Collection, b: &Collection) -> bool {
    (&a.name, &a.description, a.created_at) == (&b.name, &b.description, b.created_at)
}

/// True when one is a copy of the other.
fn is_same(a: &Document, b: &Document) -> bool {
    (a.version, a.updated_at, a.content_sha256) == (b.version, b.updated_at, b.content_sha256)
}

fn is_copy(a: &[FactVersion], b: &[FactVersion]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.fact == b.fact && a.ended_at == b.ended_at)
}
