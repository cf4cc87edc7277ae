//! Speech to text: files, and live audio with voice activity.
//!
//! Two ways in. A **file** (`media` decodes it, `windows` cuts it where nobody speaks, `transcribe` gives the pieces
//! to the engine one by one) and **live audio** (`vad` says how likely each 32 ms are voice, `endpoint` makes starts
//! and ends of that, `turn_end` says how finished a pause sounds, `listen` keeps the utterance and decides what to
//! decode). Both end in `decoder`: an engine on its own thread behind a bounded queue, and `gate`, which refuses to believe
//! words where nobody spoke.
//!
//! Everything between `grpc` and the engine speaks in sample positions of 16 kHz mono, never in clocks; that is why it
//! can be tested without one.

mod agreement;
mod config;
mod convert;
mod decoder;
mod endpoint;
mod engine;
mod error;
mod gate;
mod grpc;
mod language;
mod listen;
mod media;
mod network;
mod transcribe;
mod turn_end;
mod vad;
mod windows;

use std::sync::Arc;

use solo_proto::stt::v1::stt_service_server::{SERVICE_NAME, SttServiceServer};
use solo_service::{Context, Definition, Service, StartupError};
use tokio::sync::Semaphore;

pub use config::{Config, EngineKind};
pub use engine::{Decoded, EngineError, EngineInfo, Request, SpeechToText, Task, Word};

use decoder::Decoder;
use turn_end::TurnModel;
use vad::VoiceModel;

/// What is known of this service before it starts.
pub const DEFINITION: Definition = Definition {
    name: "stt-svc",
    section: "stt",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
};

/// Loads the configured engine, lets it decode once, and offers it.
///
/// # Errors
/// When a model is missing or damaged, or the configured language is none of the model's.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let load = engine::from_config(&config, &context.global)?;
    build_with(config, context, load).await
}

/// [`build`] with an engine of the caller's; `load` runs on the engine's own thread. Tests bring scripted engines.
///
/// # Errors
/// What `load` says, and as [`build`].
pub async fn build_with(
    config: Config,
    context: Context,
    load: impl FnOnce() -> Result<Box<dyn SpeechToText>, StartupError> + Send + 'static,
) -> Result<Service, StartupError> {
    // Each its own, because a recording asks without pause and would keep live streams from the lock.
    let live_voice = VoiceModel::from_config(&config.vad, &context.global.models_dir)?;
    let file_voice = VoiceModel::from_config(&config.vad, &context.global.models_dir)?;
    context.status.set_model(config.model.clone());
    let turn_model = TurnModel::from_config(&config.turn_end.model, &context.global.models_dir)?;
    let decoder = Decoder::start(&config, &context, load).await?;
    let file_decoder = decoder.for_recordings(&context).await?;
    language::check_configured(&config.language, decoder.info())?;
    context.status.set_engine(decoder.info().engine);
    let listen_slots = Arc::new(Semaphore::new(config.max_streams));
    let file_slots = Arc::new(Semaphore::new(config.max_files));
    let stt = Stt {
        config: Arc::new(config),
        context,
        decoder,
        file_decoder,
        live_voice,
        file_voice,
        turn_model,
        listen_slots,
        file_slots,
    };
    Ok(Service::new().grpc(SttServiceServer::new(grpc::Grpc::new(stt))))
}

/// What every call shares; cheap to clone.
#[derive(Clone)]
struct Stt {
    config: Arc<Config>,
    context: Context,
    decoder: Decoder,
    file_decoder: Decoder,
    live_voice: VoiceModel,
    file_voice: VoiceModel,
    /// `None`: silence alone tells when a turn is over.
    turn_model: Option<TurnModel>,
    listen_slots: Arc<Semaphore>,
    file_slots: Arc<Semaphore>,
}
