//! What goes wrong in llm-svc, in one place, and what callers may make of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solo_models::MissingModel;
use solo_service::{ErrorCode, ServiceError, StartupError, WorkerError};

use crate::answer::Interrupted;
use crate::backend::error::RemoteError;
use crate::constraint::ConstraintError;
use crate::engine::{EngineError, EngineKind};
use crate::gguf::GgufError;
use crate::pool::{Crowded, Key};
use crate::prompt::PromptError;
use crate::sampling::NoScores;
use crate::tools::ToolError;

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
        error: Arc<EngineError>,
    },
    /// There is no room in memory: the models that are loaded answer.
    #[error(
        "there is no room for model \"{model}\": it needs {}, {} of {} are free, and {} cannot make room while it answers: \
         try again in a moment, or raise llm.memory_mib or llm.max_loaded_models",
        mib(crowded.needed), mib(crowded.free), mib(crowded.budget), crowded.busy.join(", ")
    )]
    Crowded {
        /// The model.
        model: String,
        /// The numbers.
        crowded: Crowded,
    },
    /// As many requests wait as may.
    #[error("llm is busy: {capacity} requests wait already; try again in a moment")]
    QueueFull {
        /// Requests that may wait.
        capacity: usize,
    },
    /// The model went while it answered, because somebody said so.
    #[error("model \"{model}\" was unloaded before the answer was complete: ask again")]
    Unloaded {
        /// The model.
        model: String,
    },
    /// The scheduler came to a halt.
    #[error("model \"{model}\": no sequence has room for its next token")]
    Stuck {
        /// The model.
        model: String,
    },
    /// What the answer must look like cannot be compiled.
    #[error("{field}: {error}")]
    Format {
        /// The field of the request.
        field: &'static str,
        /// What is wrong, and where. Part of the text: it is what the caller has to mend.
        error: ConstraintError,
    },
    /// The tools cannot be offered.
    #[error(transparent)]
    Tools(#[from] ToolError),
    /// The answer cannot be what it must be.
    #[error("model \"{model}\": {error}")]
    Constraint {
        /// The model.
        model: String,
        /// What is in the way. Part of the text: it names the remedy.
        error: ConstraintError,
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
    /// Another server does not answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
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

    /// Why an answer is not complete.
    pub fn interrupted(why: Interrupted, of: &Key) -> Self {
        let model = of.model.clone();
        match why {
            Interrupted::Cancelled => Self::Cancelled,
            Interrupted::Deadline => Self::Deadline,
            Interrupted::Engine(error) => Self::Engine { model, error },
            Interrupted::NoScores(error) => Self::NoScores {
                model,
                engine: of.engine,
                error,
            },
            Interrupted::Constraint(error) => Self::Constraint { model, error },
            Interrupted::Unloaded => Self::Unloaded { model },
            Interrupted::Stuck => Self::Stuck { model },
        }
    }
}

/// Bytes as people say them.
fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::PromptTooLarge { .. } | Self::ContextExceeded { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Format { .. } | Self::Tools(_) => ErrorCode::InvalidArgument,
            Self::Missing(_) => ErrorCode::NotFound,
            Self::NoFile { .. } | Self::Damaged { .. } | Self::NotLoaded { .. } => ErrorCode::FailedPrecondition,
            Self::Prompt { error, .. } => match error {
                PromptError::NoTemplate => ErrorCode::FailedPrecondition,
                PromptError::Guard | PromptError::Template(_) => ErrorCode::InvalidArgument,
                PromptError::Tokenizer(_) => ErrorCode::Internal,
            },
            Self::Engine { error, .. } => match **error {
                EngineError::Architecture { .. } | EngineError::Unsupported { .. } | EngineError::Tokenizer(_) => {
                    ErrorCode::FailedPrecondition
                }
                EngineError::Abandoned => ErrorCode::Cancelled,
                EngineError::Failed { .. } => ErrorCode::Internal,
            },
            Self::NoScores { .. } => ErrorCode::FailedPrecondition,
            Self::Crowded { .. } | Self::QueueFull { .. } => ErrorCode::ResourceExhausted,
            Self::Unloaded { .. } => ErrorCode::Unavailable,
            Self::Stuck { .. } => ErrorCode::Internal,
            // A grammar that explodes is the caller's, even where that shows late.
            Self::Constraint { .. } => ErrorCode::FailedPrecondition,
            Self::Deadline => ErrorCode::DeadlineExceeded,
            Self::Cancelled => ErrorCode::Cancelled,
            Self::Remote(error) => error.code(),
            Self::Worker(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid { .. } => "INVALID_REQUEST",
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
            Self::Engine { error, .. } => match **error {
                EngineError::Architecture { .. } => "UNSUPPORTED_ARCHITECTURE",
                EngineError::Unsupported { .. } | EngineError::Tokenizer(_) => "UNSUPPORTED_MODEL",
                EngineError::Abandoned => "CANCELLED",
                EngineError::Failed { .. } => "ENGINE_FAILED",
            },
            Self::Crowded { .. } => "MEMORY_FULL",
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::Unloaded { .. } => "MODEL_UNLOADED",
            Self::Stuck { .. } => "SCHEDULER_STUCK",
            Self::Constraint { error, .. } | Self::Format { error, .. } => error.reason(),
            Self::Tools(error) => error.reason(),
            Self::Deadline => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Remote(error) => error.reason(),
            Self::Worker(error) => error.reason(),
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::Format { field, .. } => Some(field),
            Self::PromptTooLarge { .. } | Self::ContextExceeded { .. } => Some("messages"),
            Self::Remote(error) => error.field(),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Remote(error) => error.retry_after(),
            Self::Worker(error) => error.retry_after(),
            Self::QueueFull { .. } | Self::Crowded { .. } => Some(Duration::from_secs(1)),
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
            Error::Engine { error: ref cause, .. }
                if matches!(
                    **cause,
                    EngineError::Architecture { .. } | EngineError::Unsupported { .. }
                ) =>
            {
                Self::Config(error.to_string())
            }
            error => Self::other(error),
        }
    }
}
