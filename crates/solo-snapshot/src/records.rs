//! The lines of a snapshot.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{SnapshotError, shorten};

/// What the file calls itself.
const FORMAT: &str = "solo-memory";
/// Version of the lines.
pub(super) const VERSION: u32 = 1;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// Program that wrote it.
    pub made_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Embedding model whose vectors are in it.
    pub model: String,
    /// Components of those.
    pub dimension: usize,
    /// Documents in it.
    pub documents: u64,
}

impl Manifest {
    /// Of a file with these lines.
    pub fn new(made_by: &str, created_at: Timestamp, model: &str, dimension: usize, documents: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            made_by: made_by.to_owned(),
            created_at,
            model: model.to_owned(),
            dimension,
            documents,
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
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
}

/// A version of a fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactRecord {
    /// The fact.
    pub id: Uuid,
    /// Collection that holds it.
    pub collection: String,
    /// The statement.
    pub text: String,
    /// How sure it is, 0.0 to 1.0.
    pub confidence: f32,
    /// From when it holds; `None`: unknown.
    pub valid_from: Option<Timestamp>,
    /// Until when it holds; `None`: it still does.
    pub valid_to: Option<Timestamp>,
    /// Dialogue and turn where it was learnt, as "dialogue/turn".
    pub provenance: String,
    /// Number of its version, from 1.
    pub version: u32,
    /// When this version was stored.
    pub created_at: Timestamp,
    /// When it was superseded or retracted; `None`: it was not.
    pub ended_at: Option<Timestamp>,
    /// Embedding of its text.
    pub vector: Vector,
}

/// A document; its pieces follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// Its identifier.
    pub id: Uuid,
    /// Collection that holds it.
    pub collection: String,
    /// Where it comes from.
    pub uri: String,
    /// Title.
    pub title: String,
    /// Media type.
    pub media_type: String,
    /// Number of its version, from 1.
    pub version: u32,
    /// Length of its content, in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub content_sha256: String,
    /// What is kept with it.
    pub metadata: Map<String, Value>,
    /// When it was first taken in.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// How many pieces follow.
    pub pieces: u32,
}

/// A piece of a document: the bytes `start..end` of its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PieceRecord {
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Headings above it, joined by " › ".
    pub heading: String,
    /// Page, from 1; 0: the document has no pages.
    pub page: u32,
    /// Its text.
    pub text: String,
    /// Embedding of its text.
    pub vector: Vector,
}

impl PieceRecord {
    /// True when it stands where it says: right after the piece `before` or over its end, where both say the same; the first one
    /// at the beginning of the text.
    pub fn follows(&self, before: Option<&Self>) -> bool {
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

/// An embedding, as base64 of little-endian f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Vector(pub Vec<f32>);

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
