//! memory-svc: documents and facts, found again by meaning, each piece with where it stands.
//!
//! A tour, in the order in which a document passes:
//! - [`grpc`] and [`convert`]: the contract `solo.memory.v1`, decoded and encoded; no logic.
//! - [`memory`]: what the service does, in terms of its own types: put, search, facts.
//! - [`content`] holds its bytes; [`extract`]: bytes of a format become text with an outline (solo-documents), in a process of
//!   their own where that takes a parser; [`chunk`] cuts the text into pieces that fit the embedding model, with exact byte
//!   ranges, heading paths and pages.
//! - [`embedding`]: the [`Embedder`](embedding::Embedder) trait and its engines, on a thread of their own; [`embedding::device`]:
//!   where one computes.
//! - [`rerank`]: the [`Reranker`](rerank::Reranker) trait and its engine, which puts what was found in a better order, where
//!   one is configured.
//! - [`store`]: the [`Store`](store::Store) trait and LanceDB behind it, everything keyed by principal; [`solo_vectors`] in memory
//!   find what is near.
//! - [`snapshot`]: somebody's whole memory as one file (solo-snapshot).
//! - [`watch`]: makes the store equal folders of this machine.
//! - [`upkeep`]: joins small files, wipes what was deleted and lets go what is too old ([`retention`]), in the background.
//!
//! The service calls no other: what needs a language model and memory together lives in agent-svc.

// LanceDB's query futures are deep; deciding that they are `Send` takes more than the default.
#![recursion_limit = "256"]

mod bert;
pub mod chunk;
pub mod config;
pub mod content;
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
pub mod rerank;
pub mod retention;
pub mod snapshot;
pub mod store;
pub mod upkeep;
pub mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use solo_proto::memory::v1::memory_service_server::{MemoryServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, Service, StartupError};

pub use config::Config;
use embedding::Embeddings;
use extract::reader::Reader;
use grpc::MemoryGrpc;
use memory::Memory;
use rerank::Rerankings;
use watch::Watches;

/// What is known of memory-svc before it starts.
pub const DEFINITION: Definition = Definition {
    name: "memory-svc",
    section: "memory",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: ENVIRONMENT,
};

/// What Lance is told, as it cannot be told otherwise.
const ENVIRONMENT: &[(&str, &str)] = &[
    // Megabytes of memory in which a part of an index by words is made: of as many parts as that takes. Unasked it is 2 GB, and all
    // of an index is read and written again where it is one part.
    ("LANCE_FTS_PARTITION_SIZE", "128"),
    // At once: unasked as many as half the processors.
    ("LANCE_FTS_NUM_SHARDS", "1"),
];

/// The engines that the service is built with, about to be loaded.
pub struct Engines {
    /// Turns text into vectors.
    pub embedding: embedding::Loader,
    /// Others that may take its place.
    pub others: embedding::Loaders,
    /// Puts what was found in a better order; `None`: nothing does.
    pub reranker: Option<rerank::Loader>,
}

impl From<embedding::Loader> for Engines {
    /// Without others and a reranker.
    fn from(embedding: embedding::Loader) -> Self {
        Self {
            embedding,
            others: Arc::new(|_| Err(StartupError::other("there is no other embedding engine"))),
            reranker: None,
        }
    }
}

/// Builds the service with the engines that the configuration names.
///
/// # Errors
/// A missing or damaged model, a store that belongs to another model or is in use, a folder that cannot be written.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let engines = Engines {
        embedding: embedding::from_config(&config, &context.global)?,
        others: embedding::loaders(&config, &context.global),
        reranker: rerank::from_config(&config, &context.global)?,
    };
    let program = std::env::current_exe().map_err(StartupError::other)?;
    assemble(config, context, engines, program).await
}

/// Builds the service with given engines: what [`build`] does, and what tests do with fakes. `program` is this
/// service's own, which reads documents in processes of their own ([`extract::child`]).
///
/// # Errors
/// As [`build`].
pub async fn assemble(
    config: Config,
    context: Context,
    engines: Engines,
    program: PathBuf,
) -> Result<Service, StartupError> {
    let embeddings = Embeddings::load(&context, &config, engines.embedding).await?;
    let rerankings = match engines.reranker {
        Some(loader) => Some(Rerankings::start(&context, &config, loader).await?),
        None => None,
    };
    let opened = store::from_config(&config, &context.global, embeddings.identity()).await?;
    let (shutdown, max_message_bytes) = (context.shutdown.clone(), context.global.max_message_bytes);
    let reader = Reader::new(program, config.extract);
    let rules = upkeep::Rules {
        upkeep: config.upkeep(),
        retention: config.retention,
    };
    let engines = memory::Engines {
        embeddings,
        loaders: engines.others,
        rerankings,
    };
    let memory = Memory::new(opened, engines, reader, config, context);
    memory.count().await;
    let upkeep = upkeep::run(memory.stores(), rules, shutdown.clone());
    let watches = Watches::start(memory.clone(), shutdown)
        .await
        .map_err(StartupError::other)?;
    let grpc = MemoryGrpc::new(memory, watches.clone());
    let server = MemoryServiceServer::new(grpc).max_decoding_message_size(max_message_bytes);
    Ok(Service::new().grpc(server).task(upkeep).task(watches.run()))
}
