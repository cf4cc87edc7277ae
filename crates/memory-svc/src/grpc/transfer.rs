//! Files that come in pieces, and files that go in pieces.

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};
use solo_proto::memory::v1::put_document_request::Payload;
use solo_proto::memory::v1::{ExportDone, ExportResponse, ImportRequest, PutDocumentRequest};
use solo_service::IntoStatus;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::content::{Content, Incoming};
use crate::convert;
use crate::error::Error;
use crate::memory::{Exported, Memory};

/// Largest piece of a file in one message, in bytes.
const MAX_PIECE_BYTES: usize = 1 << 20;
/// Bytes of a piece that is sent.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are read ahead of the network.
const AHEAD: usize = 4;

/// The bytes of a message.
pub(super) trait Piece {
    fn bytes(self) -> Result<Vec<u8>, Error>;
}

impl Piece for PutDocumentRequest {
    fn bytes(self) -> Result<Vec<u8>, Error> {
        match self.payload {
            Some(Payload::Data(data)) => Ok(data),
            Some(Payload::Header(_)) => Err(Error::invalid(
                "header",
                "UNEXPECTED_HEADER",
                "the header comes once, as the first message",
            )),
            None => Err(Error::invalid(
                "payload",
                "EMPTY_MESSAGE",
                "the message is empty: data is wanted",
            )),
        }
    }
}

impl Piece for ImportRequest {
    fn bytes(self) -> Result<Vec<u8>, Error> {
        Ok(self.data)
    }
}

/// The rest of a file, up to `limit` bytes; `too_large`: what is said of one that is longer.
pub(super) async fn receive<M: Piece>(
    memory: &Memory,
    messages: &mut Streaming<M>,
    limit: u64,
    too_large: fn(u64) -> Error,
) -> Result<Content, Status> {
    let mut incoming = memory.incoming();
    while let Some(message) = messages.message().await? {
        let refused = match message.bytes() {
            Ok(data) if data.len() > MAX_PIECE_BYTES => {
                let message = format!("a piece has {} bytes; {MAX_PIECE_BYTES} are allowed", data.len());
                Error::invalid("data", "PIECE_TOO_LARGE", message)
            }
            Ok(data) if incoming.bytes() + data.len() as u64 > limit => too_large(limit),
            Ok(data) => match pushed(incoming, data).await? {
                Ok(longer) => {
                    incoming = longer;
                    continue;
                }
                Err(source) => return Err(Error::Spool { source }.into_status()),
            },
            Err(error) => error,
        };
        return Err(refused.into_status());
    }
    Ok(incoming.finish())
}

/// A file and a piece more of it. What does not stay in memory is written by a thread that may wait for the disk.
async fn pushed(mut incoming: Incoming, data: Vec<u8>) -> Result<std::io::Result<Incoming>, Status> {
    if incoming.stays_in_memory(data.len()) {
        return Ok(incoming.push(&data).map(|()| incoming));
    }
    let written = tokio::task::spawn_blocking(move || incoming.push(&data).map(|()| incoming));
    written.await.map_err(|_| {
        let doing = "keeping a file";
        Error::Panicked { doing }.into_status()
    })
}

/// The pieces of a file and its end, read on a thread of its own, a few pieces ahead.
pub(super) fn send(exported: Exported) -> mpsc::Receiver<Result<ExportResponse, Error>> {
    let (pieces, waiting) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let Exported {
            mut file,
            documents,
            facts,
        } = exported;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let sent = loop {
            match next(&mut file) {
                Ok(piece) if piece.is_empty() => {
                    let sha256 = hash.finalize().to_vec();
                    break Ok(convert::exported(ExportDone {
                        documents,
                        facts,
                        bytes,
                        sha256,
                    }));
                }
                Ok(piece) => {
                    hash.update(&piece);
                    bytes += piece.len() as u64;
                    if pieces.blocking_send(Ok(convert::export_piece(piece))).is_err() {
                        return;
                    }
                }
                Err(source) => break Err(Error::Spool { source }),
            }
        };
        // A caller that went away wants no end.
        let _ = pieces.blocking_send(sent);
    });
    waiting
}

/// Empty: that was all.
fn next(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    file.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece)
}
