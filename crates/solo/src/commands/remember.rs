//! `solo remember "…"`: a note for Solo's memory.

use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::put_document_request::Payload as Request;
use solo_proto::memory::v1::put_document_response::Payload;
use solo_proto::memory::v1::{DocumentHeader, PutDocumentRequest, PutDone};

use super::text_of;
use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal;

/// Bytes of the text in a message; the contract allows 1 MiB.
const PIECE: usize = 256 * 1024;

/// What `solo remember` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to remember; `-` reads it from standard input
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
    /// What to call it when it is cited [default: its first words]
    #[arg(long, value_name = "TITLE")]
    pub title: Option<String>,
}

/// Stores the note.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let text = text_of(&arguments.text)?;
    let memory = services::parse("memory").map_err(Failure::failed)?;
    let failed = |status: tonic::Status| Failure::from_status(memory.name, &status);
    let channel = connection::to(settings, memory).await?;
    let header = DocumentHeader {
        media_type: "text/plain".into(),
        title: arguments.title.clone().unwrap_or_default(),
        ..DocumentHeader::default()
    };
    let pieces: Vec<Request> = text
        .as_bytes()
        .chunks(PIECE)
        .map(|piece| Request::Data(piece.to_vec()))
        .collect();
    let requests = std::iter::once(Request::Header(header)).chain(pieces);
    let requests = requests.map(|payload| PutDocumentRequest { payload: Some(payload) });
    let response = MemoryServiceClient::new(channel)
        .put_document(tokio_stream::iter(requests))
        .await;
    let mut answers = response.map_err(failed)?.into_inner();
    let mut done = None;
    while let Some(answer) = answers.message().await.map_err(failed)? {
        if let Some(Payload::Done(last)) = answer.payload {
            done = Some(last);
        }
    }
    let stored = done.and_then(|PutDone { document, unchanged }| Some((document?, unchanged)));
    let (document, unchanged) = stored.ok_or_else(|| {
        Failure::failed(format!("{}: nobody said that it was stored", memory.name))
            .help("`solo logs memory-svc` may say why")
    })?;
    if settings.json {
        return terminal::json(&serde_json::json!({
            "id": document.id,
            "title": document.title,
            "uri": document.uri,
            "chunks": document.chunks,
            "unchanged": unchanged,
        }));
    }
    let verb = if unchanged { "known already" } else { "remembered" };
    terminal::line(format_args!("{verb}: {} ({})", document.title, document.id))
}
