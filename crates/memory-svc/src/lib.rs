//! memory-svc: documents and facts, found again by meaning, each piece with where it stands.
//!
//! A tour, in the order in which a document passes:
//! - [`grpc`] and [`convert`]: the contract `solo.memory.v1`, decoded and encoded; no logic.
//! - [`memory`]: what the service does, in terms of its own types: put, search, facts.
//! - [`extract`]: bytes of a media type become text with an outline; [`chunk`] cuts the text into pieces that fit the
//!   embedding model, with exact byte ranges and heading paths.
//! - [`embedding`]: the [`Embedder`](embedding::Embedder) trait and its engines, on a thread of their own.
//! - [`store`]: the [`Store`](store::Store) trait and LanceDB behind it, everything keyed by principal.
//! - [`upkeep`]: joins small files and wipes what was deleted, in the background.
//!
//! The service calls no other: what needs a language model and memory together lives in agent-svc.

// LanceDB's query futures are deep; deciding that they are `Send` takes more than the default.
#![recursion_limit = "256"]

pub mod chunk;
pub mod config;
pub mod convert;
pub mod document;
pub mod embedding;
pub mod error;
pub mod extract;
pub mod fact;
pub mod figures;
pub mod grpc;
pub mod memory;
pub mod names;
pub mod page;
pub mod query;
pub mod ranking;
pub mod store;
pub mod upkeep;

use std::sync::Arc;

use solo_proto::memory::v1::memory_service_server::{MemoryServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, Service, StartupError};

pub use config::Config;
use embedding::{Embeddings, Loader};
use figures::Figures;
use grpc::MemoryGrpc;
use memory::Memory;

/// What is known of memory-svc before it starts.
pub const DEFINITION: Definition = Definition {
    name: "memory-svc",
    section: "memory",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
};

/// Builds the service with the embedding engine that the configuration names.
///
/// # Errors
/// A missing or damaged model, a store that belongs to another model or is in use, a folder that cannot be written.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let loader = embedding::from_config(&config, &context.global)?;
    assemble(config, context, loader).await
}

/// Builds the service with a given embedding engine: what [`build`] does, and what tests do with a fake.
///
/// # Errors
/// As [`build`].
pub async fn assemble(config: Config, context: Context, loader: Loader) -> Result<Service, StartupError> {
    let embeddings = Embeddings::start(&context, &config, loader).await?;
    let store = store::from_config(&config, &context.global, embeddings.identity()).await?;
    let figures = Figures::new(context.status.clone());
    figures.counts(store.statistics().await.map_err(StartupError::other)?);
    let upkeep = upkeep::run(Arc::clone(&store), config.upkeep, context.shutdown.clone());
    let max_message_bytes = context.global.max_message_bytes;
    let memory = Memory::new(store, embeddings, config, figures, context.events);
    let server = MemoryServiceServer::new(MemoryGrpc::new(memory)).max_decoding_message_size(max_message_bytes);
    Ok(Service::new().grpc(server).task(upkeep))
}
