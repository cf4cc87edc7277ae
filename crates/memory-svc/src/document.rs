//! What a document is to this service.
//!
//! A document's extracted text is kept in its chunks alone: their spans cover the text without a gap (neighbours may
//! overlap), so that any passage can be put together from them and nothing is stored twice.

use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::Error;
use crate::names::{CollectionName, DocumentUri};

/// Longest description of a collection, in characters.
const MAX_DESCRIPTION_CHARS: usize = 500;

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Identifier, the same through all versions.
    pub id: Uuid,
    /// Collection that holds it.
    pub collection: CollectionName,
    /// Where it comes from; unique in its collection.
    pub uri: String,
    /// Title.
    pub title: String,
    /// Media type.
    pub media_type: String,
    /// Number of its version, from 1.
    pub version: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// Length of its content, in bytes.
    pub bytes: u64,
    /// Length of its extracted text, in bytes.
    pub text_bytes: u64,
    /// SHA-256 of its content.
    pub content_sha256: [u8; 32],
    /// When it was first taken in.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What is kept with it.
    pub metadata: Map<String, Value>,
}

/// A document ready to be stored: cut and embedded.
#[derive(Debug, Clone)]
pub struct DocumentDraft {
    /// Collection to put it in.
    pub collection: CollectionName,
    /// Where it comes from.
    pub uri: DocumentUri,
    /// Title.
    pub title: String,
    /// Media type.
    pub media_type: String,
    /// Length of its content, in bytes.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub content_sha256: [u8; 32],
    /// What is kept with it.
    pub metadata: Map<String, Value>,
    /// Its pieces, in order; at least one. Their spans cover the text without a gap.
    pub chunks: Vec<ChunkDraft>,
    /// What it was in the store that it comes from; `None`: it comes from no store.
    pub history: Option<History>,
}

impl DocumentDraft {
    /// A document as another store has it.
    ///
    /// # Errors
    /// A URI that is none.
    pub fn of(document: Document, chunks: Vec<ChunkDraft>) -> Result<Self, Error> {
        Ok(Self {
            uri: DocumentUri::new(&document.uri, "uri")?,
            history: Some(History {
                id: document.id,
                version: document.version,
                created_at: document.created_at,
                updated_at: document.updated_at,
            }),
            collection: document.collection,
            title: document.title,
            media_type: document.media_type,
            bytes: document.bytes,
            content_sha256: document.content_sha256,
            metadata: document.metadata,
            chunks,
        })
    }
}

/// What a document was in another store, or in this one at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Its identifier.
    pub id: Uuid,
    /// Number of its version.
    pub version: u32,
    /// When it was first taken in.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A piece of a document ready to be stored.
#[derive(Debug, Clone)]
pub struct ChunkDraft {
    /// Bytes of the extracted text that it covers.
    pub span: Range<u64>,
    /// Those bytes.
    pub text: String,
    /// Headings above it, joined by " › ".
    pub heading: String,
    /// Page, from 1; 0: the document has no pages.
    pub page: u32,
    /// Its embedding, as long as the store's model has dimensions.
    pub vector: Vec<f32>,
}

/// What putting a document did.
#[derive(Debug, Clone)]
pub struct Put {
    /// The document as it is now.
    pub document: Document,
    /// True when this very content was there before, or what has a [`History`] is older than what was there: nothing was
    /// changed.
    pub unchanged: bool,
}

/// What is there, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Identifier.
    pub id: Uuid,
    /// Where it comes from.
    pub uri: String,
    /// SHA-256 of its content.
    pub content_sha256: [u8; 32],
}

/// Which documents a list shows.
#[derive(Debug, Clone, Default)]
pub struct DocumentFilter {
    /// Only of this collection.
    pub collection: Option<CollectionName>,
    /// Only those whose URI starts so; empty: all.
    pub uri_prefix: String,
}

/// A range of a document's text.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The document.
    pub document: Document,
    /// The bytes that `text` really covers: whole characters.
    pub range: Range<u64>,
    /// The text.
    pub text: String,
}

/// A set of documents and facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// What it is for.
    pub description: String,
    /// Number of documents.
    pub documents: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Refuses a description of a collection that is too long.
pub fn check_description(text: &str) -> Result<(), Error> {
    let length = text.chars().count();
    if length <= MAX_DESCRIPTION_CHARS {
        return Ok(());
    }
    let message = format!("the description has {length} characters; {MAX_DESCRIPTION_CHARS} are allowed");
    Err(Error::invalid("description", "DESCRIPTION_TOO_LONG", message))
}

/// Refuses metadata that is longer than `most` bytes of JSON.
pub fn check_metadata(metadata: &Map<String, Value>, most: usize, field: &'static str) -> Result<(), Error> {
    let length = Value::Object(metadata.clone()).to_string().len();
    if length <= most {
        return Ok(());
    }
    let message = format!("the metadata has {length} bytes as JSON; {most} are allowed");
    Err(Error::invalid(field, "METADATA_TOO_LARGE", message))
}
