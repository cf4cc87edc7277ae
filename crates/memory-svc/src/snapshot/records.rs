//! The lines of a snapshot, and what of them this service makes its own: everything is checked as if it came in a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::SnapshotError;
use crate::document::{ChunkDraft, Collection, Document, DocumentDraft, History, check_description, check_metadata};
use crate::embedding::Identity;
use crate::error::Error;
use crate::fact::{Fact, FactVersion, check_confidence, check_provenance, check_text};
use crate::names::{CollectionName, DocumentUri, shorten};

/// What the file calls itself.
const FORMAT: &str = "solo-memory";
/// Version of the lines.
pub(super) const VERSION: u32 = 1;
/// Longest title, media type or heading, in bytes.
const MAX_LABEL_BYTES: usize = 4096;
/// Largest metadata of a document, in bytes of JSON: what it came with and what taking it in added.
const MAX_METADATA_BYTES: usize = 1 << 20;
/// Deepest metadata: protocol buffers nest two messages for each level, and decoders stop at a hundred.
const MAX_METADATA_DEPTH: usize = 30;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// Program that wrote it.
    made_by: String,
    /// When.
    created_at: Timestamp,
    /// Embedding model whose vectors are in it.
    model: String,
    /// Components of those.
    dimension: usize,
    /// Documents in it.
    pub documents: u64,
}

impl Manifest {
    /// Of a file that is written now.
    pub fn new(identity: &Identity, documents: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            made_by: concat!("memory-svc ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at: Timestamp::now(),
            model: identity.model.clone(),
            dimension: identity.dimension,
            documents,
        }
    }

    /// Whose vectors are in it.
    pub fn identity(&self) -> Identity {
        Identity {
            model: self.model.clone(),
            dimension: self.dimension,
        }
    }

    pub(super) fn check(&self) -> Result<(), SnapshotError> {
        if self.format != FORMAT {
            return Err(SnapshotError::Foreign(format!(
                "its format is `{}`",
                shorten(&self.format)
            )));
        }
        if self.version > VERSION {
            return Err(SnapshotError::Newer { found: self.version });
        }
        Ok(())
    }
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    name: String,
    description: String,
}

impl From<Collection> for CollectionRecord {
    fn from(collection: Collection) -> Self {
        Self {
            name: collection.name.to_string(),
            description: collection.description,
        }
    }
}

impl CollectionRecord {
    /// Its name and description.
    ///
    /// # Errors
    /// What a request would be refused for.
    pub fn checked(self) -> Result<(CollectionName, String), Error> {
        check_description(&self.description)?;
        Ok((CollectionName::new(&self.name, "name")?, self.description))
    }
}

/// A version of a fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactRecord {
    /// The fact.
    pub id: Uuid,
    collection: String,
    text: String,
    confidence: f32,
    valid_from: Option<Timestamp>,
    valid_to: Option<Timestamp>,
    provenance: String,
    version: u32,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    vector: Vector,
}

impl From<FactVersion> for FactRecord {
    fn from(version: FactVersion) -> Self {
        let FactVersion { fact, ended_at, vector } = version;
        Self {
            id: fact.id,
            collection: fact.collection.to_string(),
            text: fact.text,
            confidence: fact.confidence,
            valid_from: fact.valid_from,
            valid_to: fact.valid_to,
            provenance: fact.provenance,
            version: fact.version,
            created_at: fact.created_at,
            ended_at,
            vector: Vector(vector),
        }
    }
}

impl FactRecord {
    /// The version.
    ///
    /// # Errors
    /// What a request would be refused for.
    pub fn checked(self) -> Result<FactVersion, Error> {
        check_text(&self.text, "text")?;
        check_confidence(self.confidence, "confidence")?;
        check_provenance(&self.provenance, "provenance")?;
        let fact = Fact {
            id: self.id,
            text: self.text,
            confidence: self.confidence,
            valid_from: self.valid_from.map(stored),
            valid_to: self.valid_to.map(stored),
            provenance: self.provenance,
            version: self.version,
            created_at: stored(self.created_at),
            collection: CollectionName::new(&self.collection, "collection")?,
        };
        Ok(FactVersion {
            fact,
            ended_at: self.ended_at.map(stored),
            vector: self.vector.0,
        })
    }
}

/// A document; its pieces follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRecord {
    id: Uuid,
    collection: String,
    uri: String,
    title: String,
    media_type: String,
    version: u32,
    bytes: u64,
    content_sha256: String,
    metadata: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// How many pieces follow.
    pub pieces: u32,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PieceRecord {
    start: u64,
    end: u64,
    heading: String,
    page: u32,
    /// Its text.
    pub text: String,
    vector: Vector,
}

impl From<ChunkDraft> for PieceRecord {
    fn from(chunk: ChunkDraft) -> Self {
        Self {
            start: chunk.span.start,
            end: chunk.span.end,
            heading: chunk.heading,
            page: chunk.page,
            text: chunk.text,
            vector: Vector(chunk.vector),
        }
    }
}

