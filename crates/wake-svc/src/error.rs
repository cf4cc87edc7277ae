//! Everything that a caller of wake-svc can be told.

use solo_service::{ErrorCode, ServiceError, WorkerError};

use crate::convert::{MAX_CHUNK_BYTES, MAX_KEYWORDS, MAX_REFRACTORY_MS};
use crate::engine::EngineError;

/// Why a stream was refused or ended early.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum WakeError {
    #[error("there is no keyword \"{keyword}\"; there are: {known}")]
    UnknownKeyword { keyword: String, known: String },
    #[error("the keyword \"{keyword}\" is asked for twice")]
    KeywordTwice { keyword: String },
    #[error("{count} keywords were asked for; {MAX_KEYWORDS} are the most")]
    TooManyKeywords { count: usize },
    #[error("the threshold of \"{keyword}\" is {threshold}; 0.0 to 1.0 is wanted")]
    Threshold { keyword: String, threshold: f32 },
    #[error("refractory_ms of \"{keyword}\" is {refractory_ms}; 0 to {MAX_REFRACTORY_MS} is wanted")]
    Refractory { keyword: String, refractory_ms: u32 },
    #[error("trigger_count of \"{keyword}\" is {count}; 1 to {most} is wanted of this engine")]
    TriggerCount { keyword: String, count: u32, most: u32 },
    #[error("the first message of Detect must be config, found {found}")]
    ConfigFirst { found: &'static str },
    #[error("config was sent twice; it is wanted once, as the first message")]
    ConfigTwice,
    #[error("a message without payload was sent; audio is wanted")]
    EmptyMessage,
    #[error("the chunk of audio is empty; 2 to {MAX_CHUNK_BYTES} bytes are wanted")]
    EmptyChunk,
    #[error("the chunk of audio has {bytes} bytes; {MAX_CHUNK_BYTES} are the most (100 ms of 16 kHz mono s16le)")]
    LongChunk { bytes: usize },
    #[error("the chunk of audio has {bytes} bytes; an even number is wanted, because a sample has two")]
    OddChunk { bytes: usize },
    #[error(
        "the chunk of audio begins at sample {found}, the one before it ended at {expected}; positions must not go back"
    )]
    Backwards { expected: u64, found: u64 },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("{limit} streams are listened to already; close one, or raise wake.max_streams")]
    TooManyStreams { limit: usize },
}

impl ServiceError for WakeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownKeyword { .. } | Self::Engine(EngineError::NotInstalled { .. }) => ErrorCode::NotFound,
            Self::KeywordTwice { .. }
            | Self::TooManyKeywords { .. }
            | Self::Threshold { .. }
            | Self::Refractory { .. }
            | Self::TriggerCount { .. }
            | Self::ConfigFirst { .. }
            | Self::ConfigTwice
            | Self::EmptyMessage
            | Self::EmptyChunk
            | Self::LongChunk { .. }
            | Self::OddChunk { .. }
            | Self::Backwards { .. } => ErrorCode::InvalidArgument,
            Self::Engine(EngineError::Unusable { .. }) => ErrorCode::FailedPrecondition,
            Self::Engine(EngineError::Porcupine(refusal)) => refusal.code(),
            Self::Engine(EngineError::Run(_)) => ErrorCode::Internal,
            Self::Worker(error) => error.code(),
            Self::TooManyStreams { .. } => ErrorCode::ResourceExhausted,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::UnknownKeyword { .. } => "KEYWORD_UNKNOWN",
            Self::Engine(EngineError::NotInstalled { .. }) => "KEYWORD_NOT_INSTALLED",
            Self::Engine(EngineError::Unusable { .. }) => "KEYWORD_UNUSABLE",
            Self::Engine(EngineError::Porcupine(refusal)) => refusal.reason(),
            Self::Engine(EngineError::Run(_)) => "DETECTION_FAILED",
            Self::KeywordTwice { .. } | Self::TooManyKeywords { .. } => "KEYWORDS",
            Self::Threshold { .. } | Self::Refractory { .. } | Self::TriggerCount { .. } => "OUT_OF_RANGE",
            Self::ConfigFirst { .. } | Self::ConfigTwice | Self::EmptyMessage => "PROTOCOL",
            Self::EmptyChunk | Self::LongChunk { .. } | Self::OddChunk { .. } | Self::Backwards { .. } => "AUDIO_CHUNK",
            Self::Worker(error) => error.reason(),
            Self::TooManyStreams { .. } => "TOO_MANY_STREAMS",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::UnknownKeyword { .. }
            | Self::KeywordTwice { .. }
            | Self::TooManyKeywords { .. }
            | Self::Engine(EngineError::NotInstalled { .. }) => Some("config.keywords"),
            Self::Threshold { .. } => Some("config.keywords.threshold"),
            Self::Refractory { .. } => Some("config.keywords.refractory_ms"),
            Self::TriggerCount { .. } => Some("config.keywords.trigger_count"),
            Self::ConfigFirst { .. } | Self::ConfigTwice | Self::EmptyMessage => Some("payload"),
            Self::EmptyChunk | Self::LongChunk { .. } | Self::OddChunk { .. } => Some("audio.data"),
            Self::Backwards { .. } => Some("audio.first_sample"),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(error) => error.retry_after(),
            _ => None,
        }
    }
}
