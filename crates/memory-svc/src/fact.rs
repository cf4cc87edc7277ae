//! Facts: statements learnt in dialogues, with where from, since when, and in which version.
//!
//! A fact keeps its identifier through its versions. Superseding it writes the next version and ends the one before;
//! retracting it ends it. Ended versions stay, as history, until they are forgotten.

use jiff::Timestamp;
use uuid::Uuid;

use crate::names::CollectionName;

/// Longest text of a fact, in characters.
pub const MAX_FACT_CHARS: usize = 1000;
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
