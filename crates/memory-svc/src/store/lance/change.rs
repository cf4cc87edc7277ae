//! A document on its way into the store: what it takes the place of, and its chunks as rows and as searches give them.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::document_rows::DocumentRow;
use super::piece::{Piece, PieceOf};
use crate::document::{Document, DocumentDraft};

/// A document that takes the place of another, or of none.
pub(super) struct Change {
    pub(super) old: Option<DocumentRow>,
    pub(super) new: DocumentRow,
    /// What it was made of.
    pub(super) draft: DocumentDraft,
    /// Of the chunks.
    pub(super) ids: Vec<Uuid>,
}

impl Change {
    pub(super) fn new(old: Option<DocumentRow>, draft: DocumentDraft, now: Timestamp) -> Self {
        let before = old.as_ref().map(|old| &old.document);
        let history = draft.history;
        let new = DocumentRow {
            generation: Uuid::now_v7(),
            document: Document {
                id: before
                    .map(|before| before.id)
                    .or(history.map(|history| history.id))
                    .unwrap_or_else(Uuid::now_v7),
                collection: draft.collection.clone(),
                uri: draft.uri.as_str().to_owned(),
                title: draft.title.clone(),
                media_type: draft.media_type.clone(),
                version: before
                    .map_or(1, |before| before.version.saturating_add(1))
                    .max(history.map_or(1, |history| history.version)),
                chunks: u32::try_from(draft.chunks.len()).unwrap_or(u32::MAX),
                bytes: draft.bytes,
                text_bytes: draft.chunks.last().map_or(0, |chunk| chunk.span.end),
                content_sha256: draft.content_sha256,
                created_at: before
                    .map(|before| before.created_at)
                    .or(history.map(|history| history.created_at))
                    .unwrap_or(now),
                updated_at: history.map_or(now, |history| history.updated_at),
                metadata: draft.metadata.clone(),
            },
        };
        Self {
            ids: draft.chunks.iter().map(|_| Uuid::now_v7()).collect(),
            draft,
            old,
            new,
        }
    }

    /// As [`Self::new`], but with the identifier that the draft has: of `old`'s there are two.
    pub(super) fn renamed(old: DocumentRow, draft: DocumentDraft, now: Timestamp) -> Self {
        Self {
            old: Some(old),
            ..Self::new(None, draft, now)
        }
    }

    /// Its chunks as searches give them.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Piece, &[f32])> {
        let document = &self.new.document;
        let of = Arc::new(PieceOf {
            document: document.id,
            collection: document.collection.clone(),
            uri: document.uri.clone(),
            title: document.title.clone(),
            created_at: document.updated_at,
        });
        self.draft.chunks.iter().zip(&self.ids).map(move |(chunk, id)| {
            let piece = Piece {
                id: *id,
                of: Arc::clone(&of),
                heading: chunk.heading.as_str().into(),
                page: chunk.page,
                start: chunk.span.start,
                text: chunk.text.as_str().into(),
            };
            (piece, chunk.vector.as_slice())
        })
    }
}
