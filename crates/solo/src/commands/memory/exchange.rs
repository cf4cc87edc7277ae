//! `solo memory export` and `import`: all that Solo remembers as one file.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, ProgressBar};
use sha2::{Digest, Sha256};
use solo_proto::memory::v1::export_response::Payload as Exported;
use solo_proto::memory::v1::import_response::Payload as Imported;
use solo_proto::memory::v1::{ExportDone, ExportRequest, ImportDone, ImportRequest, SnapshotProgress};
use tempfile::NamedTempFile;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::commands::memory_service::MemoryService;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal;

/// Bytes of a file in a message; the contract allows 1 MiB.
const PIECE: usize = 256 * 1024;
/// Pieces that are read ahead of the service.
const AHEAD: usize = 4;
const BAR: &str = "{bar:24} {pos:>6}/{len:6} documents {eta:>5} {wide_msg:.dim}";

/// What `solo memory export` takes.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// File to write; `-` writes to standard output
    #[arg(value_name = "FILE", default_value = "solo-memory.zip")]
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long, short)]
    force: bool,
}

/// What `solo memory import` takes.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// File that `solo memory export` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Where an exported file goes.
enum Target<'a> {
    Output,
    /// Written beside it first, so that it is there whole or not at all.
    File(NamedTempFile, &'a Path, bool),
}

impl<'a> Target<'a> {
    fn open(arguments: &'a Export) -> Result<Self, Failure> {
        let file = arguments.file.as_path();
        if file == Path::new("-") {
            return Ok(Self::Output);
        }
        if !arguments.force && file.exists() {
            return Err(Failure::failed(format!("{} is there already", file.display())).help("--force replaces it"));
        }
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // Only its owner may read it.
        let beside = NamedTempFile::new_in(folder).map_err(|error| cannot_write(file, &error))?;
        Ok(Self::File(beside, file, arguments.force))
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Output => std::io::stdout()
                .write_all(piece)
                .map_err(|error| Failure::failed(format!("the output cannot be written: {error}"))),
            Self::File(beside, file, _) => beside.write_all(piece).map_err(|error| cannot_write(file, &error)),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let Self::File(beside, file, force) = self else {
            return std::io::stdout()
                .flush()
                .map_err(|error| Failure::failed(format!("the output cannot be written: {error}")));
        };
        beside
            .as_file()
            .sync_all()
            .map_err(|error| cannot_write(file, &error))?;
        let kept = if force {
            beside.persist(file)
        } else {
            beside.persist_noclobber(file)
        };
        kept.map_err(|error| cannot_write(file, &error.error)).map(drop)
    }
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", file.display()))
}

/// Writes a file; one that is interrupted leaves nothing.
pub(super) async fn export(
    settings: &Settings,
    service: &mut MemoryService,
    arguments: &Export,
) -> Result<(), Failure> {
    tokio::select! {
        done = write(settings, service, arguments) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("nothing was exported")),
    }
}

async fn write(settings: &Settings, service: &mut MemoryService, arguments: &Export) -> Result<(), Failure> {
    let mut target = Target::open(arguments)?;
    let answers = service.client.export(ExportRequest {}).await;
    let mut answers = answers.map_err(service.failed())?.into_inner();
    let bar = terminal::bar(BAR);
    let (mut hash, mut done) = (Sha256::new(), None);
    while let Some(answer) = answers.message().await.map_err(service.failed())? {
        match answer.payload {
            Some(Exported::Progress(step)) => show_progress(&bar, step),
            Some(Exported::Data(piece)) => {
                hash.update(&piece);
                target.write(&piece)?;
            }
            Some(Exported::Done(last)) => done = Some(last),
            None => {}
        }
    }
    bar.finish_and_clear();
    let done = done.filter(|done: &ExportDone| done.sha256 == hash.finalize().as_slice());
    let done = done.ok_or_else(|| Failure::failed("the file did not arrive whole").help("try it again"))?;
    let to_output = matches!(target, Target::Output);
    target.finish()?;
    if to_output {
        return Ok(());
    }
    if settings.json {
        return terminal::json(&serde_json::json!({
            "file": arguments.file,
            "documents": done.documents,
            "facts": done.facts,
            "bytes": done.bytes,
        }));
    }
    terminal::line(format_args!(
        "{}: {} documents, {} versions of facts, {}",
        arguments.file.display(),
        done.documents,
        done.facts,
        HumanBytes(done.bytes)
    ))
}

/// Takes a file in.
pub(super) async fn import(
    settings: &Settings,
    service: &mut MemoryService,
    arguments: &Import,
) -> Result<(), Failure> {
    let file = arguments.file.as_path();
    let cannot = |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", file.display()));
    let mut content = std::fs::File::open(file).map_err(cannot)?;
    let (sender, pieces) = tokio::sync::mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        loop {
            let mut data = Vec::with_capacity(PIECE);
            if (&mut content).take(PIECE as u64).read_to_end(&mut data)? == 0 {
                return Ok(());
            }
            if sender.blocking_send(data).is_err() {
                return Ok(());
            }
        }
    });
    let messages = ReceiverStream::new(pieces).map(|data| ImportRequest { data });
    let answers = service.client.import(messages).await;
    // A file that could not be read to its end looks damaged to the service.
    reading
        .await
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(cannot)?;
    let mut answers = answers.map_err(service.failed())?.into_inner();
    let (bar, mut done) = (terminal::bar(BAR), None);
    while let Some(answer) = answers.message().await.map_err(service.failed())? {
        match answer.payload {
            Some(Imported::Progress(step)) => show_progress(&bar, step),
            Some(Imported::Done(last)) => done = Some(last),
            None => {}
        }
    }
    bar.finish_and_clear();
    let Some(ImportDone {
        documents,
        documents_kept,
        facts,
        chunks_embedded,
    }) = done
    else {
        return Err(Failure::failed("nobody said that it was taken in").help("`solo logs memory-svc` may say why"));
    };
    if settings.json {
        return terminal::json(&serde_json::json!({
            "documents": documents,
            "documents_kept": documents_kept,
            "facts": facts,
            "chunks_embedded": chunks_embedded,
        }));
    }
    terminal::line(format_args!(
        "taken in: {documents} documents, {facts} versions of facts"
    ))?;
    if documents_kept > 0 {
        terminal::remark(format_args!(
            "{documents_kept} documents were here already, the same or newer"
        ));
    }
    if chunks_embedded > 0 {
        terminal::remark(format_args!(
            "{chunks_embedded} pieces were embedded, for the file has vectors of another model"
        ));
    }
    Ok(())
}

fn show_progress(bar: &ProgressBar, step: SnapshotProgress) {
    bar.set_length(step.documents_total);
    bar.set_position(step.documents_done);
}
