//! Everything that a caller of tts-svc can be told.

use solo_audio::SampleRateError;
use solo_service::{ErrorCode, ServiceError, WorkerError};

use crate::encode::EncodeError;
use crate::engine::{EngineError, SynthesisError};
use crate::ssml::SsmlError;

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
    #[error("ssml, {0}")]
    Ssml(SsmlError),
    #[error("{field} is {value}; {low} to {high} is wanted")]
    OutOfRange {
        field: &'static str,
        value: f32,
        low: f32,
        high: f32,
    },
    #[error(
        "speech is not sent as {encoding}: ENCODING_S16LE (unset), ENCODING_WAV, ENCODING_OPUS or ENCODING_MP3 is wanted"
    )]
    Encoding { encoding: String },
    #[error("{format} has no sample rate of {hz} Hz: {wanted} is wanted, or 0 for what fits the voice")]
    FormatRate {
        format: &'static str,
        hz: u32,
        wanted: String,
    },
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
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the voice failed on this text")]
    Synthesis(#[from] SynthesisError),
    #[error("the speech ended unexpectedly")]
    Aborted(#[from] tokio::task::JoinError),
}

impl ServiceError for SpeechError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownVoice { .. } | Self::Voice(EngineError::NotInstalled { .. }) => ErrorCode::NotFound,
            Self::Voice(_) | Self::Encode(EncodeError::NoMp3 { .. }) => ErrorCode::FailedPrecondition,
            Self::EmptyText
            | Self::TextTooLong { .. }
            | Self::NoInput
            | Self::OutOfRange { .. }
            | Self::Ssml(_)
            | Self::Encoding { .. }
            | Self::FormatRate { .. }
            | Self::Channels { .. }
            | Self::SampleRate(_)
            | Self::ConfigFirst { .. }
            | Self::ConfigTwice
            | Self::EmptyMessage => ErrorCode::InvalidArgument,
            Self::InputBroken(_) => ErrorCode::Cancelled,
            Self::Draining => ErrorCode::Unavailable,
            Self::Worker(error) => error.code(),
            Self::Synthesis(SynthesisError::Cancelled) => ErrorCode::Cancelled,
            Self::Encode(EncodeError::Failed { .. }) | Self::Synthesis(_) | Self::Aborted(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::UnknownVoice { .. } => "VOICE_UNKNOWN",
            Self::Voice(EngineError::NotInstalled { .. }) => "VOICE_NOT_INSTALLED",
            Self::Voice(_) => "VOICE_UNUSABLE",
            Self::EmptyText | Self::NoInput => "TEXT_EMPTY",
            Self::TextTooLong { .. } => "TEXT_TOO_LONG",
            Self::Ssml(error) => error.reason(),
            Self::OutOfRange { .. } => "OUT_OF_RANGE",
            Self::Encoding { .. } => "ENCODING_UNSUPPORTED",
            Self::Channels { .. } => "CHANNELS_UNSUPPORTED",
            Self::SampleRate(_) | Self::FormatRate { .. } => "SAMPLE_RATE_UNSUPPORTED",
            Self::Encode(EncodeError::NoMp3 { .. }) => "MP3_NOT_INSTALLED",
            Self::Encode(EncodeError::Failed { .. }) => "ENCODING_FAILED",
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
            Self::Ssml(_) => Some("ssml"),
            Self::OutOfRange { field, .. } => Some(field),
            Self::Encoding { .. } | Self::Encode(_) => Some("voice.format.encoding"),
            Self::Channels { .. } => Some("voice.format.channels"),
            Self::SampleRate(_) | Self::FormatRate { .. } => Some("voice.format.sample_rate_hz"),
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
