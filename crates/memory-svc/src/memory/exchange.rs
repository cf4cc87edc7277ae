//! Somebody's whole memory out of the store into a file, and back ([`crate::snapshot`] is the file).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::mem;

use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Memory;
use super::ingest::embedding_text;
use super::search::checked_vector;
use crate::chunk::HEADING_SEPARATOR;
use crate::content::Content;
use crate::document::DocumentDraft;
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::fact::FactVersion;
use crate::names::{CollectionName, Principal};
use crate::snapshot::{self, CollectionRecord, DocumentRecord, FactRecord, Manifest, Record, SnapshotError, Writer};
use crate::store::{Snapshot, Store, StoreError};

/// Records that wait for the disk.
const AHEAD: usize = 4;
/// Documents that are stored in one step.
const DOCUMENTS: usize = 64;
/// Pieces of documents that are stored in one step, about.
const CHUNKS: usize = 512;
/// Versions of facts that are stored in one step, about: those of one fact are not torn apart.
const FACTS: usize = 256;
/// How much longer the line of a document is than its text at most: its vectors, and what JSON escapes.
const LINE_SHARE: u64 = 8;

/// How far an export or import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// Documents done.
    pub done: u64,
    /// Documents in all.
    pub total: u64,
}

/// A file that was written.
#[derive(Debug)]
pub struct Exported {
    /// It stands at its beginning, and is gone when it is closed.
    pub file: File,
    /// Documents in it.
    pub documents: u64,
    /// Versions of facts in it.
    pub facts: u64,
}

/// What taking a file in did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Documents that were stored.
    pub documents: u64,
    /// Documents that were there, the same or newer.
    pub kept: u64,
    /// Versions of facts that were stored.
    pub facts: u64,
    /// Pieces that were embedded.
    pub embedded: u64,
}

impl Memory {
    /// Writes all that somebody has into a file. `progress` hears of each step that it has room for.
    pub async fn export(&self, principal: &Principal, progress: mpsc::Sender<Exchanged>) -> Result<Exported, Error> {
        let current = self.current();
        let Snapshot {
            collections,
            facts,
            documents: total,
            mut contents,
        } = current.store.snapshot(principal).await?;
        let file = tempfile::tempfile_in(self.spool()).map_err(SnapshotError::Io)?;
        let (records, waiting) = mpsc::channel(AHEAD);
        let writing = tokio::task::spawn_blocking(move || write(file, waiting));
        let count = facts.len() as u64;
        let sending = async {
            let manifest = Manifest::new(current.embeddings.identity(), total);
            send(&records, Record::Manifest(manifest)).await?;
            for collection in collections {
                send(&records, Record::Collection(CollectionRecord::from(collection))).await?;
            }
            for fact in facts {
                send(&records, Record::Fact(Box::new(FactRecord::from(fact)))).await?;
            }
            let mut done = 0;
            while let Some(document) = contents.try_next().await.map_err(Ended::Store)? {
                send(&records, Record::Document(Box::new(DocumentRecord::from(document)))).await?;
                done += 1;
                let _ = progress.try_send(Exchanged { done, total });
            }
            Ok(())
        };
        let sent = sending.await;
        drop(records);
        let file = joined(writing, "writing the file").await?;
        match sent {
            // Whoever writes says why it stopped.
            Ok(()) | Err(Ended::Written) => Ok(Exported {
                file: file?,
                documents: total,
                facts: count,
            }),
            Err(Ended::Store(error)) => Err(error.into()),
        }
    }

