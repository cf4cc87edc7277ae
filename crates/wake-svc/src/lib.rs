//! Wake words: a stream of audio in, the moments at which a keyword was spoken out.
//!
//! A tour, in the order in which audio passes: [`grpc`] takes the stream and [`convert`] checks what it says; a [`watch`]
//! ties samples to positions, has the [`engine`]'s detector score them, and decides what is reported: above the
//! threshold, as often as wanted, and not again within the refractory time. [`catalogue`] knows which keywords there are.
//!
//! Every stream has its own detector, because the models are recurrent; all of them run on the one thread of the engine,
//! which lends itself to a stream for each chunk. A chunk of 100 ms costs well below a millisecond; [`ears`] keep the count.

#![warn(missing_docs)]

pub mod catalogue;
mod config;
pub mod convert;
mod ears;
pub mod engine;
mod error;
pub mod grpc;
pub mod watch;

use std::sync::Arc;

use solo_proto::wake::v1::wake_service_server::{SERVICE_NAME, WakeServiceServer};
use solo_service::{Context, Definition, Service, StartupError, Worker};

pub use config::Config;
pub use error::WakeError;

use catalogue::Catalogue;
use engine::KeywordEngine;
use grpc::WakeGrpc;

/// What is known of wake-svc before it starts.
pub const DEFINITION: Definition = Definition {
    name: "wake-svc",
    section: "wake",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
};

/// Loads the configured keywords, lets them listen to silence, and offers the service.
///
/// # Errors
/// When the engine or a configured keyword is missing or damaged; the message names the remedy.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let catalogue = Catalogue::of_config(&config, &context.global.models_dir);
    let engine = engine::from_config(&config, &context.global);
    build_with(config, context, catalogue, engine).await
}

/// [`build`] with a catalogue and an engine of one's own: how tests bring a detector that needs no weights.
///
/// # Errors
/// Whatever the engine says about the configured keywords.
pub async fn build_with(
    config: Config,
    context: Context,
    catalogue: Catalogue,
    mut engine: Box<dyn KeywordEngine>,
) -> Result<Service, StartupError> {
    let name = config.engine.name();
    let names: Vec<String> = config.keywords.iter().map(|keyword| keyword.id.clone()).collect();
    for keyword in &names {
        catalogue
            .find(keyword)
            .map_err(|error| StartupError::Config(format!("wake.keywords: {error}")))?;
    }
    context.status.set_engine(name);
    context.status.set_model(names.join(", "));
    let warm = config.rules();
    let worker = Worker::start(&context, name, config.max_streams, move || {
        // Half a second of silence: every part of the engine has run once.
        let mut detector = engine.open(&warm)?;
        detector
            .process(0, &[0; 8_000], &mut |_| {})
            .map_err(StartupError::other)?;
        Ok(engine)
    })
    .await?;
    tracing::info!(engine = name, keywords = %names.join(", "), "listening");
    let grpc = WakeGrpc::new(worker, Arc::new(catalogue), context, &config);
    Ok(Service::new().grpc(WakeServiceServer::new(grpc)))
}
