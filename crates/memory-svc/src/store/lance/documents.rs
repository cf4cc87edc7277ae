//! Documents: putting, finding, listing, deleting. The order of the steps is explained in [`super`].

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Inner;
use super::change::Change;
use super::document_rows::{COLUMNS, DocumentRow, document_row, read_document, read_hash};
use super::predicate::Predicate;
use super::put::Slot;
use super::rows::{batch, rows, vectors};
use super::schema;
use super::shared_table::key;
use super::sharing::Attempts;
use super::snapshot::{CHUNK_COLUMNS, read_chunk};
use crate::document::{ChunkDraft, Document, DocumentDraft, DocumentFilter, Put, Stored};
use crate::names::{CollectionName, DocumentUri, Principal};
use crate::page::{Page, PageRequest};
use crate::store::StoreError;

/// Metadata that a page of documents may carry, in bytes, before it is cut short: answers must fit into a message.
const PAGE_METADATA_BYTES: usize = 1 << 20;

impl Inner {
    pub(super) async fn put_documents(
        &self,
        principal: &Principal,
        drafts: Vec<DocumentDraft>,
    ) -> Result<Vec<Put>, StoreError> {
        let _writing = self.writing.lock().await;
        self.put_locked(principal, drafts).await
    }

    /// As [`Self::put_documents`]; the caller holds the write lock.
    pub(super) async fn put_locked(
        &self,
        principal: &Principal,
        drafts: Vec<DocumentDraft>,
    ) -> Result<Vec<Put>, StoreError> {
        if self.shared.is_some() {
            return self.put_shared(principal, drafts, None).await;
        }
        let slots = drafts.into_iter().map(Slot::Draft).collect();
        let (slots, _) = self.decide(principal, slots).await?;
        let changes: Vec<&Change> = slots.iter().filter_map(Slot::change).collect();
        if !changes.is_empty() {
            let replaces = changes.iter().any(|change| change.old.is_some());
            let done = self.switch(principal, &changes).await;
            // Failed or done: what is left over is invisible, and upkeep removes it.
            self.note_write(replaces || done.is_err());
            done?;
        }
        Ok(slots.into_iter().filter_map(Slot::put).collect())
    }

    /// The three steps of a put.
    async fn switch(&self, principal: &Principal, changes: &[&Change]) -> Result<(), StoreError> {
        let rows: Result<Vec<RecordBatch>, _> = changes
            .iter()
            .map(|change| document_row(principal, &change.new))
            .collect();
        let chunks: Result<Vec<RecordBatch>, _> = changes
            .iter()
            .map(|change| self.chunk_rows(principal, change))
            .collect();
        let (rows, chunks) = (rows?, chunks?);
        let new: Vec<Uuid> = changes.iter().map(|change| change.new.generation).collect();
        let old: Vec<Uuid> = changes
            .iter()
            .filter_map(|change| Some(change.old.as_ref()?.generation))
            .collect();
        self.hidden.write().await.extend(&new);
        self.chunks.append(chunks).await?;
        if old.is_empty() {
            self.documents.append(rows).await?;
        } else {
            self.documents.upsert(&key::DOCUMENTS, rows).await?;
        }
        {
            let mut hidden = self.hidden.write().await;
            hidden.retain(|generation| !new.contains(generation));
            hidden.extend(&old);
            self.change_held(|held| {
                self.resident.remove_generations(held, principal, &old);
                changes.iter().all(|change| {
                    let generation = change.new.generation;
                    let mut pieces = change.pieces();
                    pieces.all(|(piece, vector)| self.resident.add_piece(held, principal, generation, piece, vector))
                })
            });
        }
        if !old.is_empty() {
            self.drop_chunks_or_later(&old).await;
        }
        Ok(())
    }

    pub(super) async fn contents(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri_prefix: &str,
    ) -> Result<Vec<Stored>, StoreError> {
        let which = Predicate::of(principal)
            .is("collection", collection.as_str())
            .starts_with("uri", uri_prefix);
        let batches = self.documents.read(&which, &["id", "uri", "content_sha256"]).await?;
        let stored = rows(&batches).map(|row| {
            Ok(Stored {
                id: row.id("id")?,
                uri: row.text("uri")?.to_owned(),
                content_sha256: read_hash(row)?,
            })
        });
        stored.collect()
    }