    /// Takes an exported file in. What was stored before a fault in it stays stored.
    pub async fn import(
        &self,
        principal: &Principal,
        content: Content,
        progress: mpsc::Sender<Exchanged>,
    ) -> Result<Imported, Error> {
        let file = content.into_file().map_err(SnapshotError::Io)?;
        let longest = self.config().extract.max_text_bytes as u64 * LINE_SHARE;
        let (records, mut waiting) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            snapshot::read(file, longest, |record| records.blocking_send(record).is_ok())
        });
        let mut import = Import::new(self, principal, progress);
        let mut taken = Ok(());
        while let Some(record) = waiting.recv().await {
            taken = import.take(record).await;
            if taken.is_err() {
                break;
            }
        }
        drop(waiting);
        // What came before a fault is whole.
        import.store_facts().await?;
        import.store_documents().await?;
        self.count().await;
        taken?;
        joined(reading, "reading the file").await??;
        Ok(import.imported)
    }

    /// Makes the vectors of documents whose own are another model's.
    pub(super) async fn embed_again(&self, embeddings: &Embeddings, drafts: &mut [DocumentDraft]) -> Result<(), Error> {
        let room = self.config().embedding.max_tokens.saturating_sub(2);
        let counter = embeddings.counter().clone();
        let chunks = drafts.iter().flat_map(|draft| &draft.chunks);
        let pieces: Vec<(String, String)> = chunks
            .map(|chunk| (chunk.heading.clone(), chunk.text.clone()))
            .collect();
        let texts = move || {
            let text = |(path, text): &(String, String)| {
                let headings: Vec<&str> = path
                    .split(HEADING_SEPARATOR)
                    .filter(|heading| !heading.is_empty())
                    .collect();
                embedding_text(text, &headings, room, &*counter)
            };
            pieces.iter().map(text).collect()
        };
        let texts = joined(tokio::task::spawn_blocking(texts), "counting tokens").await?;
        let vectors = embeddings.documents(texts, |_| ()).await?;
        let chunks = drafts.iter_mut().flat_map(|draft| &mut draft.chunks);
        for (chunk, vector) in chunks.zip(vectors) {
            chunk.vector = vector;
        }
        Ok(())
    }
}

/// Why no more records are sent.
enum Ended {
    /// Nobody writes any more.
    Written,
    Store(StoreError),
}

async fn send(records: &mpsc::Sender<Record>, record: Record) -> Result<(), Ended> {
    records.send(record).await.map_err(|_| Ended::Written)
}

async fn joined<T>(task: JoinHandle<T>, doing: &'static str) -> Result<T, Error> {
    task.await.map_err(|_| Error::Panicked { doing })
}

/// Writes what comes; gives the file back at its beginning.
fn write(file: File, mut records: mpsc::Receiver<Record>) -> Result<File, SnapshotError> {
    let mut writer = Writer::new(file);
    while let Some(record) = records.blocking_recv() {
        writer.write(&record)?;
    }
    writer.finish()
}

/// A file on its way into the store, in groups.
struct Import<'a> {
    memory: &'a Memory,
    principal: &'a Principal,
    progress: mpsc::Sender<Exchanged>,
    total: u64,
    /// Whose vectors the file has; `None`: nobody said yet.
    made_by: Option<Identity>,
    /// Facts that hold here: what they say need not be said again.
    said: Option<HashMap<(CollectionName, String), Uuid>>,
    facts: Vec<FactVersion>,
    documents: Vec<DocumentDraft>,
    imported: Imported,
}

impl<'a> Import<'a> {
    fn new(memory: &'a Memory, principal: &'a Principal, progress: mpsc::Sender<Exchanged>) -> Self {
        Self {
            memory,
            principal,
            progress,
            total: 0,
            made_by: None,
            said: None,
            facts: Vec::new(),
            documents: Vec::new(),
            imported: Imported::default(),
        }
    }

