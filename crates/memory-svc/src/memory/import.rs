//! An exported file on its way into the store ([`solo_snapshot`] is the file, [`super::exchange`] writes it).

use std::collections::{HashMap, HashSet};
use std::mem;

use solo_snapshot::{DocumentRecord, PieceRecord, Record};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::exchange::{AHEAD, Exchanged, joined};
use super::search::checked_vector;
use super::{Current, Memory};
use crate::content::Content;
use crate::document::DocumentDraft;
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::fact::FactVersion;
use crate::names::{CollectionName, Principal};
use crate::snapshot;
use crate::store::StoreError;

/// Documents that are stored in one step.
const DOCUMENTS: usize = 64;
/// Pieces of documents that are stored in one step, about.
const PIECES: usize = 512;
/// Versions of facts that are stored in one step, about: those of one fact are not torn apart.
const FACTS: usize = 256;
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

/// A document whose pieces are still coming.
struct Open {
    record: DocumentRecord,
    pieces: Vec<PieceRecord>,
    text_bytes: usize,
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
    open: Option<Open>,
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
            open: None,
            documents: Vec::new(),
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
                self.open = Some(Open {
                    record: *record,
                    pieces: Vec::new(),
                    text_bytes: 0,
                });
                Ok(())
            }
            Record::Piece(piece) => self.take_piece(piece).await,
        }
    }

    /// Refuses to go on while pieces of a document are missing.
    fn nothing_open(&self) -> Result<(), Error> {
        let Some(open) = &self.open else { return Ok(()) };
        let message = format!("a document has {} pieces of {}", open.pieces.len(), open.record.pieces);
        Err(Error::invalid("data", "BAD_SNAPSHOT", message))
    }

    async fn take_piece(&mut self, piece: PieceRecord) -> Result<(), Error> {
        let limit = self.memory.config().extract.max_text_bytes;
        let Some(open) = &mut self.open else {
            let message = "a piece stands before its document";
            return Err(Error::invalid("data", "BAD_SNAPSHOT", message));
        };
        open.text_bytes += piece.text.len();
        // Neighbours overlap by half of themselves at most.
        if open.text_bytes / 2 > limit {
            let message =
                format!("a document's text is longer than {limit} bytes; raise memory.extract.max_text_bytes");
            return Err(Error::invalid("data", "TEXT_TOO_LONG", message));
        }
        open.pieces.push(piece);
        if open.pieces.len() < open.record.pieces as usize {
            return Ok(());
        }
        match self.open.take() {
            Some(Open { record, pieces, .. }) => self.take_document(snapshot::document(record, pieces)?).await,
            None => Ok(()),
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
        let pieces: usize = self.documents.iter().map(|document| document.chunks.len()).sum();
        if self.documents.len() >= DOCUMENTS || pieces >= PIECES || self.documents.iter().any(same) {
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
        self.embed_facts(&current.embeddings, &mut facts).await?;
        let made_by = current.embeddings.identity();
        let writing = self.memory.writing().await;
        if writing.embeddings().identity() != made_by {
            self.made_by = Some(made_by.clone());
            self.embed_facts(writing.embeddings(), &mut facts).await?;
        }
        self.imported.facts += writing.store().restore_facts(self.principal, facts).await?;
        Ok(())
    }

    async fn embed_facts(&self, embeddings: &Embeddings, facts: &mut [FactVersion]) -> Result<(), Error> {
        if self.made_by.as_ref() != Some(embeddings.identity()) {
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

    async fn store_documents(&mut self) -> Result<(), Error> {
        let mut documents = mem::take(&mut self.documents);
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
