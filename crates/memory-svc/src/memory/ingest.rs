//! Taking a document in: check, read, cut, embed, store.
//!
//! What is expensive (embedding) happens before the store's write lock is taken, and not at all for pieces that are known: of
//! the version before, or of a document with the same content. Reading is [`crate::extract`]'s, cutting runs on a blocking
//! thread, embedding in batches on the engine's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use solo_documents::Extracted;
use solo_proto::events::v1::IngestProgressPayload;
use solo_proto::events::v1::event::Payload;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Memory;
use super::embed::embedding_text;
use crate::chunk::{self, Budget, Piece};
use crate::content::Content;
use crate::document::{ChunkDraft, Document, DocumentDraft};
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::names::{CollectionName, DocumentUri, Principal};
use crate::store::Store;
use crate::watch::Watch;

/// Where a document's metadata says what was left out of it.
const WARNINGS: &str = "warnings";
/// At most one event of progress in so long.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);

/// What is said of a document that arrives.
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
}

/// What taking a document in did.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The document as it is now.
    pub document: Document,
    /// True when this very content was there before and nothing was changed.
    pub unchanged: bool,
    /// What was left out, in sentences.
    pub warnings: Vec<String>,
    /// Pieces that were embedded; the others were known.
    pub embedded: usize,
}

/// A document that is ready to be stored.
pub(crate) struct Ready {
    draft: DocumentDraft,
    /// Whose vectors it has.
    made_by: Identity,
    warnings: Vec<String>,
    embedded: usize,
}

impl Ready {
    /// SHA-256 of its content.
    pub(crate) fn content_sha256(&self) -> [u8; 32] {
        self.draft.content_sha256
    }

