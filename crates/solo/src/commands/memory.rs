//! `solo memory`: looks after what Solo remembers.

use serde::Serialize;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{VerifyRequest, VerifyResponse};

use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, BAD, GOOD, paint};

/// What `solo memory` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Hold everything that is stored against the store's own rules
    Verify,
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
    match command {
        Command::Verify => verify(settings).await,
    }
}

async fn verify(settings: &Settings) -> Result<(), Failure> {
    let memory = services::parse("memory").map_err(Failure::failed)?;
    let channel = connection::to(settings, memory).await?;
    let answer = MemoryServiceClient::new(channel).verify(VerifyRequest {}).await;
    let VerifyResponse {
        documents,
        chunks,
        facts,
        problems,
    } = answer
        .map_err(|status| Failure::from_status(memory.name, &status))?
        .into_inner();
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