impl From<Document> for DocumentRecord {
    fn from(document: Document) -> Self {
        Self {
            id: document.id,
            collection: document.collection.to_string(),
            uri: document.uri,
            title: document.title,
            media_type: document.media_type,
            version: document.version,
            bytes: document.bytes,
            content_sha256: hex::encode(document.content_sha256),
            metadata: document.metadata,
            created_at: document.created_at,
            updated_at: document.updated_at,
            pieces: document.chunks,
        }
    }
}

impl DocumentRecord {
    /// The document, ready to be stored but for vectors of another model.
    ///
    /// # Errors
    /// What a request would be refused for, and pieces that are not the whole of a text.
    pub fn checked(self, pieces: Vec<PieceRecord>) -> Result<DocumentDraft, Error> {
        let uri = DocumentUri::new(&self.uri, "uri")?;
        for (label, field) in [(&self.title, "title"), (&self.media_type, "media_type")] {
            check_label(label, field)?;
        }
        let mut content_sha256 = [0; 32];
        hex::decode_to_slice(&self.content_sha256, &mut content_sha256).map_err(|error| {
            let message = format!("content_sha256 holds no SHA-256: {error}");
            Error::invalid("content_sha256", "BAD_HASH", message)
        })?;
        check_metadata(&self.metadata, MAX_METADATA_BYTES, "metadata")?;
        check_depth(&self.metadata)?;
        if pieces.is_empty() || pieces.len() != self.pieces as usize {
            let message = format!("{} has {} pieces of {}", shorten(&self.uri), pieces.len(), self.pieces);
            return Err(Error::invalid("pieces", "BAD_PIECES", message));
        }
        let mut before: Option<&PieceRecord> = None;
        for (index, piece) in pieces.iter().enumerate() {
            check_label(&piece.heading, "heading")?;
            if !piece.follows(before) {
                let message = format!("piece {index} of {} does not stand where it says", shorten(&self.uri));
                return Err(Error::invalid("pieces", "BAD_PIECES", message));
            }
            before = Some(piece);
        }
        let chunk = |piece: PieceRecord| ChunkDraft {
            span: piece.start..piece.end,
            text: piece.text,
            heading: piece.heading,
            page: piece.page,
            vector: piece.vector.0,
        };
        Ok(DocumentDraft {
            collection: CollectionName::new(&self.collection, "collection")?,
            uri,
            title: self.title,
            media_type: self.media_type,
            bytes: self.bytes,
            content_sha256,
            metadata: self.metadata,
            chunks: pieces.into_iter().map(chunk).collect(),
            history: Some(History {
                id: self.id,
                version: self.version.max(1),
                created_at: stored(self.created_at),
                updated_at: stored(self.updated_at),
            }),
        })
    }
}

impl PieceRecord {
    /// True when it stands where it says: right after the piece `before` or over its end, where both say the same.
    fn follows(&self, before: Option<&Self>) -> bool {
        if self.end.checked_sub(self.start) != Some(self.text.len() as u64) {
            return false;
        }
        let Some(before) = before else { return self.start == 0 };
        if self.start < before.start || self.end < before.end || self.start > before.end {
            return false;
        }
        let (skipped, shared) = ((self.start - before.start) as usize, (before.end - self.start) as usize);
        match (before.text.get(skipped..), self.text.get(..shared)) {
            (Some(end), Some(beginning)) => end == beginning,
            // The middle of a character.
            _ => false,
        }
    }
}

/// Refuses metadata that is so deep that clients could not decode it.
fn check_depth(metadata: &Map<String, Value>) -> Result<(), Error> {
    let mut level: Vec<&Value> = metadata.values().collect();
    for _ in 0..MAX_METADATA_DEPTH {
        let inside = level.into_iter().flat_map(|value| -> Vec<&Value> {
            match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(items) => items.values().collect(),
                _ => Vec::new(),
            }
        });
        level = inside.collect();
        if level.is_empty() {
            return Ok(());
        }
    }
    let message = format!("the metadata is deeper than {MAX_METADATA_DEPTH} levels");
    Err(Error::invalid("metadata", "METADATA_TOO_DEEP", message))
}

fn check_label(label: &str, field: &'static str) -> Result<(), Error> {
    if label.len() <= MAX_LABEL_BYTES {
        return Ok(());
    }
    let message = format!("the {field} has {} bytes; {MAX_LABEL_BYTES} are allowed", label.len());
    Err(Error::invalid(field, "LABEL_TOO_LONG", message))
}

/// A time as precise as it is stored.
fn stored(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// An embedding, as base64 of little-endian f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Vector(Vec<f32>);

impl From<Vector> for String {
    fn from(vector: Vector) -> Self {
        let bytes: Vec<u8> = vector.0.iter().flat_map(|x| x.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }
}

impl TryFrom<String> for Vector {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| format!("a vector is not base64: {error}"))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(format!("a vector of {} bytes is not one of f32", bytes.len()));
        }
        Ok(Self(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }
}
