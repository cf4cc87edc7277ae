//! `solo memory`: looks after what Solo remembers.

mod exchange;
mod reembed;

use serde::Serialize;
use solo_proto::memory::v1::{VerifyRequest, VerifyResponse};

use super::memory_service::MemoryService;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal::{self, BAD, GOOD, paint};

/// What `solo memory` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Hold everything that is stored against the store's own rules
    Verify,
    /// Write documents and facts into one file: a ZIP archive of JSON Lines; conversations and watched folders stay out
    Export(exchange::Export),
    /// Take such a file in; what is here and newer stays
    Import(exchange::Import),
    /// Make all vectors anew with another embedding model, while Solo goes on serving
    Reembed(reembed::Arguments),
}

/// What was found, as programs read it.
#[derive(Debug, Serialize)]
struct Found {
    documents: u64,
    chunks: u64,
    facts: u64,
    problems: Vec<String>,
}

/// Does what was asked for.
pub async fn run(settings: &Settings, command: &Command) -> Result<(), Failure> {
    let mut service = MemoryService::connect(settings).await?;
    match command {
        Command::Verify => verify(settings, &mut service).await,
        Command::Export(arguments) => exchange::export(settings, &mut service, arguments).await,
        Command::Import(arguments) => exchange::import(settings, &mut service, arguments).await,
        Command::Reembed(arguments) => reembed::run(settings, &mut service, arguments).await,
    }
}

async fn verify(settings: &Settings, service: &mut MemoryService) -> Result<(), Failure> {
    let answer = service.client.verify(VerifyRequest {}).await;
    let VerifyResponse {
        documents,
        chunks,
        facts,
        problems,
    } = answer.map_err(service.failed())?.into_inner();
    let sound = problems.is_empty();
    if settings.json {
        terminal::json(&Found {
            documents,
            chunks,
            facts,
            problems: problems.clone(),
        })?;
    } else {
        let verdict = if sound {
            paint(GOOD, "sound")
        } else {
            paint(BAD, format_args!("{} problems", problems.len()))
        };
        terminal::line(format_args!(
            "{verdict}: {documents} documents, {chunks} pieces, {facts} versions of facts"
        ))?;
        for problem in &problems {
            terminal::line(format_args!("  {problem}"))?;
        }
    }
    if sound {
        return Ok(());
    }
    Err(Failure::failed("the store is not as it should be")
        .help("put the documents that are named again; what belongs to none is removed when memory-svc starts"))
}
