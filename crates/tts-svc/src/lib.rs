//! Text to speech: text, or text while it is being written, in; audio, unit by unit, out.
//!
//! A tour, in the order in which a text passes: [`grpc`] takes the calls and [`convert`] checks what they ask for;
//! [`speech`] runs one speech: [`units`] cuts its text into what can be spoken at once, [`normalise`] says what is read of
//! each unit, and the [`engine`] (Piper) makes samples of it on its own thread, while the audio of the unit before is on
//! its way. [`catalogue`] knows which voices there are.
//!
//! Phonemes come from espeak-ng, whose licence is GPL-3.0-or-later. It is linked into this service and into nothing else
//! of Solo: the binary `tts-svc` is therefore distributed under the GPL, the sources here and all other services are not
//! bound by it.

#![warn(missing_docs)]

pub mod catalogue;
mod config;
pub mod convert;
pub mod engine;
mod error;
pub mod grpc;
pub mod normalise;
pub mod speech;
pub mod units;

use std::sync::Arc;

use solo_proto::tts::v1::tts_service_server::{SERVICE_NAME, TtsServiceServer};
use solo_service::{Context, Definition, Service, StartupError, Worker};

pub use config::Config;
pub use error::SpeechError;

use catalogue::Catalogue;
use engine::{Loader, Voices};
use grpc::TtsGrpc;
use speech::Speaker;

/// What is known of tts-svc before it starts.
pub const DEFINITION: Definition = Definition {
    name: "tts-svc",
    section: "tts",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
};

/// Said once before the service is SERVING: the first run of a voice is several times slower than all others.
const WARM_UP: &str = "Ready to speak.";

/// Loads the configured voice, lets it say a few words, and offers the service.
///
/// # Errors
/// When the engine, the voice or espeak-ng's data is missing or damaged; the message names the remedy.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let catalogue = Catalogue::of_manifest(&context.global.models_dir)?;
    let loader = engine::from_config(&config, &context.global);
    build_with(config, context, catalogue, loader).await
}

/// [`build`] with a catalogue and a way to load voices of one's own: how tests bring a voice that needs no weights.
///
/// # Errors
/// Whatever `loader` says about the configured voice.
pub async fn build_with(
    config: Config,
    context: Context,
    catalogue: Catalogue,
    loader: Loader,
) -> Result<Service, StartupError> {
    let voice = config.voice.clone();
    catalogue
        .find(&voice)
        .map_err(|error| StartupError::Config(format!("tts.voice: {error}")))?;
    context.status.set_engine(config.engine.name());
    context.status.set_model(&voice);
    let worker = Worker::start(&context, config.engine.name(), config.queue, move || {
        let mut voices = Voices::new(loader);
        voices
            .open(&voice)?
            .synthesize(WARM_UP, 1.0, &solo_service::CancelToken::new())
            .map_err(StartupError::other)?;
        Ok(voices)
    })
    .await?;
    let voice = config.voice.clone();
    let facts = worker
        .run(move |voices, _| voices.open(&voice).map(|voice| voice.facts().clone()))
        .await;
    let facts = facts.map_err(StartupError::other)??;
    tracing::info!(voice = facts.id, sample_rate_hz = facts.sample_rate.hz(), "voice ready");
    let speaker = Speaker::new(worker, context.clone(), facts, &config);
    let grpc = TtsGrpc::new(Arc::new(speaker), Arc::new(catalogue), context, &config);
    Ok(Service::new().grpc(TtsServiceServer::new(grpc)))
}
