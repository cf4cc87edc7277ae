//! Another embedding model for all that is stored: a second store is filled beside the first, which goes on serving, and takes
//! its place in one step once both hold the same.
//!
//! 1. The second store is made equal to the first: what it lacks is embedded, what the first no longer has is deleted.
//! 2. Once more, for what was written meanwhile.
//! 3. Once more while nobody writes; then the second store counts, on the disk and here.
//! 4. After a while, when nobody reads the first any more, it is removed.
//!
//! What an attempt that fails has written is removed, for what is deleted meanwhile must not stay anywhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use solo_service::error::chain;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Current, Memory};
use crate::config::EmbeddingConfig;
use crate::document::{Document, DocumentDraft, DocumentFilter};
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::fact::{FactVersion, Selector};
use crate::names::Principal;
use crate::page::PageRequest;
use crate::store::{Store, StoreError};

/// Documents that are stored in one step.
const DOCUMENTS: usize = 64;
/// Pieces that are stored in one step, about; how far it is is said after each.
const CHUNKS: usize = 64;
/// How often it is looked whether somebody reads the first store still.
const READERS: Duration = Duration::from_secs(1);
/// Passes over the store while others write; the last one is for what little was written during the one before.
const PASSES: usize = 2;

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// So many pieces of so many are in the second store.
    Copying {
        /// Pieces that are.
        done: u64,
        /// Pieces in all, about.
        total: u64,
    },
    /// The second store counts now.
    Done {
        /// Whose vectors are in it.
        identity: Identity,
        /// Pieces and facts that were embedded.
        embedded: u64,
    },
    /// The first store still counts.
    Failed {
        /// Why, in a sentence.
        problem: String,
    },
}

impl Step {
    /// True: there is no next one.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Copying { .. })
    }
}

/// A re-embedding that runs, or ran last.
pub(super) struct Running {
    wanted: EmbeddingConfig,
    steps: watch::Receiver<Step>,
}

impl Memory {
    /// Begins to make all vectors anew with another model, in the background, or joins one that has begun. It goes on though
    /// nobody listens.
    ///
    /// # Errors
    /// A model that is not installed or is the present one, or another one under way; a store that is shared.
    pub async fn reembed(&self, wanted: EmbeddingConfig) -> Result<watch::Receiver<Step>, Error> {
        if self.config().is_shared() {
            return Err(Error::SharedStore);
        }
        let mut reembedding = self.0.reembedding.lock().await;
        if let Some(running) = reembedding.as_ref().filter(|running| !running.steps.borrow().is_last()) {
            if running.wanted == wanted {
                return Ok(running.steps.clone());
            }
            return Err(Error::Reembedding {
                model: running.wanted.model.clone(),
            });
        }
        let loader = (self.0.loaders)(&wanted)?;
        let present = self.current().embeddings.identity().clone();
        if loader.identity == present {
            let message = format!("the store has vectors of {present} already");
            return Err(Error::invalid("model", "SAME_MODEL", message));
        }
        let embeddings = Embeddings::load(&self.0.context, &self.0.config, loader).await?;
        let (steps, listener) = watch::channel(Step::Copying { done: 0, total: 0 });
        *reembedding = Some(Running {
            wanted,
            steps: listener.clone(),
        });
        let (memory, shutdown) = (self.clone(), self.0.context.shutdown.clone());
        tokio::spawn(async move {
            let work = Reembedding {
                memory: &memory,
                steps: &steps,
                done: 0,
                embedded: 0,
            };
            let last = tokio::select! {
                () = shutdown.cancelled() => Step::Failed {
                    problem: "memory-svc stops: ask again once it runs".into(),
                },
                done = work.run(embeddings) => match done {
                    Ok(last) => last,
                    Err(error) => {
                        tracing::error!(error = %chain(&error), "the vectors could not be made anew");
                        remove_others(&memory).await;
                        Step::Failed { problem: error.to_string() }
                    }
                },
            };
            steps.send_replace(last);
        });
        Ok(listener)
    }
}

/// One attempt.
struct Reembedding<'a> {
    memory: &'a Memory,
    steps: &'a watch::Sender<Step>,
    done: u64,
    embedded: u64,
}

