//! What can go wrong in a dialogue, said once: [`solo_service::IntoStatus`] turns it into a status, and `convert.rs` a
//! status into `TurnFailed` where only a turn fails and the dialogue goes on.

use solo_service::{ErrorCode, ServiceError, UpstreamError};

/// A fault of agent-svc or of a service that it calls.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is longer than it may be.
    #[error("text has {chars} characters; at most {limit} are allowed (agent.max_text_chars)")]
    TextTooLong {
        /// Characters it has.
        chars: usize,
        /// Characters it may have.
        limit: usize,
    },
    /// Nothing was said.
    #[error("text is empty; say something")]
    TextEmpty,
    /// A field of a request is wrong.
    #[error("{field} {problem}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it and what is wanted.
        problem: String,
        /// What programs switch on.
        reason: &'static str,
    },
    /// A message that the transport refuses: too large, or no message at all.
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    /// There is no such dialogue, or it is somebody else's.
    #[error("there is no dialogue \"{0}\"; leave the identifier empty to begin a new one")]
    DialogueNotFound(String),
    /// There is no such turn in the dialogue.
    #[error("there is no turn \"{0}\" in this dialogue")]
    TurnNotFound(String),
    /// The turn was committed before.
    #[error("turn \"{0}\" was committed before; every turn has an identifier of its own")]
    TurnExists(String),
    /// There is no such action.
    #[error("no action \"{0}\" waits for a decision")]
    ActionNotFound(String),
    /// The person went on before the reply was complete.
    #[error("the reply was interrupted")]
    Interrupted,
    /// The question alone is more than the model can hold.
    #[error(
        "the prompt takes {tokens} tokens, but the model has room for {room}; ask something shorter, or use a model with a larger context"
    )]
    PromptTooLong {
        /// Tokens that the shortest prompt takes.
        tokens: u32,
        /// Tokens that are left of the context when the reply has its share.
        room: u32,
    },
    /// The model said nothing.
    #[error("llm-svc: the model gave an empty reply; ask again or in other words")]
    EmptyReply,
    /// The model's stream ended without saying so.
    #[error("llm-svc: the reply broke off before its end")]
    BrokenOff,
    /// A service that is called failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The model did not answer as it was asked to.
    #[error("the model's answer is not what was asked for: {problem}")]
    BadAnswer {
        /// What is wrong with it.
        problem: String,
    },
    /// The database failed.
    #[error("the database of dialogues failed")]
    Store(#[from] sqlx::Error),
    /// What the database holds cannot be read.
    #[error("the database of dialogues holds a {what} that cannot be read")]
    Corrupt {
        /// What it is.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The contract names it, this version does not do it.
    #[error("{0} are not built yet")]
    NotBuilt(&'static str),
}

impl Error {
    /// A fault of one field.
    pub fn invalid(field: &'static str, reason: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
            reason,
        }
    }

    /// True when a fact was changed or ended by somebody else meanwhile: it can be read again.
    pub fn is_fact_changed(&self) -> bool {
        matches!(self, Self::Upstream(error) if error.code() == ErrorCode::FailedPrecondition || error.reason() == "FACT_NOT_FOUND")
    }

    /// True when llm-svc went away: what it had not said yet can be asked again.
    pub fn is_llm_gone(&self) -> bool {
        match self {
            Self::Upstream(error) => {
                error.service() == Some(crate::upstream::LLM) && error.code() == ErrorCode::Unavailable
            }
            _ => false,
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TextTooLong { .. }
            | Self::TextEmpty
            | Self::Invalid { .. }
            | Self::Unreadable(_)
            | Self::PromptTooLong { .. } => ErrorCode::InvalidArgument,
            Self::DialogueNotFound(_) | Self::TurnNotFound(_) | Self::ActionNotFound(_) => ErrorCode::NotFound,
            Self::TurnExists(_) => ErrorCode::AlreadyExists,
            Self::Interrupted => ErrorCode::Cancelled,
            Self::EmptyReply | Self::BrokenOff | Self::BadAnswer { .. } => ErrorCode::Unavailable,
            Self::Upstream(error) => error.code(),
            Self::Store(_) | Self::Corrupt { .. } => ErrorCode::Internal,
            Self::NotBuilt(_) => ErrorCode::Unimplemented,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::TextTooLong { .. } => "TEXT_TOO_LONG",
            Self::TextEmpty => "TEXT_EMPTY",
            Self::Invalid { reason, .. } => reason,
            Self::Unreadable(_) => "MESSAGE_UNREADABLE",
            Self::DialogueNotFound(_) => "DIALOGUE_NOT_FOUND",
            Self::TurnNotFound(_) => "TURN_NOT_FOUND",
            Self::TurnExists(_) => "TURN_ALREADY_EXISTS",
            Self::ActionNotFound(_) => "ACTION_NOT_FOUND",
            Self::Interrupted => "INTERRUPTED",
            Self::PromptTooLong { .. } => "PROMPT_TOO_LONG",
            Self::EmptyReply => "EMPTY_REPLY",
            Self::BrokenOff => "REPLY_BROKE_OFF",
            Self::BadAnswer { .. } => "BAD_ANSWER",
            Self::Upstream(error) => error.reason(),
            Self::Store(_) | Self::Corrupt { .. } => "STORE_FAILED",
            Self::NotBuilt(_) => "NOT_BUILT",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::TextTooLong { .. } | Self::TextEmpty | Self::PromptTooLong { .. } => Some("text"),
            Self::Invalid { field, .. } => Some(field),
            _ => None,
        }
    }

    fn service(&self) -> Option<&str> {
        match self {
            Self::Upstream(error) => error.service(),
            Self::EmptyReply | Self::BrokenOff | Self::BadAnswer { .. } => Some(crate::upstream::LLM),
            _ => None,
        }
    }
}
