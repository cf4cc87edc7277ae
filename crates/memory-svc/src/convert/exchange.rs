//! Exports and imports.

use solo_proto::memory::v1::{
    ExportDone, ExportResponse, ImportDone, ImportResponse, SnapshotProgress, export_response, import_response,
};

use crate::memory::{Exchanged, Imported};

/// How far an export has come.
pub fn export_progress(step: Exchanged) -> ExportResponse {
    ExportResponse {
        payload: Some(export_response::Payload::Progress(progress(step))),
    }
}

/// A piece of a file.
pub fn export_piece(data: Vec<u8>) -> ExportResponse {
    ExportResponse {
        payload: Some(export_response::Payload::Data(data)),
    }
}

/// The end of a file.
pub fn exported(done: ExportDone) -> ExportResponse {
    ExportResponse {
        payload: Some(export_response::Payload::Done(done)),
    }
}

/// How far an import has come.
pub fn import_progress(step: Exchanged) -> ImportResponse {
    ImportResponse {
        payload: Some(import_response::Payload::Progress(progress(step))),
    }
}

/// What an import did.
pub fn imported(imported: Imported) -> ImportResponse {
    let done = ImportDone {
        documents: imported.documents,
        documents_kept: imported.kept,
        facts: imported.facts,
        chunks_embedded: imported.embedded,
    };
    ImportResponse {
        payload: Some(import_response::Payload::Done(done)),
    }
}

fn progress(step: Exchanged) -> SnapshotProgress {
    SnapshotProgress {
        documents_done: step.done,
        documents_total: step.total,
    }
}
