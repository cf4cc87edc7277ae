//! Text to speech: text, or text while it is being written, in; audio, unit by unit, out.
//!
//! A tour, in the order in which a text passes: [`grpc`] takes the calls and [`convert`] checks what they ask for; [`ssml`]
//! reads marked-up text. [`speech`] runs one speech: [`units`] cuts its text into what can be spoken at once, [`normalise`]
//! says what is read of each unit, and the [`engine`] (Piper or Kokoro) makes samples of it on its own thread, which leave
//! as bytes ([`encode`]) while the rest is being made. [`catalogue`] knows which voices there are.
//!
//! Phonemes come from espeak-ng, whose licence is GPL-3.0-or-later. It is linked into this service and into nothing else
//! of Solo: the binary `tts-svc` is therefore distributed under the GPL, the sources here and all other services are not
//! bound by it.

#![warn(missing_docs)]

pub mod catalogue;
mod config;
pub mod convert;
pub mod encode;
pub mod engine;
mod error;
pub mod grpc;
pub mod normalise;
pub mod speech;
pub mod ssml;
pub mod units;

use std::sync::Arc;

use solo_proto::tts::v1::tts_service_server::{SERVICE_NAME, TtsServiceServer};
use solo_service::{Context, Definition, Service, StartupError, Worker};

pub use config::{Config, EngineChoice};
pub use error::SpeechError;

use catalogue::Catalogue;
use engine::{Loader, Utterance, Voices};
use grpc::TtsGrpc;
use speech::Speaker;

/// What is known of tts-svc before it starts.
pub const DEFINITION: Definition = Definition {
    name: "tts-svc",
    section: "tts",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
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
    let engine = catalogue
        .find(&voice)
        .map_err(|error| StartupError::Config(format!("tts.voice: {error}")))?
        .engine;
    if !config.engine.takes(engine) {
        return Err(StartupError::Config(format!(
            "tts.engine: the voice \"{voice}\" is spoken by \"{}\"; say that, or \"auto\", or choose another tts.voice",
            engine.name()
        )));
    }
    context.status.set_engine(engine.name());
    context.status.set_model(&voice);
    let worker = Worker::start(&context, engine.name(), config.queue, move || {
        let mut voices = Voices::new(loader);
        let warm_up = Utterance {
            text: WARM_UP,
            speed: 1.0,
            soon: true,
        };
        engine::collect(
            voices.open(engine, &voice)?,
            &warm_up,
            &solo_service::CancelToken::new(),
        )
        .map_err(StartupError::other)?;
        Ok(voices)
    })
    .await?;
    let voice = config.voice.clone();
    let facts = worker
        .run(move |voices, _| voices.open(engine, &voice).map(|voice| voice.facts().clone()))
        .await;
    let facts = facts.map_err(StartupError::other)??;
    tracing::info!(voice = facts.id, sample_rate_hz = facts.sample_rate.hz(), "voice ready");
    let speaker = Speaker::new(worker, context.clone(), facts, &config);
    let grpc = TtsGrpc::new(Arc::new(speaker), Arc::new(catalogue), context, &config);
    Ok(Service::new().grpc(TtsServiceServer::new(grpc)))
}
