//! All that can go wrong in a call, with what a program switches on and a person reads.

use solo_audio::{SampleRateError, WavError};
use solo_service::{ErrorCode, ServiceError, WorkerError};

use crate::engine::EngineError;
use crate::turn_end::TurnEndError;
use crate::vad::VadError;

/// What files may be, said in every refusal.
pub(crate) const SUPPORTED: &str = "WAV, MP3, FLAC, Ogg Vorbis, M4A (AAC), or raw s16le with its rate and channels";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SttError {
    /// No bytes, or a container without samples.
    #[error("the recording holds no audio")]
    EmptyAudio,
    /// 0 Hz, or an absurd rate.
    #[error("the recording's sample rate is wrong: {0}")]
    BadSampleRate(SampleRateError),
    /// None, or more than two.
    #[error("the recording has {channels} channels: 1 or 2 are wanted; mix it down first")]
    Channels {
        /// Channels that it claims.
        channels: usize,
    },
    /// It ends before its end.
    #[error("the recording is truncated: {0}; send the whole file")]
    TruncatedAudio(String),
    /// Longer than configured.
    #[error("the recording is longer than {seconds} s, the limit (stt.max_seconds)")]
    TooManySeconds {
        /// The limit.
        seconds: u32,
    },
    /// Larger than configured.
    #[error("the recording is larger than {bytes} bytes, the limit (stt.max_bytes)")]
    TooManyBytes {
        /// The limit.
        bytes: u64,
    },
    /// Neither container nor codec is known.
    #[error("the recording's format is not known{hint}: {SUPPORTED} is wanted")]
    UnknownFormat {
        /// What was declared or found, in brackets; may be empty.
        hint: String,
    },
    /// The bytes contradict their own format.
    #[error("the recording is damaged: {0}")]
    DamagedAudio(String),
    /// Half a sample.
    #[error("{bytes} bytes are no whole number of 16-bit samples")]
    OddBytes {
        /// Bytes that came.
        bytes: usize,
    },
    /// A live message that is too long.
    #[error("a message holds {ms} ms of audio: at most 100 ms are allowed")]
    ChunkTooLong {
        /// What it holds.
        ms: u64,
    },
    /// A piece of a file that is too large.
    #[error("a piece of the recording has {bytes} bytes: at most 1048576 are allowed")]
    PieceTooLarge {
        /// Bytes that came.
        bytes: usize,
    },
    /// Live audio that goes back, or leaves out more than silence can stand for.
    #[error("live audio continues at sample {found}, sample {expected} was expected: {problem}")]
    OutOfOrder {
        /// Next position.
        expected: u64,
        /// What came.
        found: u64,
        /// What to do about it.
        problem: &'static str,
    },
    /// The stream did not begin with its configuration, or something else came at the wrong place.
    #[error("{0}")]
    Sequence(&'static str),
    /// A field with a value that it may not have.
    #[error("`{field}`: {problem}")]
    Field {
        /// Path of the field.
        field: &'static str,
        /// What is wrong and what is wanted.
        problem: String,
    },
    /// A number that no value of an enum has.
    #[error("`{field}` is {value}: that is none of {wanted}")]
    UnknownEnum {
        /// Path of the field.
        field: &'static str,
        /// The number.
        value: i32,
        /// The values there are.
        wanted: &'static str,
    },
    /// A code that names no language.
    #[error("`{language}` is no language that {model} knows: an ISO 639-1 code is wanted, for instance \"en\"")]
    UnknownLanguage {
        /// What came.
        language: String,
        /// The model.
        model: String,
    },
    /// An English-only model was asked for more.
    #[error("{model} knows English only, {wanted} was asked for: set stt.model to a multilingual model (whisper-base)")]
    EnglishOnly {
        /// The model.
        model: String,
        /// What was asked for.
        wanted: String,
    },
    /// Another model than the one that is loaded.
    #[error("the model `{asked}` is not loaded, `{loaded}` is: name that one or none, or change stt.model{known}")]
    UnknownModel {
        /// What was asked for.
        asked: String,
        /// The one in use.
        loaded: String,
        /// The others that there are; may be empty.
        known: String,
    },
    /// As many calls run as may.
    #[error("{limit} {what} already, the limit ({key}); try again in a moment")]
    TooManyCalls {
        /// The limit.
        limit: usize,
        /// What runs.
        what: &'static str,
        /// The key that sets the limit.
        key: &'static str,
    },
    /// The engine's queue or thread.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The engine.
    #[error("the speech engine failed")]
    Engine(#[source] EngineError),
    /// Voice detection.
    #[error("voice detection failed")]
    Vad(#[from] VadError),
    /// The end of a turn.
    #[error("the end of a turn could not be judged")]
    TurnEnd(#[from] TurnEndError),
    /// What judges it died.
    #[error("the end of a turn could not be judged")]
    JudgeFailed(#[source] tokio::task::JoinError),
    /// The caller went away.
    #[error("the caller went away")]
    Cancelled,
    /// This process is about to end.
    #[error("the service is restarting")]
    Draining,
    /// The request stream broke.
    #[error("the request stream broke: {}", .0.message())]
    Inbound(tonic::Status),
}

impl ServiceError for SttError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownModel { .. } => ErrorCode::NotFound,
            Self::TooManyCalls { .. } => ErrorCode::ResourceExhausted,
            Self::EnglishOnly { .. } => ErrorCode::FailedPrecondition,
            Self::Worker(error) => error.code(),
            Self::Engine(_) | Self::Vad(_) | Self::TurnEnd(_) | Self::JudgeFailed(_) => ErrorCode::Internal,
            Self::Cancelled => ErrorCode::Cancelled,
            Self::Draining => ErrorCode::Unavailable,
            Self::Inbound(status) => ErrorCode::from_grpc(status.code()),
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::EmptyAudio => "EMPTY_AUDIO",
            Self::BadSampleRate(_) => "BAD_SAMPLE_RATE",
            Self::Channels { channels: 0 } => "NO_CHANNELS",
            Self::Channels { .. } => "TOO_MANY_CHANNELS",
            Self::TruncatedAudio(_) => "TRUNCATED_AUDIO",
            Self::TooManySeconds { .. } | Self::TooManyBytes { .. } => "AUDIO_TOO_LONG",
            Self::UnknownFormat { .. } => "UNKNOWN_FORMAT",
            Self::DamagedAudio(_) => "DAMAGED_AUDIO",
            Self::OddBytes { .. } => "ODD_BYTES",
            Self::ChunkTooLong { .. } | Self::PieceTooLarge { .. } => "MESSAGE_TOO_LARGE",
            Self::OutOfOrder { .. } => "AUDIO_OUT_OF_ORDER",
            Self::Sequence(_) => "BAD_SEQUENCE",
            Self::Field { .. } => "BAD_FIELD",
            Self::UnknownEnum { .. } => "UNKNOWN_ENUM",
            Self::UnknownLanguage { .. } => "UNKNOWN_LANGUAGE",
            Self::EnglishOnly { .. } => "LANGUAGE_NOT_SUPPORTED",
            Self::UnknownModel { .. } => "UNKNOWN_MODEL",
            Self::TooManyCalls { .. } => "TOO_MANY_STREAMS",
            Self::Worker(error) => error.reason(),
            Self::Engine(_) => "ENGINE_FAILED",
            Self::Vad(_) => "VAD_FAILED",
            Self::TurnEnd(_) | Self::JudgeFailed(_) => "TURN_END_FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Draining => "DRAINING",
            Self::Inbound(_) => "REQUEST_STREAM_BROKE",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Field { field, .. } | Self::UnknownEnum { field, .. } => Some(field),
            Self::UnknownLanguage { .. } => Some("config.language"),
            Self::UnknownModel { .. } => Some("config.model"),
            Self::OutOfOrder { .. } => Some("audio.first_sample"),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(error) => error.retry_after(),
            Self::TooManyCalls { .. } => Some(std::time::Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<WavError> for SttError {
    fn from(error: WavError) -> Self {
        match error {
            WavError::Empty => Self::EmptyAudio,
            WavError::SampleRate(rate) => Self::BadSampleRate(rate),
            WavError::Channels { channels } => Self::Channels {
                channels: channels.into(),
            },
            WavError::Truncated { .. } | WavError::TruncatedHeader { .. } => Self::TruncatedAudio(error.to_string()),
            WavError::NotWav | WavError::Unsupported { .. } => Self::UnknownFormat {
                hint: format!(" ({error})"),
            },
            _ => Self::DamagedAudio(error.to_string()),
        }
    }
}
