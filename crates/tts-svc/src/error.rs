//! Everything that a caller of tts-svc can be told.

use solo_audio::SampleRateError;
use solo_service::{ErrorCode, ServiceError, WorkerError};

use crate::engine::{EngineError, SynthesisError};

/// Why a speech was refused or ended early.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SpeechError {
    #[error("there is no voice \"{voice}\"; there are: {known}")]
    UnknownVoice { voice: String, known: String },
    #[error(transparent)]
    Voice(#[from] EngineError),
    #[error("the text is empty; at least one character is wanted")]
    EmptyText,
    #[error("the text is longer than {limit} characters; speak it in parts, or raise tts.max_text_chars")]
    TextTooLong { limit: usize },
    #[error("neither text nor ssml is set; exactly one is wanted")]
    NoInput,
    #[error("ssml is not built yet; send plain text in `text`")]
    Ssml,
    #[error("{field} is {value}; {low} to {high} is wanted")]
    OutOfRange {
        field: &'static str,
        value: f32,
        low: f32,
        high: f32,
    },
    #[error("this service sends s16le samples only (ENCODING_S16LE, or leave encoding unset), not {encoding}")]
    Encoding { encoding: String },
    #[error("a voice has one channel; {channels} were asked for (leave channels unset or say 1)")]
    Channels { channels: u32 },
    #[error(transparent)]
    SampleRate(SampleRateError),
    #[error("the first message of Speak must be config, found {found}")]
    ConfigFirst { found: &'static str },
    #[error("config was sent twice; it is wanted once, as the first message")]
    ConfigTwice,
    #[error("a message without payload was sent; config, text_delta or flush is wanted")]
    EmptyMessage,
    #[error("the text stream broke off")]
    InputBroken(#[source] Box<tonic::Status>),
    #[error("the service is restarting")]
    Draining,
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("the voice failed on this text")]
    Synthesis(#[from] SynthesisError),
    #[error("the speech ended unexpectedly")]
    Aborted(#[from] tokio::task::JoinError),
}

impl ServiceError for SpeechError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownVoice { .. } | Self::Voice(EngineError::NotInstalled { .. }) => ErrorCode::NotFound,
            Self::Voice(_) => ErrorCode::FailedPrecondition,
            Self::EmptyText
            | Self::TextTooLong { .. }
            | Self::NoInput
            | Self::OutOfRange { .. }
            | Self::Encoding { .. }
            | Self::Channels { .. }
            | Self::SampleRate(_)
            | Self::ConfigFirst { .. }
            | Self::ConfigTwice
            | Self::EmptyMessage => ErrorCode::InvalidArgument,
            Self::Ssml => ErrorCode::Unimplemented,
            Self::InputBroken(_) => ErrorCode::Cancelled,
            Self::Draining => ErrorCode::Unavailable,
            Self::Worker(error) => error.code(),
            Self::Synthesis(SynthesisError::Cancelled) => ErrorCode::Cancelled,
            Self::Synthesis(_) | Self::Aborted(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::UnknownVoice { .. } => "VOICE_UNKNOWN",
            Self::Voice(EngineError::NotInstalled { .. }) => "VOICE_NOT_INSTALLED",
            Self::Voice(_) => "VOICE_UNUSABLE",
            Self::EmptyText | Self::NoInput => "TEXT_EMPTY",
            Self::TextTooLong { .. } => "TEXT_TOO_LONG",
            Self::Ssml => "SSML_UNIMPLEMENTED",
            Self::OutOfRange { .. } => "OUT_OF_RANGE",
            Self::Encoding { .. } => "ENCODING_UNSUPPORTED",
            Self::Channels { .. } => "CHANNELS_UNSUPPORTED",
            Self::SampleRate(_) => "SAMPLE_RATE_UNSUPPORTED",
            Self::ConfigFirst { .. } | Self::ConfigTwice | Self::EmptyMessage => "PROTOCOL",
            Self::InputBroken(_) => "INPUT_BROKEN",
            Self::Draining => "DRAINING",
            Self::Worker(error) => error.reason(),
            Self::Synthesis(SynthesisError::Cancelled) => "CANCELLED",
            Self::Synthesis(_) | Self::Aborted(_) => "SYNTHESIS_FAILED",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::UnknownVoice { .. } | Self::Voice(_) => Some("voice.voice"),
            Self::EmptyText | Self::TextTooLong { .. } | Self::NoInput => Some("text"),
            Self::Ssml => Some("ssml"),
            Self::OutOfRange { field, .. } => Some(field),
            Self::Encoding { .. } => Some("voice.format.encoding"),
            Self::Channels { .. } => Some("voice.format.channels"),
            Self::SampleRate(_) => Some("voice.format.sample_rate_hz"),
            Self::ConfigFirst { .. } | Self::ConfigTwice | Self::EmptyMessage => Some("payload"),
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