    async fn take(&mut self, record: Record) -> Result<(), Error> {
        match record {
            Record::Manifest(manifest) => {
                self.total = manifest.documents;
                self.made_by = Some(manifest.identity());
                Ok(())
            }
            Record::Collection(collection) => {
                let (name, description) = collection.checked()?;
                let writing = self.memory.writing().await;
                let made = writing.store().create_collection(self.principal, &name, &description);
                match made.await {
                    Ok(_) | Err(StoreError::CollectionExists { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Record::Fact(fact) => self.take_fact(fact.checked()?).await,
            Record::Document(document) => self.take_document(document.checked()?).await,
        }
    }

    async fn take_fact(&mut self, version: FactVersion) -> Result<(), Error> {
        let is_next = self.facts.last().is_some_and(|last| last.fact.id == version.fact.id);
        if self.facts.len() >= FACTS && !is_next {
            self.store_facts().await?;
        }
        self.facts.push(version);
        Ok(())
    }

    async fn take_document(&mut self, draft: DocumentDraft) -> Result<(), Error> {
        let same = |other: &DocumentDraft| other.uri == draft.uri && other.collection == draft.collection;
        let chunks: usize = self.documents.iter().map(|document| document.chunks.len()).sum();
        if self.documents.len() >= DOCUMENTS || chunks >= CHUNKS || self.documents.iter().any(same) {
            self.store_documents().await?;
        }
        self.documents.push(draft);
        Ok(())
    }

    async fn store_facts(&mut self) -> Result<(), Error> {
        let mut facts = mem::take(&mut self.facts);
        if facts.is_empty() {
            return Ok(());
        }
        let writing = self.memory.writing().await;
        let said = match &mut self.said {
            Some(said) => said,
            said => said.insert(said_by(writing.store(), self.principal).await?),
        };
        let repeats: HashSet<Uuid> = facts
            .iter()
            .filter(|version| {
                let key = (version.fact.collection.clone(), version.fact.text.clone());
                version.ended_at.is_none() && said.get(&key).is_some_and(|other| *other != version.fact.id)
            })
            .map(|version| version.fact.id)
            .collect();
        facts.retain(|version| !repeats.contains(&version.fact.id));
        let embeddings = writing.embeddings();
        if self.made_by.as_ref() != Some(embeddings.identity()) {
            let texts = facts.iter().map(|version| version.fact.text.clone()).collect();
            let vectors = embeddings.documents(texts, |_| ()).await?;
            for (version, vector) in facts.iter_mut().zip(vectors) {
                version.vector = vector;
            }
        }
        for version in &mut facts {
            version.vector = checked_vector(embeddings.identity(), mem::take(&mut version.vector))?;
        }
        self.imported.facts += writing.store().restore_facts(self.principal, facts).await?;
        Ok(())
    }

    async fn store_documents(&mut self) -> Result<(), Error> {
        let mut documents = mem::take(&mut self.documents);
        if documents.is_empty() {
            return Ok(());
        }
        let writing = self.memory.writing().await;
        let identity = writing.embeddings().identity();
        if self.made_by.as_ref() != Some(identity) {
            self.memory.embed_again(writing.embeddings(), &mut documents).await?;
            self.imported.embedded += documents
                .iter()
                .map(|document| document.chunks.len() as u64)
                .sum::<u64>();
        }
        for chunk in documents.iter_mut().flat_map(|document| &mut document.chunks) {
            chunk.vector = checked_vector(identity, mem::take(&mut chunk.vector))?;
        }
        for put in writing.store().put_documents(self.principal, documents).await? {
            let count = if put.unchanged {
                &mut self.imported.kept
            } else {
                &mut self.imported.documents
            };
            *count += 1;
        }
        let done = self.imported.kept + self.imported.documents;
        let total = self.total.max(done);
        let _ = self.progress.try_send(Exchanged { done, total });
        Ok(())
    }
}

/// What the facts that hold say, and which one says it.
async fn said_by(
    store: &dyn Store,
    principal: &Principal,
) -> Result<HashMap<(CollectionName, String), Uuid>, StoreError> {
    let facts = store.snapshot(principal).await?.facts;
    let holding = facts.into_iter().filter(|version| version.ended_at.is_none());
    Ok(holding
        .map(|FactVersion { fact, .. }| ((fact.collection, fact.text), fact.id))
        .collect())
}
