//! An exported file on its way into the store ([`solo_snapshot`] is the file, [`super::exchange`] writes it).

use std::collections::{HashMap, HashSet};
use std::mem;

use solo_snapshot::{PieceRecord, Record};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::exchange::{AHEAD, Exchanged, joined};
use super::search::{check_dimension, checked_vector};
use super::{Current, Memory};
use crate::content::Content;
use crate::document::DocumentDraft;
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::fact::FactVersion;
use crate::names::{CollectionName, Principal};
use crate::snapshot::{self, Arriving};
use crate::store::StoreError;

/// Documents that are stored in one step.
const DOCUMENTS: usize = 64;
/// Pieces of documents that are stored in one step, about.
const PIECES: usize = 512;
/// What the pieces of documents take in memory that are stored in one step, about.
const PIECES_BYTES: usize = 32 << 20;
/// Versions of facts that are stored in one step, about: those of one fact are not torn apart.
const FACTS: usize = 256;
/// What the versions of facts take in memory that are stored in one step, about.
const FACTS_BYTES: usize = 8 << 20;
/// Most that those of one fact take: tens of thousands.
const HISTORY_BYTES: usize = 64 << 20;
/// How much longer than its text the line of a piece may be, for what JSON escapes.
const LINE_SHARE: u64 = 6;
/// Room in the line of a piece for its vector and heading, in bytes.
const LINE_ROOM: u64 = 1 << 20;

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
    /// Takes an exported file in. What was stored before a fault in it stays stored.
    pub async fn import(
        &self,
        principal: &Principal,
        content: Content,
        progress: mpsc::Sender<Exchanged>,
    ) -> Result<Imported, Error> {
        let file = content.into_file().map_err(|source| Error::Spool { source })?;
        let longest = self.config().extract.max_text_bytes as u64 * LINE_SHARE + LINE_ROOM;
        let (records, mut waiting) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            solo_snapshot::read(file, longest, |record| records.blocking_send(record).is_ok())
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
        import.nothing_open()?;
        Ok(import.imported)
    }
}

/// Versions of facts that wait to be stored.
#[derive(Default)]
struct Histories {
    versions: Vec<FactVersion>,
    bytes: usize,
}

impl Histories {
    /// True when they are to be stored before this version joins them.
    fn are_full(&self, next: &FactVersion) -> bool {
        let is_next = self.versions.last().is_some_and(|last| last.fact.id == next.fact.id);
        !is_next && (self.versions.len() >= FACTS || self.bytes >= FACTS_BYTES)
    }

