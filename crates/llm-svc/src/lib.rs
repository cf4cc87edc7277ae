//! Language models: messages in, streamed tokens out.
//!
//! A request comes in through `grpc` and is put into the service's own terms by `convert`. [`llm`] decides: a request for
//! another server goes to its [`backend`]. For a model of this process it opens the file through [`catalogue`] (which has
//! [`gguf`] check it first), renders and tokenizes the prompt ([`chat`], [`tokenizer`], [`prompt`]), compiles what the
//! answer must obey ([`constraint`], [`tools`]) and refuses what cannot be, all beside the thread that computes.
//!
//! On that thread a [`pool`] keeps the models in memory. Each has a [`lane`]: a [`scheduler`] that says what the next step
//! computes over the books on keys and values ([`kv`]), an [`engine`] that computes it, and the [`answer`]s that choose
//! their next token from its scores ([`sampling`], [`stop`]). Status and events tell of it ([`gauges`], [`news`]).
//!
//! Where engines compute stands in [`device`], and what watches over GPUs.

mod config;
mod convert;
mod ggml;
mod grpc;

pub mod answer;
pub mod backend;
pub mod catalogue;
pub mod chat;
pub mod constraint;
pub mod device;
pub mod engine;
pub mod error;
pub mod gauges;
pub mod kv;
pub mod lane;
pub mod llm;
pub mod news;
pub mod pool;
pub mod prompt;
pub mod quantize;
pub mod sampling;
pub mod scheduler;
pub mod stop;
pub mod tokenizer;
pub mod tools;

use std::sync::Arc;
use std::time::Duration;

use solo_proto::llm::v1::llm_service_server::{LlmServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, Service, StartupError, gpu};

pub use config::{Config, EngineSetting, SamplingDefaults};
pub use solo_models::gguf;

use device::{Device, DeviceSetting, WatchedGpus};
use engine::{BuiltEngines, EngineOptions, Engines};
use llm::{Llm, Remotes};

/// What is known of this service before it starts.
pub const DEFINITION: Definition = Definition {
    name: "llm-svc",
    section: "llm",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
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
    let (device, why_cpu) = DeviceSetting::parse(&config.device)
        .and_then(|setting| Device::choose(&setting))
        .map_err(|error| StartupError::Config(format!("llm.device: {error}")))?;
    let remote = config.engine.remote();
    let options = EngineOptions {
        context_length: config.context_length,
        batch: config.batch,
        slots: config.slots(),
        kv_cache_bytes: config.kv_cache_mib << 20,
        kv_type: config.kv_type,
        weights: config.weights,
        threads: if config.threads == 0 {
            context.global.threads
        } else {
            config.threads
        },
        device,
    };
    let remotes = Remotes::new(&config, remote, |variable| std::env::var(variable).ok())?;
    let watched = match remote {
        None => {
            context.status.set_device(options.device.to_string());
            WatchedGpus::of(&options.device).map_err(StartupError::other)?
        }
        Some(_) => {
            context.status.set_device("remote");
            None
        }
    };
    let every = Duration::from_millis(config.gpu_watch_ms);
    let (limit, engines) = (context.global.max_message_bytes, engines(options.clone()));
    let (llm, expiring) = Llm::start(config, &context, &why_cpu, options, engines, remotes).await?;
    context.status.set_model(llm.default_model());
    let server = LlmServiceServer::new(grpc::Grpc(llm)).max_decoding_message_size(limit);
    let service = Service::new().grpc(server).task(expiring);
    Ok(match watched {
        Some(gpus) => service.task(gpu::watch(gpus, context, every)),
        None => service,
    })
}