    pub(super) async fn find_document(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri: &DocumentUri,
    ) -> Result<Option<Document>, StoreError> {
        if !collection.is_default() && !self.collection_exists(principal, collection).await? {
            return Err(StoreError::NotFound {
                what: "collection",
                name: collection.to_string(),
            });
        }
        Ok(self
            .row_of_uri(principal, collection, uri)
            .await?
            .map(|row| row.document))
    }

    async fn row_of_uri(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri: &DocumentUri,
    ) -> Result<Option<DocumentRow>, StoreError> {
        let which = Predicate::of(principal)
            .is("collection", collection.as_str())
            .is("uri", uri.as_str());
        Ok(self.document_rows(&which).await?.into_iter().next())
    }

    /// Any document with this content.
    pub(super) async fn find_content(
        &self,
        principal: &Principal,
        sha256: &[u8; 32],
    ) -> Result<Option<Uuid>, StoreError> {
        let which = Predicate::of(principal).is("content_sha256", &hex::encode(sha256));
        let batches = self.documents.read(&which, &["id"]).await?;
        rows(&batches).next().map(|row| row.id("id")).transpose()
    }

    /// A document's chunks, in order; none of a document that is gone.
    pub(super) async fn chunks_of(&self, principal: &Principal, id: Uuid) -> Result<Vec<ChunkDraft>, StoreError> {
        let row = match self.document_row(principal, id).await {
            Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
            row => row?,
        };
        let which = Predicate::of(principal).is("generation", &row.generation.to_string());
        let batches = self
            .chunks
            .ordered(&which, &CHUNK_COLUMNS, "ordinal", true, None)
            .await?;
        rows(&batches).map(read_chunk).collect()
    }

    /// A document's row by its identifier.
    pub(super) async fn document_row(&self, principal: &Principal, id: Uuid) -> Result<DocumentRow, StoreError> {
        let which = Predicate::of(principal).is("id", &id.to_string());
        let row = self.document_rows(&which).await?.into_iter().next();
        row.ok_or_else(|| StoreError::NotFound {
            what: "document",
            name: id.to_string(),
        })
    }

    pub(super) async fn document_rows(&self, which: &Predicate) -> Result<Vec<DocumentRow>, StoreError> {
        let batches = self.documents.read(which, &COLUMNS).await?;
        rows(&batches).map(read_document).collect()
    }

    pub(super) async fn list_documents(
        &self,
        principal: &Principal,
        filter: &DocumentFilter,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Document>, StoreError> {
        let mut which = Predicate::of(principal).starts_with("uri", &filter.uri_prefix);
        if let Some(collection) = &filter.collection {
            which = which.is("collection", collection.as_str());
        }
        if let Some(after) = page.after {
            which = which.less("id", &after.to_string());
        }
        let batches = self
            .documents
            .ordered(&which, &COLUMNS, "id", false, Some(page.size + 1))
            .await?;
        let documents: Result<Vec<Document>, _> = rows(&batches)
            .map(|row| read_document(row).map(|row| row.document))
            .collect();
        let documents = documents?;
        let size = page.size.min(page_of_bounded_metadata(&documents));
        Ok(Page::cut(documents, size, |document| document.id.to_string()))
    }

    pub(super) async fn delete_documents(&self, principal: &Principal, ids: &[Uuid]) -> Result<u64, StoreError> {
        let _writing = self.writing.lock().await;
        let which = Predicate::of(principal).any_of("id", ids.iter().map(Uuid::to_string));
        self.follow().await?;
        let found = if ids.is_empty() {
            Vec::new()
        } else {
            self.document_rows(&which).await?
        };
        let missing = ids.iter().find(|id| !found.iter().any(|row| row.document.id == **id));
        if let Some(id) = missing {
            return Err(StoreError::NotFound {
                what: "document",
                name: id.to_string(),
            });
        }
        self.drop_documents(principal, &which, &found).await
    }

    /// Deletes the documents `rows`, which are those that match `which`. The caller holds the write lock.
    pub(super) async fn drop_documents(
        &self,
        principal: &Principal,
        which: &Predicate,
        rows: &[DocumentRow],
    ) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        if self.shared.is_some() {
            self.drop_shared(which, rows).await?;
            return Ok(rows.len() as u64);
        }
        let generations: Vec<Uuid> = rows.iter().map(|row| row.generation).collect();
        self.hidden.write().await.extend(&generations);
        if let Err(error) = self.documents.delete(which).await {
            // They are still there, so they must be seen.
            self.hidden
                .write()
                .await
                .retain(|generation| !generations.contains(generation));
            return Err(error);
        }
        self.change_held(|held| {
            self.resident.remove_generations(held, principal, &generations);
            true
        });
        self.drop_chunks_or_later(&generations).await;
        self.note_write(true);
        Ok(rows.len() as u64)
    }