    /// Adds a version. Of a fact that has too many none is kept.
    fn add(&mut self, version: FactVersion) -> Result<(), Error> {
        let id = version.fact.id;
        let said = version.fact.text.len() + version.fact.provenance.len();
        self.bytes += size_of::<FactVersion>() + said + size_of_val(&*version.vector);
        self.versions.push(version);
        // Before a fact there is little: its versions are most of this.
        if self.bytes <= HISTORY_BYTES {
            return Ok(());
        }
        self.versions.retain(|version| version.fact.id != id);
        let message = format!("the versions of fact {id} take more than {HISTORY_BYTES} bytes");
        Err(Error::invalid("data", "TOO_MANY_VERSIONS", message))
    }
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
    facts: Histories,
    open: Option<Arriving>,
    documents: Vec<DocumentDraft>,
    /// What the pieces of those take in memory.
    pieces_bytes: usize,
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
            facts: Histories::default(),
            open: None,
            documents: Vec::new(),
            pieces_bytes: 0,
            imported: Imported::default(),
        }
    }

    async fn take(&mut self, record: Record) -> Result<(), Error> {
        match record {
            Record::Manifest(manifest) => {
                self.total = manifest.documents;
                self.made_by = Some(snapshot::identity(manifest));
                Ok(())
            }
            Record::Collection(collection) => {
                let (name, description) = snapshot::collection(collection)?;
                let writing = self.memory.writing().await;
                let made = writing.store().create_collection(self.principal, &name, &description);
                match made.await {
                    Ok(_) | Err(StoreError::CollectionExists { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Record::Fact(fact) => self.take_fact(snapshot::fact(*fact)?).await,
            Record::Document(record) => {
                self.nothing_open()?;
                self.open = Some(Arriving::new(*record));
                Ok(())
            }
            Record::Piece(piece) => self.take_piece(piece).await,
        }
    }

    /// Refuses to go on while pieces of a document are missing.
    fn nothing_open(&self) -> Result<(), Error> {
        match &self.open {
            Some(open) => Err(open.unfinished()),
            None => Ok(()),
        }
    }

    async fn take_piece(&mut self, piece: PieceRecord) -> Result<(), Error> {
        let limit = self.memory.config().extract.max_text_bytes;
        let Some(open) = &mut self.open else {
            let message = "a piece stands before its document";
            return Err(Error::invalid("data", "BAD_SNAPSHOT", message));
        };
        // Vectors of another model are not looked at later, when they are made anew.
        if let Some(made_by) = &self.made_by {
            check_dimension(made_by, &piece.vector.0)?;
        }
        open.add(piece, limit)?;
        match self.open.take_if(|open| open.is_whole()) {
            Some(open) => self.take_document(open).await,
            None => Ok(()),
        }
    }

    async fn take_fact(&mut self, version: FactVersion) -> Result<(), Error> {
        if let Some(made_by) = &self.made_by {
            check_dimension(made_by, &version.vector)?;
        }
        if self.facts.are_full(&version) {
            self.store_facts().await?;
        }
        self.facts.add(version)
    }

    async fn take_document(&mut self, document: Arriving) -> Result<(), Error> {
        let bytes = document.bytes();
        let draft = document.draft()?;
        let same = |other: &DocumentDraft| other.uri == draft.uri && other.collection == draft.collection;
        let pieces: usize = self.documents.iter().map(|document| document.chunks.len()).sum();
        let is_full = self.documents.len() >= DOCUMENTS || pieces >= PIECES || self.pieces_bytes >= PIECES_BYTES;
        if is_full || self.documents.iter().any(same) {
            self.store_documents().await?;
        }
        self.documents.push(draft);
        self.pieces_bytes += bytes;
        Ok(())
    }

    async fn store_facts(&mut self) -> Result<(), Error> {
        let Histories {
            versions: mut facts, ..
        } = mem::take(&mut self.facts);
        if facts.is_empty() {
            return Ok(());
        }
        let current = self.memory.current();
        let said = match &mut self.said {
            Some(said) => said,
            said => said.insert(said_by(&current, self.principal).await?),
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
        // Before writing, which others wait for.
        embed_facts(&current.embeddings, self.made_by.as_ref(), &mut facts).await?;
        let made_by = current.embeddings.identity();
        let writing = self.memory.writing().await;
        if writing.embeddings().identity() != made_by {
            embed_facts(writing.embeddings(), Some(made_by), &mut facts).await?;
        }
        self.imported.facts += writing.store().restore_facts(self.principal, facts).await?;
        Ok(())
    }

    async fn store_documents(&mut self) -> Result<(), Error> {
        let mut documents = mem::take(&mut self.documents);
        self.pieces_bytes = 0;
        if documents.is_empty() {
            return Ok(());
        }
        let current = self.memory.current();
        let identity = current.embeddings.identity();
        if self.made_by.as_ref() != Some(identity) {
            // What stays as it is here needs no vectors.
            documents = self.without_kept(&current, documents).await?;
            self.memory.embed_again(&current.embeddings, &mut documents).await?;
            let pieces = documents.iter().map(|document| document.chunks.len() as u64);
            self.imported.embedded += pieces.sum::<u64>();
        }
        for chunk in documents.iter_mut().flat_map(|document| &mut document.chunks) {
            chunk.vector = checked_vector(identity, mem::take(&mut chunk.vector))?;
        }
        let writing = self.memory.writing().await;
        if writing.embeddings().identity() != identity {
            self.memory.embed_again(writing.embeddings(), &mut documents).await?;
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

    /// Those that are not here, the same or newer, which are counted.
    async fn without_kept(
        &mut self,
        current: &Current,
        documents: Vec<DocumentDraft>,
    ) -> Result<Vec<DocumentDraft>, Error> {
        let mut wanted = Vec::new();
        for draft in documents {
            let here = current
                .store
                .find_document(self.principal, &draft.collection, &draft.uri)
                .await?;
            if here.is_some_and(|here| draft.is_stale_beside(&here)) {
                self.imported.kept += 1;
            } else {
                wanted.push(draft);
            }
        }
        Ok(wanted)
    }
}

/// Makes the vectors of facts whose own are another model's: `made_by`.
async fn embed_facts(
    embeddings: &Embeddings,
    made_by: Option<&Identity>,
    facts: &mut [FactVersion],
) -> Result<(), Error> {
    if made_by != Some(embeddings.identity()) {
        let texts = facts.iter().map(|version| version.fact.text.clone()).collect();
        let vectors = embeddings.documents(texts, |_| ()).await?;
        for (version, vector) in facts.iter_mut().zip(vectors) {
            version.vector = vector;
        }
    }
    for version in facts {
        version.vector = checked_vector(embeddings.identity(), mem::take(&mut version.vector))?;
    }
    Ok(())
}

/// What the facts that hold say, and which one says it.
async fn said_by(
    current: &Current,
    principal: &Principal,
) -> Result<HashMap<(CollectionName, String), Uuid>, StoreError> {
    let facts = current.store.fact_histories(principal).await?;
    let holding = facts.into_iter().filter(|version| version.ended_at.is_none());
    Ok(holding
        .map(|FactVersion { fact, .. }| ((fact.collection, fact.text), fact.id))
        .collect())
}

#[cfg(test)]
mod tests;
