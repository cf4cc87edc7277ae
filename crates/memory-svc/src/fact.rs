//! Facts: statements learnt in dialogues, with where from, since when, and in which version.
//!
//! A fact keeps its identifier through its versions. Superseding it writes the next version and ends the one before;
//! retracting it ends it. Ended versions stay, as history, until they are forgotten.

use jiff::Timestamp;
use uuid::Uuid;

use crate::error::Error;
use crate::names::{CollectionName, shorten};

/// Longest text of a fact, in characters.
pub const MAX_FACT_CHARS: usize = 1000;
/// Longest provenance of a fact, in bytes.
pub const MAX_PROVENANCE_BYTES: usize = 256;
/// Most changes of one call.
pub const MAX_CHANGES: usize = 100;

/// A version of a fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Identifier, the same through all versions.
    pub id: Uuid,
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
    /// Collection that holds it.
    pub collection: CollectionName,
}

/// A version of a fact with all that a store keeps of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FactVersion {
    /// The version.
    pub fact: Fact,
    /// When it was superseded or retracted; `None`: it was not.
    pub ended_at: Option<Timestamp>,
    /// Embedding of its text.
    pub vector: Vec<f32>,
}

/// A fact ready to be stored.
#[derive(Debug, Clone)]
pub struct FactDraft {
    /// The statement.
    pub text: String,
    /// How sure it is, 0.0 to 1.0.
    pub confidence: f32,
    /// From when it holds.
    pub valid_from: Option<Timestamp>,
    /// Until when it holds.
    pub valid_to: Option<Timestamp>,
    /// Where it was learnt.
    pub provenance: String,
    /// Collection to put it in.
    pub collection: CollectionName,
    /// Embedding of the text; empty until it is made.
    pub vector: Vec<f32>,
}

/// A fact of which a caller says which version it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The fact.
    pub id: Uuid,
    /// The version that it is expected to have.
    pub version: u32,
}

/// One change.
#[derive(Debug, Clone)]
pub enum FactChange {
    /// A new fact.
    Add(FactDraft),
    /// The next version of a fact.
    Supersede(Known, FactDraft),
    /// A fact that no longer holds.
    Retract(Known),
}

impl FactChange {
    /// The fact that it changes, unless it is new.
    pub fn known(&self) -> Option<Known> {
        match self {
            Self::Add(_) => None,
            Self::Supersede(known, _) | Self::Retract(known) => Some(*known),
        }
    }

    /// The text to be stored, if there is one.
    pub fn draft_mut(&mut self) -> Option<&mut FactDraft> {
        match self {
            Self::Add(draft) | Self::Supersede(_, draft) => Some(draft),
            Self::Retract(_) => None,
        }
    }
}

/// What to forget, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One fact with all its versions.
    Fact(Uuid),
    /// What was learnt in a dialogue.
    Dialogue(String),
    /// Everything of the principal.
    Everything,
}

/// How much was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Facts, each counted once whatever its versions.
    pub facts: u64,
    /// Documents.
    pub documents: u64,
}

/// Refuses a text that is empty or too long.
pub fn check_text(text: &str, field: &'static str) -> Result<(), Error> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err(Error::invalid(field, "EMPTY_TEXT", "the text is empty"));
    }
    if length > MAX_FACT_CHARS {
        let message = format!("the text has {length} characters; {MAX_FACT_CHARS} are allowed");
        return Err(Error::invalid(field, "TEXT_TOO_LONG", message));
    }
    Ok(())
}

/// Refuses a confidence that is none.
pub fn check_confidence(confidence: f32, field: &'static str) -> Result<(), Error> {
    if (0.0..=1.0).contains(&confidence) {
        return Ok(());
    }
    let message = format!("confidence is 0.0 to 1.0, found {confidence}");
    Err(Error::invalid(field, "BAD_CONFIDENCE", message))
}

/// Refuses a provenance that is too long, or not a line.
pub fn check_provenance(provenance: &str, field: &'static str) -> Result<(), Error> {
    if provenance.len() <= MAX_PROVENANCE_BYTES && !provenance.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!(
        "`{}` is no provenance: \"dialogue/turn\" is wanted, {MAX_PROVENANCE_BYTES} bytes at most",
        shorten(provenance)
    );
    Err(Error::invalid(field, "BAD_PROVENANCE", message))
}
