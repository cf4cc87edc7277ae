//! Pieces of documents and facts as searches give them.

use std::sync::Arc;

use jiff::Timestamp;
use solo_documents::first_words;
use uuid::Uuid;

use super::document_rows::read_collection;
use super::rows::Row;
use crate::chunk;
use crate::fact::Fact;
use crate::names::CollectionName;
use crate::query::{Citation, Hit, HitKind, Parts};
use crate::store::StoreError;

/// What a [`Piece`] is read from.
pub(super) const PIECE_COLUMNS: [&str; 11] = [
    "id",
    "collection",
    "document",
    "uri",
    "title",
    "heading",
    "page",
    "start",
    "end",
    "text",
    "created_at",
];

/// A chunk of a document.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) id: Uuid,
    pub(super) of: Arc<PieceOf>,
    pub(super) heading: Arc<str>,
    pub(super) page: u32,
    /// Where its text begins in the document's.
    pub(super) start: u64,
    pub(super) text: Arc<str>,
}

/// What a version's pieces have in common.
#[derive(PartialEq)]
pub(super) struct PieceOf {
    pub(super) document: Uuid,
    pub(super) collection: CollectionName,
    pub(super) uri: String,
    pub(super) title: String,
    pub(super) created_at: Timestamp,
}

impl Piece {
    /// A row's piece; it has [`PIECE_COLUMNS`]. `before`: the one read before, whose parts it shares where they are equal.
    pub(super) fn read(row: Row<'_>, before: Option<&Self>) -> Result<Self, StoreError> {
        let of = PieceOf {
            document: row.id("document")?,
            collection: read_collection(row)?,
            uri: row.text("uri")?.to_owned(),
            title: row.text("title")?.to_owned(),
            created_at: row.time("created_at")?,
        };
        let heading = row.text("heading")?;
        Ok(Self {
            id: row.id("id")?,
            of: match before {
                Some(before) if *before.of == of => Arc::clone(&before.of),
                _ => Arc::new(of),
            },
            heading: match before {
                Some(before) if *before.heading == *heading => Arc::clone(&before.heading),
                _ => heading.into(),
            },
            page: row.number("page")?,
            start: row.large("start")?,
            text: row.long_text("text")?.into(),
        })
    }

    /// What a search gives of it.
    pub(super) fn hit(&self, score: f32, parts: Parts, vector: Vec<f32>) -> Hit {
        let shown = chunk::trimmed(&self.text, 0..self.text.len());
        Hit {
            id: self.id,
            kind: HitKind::Document,
            score,
            parts,
            created_at: self.of.created_at,
            citation: Citation {
                document: self.of.document,
                title: self.of.title.clone(),
                uri: self.of.uri.clone(),
                page: self.page,
                heading: self.heading.to_string(),
                range: self.start + shown.start as u64..self.start + shown.end as u64,
                text: self.text[shown].to_owned(),
            },
            vector,
        }
    }
}

/// What a search gives of a fact.
pub(super) fn fact_hit(fact: Fact, score: f32, parts: Parts, vector: Vec<f32>) -> Hit {
    Hit {
        id: fact.id,
        kind: HitKind::Fact,
        score,
        parts,
        created_at: fact.created_at,
        citation: Citation {
            document: fact.id,
            title: first_words(&fact.text),
            uri: format!("fact:{}", fact.id),
            page: 0,
            heading: String::new(),
            range: 0..fact.text.len() as u64,
            text: fact.text,
        },
        vector,
    }
}
