//! What goes wrong in llm-svc, in one place, and what callers may make of it.

use std::path::PathBuf;
use std::time::Duration;

use solo_models::MissingModel;
use solo_service::{ErrorCode, ServiceError, StartupError, WorkerError};

use crate::engine::{EngineError, EngineKind};
use crate::gguf::GgufError;
use crate::prompt::PromptError;
use crate::sampling::NoScores;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is wrong.
    #[error("{field} {problem}")]
    Invalid {
        /// The field, as a path.
        field: String,
        /// What is wrong and what is wanted.
        problem: String,
    },
    /// The contract names it, a later version does it.
    #[error("{0} not built yet")]
    NotBuilt(&'static str),
    /// The messages are larger than they may be.
    #[error("the prompt has {bytes} bytes, at most {limit} are taken (llm.max_prompt_bytes)")]
    PromptTooLarge {
        /// Bytes of the messages.
        bytes: usize,
        /// Bytes that they may have.
        limit: usize,
    },
    /// The prompt does not fit the context.
    #[error(
        "the prompt has {tokens} tokens, the context of {model} holds {context}: shorten the prompt or raise llm.context_length"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that the context holds.
        context: usize,
        /// The model.
        model: String,
    },
    /// A model is unknown or not installed.
    #[error(transparent)]
    Missing(MissingModel),
    /// The configured file is not there.
    #[error("there is no model file {}: correct llm.model", path.display())]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A model file cannot be trusted.
    #[error("model file {} is damaged: {reason}; {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Part of the text: it is what a person has to know.
        reason: GgufError,
        /// What to do about it.
        remedy: String,
    },
    /// The model is not in memory.
    #[error("model \"{model}\" is not loaded")]
    NotLoaded {
        /// The model.
        model: String,
    },
    /// No prompt can be made of the messages.
    #[error("model \"{model}\": {error}")]
    Prompt {
        /// The model.
        model: String,
        /// What is in the way. Part of the text: it names the remedy.
        error: PromptError,
    },
    /// The engine cannot do it, or failed.
    #[error("model \"{model}\": {error}")]
    Engine {
        /// The model.
        model: String,
        /// What is in the way. Part of the text: it names the remedy.
        error: EngineError,
    },
    /// The model gave no scores.
    #[error("model \"{model}\" on {engine}: {error}")]
    NoScores {
        /// The model.
        model: String,
        /// The engine.
        engine: EngineKind,
        /// What happened.
        error: NoScores,
    },
    /// The caller's time is up.
    #[error("the request's deadline passed before the answer was complete")]
    Deadline,
    /// The caller went away.
    #[error("the caller went away")]
    Cancelled,
    /// The engine's thread did not take the request.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl Error {
    /// A field that is wrong.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::PromptTooLarge { .. } | Self::ContextExceeded { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::NotBuilt(_) => ErrorCode::Unimplemented,
            Self::Missing(_) => ErrorCode::NotFound,
            Self::NoFile { .. } | Self::Damaged { .. } | Self::NotLoaded { .. } => ErrorCode::FailedPrecondition,
            Self::Prompt { error, .. } => match error {
                PromptError::NoTemplate => ErrorCode::FailedPrecondition,
                PromptError::Guard | PromptError::Template(_) => ErrorCode::InvalidArgument,
                PromptError::Tokenizer(_) => ErrorCode::Internal,
            },
            Self::Engine { error, .. } => match error {
                EngineError::Architecture { .. } | EngineError::Unsupported { .. } | EngineError::Tokenizer(_) => {
                    ErrorCode::FailedPrecondition
                }
                EngineError::Abandoned => ErrorCode::Cancelled,
                EngineError::Failed { .. } => ErrorCode::Internal,
            },
            Self::NoScores { .. } => ErrorCode::FailedPrecondition,
            Self::Deadline => ErrorCode::DeadlineExceeded,
            Self::Cancelled => ErrorCode::Cancelled,
            Self::Worker(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid { .. } => "INVALID_REQUEST",
            Self::NotBuilt(_) => "NOT_BUILT_YET",
            Self::PromptTooLarge { .. } => "PROMPT_TOO_LARGE",
            Self::ContextExceeded { .. } => "CONTEXT_EXCEEDED",
            Self::Missing(MissingModel::NotInstalled { .. }) => "MODEL_NOT_INSTALLED",
            Self::Missing(_) => "UNKNOWN_MODEL",
            Self::NoFile { .. } => "MODEL_NOT_INSTALLED",
            Self::Damaged { .. } | Self::NoScores { .. } => "MODEL_DAMAGED",
            Self::NotLoaded { .. } => "MODEL_NOT_LOADED",
            Self::Prompt { error, .. } => match error {
                PromptError::NoTemplate => "NO_CHAT_TEMPLATE",
                PromptError::Template(_) => "TEMPLATE_REFUSED",
                PromptError::Guard => "INVALID_REQUEST",
                PromptError::Tokenizer(_) => "TOKENIZER_FAILED",
            },
            Self::Engine { error, .. } => match error {
                EngineError::Architecture { .. } => "UNSUPPORTED_ARCHITECTURE",
                EngineError::Unsupported { .. } | EngineError::Tokenizer(_) => "UNSUPPORTED_MODEL",
                EngineError::Abandoned => "CANCELLED",
                EngineError::Failed { .. } => "ENGINE_FAILED",
            },
            Self::Deadline => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Worker(error) => error.reason(),
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::PromptTooLarge { .. } | Self::ContextExceeded { .. } => Some("messages"),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Worker(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl From<Error> for StartupError {
    fn from(error: Error) -> Self {
        match error {
            Error::Missing(_) | Error::NoFile { .. } | Error::Damaged { .. } | Error::NoScores { .. } => {
                Self::MissingModel {
                    message: error.to_string(),
                }
            }
            Error::Engine {
                error: EngineError::Architecture { .. } | EngineError::Unsupported { .. },
                ..
            } => Self::Config(error.to_string()),
            error => Self::other(error),
        }
    }
}
