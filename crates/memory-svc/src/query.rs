//! What is looked for and what is found.

use std::ops::Range;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::names::CollectionName;

/// Most hits of a search.
pub const MAX_HITS: usize = 100;

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By meaning: cosine similarity of embeddings.
    Dense,
    /// By words: BM25.
    Text,
    /// Both, their scores fused.
    Hybrid,
}

/// What a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HitKind {
    /// A piece of a document.
    Document,
    /// A fact.
    Fact,
}

/// Which pieces may be found.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of these collections; empty: any.
    pub collections: Vec<CollectionName>,
    /// Only of these documents; empty: any.
    pub documents: Vec<Uuid>,
    /// Only those whose URI starts so; empty: any.
    pub uri_prefix: String,
    /// Only those taken in after.
    pub created_after: Option<Timestamp>,
    /// Only those taken in before.
    pub created_before: Option<Timestamp>,
    /// Only of this kind.
    pub kind: Option<HitKind>,
}

impl Filter {
    /// True when every piece of a document passes.
    pub fn bounds_nothing(&self) -> bool {
        self.collections.is_empty()
            && self.documents.is_empty()
            && self.uri_prefix.is_empty()
            && self.created_after.is_none()
            && self.created_before.is_none()
    }

    /// True when facts may pass: they are of no document.
    pub fn finds_facts(&self) -> bool {
        self.kind != Some(HitKind::Document) && self.documents.is_empty() && self.uri_prefix.is_empty()
    }
}

/// What a search is asked.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What to look for.
    pub probe: Probe,
    /// How; `None`: from configuration.
    pub mode: Option<Mode>,
    /// Which pieces may be found.
    pub filter: Filter,
    /// At most so many; `None`: from configuration.
    pub limit: Option<usize>,
    /// Only hits with at least this cosine similarity (half of it is enough for one that words found, too); `None`: from
    /// configuration.
    pub min_score: Option<f32>,
    /// How much unlike one another hits should be, 0.0 to 1.0.
    pub diversity: f32,
}

/// What to look for.
#[derive(Debug, Clone)]
pub enum Probe {
    /// A text.
    Text(String),
    /// An embedding.
    Vector(Vec<f32>),
}

/// What the store is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// What to look for.
    pub by: By,
    /// Which pieces may be found.
    pub filter: Filter,
    /// At most so many.
    pub limit: usize,
    /// Whether hits bring their vectors along.
    pub vectors: bool,
}

/// By what the store finds.
#[derive(Debug, Clone)]
pub enum By {
    /// Cosine similarity to a vector that is as long as the store's model has dimensions and has a direction.
    Vector(Vec<f32>),
    /// BM25 of a text's words.
    Words(String),
}

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Hits, best first.
    pub hits: Vec<Hit>,
    /// Pieces that were compared.
    pub searched: u64,
}

/// A piece that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Identifier of the chunk or fact.
    pub id: Uuid,
    /// What it is.
    pub kind: HitKind,
    /// How near it is; higher is nearer. What the store gives is the cosine similarity or BM25; of what was reranked it is the
    /// reranker's.
    pub score: f32,
    /// How the score came about.
    pub parts: Parts,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// Where it stands.
    pub citation: Citation,
    /// Its embedding, where it was asked for; else empty.
    pub vector: Vec<f32>,
}

impl Hit {
    /// Its text under its headings: a piece from the middle of a section often does not say what it is about.
    pub fn in_context(&self) -> String {
        let Citation { heading, text, .. } = &self.citation;
        if heading.is_empty() {
            text.clone()
        } else {
            format!("{heading}\n{text}")
        }
    }
}

/// How a score came about; `None`: that did not play a part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// Cosine similarity, −1.0 to 1.0.
    pub dense: Option<f32>,
    /// BM25.
    pub text: Option<f32>,
    /// After fusion, 0.0 to 1.0.
    pub fused: Option<f32>,
    /// How well it answers the query, by the reranker, 0.0 to 1.0.
    pub reranked: Option<f32>,
    /// What was left of it for a fact's age, 0.0 to 1.0.
    pub recency: Option<f32>,
}

/// Where a text stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Citation {
    /// The document, or the fact.
    pub document: Uuid,
    /// Title of the document.
    pub title: String,
    /// Where the document comes from.
    pub uri: String,
    /// Page, from 1; 0: none.
    pub page: u32,
    /// Headings above it, joined by " › ".
    pub heading: String,
    /// Bytes of the document's extracted text.
    pub range: Range<u64>,
    /// Those bytes.
    pub text: String,
}
