//! `solo remember "…"`: a note for Solo's memory; `--file`: documents.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use solo_proto::memory::v1::put_document_request::Payload as Request;
use solo_proto::memory::v1::put_document_response::Payload;
use solo_proto::memory::v1::{DocumentHeader, PutDocumentRequest, PutDone};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use url::Url;

use super::memory_service::MemoryService;
use super::text_of;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal::{self, WARN, paint};

/// Bytes of a document in a message; the contract allows 1 MiB.
const PIECE: usize = 256 * 1024;
/// Pieces that are read ahead of the service.
const AHEAD: usize = 4;
const BAR: &str = "{bar:24} {pos:>6}/{len:6} pieces {eta:>5} {wide_msg:.dim}";

/// What `solo remember` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to remember; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file", value_name = "TEXT")]
    pub text: Vec<String>,
    /// Documents to remember instead: text, Markdown, HTML, PDF, DOCX, EPUB, CSV, JSON, e-mail, source code
    #[arg(long, short, value_name = "FILE", num_args = 1..)]
    pub file: Vec<PathBuf>,
    /// What to call it when it is cited [default: its own title, or its first words]
    #[arg(long, value_name = "TITLE")]
    pub title: Option<String>,
    /// Collection to put it in
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub collection: String,
}

/// What was stored, as programs read it.
#[derive(Debug, Serialize)]
struct Stored {
    id: String,
    title: String,
    uri: String,
    chunks: u32,
    unchanged: bool,
    warnings: Vec<String>,
}

/// Stores a note, or documents one after another; the first that fails ends it.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let header = DocumentHeader {
        collection: arguments.collection.clone(),
        title: arguments.title.clone().unwrap_or_default(),
        ..DocumentHeader::default()
    };
    if arguments.file.is_empty() {
        let text = text_of(&arguments.text)?;
        let header = DocumentHeader {
            media_type: "text/plain".into(),
            ..header
        };
        let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(PIECE).map(<[u8]>::to_vec).collect();
        let mut service = MemoryService::connect(settings).await?;
        let stored = put(&mut service, header, tokio_stream::iter(pieces), "").await?;
        return show(settings, &stored);
    }
    let mut service = MemoryService::connect(settings).await?;
    for file in &arguments.file {
        let (uri, content_sha256, pieces) = open(file)?;
        let header = DocumentHeader {
            uri,
            content_sha256,
            ..header.clone()
        };
        let name = file.display().to_string();
        let stored = put(&mut service, header, pieces, &name)
            .await
            .map_err(|failure| Failure {
                message: format!("{name}: {}", failure.message),
                ..failure
            })?;
        show(settings, &stored)?;
    }
    Ok(())
}

/// A file's URI and SHA-256, and its bytes as they are read.
fn open(path: &Path) -> Result<(String, Vec<u8>, impl Stream<Item = Vec<u8>> + Send + 'static), Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    let absolute = path.canonicalize().map_err(|error| cannot(&error))?;
    let mut file = std::fs::File::open(&absolute).map_err(|error| cannot(&error))?;
    if !file.metadata().map_err(|error| cannot(&error))?.is_file() {
        return Err(cannot(&"it is no file").help("`solo watch add` takes folders"));
    }
    let uri = Url::from_file_path(&absolute).map_err(|()| cannot(&"its path has no URL"))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|error| cannot(&error))?;
    file.rewind().map_err(|error| cannot(&error))?;
    let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
    let name = path.to_owned();
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => piece.truncate(read),
                Err(error) => {
                    // The service sees that it is not the whole: its hash was promised.
                    terminal::remark(format_args!("{}: {error}", name.display()));
                    return;
                }
            }
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    Ok((uri.into(), hash.finalize().to_vec(), ReceiverStream::new(receiver)))
}

/// Puts a document; a bar shows how far it is, where a person looks.
async fn put(
    service: &mut MemoryService,
    header: DocumentHeader,
    pieces: impl Stream<Item = Vec<u8>> + Send + 'static,
    name: &str,
) -> Result<Stored, Failure> {
    let failed = service.failed();
    let header = tokio_stream::once(Request::Header(header));
    let messages = header
        .chain(pieces.map(Request::Data))
        .map(|payload| PutDocumentRequest { payload: Some(payload) });
    let bar = terminal::bar(BAR).with_message(name.to_owned());
    let mut answers = service
        .client
        .put_document(messages)
        .await
        .map_err(&failed)?
        .into_inner();
    let mut done = None;
    while let Some(answer) = answers.message().await.map_err(&failed)? {
        match answer.payload {
            Some(Payload::Progress(step)) => {
                bar.set_length(step.chunks_total.into());
                bar.set_position(step.chunks_done.into());
            }
            Some(Payload::Done(last)) => done = Some(last),
            None => {}
        }
    }
    bar.finish_and_clear();
    let stored = done.and_then(
        |PutDone {
             document,
             unchanged,
             warnings,
             ..
         }| {
            let document = document?;
            Some(Stored {
                id: document.id,
                title: document.title,
                uri: document.uri,
                chunks: document.chunks,
                unchanged,
                warnings,
            })
        },
    );
    stored.ok_or_else(|| {
        Failure::failed(format!("{}: nobody said that it was stored", service.name))
            .help("`solo logs memory-svc` may say why")
    })
}
fn show(settings: &Settings, stored: &Stored) -> Result<(), Failure> {
    if settings.json {
        return terminal::json(stored);
    }
    let verb = if stored.unchanged {
        "known already"
    } else {
        "remembered"
    };
    terminal::line(format_args!("{verb}: {} ({})", stored.title, stored.id))?;
    for warning in &stored.warnings {
        terminal::remark(format_args!("{} {warning}", paint(WARN, "note:")));
    }
    Ok(())
}