    /// Number of its pieces.
    pub(crate) fn chunks(&self) -> usize {
        self.draft.chunks.len()
    }
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
        content: Content,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Taken, Error> {
        let found = content.sha256();
        if let Some(wanted) = upload.content_sha256.filter(|wanted| *wanted != found) {
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
        let store = self.store();
        let before = store.find_document(principal, &upload.collection, &upload.uri).await?;
        let before = match before {
            Some(document) if document.content_sha256 == found => {
                return Ok(Taken {
                    document,
                    unchanged: true,
                    warnings: Vec::new(),
                    embedded: 0,
                });
            }
            before => before.map(|document| document.id),
        };
        let same = store.find_content(principal, &found).await?;
        let like: Vec<Uuid> = before.into_iter().chain(same).collect();
        let ready = self.prepare(principal, upload, content, &like, progress).await?;
        let stored = self.store_all(principal, vec![ready], None).await?;
        // As many as were given.
        stored.into_iter().next().ok_or(Error::Panicked {
            doing: "storing the document",
        })
    }

    /// Does all the work of taking a document in but storing it. `like`: documents that may have the same pieces.
    pub(crate) async fn prepare(
        &self,
        principal: &Principal,
        upload: Upload,
        content: Content,
        like: &[Uuid],
        progress: mpsc::Sender<Progress>,
    ) -> Result<Ready, Error> {
        let Upload {
            collection,
            uri,
            media_type,
            title,
            mut metadata,
            ..
        } = upload;
        let (content_sha256, bytes) = (content.sha256(), content.bytes());
        let format = solo_documents::detect(&media_type, uri.as_str(), content.head())?;
        let extracted = self.0.reader.read(format, content).await?;
        let title = solo_documents::title(&title, &extracted, uri.as_str());
        let warnings = extracted.warnings.clone();
        if !warnings.is_empty() {
            metadata.insert(WARNINGS.to_owned(), warnings.clone().into());
        }
        let current = self.current();
        let cut = self.cut(&current.embeddings, extracted).await?;
        let known = known_vectors(&*current.store, principal, like).await?;
        let (chunks, embedded) = self
            .embed_chunks(&current.embeddings, principal, &uri, cut, known, progress)
            .await?;
        let draft = DocumentDraft {
            collection,
            title,
            media_type: format.media_type.as_str().to_owned(),
            bytes,
            content_sha256,
            metadata,
            chunks,
            uri,
            history: None,
        };
        Ok(Ready {
            draft,
            made_by: current.embeddings.identity().clone(),
            warnings,
            embedded,
        })
    }

    /// Stores documents that are ready, no two with the same URI, in one step. `folder`: the watched one that they are of; if it
    /// is not watched any more, they are not stored.
    pub(crate) async fn store_all(
        &self,
        principal: &Principal,
        ready: Vec<Ready>,
        folder: Option<&Watch>,
    ) -> Result<Vec<Taken>, Error> {
        let told: Vec<(DocumentUri, usize)> = ready
            .iter()
            .map(|ready| (ready.draft.uri.clone(), ready.draft.chunks.len()))
            .collect();
        let made_by: Vec<Identity> = ready.iter().map(|ready| ready.made_by.clone()).collect();
        let (mut drafts, rest): (Vec<DocumentDraft>, Vec<(Vec<String>, usize)>) = ready
            .into_iter()
            .map(|ready| (ready.draft, (ready.warnings, ready.embedded)))
            .unzip();
        let writing = self.writing().await;
        if made_by
            .iter()
            .any(|identity| identity != writing.embeddings().identity())
        {
            // Another model took the place of theirs meanwhile.
            self.embed_again(writing.embeddings(), &mut drafts).await?;
        }
        let puts = match folder {
            Some(watch) => writing.store().put_watched(watch, drafts).await?,
            None => writing.store().put_documents(principal, drafts).await?,
        };
        drop(writing);
        for (uri, total) in told {
            self.publish(principal, &uri, Progress { done: total, total }, true);
        }
        self.count().await;
        let taken = puts.into_iter().zip(rest).map(|(put, (warnings, embedded))| Taken {
            document: put.document,
            unchanged: put.unchanged,
            warnings,
            embedded,
        });
        Ok(taken.collect())
    }

    async fn cut(&self, embeddings: &Embeddings, extracted: Extracted) -> Result<Cut, Error> {
        let config = self.config();
        let budget = Budget {
            tokens: config.chunking.tokens,
            overlap: config.chunking.overlap,
        };
        let room = config.embedding.max_tokens.saturating_sub(2);
        let counter = embeddings.counter().clone();
        let work = move || {
            let Extracted { text, outline, .. } = extracted;
            let pieces = chunk::cut(&text, &outline, budget, &*counter);
            let embedded = pieces
                .iter()
                .map(|piece| {
                    let headings: Vec<&str> = piece.headings.iter().map(|heading| &**heading).collect();
                    embedding_text(&text[piece.span.clone()], &headings, room, &*counter)
                })
                .collect();
            Cut { text, pieces, embedded }
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked {
            doing: "cutting the document",
        })
    }

    async fn embed_chunks(
        &self,
        embeddings: &Embeddings,
        principal: &Principal,
        uri: &DocumentUri,
        cut: Cut,
        mut known: KnownVectors,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(Vec<ChunkDraft>, usize), Error> {
        let (total, started) = (cut.pieces.len(), Instant::now());
        let mut told = started;
        let mut drafts = Vec::with_capacity(total);
        let (mut missing, mut texts) = (Vec::new(), Vec::new());
        for (piece, embedded) in cut.pieces.iter().zip(cut.embedded) {
            let (heading, text) = (piece.path(), cut.text[piece.span.clone()].to_owned());
            let key = (heading, text);
            let vector = known.remove(&key).unwrap_or_else(|| {
                missing.push(drafts.len());
                texts.push(embedded);
                Vec::new()
            });
            let (heading, text) = key;
            drafts.push(ChunkDraft {
                span: piece.span.start as u64..piece.span.end as u64,
                text,
                heading,
                page: piece.page,
                vector,
            });
        }
        let reused = total - missing.len();
        let first = Progress { done: reused, total };
        self.publish(principal, uri, first, false);
        let report = |done: usize| {
            let step = Progress {
                done: reused + done,
                total,
            };
            // A reader that is behind misses a step; nobody waits for it.
            let _ = progress.try_send(step);
            if told.elapsed() >= EVENT_INTERVAL {
                told = Instant::now();
                self.publish(principal, uri, step, false);
            }
        };
        let vectors = embeddings.documents(texts, report).await?;
        self.0.figures.embedded_chunks(missing.len(), started.elapsed());
        for (index, vector) in missing.iter().zip(vectors) {
            drafts[*index].vector = vector;
        }
        Ok((drafts, missing.len()))
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
            .context
            .events
            .publish(principal.as_str(), "", Payload::IngestProgress(payload));
    }
}

/// Vectors by heading path and text: what is embedded for a piece follows from those.
type KnownVectors = HashMap<(String, String), Vec<f32>>;

/// The vectors of pieces that need not be embedded again: those of the version before, and of a document with the same content
/// (a file was copied, or has another name now).
async fn known_vectors(store: &dyn Store, principal: &Principal, like: &[Uuid]) -> Result<KnownVectors, Error> {
    let mut known = KnownVectors::new();
    for document in like {
        for chunk in store.chunks(principal, *document).await? {
            known.insert((chunk.heading, chunk.text), chunk.vector);
        }
    }
    Ok(known)
}

/// A document, cut.
struct Cut {
    text: String,
    pieces: Vec<Piece>,
    /// What is embedded for each piece.
    embedded: Vec<String>,
}
