//! All that somebody has, as it is at one moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_stream::try_stream;
use futures::TryStreamExt;
use uuid::Uuid;

use super::Inner;
use super::collections::{COLLECTION_COLUMNS, read_collections, sizes};
use super::document_rows::{COLUMNS, DocumentRow, read_document};
use super::facts::read_fact_rows;
use super::predicate::Predicate;
use super::restore::versions;
use super::rows::{Row, corrupt, rows};
use super::tend::read_principal;
use crate::document::{ChunkDraft, Document};
use crate::names::Principal;
use crate::store::{Snapshot, StoreError};

/// What a [`ChunkDraft`] is read from.
pub(super) const CHUNK_COLUMNS: [&str; 7] = ["ordinal", "start", "end", "text", "heading", "page", "vector"];

impl Inner {
    pub(super) async fn principals(&self) -> Result<HashSet<Principal>, StoreError> {
        let mut found = HashSet::new();
        for table in [&self.documents, &self.facts, &self.collections, &self.watches] {
            let batches = table.collect(table.scan(None, &["principal"]).await?).await?;
            for row in rows(&batches) {
                found.insert(read_principal(row)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn whole_documents(
        &self,
        principal: &Principal,
        ids: &[Uuid],
    ) -> Result<Vec<(Document, Vec<ChunkDraft>)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let which = Predicate::of(principal).any_of("id", ids.iter().map(Uuid::to_string));
        let documents = self.document_rows(&which).await?;
        let mut parts: HashMap<Uuid, Part> = documents.into_iter().map(Part::of).collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let which = Predicate::of(principal).any_of("generation", parts.keys().map(Uuid::to_string));
        let columns = [&CHUNK_COLUMNS[..], &["generation"]].concat();
        let mut whole = Vec::new();
        for row in rows(&self.chunks.read(&which, &columns).await?) {
            let generation = row.id("generation")?;
            if let Some(part) = parts.get_mut(&generation)
                && part.add(row)?
            {
                whole.extend(parts.remove(&generation).map(Part::whole));
            }
        }
        Ok(whole)
    }

    pub(super) async fn snapshot(self: Arc<Self>, principal: &Principal) -> Result<Snapshot, StoreError> {
        // While it is held no file of an older state is removed.
        let reading = Arc::clone(&self.reading).read_owned().await;
        let everything = Predicate::of(principal);
        let columns = [&CHUNK_COLUMNS[..], &["generation"]].concat();
        let (documents, facts, collections, mut chunks) = {
            // Until each is asked for, in one state; the answers are read without anybody waiting.
            let _writing = self.writing.lock().await;
            self.follow().await?;
            let _state = self.hidden.read().await;
            (
                self.documents.scan(Some(&everything), &COLUMNS).await?,
                self.scan_facts(&everything).await?,
                self.collections.scan(Some(&everything), &COLLECTION_COLUMNS).await?,
                self.chunks.scan(Some(&everything), &columns).await?,
            )
        };
        let documents = self.documents.collect(documents).await?;
        let collections = self.collections.collect(collections).await?;
        let facts = self.facts.collect(facts).await?;
        let mut collections = read_collections(&collections, sizes(&documents)?)?;
        collections.sort_by(|a, b| a.name.cmp(&b.name));
        let mut parts = HashMap::new();
        for row in rows(&documents) {
            let (generation, part) = Part::of(read_document(row)?);
            parts.insert(generation, part);
        }
        let count = parts.len() as u64;
        let contents = try_stream! {
            let _reading = reading;
            while let Some(batch) = chunks.try_next().await.map_err(self.chunks.failed("read rows"))? {
                // A generation's rows were appended together, so hardly any part waits for its end.
                let mut whole = Vec::new();
                for row in rows(&[batch]) {
                    let generation = row.id("generation")?;
                    let Some(part) = parts.get_mut(&generation) else { continue };
                    if part.add(row)? {
                        whole.extend(parts.remove(&generation));
                    }
                }
                for part in whole {
                    yield part.whole();
                }
            }
            if let Some(part) = parts.into_values().next() {
                Err(corrupt(format!("document {} is not whole", part.document.id)))?;
            }
        };
        Ok(Snapshot {
            collections,
            facts: versions(read_fact_rows(&facts)?),
            documents: count,
            contents: Box::pin(contents),
        })
    }
}

/// A document of which some pieces were read.
struct Part {
    document: Document,
    chunks: Vec<(u32, ChunkDraft)>,
}

impl Part {
    fn of(row: DocumentRow) -> (Uuid, Self) {
        let part = Self {
            document: row.document,
            chunks: Vec::new(),
        };
        (row.generation, part)
    }

    /// True: that was the last one.
    fn add(&mut self, row: Row<'_>) -> Result<bool, StoreError> {
        self.chunks.push((row.number("ordinal")?, read_chunk(row)?));
        Ok(self.chunks.len() == self.document.chunks as usize)
    }

    fn whole(mut self) -> (Document, Vec<ChunkDraft>) {
        self.chunks.sort_by_key(|(ordinal, _)| *ordinal);
        (self.document, self.chunks.into_iter().map(|(_, chunk)| chunk).collect())
    }
}

/// A row's chunk; it has [`CHUNK_COLUMNS`].
pub(super) fn read_chunk(row: Row<'_>) -> Result<ChunkDraft, StoreError> {
    Ok(ChunkDraft {
        span: row.large("start")?..row.large("end")?,
        text: row.long_text("text")?.to_owned(),
        heading: row.text("heading")?.to_owned(),
        page: row.number("page")?,
        vector: row.vector()?,
    })
}
