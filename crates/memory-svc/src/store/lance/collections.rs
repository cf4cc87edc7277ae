//! Collections.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::Inner;
use super::documents::now;
use super::pin::{Outcome, Present};
use super::predicate::Predicate;
use super::rows::{Row, batch, corrupt, rows};
use super::schema;
use super::shared_table::key;
use super::sharing::Attempts;
use crate::document::Collection;
use crate::names::{CollectionName, Principal};
use crate::page::{Page, PageRequest};
use crate::store::StoreError;

/// What a collection is read from.
pub(super) const COLLECTION_COLUMNS: [&str; 3] = ["name", "description", "created_at"];

/// Numbers of documents and of chunks, by collection.
type Sizes = HashMap<String, (u64, u64)>;

impl Inner {
    pub(super) async fn create_collection(
        &self,
        principal: &Principal,
        name: &CollectionName,
        description: &str,
    ) -> Result<Collection, StoreError> {
        let _writing = self.writing.lock().await;
        self.follow().await?;
        let new = new(name, description);
        if self.add_collection(principal, &new).await? {
            Ok(new)
        } else {
            Err(StoreError::CollectionExists { name: name.clone() })
        }
    }

    pub(super) async fn restore_collection(
        &self,
        principal: &Principal,
        collection: &Collection,
    ) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        self.follow().await?;
        self.add_collection(principal, collection).await.map(drop)
    }

    /// False: there is one of that name.
    async fn add_collection(&self, principal: &Principal, collection: &Collection) -> Result<bool, StoreError> {
        let Collection {
            name,
            description,
            created_at,
            ..
        } = collection;
        let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
        let columns = vec![
            text(principal.as_str()),
            text(name.as_str()),
            text(description),
            Arc::new(Int64Array::from(vec![created_at.as_microsecond()])),
        ];
        let rows = vec![batch(schema::collections(), columns)?];
        let mut attempts = Attempts::default();
        loop {
            let pin = self.collections.pin().await?;
            if self.collection_exists(principal, name).await? {
                return Ok(false);
            }
            let Some(pin) = pin else {
                self.collections.append(rows).await?;
                break;
            };
            let added = self
                .collections
                .merge(&pin, &key::COLLECTIONS, rows.clone(), Present::Kept);
            if added.await? == Outcome::Done {
                break;
            }
            attempts.again().await?;
            self.collections.reload().await?;
        }
        self.note_write(false);
        Ok(true)
    }

    pub(super) async fn collection_exists(
        &self,
        principal: &Principal,
        name: &CollectionName,
    ) -> Result<bool, StoreError> {
        let which = Predicate::of(principal).is("name", name.as_str());
        let batches = self.collections.read(&which, &["name"]).await?;
        Ok(rows(&batches).next().is_some())
    }

    /// Refuses a collection that was not created; the default one is created by its first use.
    pub(super) async fn ensure_collection(
        &self,
        principal: &Principal,
        name: &CollectionName,
    ) -> Result<(), StoreError> {
        if self.collection_exists(principal, name).await? {
            Ok(())
        } else if name.is_default() {
            self.add_collection(principal, &new(name, "")).await.map(drop)
        } else {
            Err(StoreError::NotFound {
                what: "collection",
                name: name.to_string(),
            })
        }
    }

    pub(super) async fn list_collections(
        &self,
        principal: &Principal,
        page: &PageRequest<CollectionName>,
    ) -> Result<Page<Collection>, StoreError> {
        let mut which = Predicate::of(principal);
        if let Some(after) = &page.after {
            which = which.greater("name", after.as_str());
        }
        let batches = self
            .collections
            .ordered(&which, &COLLECTION_COLUMNS, "name", true, Some(page.size + 1))
            .await?;
        let documents = self
            .documents
            .read(&Predicate::of(principal), &["collection", "chunks"])
            .await?;
        let collections = read_collections(&batches, sizes(&documents)?)?;
        Ok(Page::cut(collections, page.size, |collection| {
            collection.name.to_string()
        }))
    }

    /// Deletes a collection with what is in it. The collection itself goes last, so that a crash leaves one that can be
    /// deleted again.
    pub(super) async fn delete_collection(
        &self,
        principal: &Principal,
        name: &CollectionName,
    ) -> Result<u64, StoreError> {
        let _writing = self.writing.lock().await;
        self.follow().await?;
        if !self.collection_exists(principal, name).await? {
            return Err(StoreError::NotFound {
                what: "collection",
                name: name.to_string(),
            });
        }
        let inside = Predicate::of(principal).is("collection", name.as_str());
        let documents = self.document_rows(&inside).await?;
        let deleted = self.drop_documents(principal, &inside, &documents).await?;
        self.facts.delete(&inside).await?;
        self.resident.forget_collection(principal, name);
        self.collections
            .delete(&Predicate::of(principal).is("name", name.as_str()))
            .await?;
        if self.shared.is_some() {
            // What came in meanwhile; whoever put it looks for the collection once more, too.
            self.follow().await?;
            let documents = self.document_rows(&inside).await?;
            self.drop_documents(principal, &inside, &documents).await?;
            self.facts.delete(&inside).await?;
        }
        self.note_write(true);
        Ok(deleted)
    }
}

/// A collection that is made now.
fn new(name: &CollectionName, description: &str) -> Collection {
    Collection {
        name: name.clone(),
        description: description.to_owned(),
        documents: 0,
        chunks: 0,
        created_at: now(),
    }
}

/// Collections from their rows, which have [`COLLECTION_COLUMNS`].
pub(super) fn read_collections(batches: &[RecordBatch], mut sizes: Sizes) -> Result<Vec<Collection>, StoreError> {
    let collection = |row: Row<'_>| {
        let name = row.text("name")?;
        let (documents, chunks) = sizes.remove(name).unwrap_or_default();
        Ok(Collection {
            name: CollectionName::new(name, "name").map_err(|error| corrupt(error.to_string()))?,
            description: row.text("description")?.to_owned(),
            documents,
            chunks,
            created_at: row.time("created_at")?,
        })
    };
    rows(batches).map(collection).collect()
}

/// Documents and chunks of each collection, from rows of documents.
pub(super) fn sizes(documents: &[RecordBatch]) -> Result<Sizes, StoreError> {
    let mut sizes = Sizes::new();
    for row in rows(documents) {
        let size = sizes.entry(row.text("collection")?.to_owned()).or_default();
        size.0 += 1;
        size.1 += u64::from(row.number("chunks")?);
    }
    Ok(sizes)
}
