//! agent-svc: the assistant's mind. It owns dialogues, recalls, and writes replies with a language model that is somewhere
//! else.
//!
//! A tour, in the order of a turn: `grpc.rs` decodes a Converse stream and gives it to a session (`converse.rs`), which
//! keeps the turn that runs and the reply that is prepared for what may be said next. A reply comes about in `reply.rs`:
//! memory is searched (`recall.rs`, `upstream.rs`), the messages are put together (`prompt.rs`) with the time of day (`clock.rs`), the
//! model's text is cleaned as it arrives (`cleaner.rs`), and what it rests on is found and named (`citations.rs`). Turns are
//! written down before and after in `store.rs`. What a person told in them is learnt afterwards (`facts.rs`); what they want of
//! the memory itself is done at once (`wishes.rs`, `granting.rs`). `convert.rs` alone knows both the wire and these types.

#![warn(missing_docs)]

pub mod citations;
pub mod cleaner;
pub mod clock;
pub mod config;
pub mod converse;
pub mod convert;
pub mod dialogue;
pub mod error;
pub mod facts;
pub mod gauges;
pub mod granting;
pub mod grpc;
pub mod prompt;
pub mod recall;
pub mod reply;
pub mod retention;
pub mod store;
pub mod upstream;
pub mod wishes;

use std::sync::Arc;

use solo_proto::agent::v1::agent_service_server::{AgentServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, Service, StartupError};
use tokio_util::task::TaskTracker;

pub use config::Config;

/// What is known of this service before it starts.
pub const DEFINITION: Definition = Definition {
    name: "agent-svc",
    section: "agent",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
};

/// Opens the database and offers the service. It serves without llm-svc and memory-svc: turns wait for them.
///
/// # Errors
/// When the database cannot be opened.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let store = store::Store::open(&config.database(&context.global))
        .await
        .map_err(StartupError::other)?;
    context.status.set_engine("sqlite");
    let gauges = gauges::Gauges::new(context.status.clone());
    gauges.set_totals(store.counts().await.map_err(StartupError::other)?);
    let (learner, reading) = facts::learner::Learner::new();
    let mind = Arc::new(reply::Mind {
        learner,
        llm: upstream::Llm::connect(&context, config.idle_timeout(), config.llm_wait())?,
        memory: upstream::Memory::connect(&context, config.recall_deadline())?,
        store: store.clone(),
        gauges,
        config,
    });
    let keep = mind.config.keep_dialogues();
    let expiring = retention::run(store.clone(), mind.gauges.clone(), keep, context.shutdown.clone());
    let sessions = TaskTracker::new();
    let max_message_bytes = context.global.max_message_bytes;
    let (shutdown, ending) = (context.shutdown.clone(), sessions.clone());
    let reading = reading.run(Arc::clone(&mind), context.shutdown.clone());
    let agent = grpc::Agent::new(mind, context, sessions);
    let server = AgentServiceServer::new(agent).max_decoding_message_size(max_message_bytes);
    // A session outlives its stream by the moment that it takes to write down what was said.
    let close = async move {
        shutdown.cancelled().await;
        ending.close();
        ending.wait().await;
        store.close().await;
    };
    Ok(Service::new().grpc(server).task(close).task(reading).task(expiring))
}