    /// Deletes documents where others write, too: those that were read, by their generations, and then what took their place
    /// meanwhile.
    async fn drop_shared(&self, which: &Predicate, rows: &[DocumentRow]) -> Result<(), StoreError> {
        let mut attempts = Attempts::default();
        let mut generations: Vec<Uuid> = rows.iter().map(|row| row.generation).collect();
        loop {
            // A long list makes a slow filter.
            for some in generations.chunks(1000) {
                let those = Predicate::of_everybody("generation", some.iter().map(Uuid::to_string));
                self.documents.delete(&those).await?;
            }
            self.note_write(true);
            self.drop_chunks_or_later(&generations).await;
            self.follow().await?;
            generations = self
                .document_rows(which)
                .await?
                .iter()
                .map(|row| row.generation)
                .collect();
            if generations.is_empty() {
                return Ok(());
            }
            attempts.again().await?;
        }
    }

    /// Deletes hidden chunks; what cannot be deleted now stays hidden until upkeep can.
    pub(super) async fn drop_chunks_or_later(&self, generations: &[Uuid]) {
        if let Err(error) = self.drop_chunks(generations).await {
            let error = solo_service::error::chain(&error);
            tracing::warn!(%error, "chunks of a deleted version could not be removed yet; upkeep will try again");
            if self.shared.is_some() {
                self.hidden.write().await.extend(generations);
            }
        }
    }

    /// Deletes the chunks of generations that no document has any more, and un-hides them; says how many there were.
    pub(super) async fn drop_chunks(&self, generations: &[Uuid]) -> Result<u64, StoreError> {
        let mut chunks = 0;
        // A long list makes a slow filter.
        for some in generations.chunks(1000) {
            let which = Predicate::of_everybody("generation", some.iter().map(Uuid::to_string));
            chunks += self.chunks.delete(&which).await?;
            self.hidden
                .write()
                .await
                .retain(|generation| !some.contains(generation));
        }
        Ok(chunks)
    }

    pub(super) fn chunk_rows(&self, principal: &Principal, change: &Change) -> Result<RecordBatch, StoreError> {
        let Change { new: row, draft, .. } = change;
        let chunks = &draft.chunks;
        let count = chunks.len();
        let document = &row.document;
        let same = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, count))) as ArrayRef;
        let ids = change.ids.iter().map(Uuid::to_string);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(ids)),
            same(principal.as_str()),
            same(document.collection.as_str()),
            same(&document.id.to_string()),
            same(&row.generation.to_string()),
            Arc::new(UInt32Array::from_iter_values(0..document.chunks)),
            same(&document.uri),
            same(&document.title),
            Arc::new(StringArray::from_iter_values(chunks.iter().map(|chunk| &chunk.heading))),
            Arc::new(UInt32Array::from_iter_values(chunks.iter().map(|chunk| chunk.page))),
            Arc::new(UInt64Array::from_iter_values(
                chunks.iter().map(|chunk| chunk.span.start),
            )),
            Arc::new(UInt64Array::from_iter_values(chunks.iter().map(|chunk| chunk.span.end))),
            Arc::new(LargeStringArray::from_iter_values(
                chunks.iter().map(|chunk| &chunk.text),
            )),
            Arc::new(Int64Array::from_value(document.updated_at.as_microsecond(), count)),
            vectors(chunks.iter().map(|chunk| chunk.vector.as_slice()), self.dimension)?,
        ];
        batch(schema::chunks(self.dimension), columns)
    }
}

/// The present, as precise as it is stored.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// How many of `documents` carry no more metadata than fits; at least one.
fn page_of_bounded_metadata(documents: &[Document]) -> usize {
    let mut bytes = 0;
    let fitting = documents.iter().take_while(|document| {
        bytes += Value::Object(document.metadata.clone()).to_string().len();
        bytes <= PAGE_METADATA_BYTES
    });
    fitting.count().max(1)
}
