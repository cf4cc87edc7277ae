//! Taking a document in: check, extract, cut, embed, store.
//!
//! What is expensive (embedding) happens before the store's write lock is taken, and not at all where the content is
//! known already. Parsing and cutting run on a blocking thread; embedding in batches on the engine's.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use solo_proto::events::v1::IngestProgressPayload;
use solo_proto::events::v1::event::Payload;
use tokio::sync::mpsc;

use super::Memory;
use crate::chunk::{self, Budget, Piece};
use crate::document::{ChunkDraft, DocumentDraft, Put};
use crate::embedding::TokenCounter;
use crate::error::Error;
use crate::extract::{self, Extracted, MediaType};
use crate::names::{CollectionName, DocumentUri, Principal};

/// At most one event of progress in so long.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);

/// A document as it arrives.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Collection to put it in.
    pub collection: CollectionName,
    /// Where it comes from.
    pub uri: DocumentUri,
    /// Media type; empty: to be found.
    pub media_type: String,
    /// Title; empty: to be found.
    pub title: String,
    /// What to keep with it.
    pub metadata: Map<String, Value>,
    /// SHA-256 that its bytes must have.
    pub content_sha256: Option<[u8; 32]>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// How far a document has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Chunks embedded.
    pub done: usize,
    /// Chunks in all.
    pub total: usize,
}

impl Memory {
    /// Takes a document in. `progress` hears of each step that it has room for; it is never waited for.
    pub async fn put(
        &self,
        principal: &Principal,
        upload: Upload,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Put, Error> {
        let Upload {
            collection,
            uri,
            media_type,
            title,
            metadata,
            content_sha256,
            content,
        } = upload;
        let found: [u8; 32] = Sha256::digest(&content).into();
        if let Some(wanted) = content_sha256.filter(|wanted| *wanted != found) {
            let message = format!(
                "the content arrived damaged: its SHA-256 is {}, not {}",
                hex::encode(found),
                hex::encode(wanted)
            );
            return Err(Error::invalid(
                "header.content_sha256",
                "CONTENT_HASH_MISMATCH",
                message,
            ));
        }
        let media_type = extract::media_type(&media_type, &uri, &content)?;
        let known = self.store().find_document(principal, &collection, &uri).await?;
        if let Some(document) = known.filter(|document| document.content_sha256 == found) {
            return Ok(Put {
                document,
                unchanged: true,
            });
        }
        let bytes = content.len() as u64;
        let cut = self.extract_and_cut(media_type, content, uri.clone(), title).await?;
        let chunks = self.embed_chunks(principal, &uri, &cut, progress).await?;
        let draft = DocumentDraft {
            collection,
            title: cut.title,
            media_type: media_type.as_str(),
            bytes,
            content_sha256: found,
            metadata,
            chunks,
            uri,
        };
        let (uri, chunks) = (draft.uri.clone(), draft.chunks.len());
        let put = self.store().put_document(principal, draft).await?;
        self.publish(
            principal,
            &uri,
            Progress {
                done: chunks,
                total: chunks,
            },
            true,
        );
        self.count().await;
        Ok(put)
    }

    async fn extract_and_cut(
        &self,
        media_type: MediaType,
        content: Vec<u8>,
        uri: DocumentUri,
        title: String,
    ) -> Result<Cut, Error> {
        let config = self.config();
        let budget = Budget {
            tokens: config.chunking.tokens,
            overlap: config.chunking.overlap,
        };
        let room = config.embedding.max_tokens.saturating_sub(2);
        let counter = self.0.embeddings.counter().clone();
        let work = move || {
            let Extracted { text, headings, title } = extract::extract(media_type, content, &uri, &title)?;
            let pieces = chunk::cut(&text, &headings, budget, &*counter);
            let embedded = pieces
                .iter()
                .map(|piece| embedding_text(&text, piece, room, &*counter))
                .collect();
            Ok(Cut {
                title,
                text,
                pieces,
                embedded,
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked {
            doing: "reading the document",
        })?
    }

    async fn embed_chunks(
        &self,
        principal: &Principal,
        uri: &DocumentUri,
        cut: &Cut,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Vec<ChunkDraft>, Error> {
        let (total, started) = (cut.pieces.len(), Instant::now());
        let mut told = started;
        self.publish(principal, uri, Progress { done: 0, total }, false);
        let report = |done: usize| {
            let step = Progress { done, total };
            // A reader that is behind misses a step; nobody waits for it.
            let _ = progress.try_send(step);
            if told.elapsed() >= EVENT_INTERVAL {
                told = Instant::now();
                self.publish(principal, uri, step, false);
            }
        };
        let vectors = self.0.embeddings.documents(cut.embedded.clone(), report).await?;
        self.0.figures.embedded_chunks(total, started.elapsed());
        let drafts = cut.pieces.iter().zip(vectors).map(|(piece, vector)| ChunkDraft {
            span: piece.span.start as u64..piece.span.end as u64,
            text: cut.text[piece.span.clone()].to_owned(),
            heading: piece.path(),
            page: 0,
            vector,
        });
        Ok(drafts.collect())
    }

    fn publish(&self, principal: &Principal, uri: &DocumentUri, progress: Progress, done: bool) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let payload = IngestProgressPayload {
            uri: uri.as_str().to_owned(),
            chunks_done: number(progress.done),
            chunks_total: number(progress.total),
            done,
        };
        self.0
            .events
            .publish(principal.as_str(), "", Payload::IngestProgress(payload));
    }
}

/// A document, cut.
struct Cut {
    title: String,
    text: String,
    pieces: Vec<Piece>,
    /// What is embedded for each piece.
    embedded: Vec<String>,
}

/// What is embedded for a piece: its heading path and its text, for a piece from the middle of a section often does not
/// say what it is about. As many of the innermost headings as there is room for; those inside the piece are not repeated.
fn embedding_text(text: &str, piece: &Piece, room: usize, counter: &dyn TokenCounter) -> String {
    let body = &text[chunk::trimmed(text, piece.span.clone())];
    let mut left = room.saturating_sub(counter.count(body));
    let mut prefix: Vec<&str> = Vec::new();
    for heading in piece
        .headings
        .iter()
        .rev()
        .filter(|heading| !body.starts_with('#') || !body.contains(*heading))
    {
        // One for the separator.
        let cost = counter.count(heading) + 1;
        if cost > left {
            break;
        }
        left -= cost;
        prefix.push(heading);
    }
    prefix.reverse();
    if prefix.is_empty() {
        body.to_owned()
    } else {
        format!("{}\n{body}", prefix.join(chunk::HEADING_SEPARATOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words;

    impl TokenCounter for Words {
        fn count(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }
    }

    #[test]
    fn a_piece_is_embedded_with_its_headings_while_there_is_room() {
        let text = "the middle of a section";
        let piece = Piece {
            span: 0..text.len(),
            headings: vec!["The Garden".into(), "Beans".into()],
        };
        assert_eq!(
            embedding_text(text, &piece, 20, &Words),
            "The Garden › Beans\nthe middle of a section"
        );
        assert_eq!(
            embedding_text(text, &piece, 7, &Words),
            "Beans\nthe middle of a section"
        );
        assert_eq!(embedding_text(text, &piece, 5, &Words), text);
    }

    #[test]
    fn headings_inside_a_piece_are_not_repeated() {
        let text = "## Beans\nLeave them.";
        let piece = Piece {
            span: 0..text.len(),
            headings: vec!["The Garden".into(), "Beans".into()],
        };
        assert_eq!(
            embedding_text(text, &piece, 20, &Words),
            "The Garden\n## Beans\nLeave them."
        );
    }
}