impl Reembedding<'_> {
    async fn run(mut self, embeddings: Embeddings) -> Result<Step, Error> {
        let memory = self.memory;
        let identity = embeddings.identity().clone();
        let folder = memory.0.place.for_model(&identity);
        let store = memory.open_beside(&folder, &identity).await?;
        let next = Arc::new(Current { store, embeddings });
        tracing::info!(model = identity.model, "all vectors are made anew");
        for _ in 0..PASSES {
            self.make_equal(&next).await?;
        }
        next.store.compact().await?;
        next.store.index().await?;
        next.store.warm().await?;
        let old = {
            let _nobody_writes = memory.0.switching.write().await;
            self.make_equal(&next).await?;
            memory
                .0
                .place
                .switch(&folder)
                .map_err(|source| Error::Spool { source })?;
            memory.replace(next)
        };
        tracing::info!(
            model = identity.model,
            embedded = self.embedded,
            "the store has vectors of another model now"
        );
        tokio::spawn(remove(memory.clone(), old));
        Ok(Step::Done {
            identity,
            embedded: self.embedded,
        })
    }

    /// Makes the second store hold what the first holds.
    async fn make_equal(&mut self, to: &Current) -> Result<(), Error> {
        let from = self.memory.current();
        self.done = 0;
        let (here, there) = (from.store.principals().await?, to.store.principals().await?);
        for principal in here.union(&there) {
            self.copy_collections(&from, to, principal).await?;
            self.copy_documents(&from, to, principal).await?;
            self.copy_facts(&from, to, principal).await?;
        }
        let (here, there) = (from.store.watches().await?, to.store.watches().await?);
        for watch in here.iter().filter(|watch| !there.contains(watch)) {
            to.store.add_watch(watch).await?;
        }
        for watch in there.iter().filter(|watch| !here.contains(watch)) {
            to.store.remove_watch(&watch.principal, watch.id).await?;
        }
        Ok(())
    }

    async fn copy_collections(&self, from: &Current, to: &Current, principal: &Principal) -> Result<(), Error> {
        let all = PageRequest::everything();
        let (here, there) = (
            from.store.collections(principal, &all).await?.items,
            to.store.collections(principal, &all).await?.items,
        );
        for collection in &there {
            if !here.iter().any(|other| other.name == collection.name) {
                to.store.delete_collection(principal, &collection.name).await?;
            }
        }
        for collection in here {
            let (name, description) = (collection.name, collection.description);
            match to.store.create_collection(principal, &name, &description).await {
                Ok(_) | Err(StoreError::CollectionExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn copy_documents(&mut self, from: &Current, to: &Current, principal: &Principal) -> Result<(), Error> {
        let here = documents(&*from.store, principal).await?;
        let there = documents(&*to.store, principal).await?;
        let gone: Vec<Uuid> = there.keys().filter(|id| !here.contains_key(*id)).copied().collect();
        for some in gone.chunks(DOCUMENTS) {
            to.store.delete_documents(principal, some).await?;
        }
        let mut missing: HashSet<Uuid> = here.keys().copied().collect();
        for (id, document) in &here {
            if there.get(id).is_some_and(|other| is_same(document, other)) {
                missing.remove(id);
                self.done += u64::from(document.chunks);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let total = from.store.statistics().await?.chunks;
        let mut contents = from.store.snapshot(principal).await?.contents;
        let (mut group, mut pieces) = (Vec::new(), 0);
        while let Some((document, chunks)) = contents.try_next().await? {
            if !missing.contains(&document.id) {
                continue;
            }
            pieces += chunks.len();
            group.push(DocumentDraft::of(document, chunks)?);
            if group.len() >= DOCUMENTS || pieces >= CHUNKS {
                self.copy_group(to, principal, std::mem::take(&mut group), total)
                    .await?;
                pieces = 0;
            }
        }
        self.copy_group(to, principal, group, total).await
    }

    async fn copy_group(
        &mut self,
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
        for (id, history) in &there {
            if here.get(id).is_none_or(|other| !says_the_same(history, other)) {
                to.store.forget(principal, &Selector::Fact(*id)).await?;
            }
        }
        let missing = here
            .into_iter()
            .filter(|(id, history)| there.get(id).is_none_or(|other| !says_the_same(history, other)));
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
        to.store.restore_facts(principal, versions).await?;
        Ok(())
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

async fn facts(store: &dyn Store, principal: &Principal) -> Result<HashMap<Uuid, Vec<FactVersion>>, StoreError> {
    let mut histories: HashMap<Uuid, Vec<FactVersion>> = HashMap::new();
    for version in store.snapshot(principal).await?.facts {
        histories.entry(version.fact.id).or_default().push(version);
    }
    Ok(histories)
}

/// True when one is a copy of the other.
fn is_same(a: &Document, b: &Document) -> bool {
    (a.version, a.updated_at, a.content_sha256) == (b.version, b.updated_at, b.content_sha256)
}

fn says_the_same(a: &[FactVersion], b: &[FactVersion]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.fact == b.fact && a.ended_at == b.ended_at)
}

/// Removes a store that no longer counts, once whoever reads it may be done.
async fn remove(memory: Memory, old: Arc<Current>) {
    let shutdown = memory.0.context.shutdown.clone();
    tokio::select! {
        // The next start removes it.
        () = shutdown.cancelled() => return,
        () = tokio::time::sleep(memory.0.config.upkeep.retain()) => {}
    }
    while Arc::strong_count(&old) > 1 {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(READERS) => {}
        }
    }
    old.store.settle().await;
    drop(old);
    remove_others(&memory).await;
}

async fn remove_others(memory: &Memory) {
    let place = memory.0.place.clone();
    let removed = tokio::task::spawn_blocking(move || place.remove_others()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, "a store that does not count could not be removed; the next start tries again");
    }
}
