//! Language models: messages in, streamed tokens out.
//!
//! A request comes in through `grpc` and is put into the service's own terms by `convert`. [`llm`] decides: it opens the
//! model's file through [`catalogue`] (which has [`gguf`] check it first), renders and tokenizes the prompt ([`chat`],
//! [`tokenizer`], [`prompt`]) and refuses what does not fit, all beside the engine's thread. On that thread a [`pool`]
//! keeps the models in memory, and a [`session`] answers: prefill, decode, [`sampling`], [`stop`] strings, and the prefix
//! that the last answer left. An [`engine`] only computes.
//!
//! One request runs at a time. A scheduler that runs several belongs between `llm` and `engine`, where `session` is.

mod config;
mod convert;
mod grpc;

pub mod catalogue;
pub mod chat;
pub mod engine;
pub mod error;
pub mod gguf;
pub mod llm;
pub mod pool;
pub mod prompt;
pub mod sampling;
pub mod session;
pub mod stop;
pub mod tokenizer;

use std::sync::Arc;

use solo_proto::llm::v1::llm_service_server::{LlmServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, Service, StartupError};

pub use config::{Config, EngineSetting, SamplingDefaults};

use engine::{BuiltEngines, Choice, EngineOptions, Engines};
use llm::Llm;

/// What is known of this service before it starts.
pub const DEFINITION: Definition = Definition {
    name: "llm-svc",
    section: "llm",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
};

/// Chooses the engine, loads the configured model, warms it up, and offers it.
///
/// # Errors
/// When the device cannot be had, or the model is missing, damaged or none that the engine runs.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    build_with(config, context, |options| Arc::new(BuiltEngines(options))).await
}

/// [`build`] with engines of the caller's. Tests bring scripted ones.
///
/// # Errors
/// As [`build`].
pub async fn build_with(
    config: Config,
    context: Context,
    engines: impl FnOnce(EngineOptions) -> Arc<dyn Engines> + Send,
) -> Result<Service, StartupError> {
    let choice = Choice::from_config(&config).map_err(|error| StartupError::Config(format!("llm.device: {error}")))?;
    let options = EngineOptions {
        context_length: config.context_length,
        batch: config.batch,
        threads: if config.threads == 0 {
            context.global.threads
        } else {
            config.threads
        },
        device: choice.device,
    };
    context.status.set_engine(choice.engine.as_str());
    context.status.set_engine_reason(choice.reason.clone());
    context.status.set_device(choice.device.to_string());
    let (limit, engines) = (context.global.max_message_bytes, engines(options.clone()));
    let (llm, expiring) = Llm::start(config, &context, choice, options, engines).await?;
    context.status.set_model(llm.default_model());
    let server = LlmServiceServer::new(grpc::Grpc(llm)).max_decoding_message_size(limit);
    Ok(Service::new().grpc(server).task(expiring))
}
