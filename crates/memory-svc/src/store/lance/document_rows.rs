//! Documents as rows, and rows as documents.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::rows::{Row, batch, corrupt};
use super::schema;
use crate::document::Document;
use crate::names::{CollectionName, Principal};
use crate::store::StoreError;

/// What a document is read from.
pub(super) const COLUMNS: [&str; 14] = [
    "id",
    "collection",
    "uri",
    "title",
    "media_type",
    "version",
    "generation",
    "chunks",
    "bytes",
    "text_bytes",
    "content_sha256",
    "metadata",
    "created_at",
    "updated_at",
];

/// A document and which chunks are its own.
pub(super) struct DocumentRow {
    pub(super) document: Document,
    pub(super) generation: Uuid,
}

/// A document's row.
pub(super) fn document_row(principal: &Principal, row: &DocumentRow) -> Result<RecordBatch, StoreError> {
    let DocumentRow { document, generation } = row;
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let number = |value: u32| Arc::new(UInt32Array::from(vec![value])) as ArrayRef;
    let large = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
    let time = |value: Timestamp| Arc::new(Int64Array::from(vec![value.as_microsecond()])) as ArrayRef;
    let columns = vec![
        text(&document.id.to_string()),
        text(principal.as_str()),
        text(document.collection.as_str()),
        text(&document.uri),
        text(&document.title),
        text(&document.media_type),
        number(document.version),
        text(&generation.to_string()),
        number(document.chunks),
        large(document.bytes),
        large(document.text_bytes),
        text(&hex::encode(document.content_sha256)),
        text(&Value::Object(document.metadata.clone()).to_string()),
        time(document.created_at),
        time(document.updated_at),
    ];
    batch(schema::documents(), columns)
}

/// A row's document; it has [`COLUMNS`].
pub(super) fn read_document(row: Row<'_>) -> Result<DocumentRow, StoreError> {
    let metadata: Map<String, Value> = serde_json::from_str(row.text("metadata")?)
        .map_err(|error| corrupt(format!("metadata holds no JSON object: {error}")))?;
    Ok(DocumentRow {
        generation: row.id("generation")?,
        document: Document {
            id: row.id("id")?,
            collection: read_collection(row)?,
            uri: row.text("uri")?.to_owned(),
            title: row.text("title")?.to_owned(),
            media_type: row.text("media_type")?.to_owned(),
            version: row.number("version")?,
            chunks: row.number("chunks")?,
            bytes: row.large("bytes")?,
            text_bytes: row.large("text_bytes")?,
            content_sha256: read_hash(row)?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            metadata,
        },
    })
}

/// The column `content_sha256`.
pub(super) fn read_hash(row: Row<'_>) -> Result<[u8; 32], StoreError> {
    let mut hash = [0; 32];
    hex::decode_to_slice(row.text("content_sha256")?, &mut hash)
        .map_err(|error| corrupt(format!("content_sha256 holds no hash: {error}")))?;
    Ok(hash)
}

/// The column `collection`.
pub(super) fn read_collection(row: Row<'_>) -> Result<CollectionName, StoreError> {
    let name = row.text("collection")?;
    CollectionName::new(name, "collection").map_err(|error| corrupt(error.to_string()))
}
