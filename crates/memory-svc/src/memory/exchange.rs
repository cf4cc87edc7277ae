//! Somebody's whole memory out of the store into a file, and back ([`crate::snapshot`] is the file).

use std::fs::File;
use std::mem;

use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Memory;
use super::ingest::embedding_text;
use crate::chunk::HEADING_SEPARATOR;
use crate::content::Content;
use crate::document::DocumentDraft;
use crate::error::Error;
use crate::fact::FactVersion;
use crate::names::Principal;
use crate::snapshot::{self, CollectionRecord, DocumentRecord, FactRecord, Manifest, Record, SnapshotError, Writer};
use crate::store::{Snapshot, StoreError};

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
        let Snapshot {
            collections,
            facts,
            documents: total,
            mut contents,
        } = self.store().snapshot(principal).await?;
        let file = tempfile::tempfile_in(self.spool()).map_err(SnapshotError::Io)?;
        let (records, waiting) = mpsc::channel(AHEAD);
        let writing = tokio::task::spawn_blocking(move || write(file, waiting));
        let count = facts.len() as u64;
        let sending = async {
            let manifest = Manifest::new(self.0.embeddings.identity(), total);
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

    /// Makes the vectors of pieces whose own are another model's.
    async fn embed_again(&self, draft: &mut DocumentDraft) -> Result<(), Error> {
        let room = self.config().embedding.max_tokens.saturating_sub(2);
        let counter = self.0.embeddings.counter().clone();
        let pieces: Vec<(String, String)> = draft
            .chunks
            .iter()
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
        let vectors = self.0.embeddings.documents(texts, |_| ()).await?;
        for (chunk, vector) in draft.chunks.iter_mut().zip(vectors) {
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
    /// The file's vectors are another model's.
    foreign: bool,
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
            foreign: false,
            facts: Vec::new(),
            documents: Vec::new(),
            imported: Imported::default(),
        }
    }

    async fn take(&mut self, record: Record) -> Result<(), Error> {
        match record {
            Record::Manifest(manifest) => {
                self.total = manifest.documents;
                self.foreign = manifest.identity() != *self.memory.0.embeddings.identity();
                Ok(())
            }
            Record::Collection(collection) => {
                let (name, description) = collection.checked()?;
                let made = self
                    .memory
                    .store()
                    .create_collection(self.principal, &name, &description);
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

    async fn take_document(&mut self, mut draft: DocumentDraft) -> Result<(), Error> {
        if self.foreign {
            self.memory.embed_again(&mut draft).await?;
            self.imported.embedded += draft.chunks.len() as u64;
        }
        for chunk in &mut draft.chunks {
            chunk.vector = self.memory.checked_vector(mem::take(&mut chunk.vector))?;
        }
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
        if self.foreign {
            let texts = facts.iter().map(|version| version.fact.text.clone()).collect();
            let vectors = self.memory.0.embeddings.documents(texts, |_| ()).await?;
            for (version, vector) in facts.iter_mut().zip(vectors) {
                version.vector = vector;
            }
        }
        for version in &mut facts {
            version.vector = self.memory.checked_vector(mem::take(&mut version.vector))?;
        }
        self.imported.facts += self.memory.store().restore_facts(self.principal, facts).await?;
        Ok(())
    }

    async fn store_documents(&mut self) -> Result<(), Error> {
        let documents = mem::take(&mut self.documents);
        if documents.is_empty() {
            return Ok(());
        }
        for put in self.memory.store().put_documents(self.principal, documents).await? {
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
