//! An exported memory ([`solo_snapshot`]) and what this service has: what of its lines is made its own is checked as if it came
//! in a request.

use jiff::Timestamp;
use serde_json::{Map, Value};
use solo_snapshot::{CollectionRecord, DocumentRecord, FactRecord, Manifest, PieceRecord, Vector};

use crate::document::{ChunkDraft, Collection, Document, DocumentDraft, History, check_description, check_metadata};
use crate::embedding::Identity;
use crate::error::Error;
use crate::fact::{Fact, FactVersion, check_confidence, check_provenance, check_text};
use crate::names::{CollectionName, DocumentUri, shorten};

/// Program that writes the file.
const MADE_BY: &str = concat!("memory-svc ", env!("CARGO_PKG_VERSION"));
/// Longest title, media type or heading, in bytes.
const MAX_LABEL_BYTES: usize = 4096;
/// Largest metadata of a document, in bytes of JSON: what it came with and what taking it in added.
const MAX_METADATA_BYTES: usize = 1 << 20;
/// Most that the pieces of a document take in memory, for each byte of the longest text. Most take five, those of the largest
/// models fifteen.
const PIECES_SHARE: usize = 16;
/// Deepest metadata: protocol buffers nest two messages for each level, and decoders stop at a hundred.
const MAX_METADATA_DEPTH: usize = 30;

/// What a file is that is written now.
pub fn manifest(identity: &Identity, documents: u64) -> Manifest {
    Manifest::new(
        MADE_BY,
        Timestamp::now(),
        &identity.model,
        identity.dimension,
        documents,
    )
}

/// Whose vectors are in a file.
pub fn identity(manifest: Manifest) -> Identity {
    Identity {
        model: manifest.model,
        dimension: manifest.dimension,
    }
}

impl From<Collection> for CollectionRecord {
    fn from(collection: Collection) -> Self {
        Self {
            name: collection.name.to_string(),
            description: collection.description,
        }
    }
}

/// A collection's name and description.
///
/// # Errors
/// What a request would be refused for.
pub fn collection(record: CollectionRecord) -> Result<(CollectionName, String), Error> {
    check_description(&record.description)?;
    Ok((CollectionName::new(&record.name, "name")?, record.description))
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

/// A version of a fact.
///
/// # Errors
/// What a request would be refused for.
pub fn fact(record: FactRecord) -> Result<FactVersion, Error> {
    check_text(&record.text, "text")?;
    check_confidence(record.confidence, "confidence")?;
    check_provenance(&record.provenance, "provenance")?;
    let fact = Fact {
        id: record.id,
        text: record.text,
        confidence: record.confidence,
        valid_from: record.valid_from.map(stored),
        valid_to: record.valid_to.map(stored),
        provenance: record.provenance,
        version: record.version,
        created_at: stored(record.created_at),
        collection: CollectionName::new(&record.collection, "collection")?,
    };
    Ok(FactVersion {
        fact,
        ended_at: record.ended_at.map(stored),
        vector: record.vector.0,
    })
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

/// A document whose pieces are coming. Each is checked before it is kept: a short file may have any number of them.
pub struct Arriving {
    record: DocumentRecord,
    pieces: Vec<PieceRecord>,
    text_bytes: usize,
    bytes: usize,
}

impl Arriving {
    /// Without its pieces.
    pub fn new(record: DocumentRecord) -> Self {
        Self {
            record,
            pieces: Vec::new(),
            text_bytes: 0,
            bytes: 0,
        }
    }

    /// Takes the next piece of a text of at most `limit` bytes.
    ///
    /// # Errors
    /// A piece that does not follow the one before, or has too long a heading; a document that is too long.
    pub fn add(&mut self, piece: PieceRecord, limit: usize) -> Result<(), Error> {
        check_label(&piece.heading, "heading")?;
        if !piece.follows(self.pieces.last()) {
            let message = format!(
                "piece {} of {} does not stand where it says",
                self.pieces.len(),
                shorten(&self.record.uri)
            );
            return Err(Error::invalid("pieces", "BAD_PIECES", message));
        }
        self.text_bytes += piece.text.len();
        self.bytes += size_of::<PieceRecord>() + piece.text.len() + piece.heading.len() + size_of_val(&*piece.vector.0);
        // Neighbours overlap by half of themselves at most.
        if self.text_bytes / 2 > limit {
            let message =
                format!("a document's text is longer than {limit} bytes; raise memory.extract.max_text_bytes");
            return Err(Error::invalid("data", "TEXT_TOO_LONG", message));
        }
        if self.bytes / PIECES_SHARE > limit {
            let message = format!(
                "a document's pieces take more than {PIECES_SHARE} times {limit} bytes; raise memory.extract.max_text_bytes"
            );
            return Err(Error::invalid("data", "TEXT_TOO_LONG", message));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// True when none of its pieces is missing.
    pub fn is_whole(&self) -> bool {
        self.pieces.len() >= self.record.pieces as usize
    }

    /// What its pieces take in memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// That pieces are missing and none comes.
    pub fn unfinished(&self) -> Error {
        let message = format!("a document has {} pieces of {}", self.pieces.len(), self.record.pieces);
        Error::invalid("data", "BAD_SNAPSHOT", message)
    }

    /// The document, ready to be stored but for vectors of another model.
    ///
    /// # Errors
    /// What a request would be refused for, and pieces that are missing.
    pub fn draft(self) -> Result<DocumentDraft, Error> {
        let Self { record, pieces, .. } = self;
        draft(record, pieces)
    }
}

fn draft(record: DocumentRecord, pieces: Vec<PieceRecord>) -> Result<DocumentDraft, Error> {
    let uri = DocumentUri::new(&record.uri, "uri")?;
    for (label, field) in [(&record.title, "title"), (&record.media_type, "media_type")] {
        check_label(label, field)?;
    }
    let mut content_sha256 = [0; 32];
    hex::decode_to_slice(&record.content_sha256, &mut content_sha256).map_err(|error| {
        let message = format!("content_sha256 holds no SHA-256: {error}");
        Error::invalid("content_sha256", "BAD_HASH", message)
    })?;
    check_metadata(&record.metadata, MAX_METADATA_BYTES, "metadata")?;
    check_depth(&record.metadata)?;
    if pieces.is_empty() || pieces.len() != record.pieces as usize {
        let message = format!(
            "{} has {} pieces of {}",
            shorten(&record.uri),
            pieces.len(),
            record.pieces
        );
        return Err(Error::invalid("pieces", "BAD_PIECES", message));
    }
    let chunk = |piece: PieceRecord| ChunkDraft {
        span: piece.start..piece.end,
        text: piece.text,
        heading: piece.heading,
        page: piece.page,
        vector: piece.vector.0,
    };
    Ok(DocumentDraft {
        collection: CollectionName::new(&record.collection, "collection")?,
        uri,
        title: record.title,
        media_type: record.media_type,
        bytes: record.bytes,
        content_sha256,
        metadata: record.metadata,
        chunks: pieces.into_iter().map(chunk).collect(),
        history: Some(History {
            id: record.id,
            version: record.version.max(1),
            created_at: stored(record.created_at),
            updated_at: stored(record.updated_at),
        }),
    })
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

#[cfg(test)]
mod tests;
