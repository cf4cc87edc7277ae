//! What goes wrong between here and another server, and what callers may make of it.

use std::fmt;
use std::time::Duration;

use solo_service::ErrorCode;

use crate::engine::EngineKind;

/// Why another server does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{engine}: {problem}")]
pub struct RemoteError {
    /// The engine that the server is.
    pub engine: EngineKind,
    /// What is in the way. Part of the text: it names the remedy.
    pub problem: Problem,
}

/// What is in the way.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The block is not enabled.
    #[error("this engine is not enabled: set llm.{0}.enabled = true and llm.{0}.base_url")]
    NotEnabled(EngineKind),
    /// The engine or its server has no way to do it.
    #[error("{what}")]
    Unsupported {
        /// What it cannot do, and what to do about it.
        what: String,
    },
    /// As many requests as may be are running.
    #[error(
        "{limit} requests are running there, which is as many as may be (llm.{engine}.limits.max_requests); try again"
    )]
    Full {
        /// The engine.
        engine: EngineKind,
        /// How many may run.
        limit: usize,
    },
    /// Nobody is there.
    #[error("no server answers at {url} ({cause}): start it, or correct llm.{engine}.base_url")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// The engine.
        engine: EngineKind,
        /// What the network says.
        cause: String,
    },
    /// It takes too long.
    #[error("the server at {url} gave no {what} within {after:?} ({key})")]
    TimedOut {
        /// Where it is.
        url: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
        /// The configuration key that says so.
        key: String,
    },
    /// It wants to know who asks, or does not want this one.
    #[error("the server at {url} refuses the key ({status}: {words}); {remedy}")]
    Unauthorized {
        /// Where it is.
        url: String,
        /// 401 or 403.
        status: u16,
        /// Its own words.
        words: String,
        /// What to do about it.
        remedy: String,
    },
    /// It does not know the model.
    #[error("the server at {url} has no model \"{model}\"; it offers: {offered}")]
    UnknownModel {
        /// Where it is.
        url: String,
        /// The name that it was asked for.
        model: String,
        /// The names that it knows.
        offered: String,
    },
    /// Something answers there, but not this interface.
    #[error("{url} is not there (404: {words}): correct llm.{engine}.base_url{hint}")]
    NoSuchPath {
        /// The address.
        url: String,
        /// The engine.
        engine: EngineKind,
        /// The server's own words.
        words: String,
        /// What may be wrong.
        hint: &'static str,
    },
    /// It points elsewhere.
    #[error("{url} redirects to {target}, which is not followed: correct llm.{engine}.base_url")]
    Redirect {
        /// The address.
        url: String,
        /// Where it points.
        target: String,
        /// The engine.
        engine: EngineKind,
    },
    /// The prompt does not fit.
    #[error("the prompt does not fit the server's context, in its words: {words}")]
    ContextExceeded {
        /// Its own words.
        words: String,
    },
    /// It will not do what it is asked.
    #[error("the server refuses the request ({status}): {words}")]
    Refused {
        /// HTTP's status.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// It has too much to do.
    #[error("the server is busy ({status}): {words}; try again")]
    Busy {
        /// HTTP's status.
        status: u16,
        /// Its own words.
        words: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// It failed.
    #[error("the server failed ({status}): {words}")]
    Failed {
        /// HTTP's status, or the one that it gives in the middle of an answer.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// The answer breaks off.
    #[error("the answer broke off: {cause}")]
    Broken {
        /// How.
        cause: String,
    },
    /// What it says is not what this interface says.
    #[error("the server does not keep to its interface: {what}")]
    Protocol {
        /// How not.
        what: String,
    },
}

impl RemoteError {
    /// An error of this engine's server.
    pub fn new(engine: EngineKind, problem: Problem) -> Self {
        Self { engine, problem }
    }

    /// Something that the engine has no way to do.
    pub fn unsupported(engine: EngineKind, what: impl Into<String>) -> Self {
        Self::new(engine, Problem::Unsupported { what: what.into() })
    }

    /// What callers can act on. A key that the server refuses is a fault of this service's configuration, not of its
    /// caller, who may well be known here: so that is no `Unauthenticated`.
    pub fn code(&self) -> ErrorCode {
        match &self.problem {
            Problem::NotEnabled(_)
            | Problem::Unsupported { .. }
            | Problem::Unauthorized { .. }
            | Problem::NoSuchPath { .. }
            | Problem::Redirect { .. } => ErrorCode::FailedPrecondition,
            Problem::UnknownModel { .. } => ErrorCode::NotFound,
            Problem::ContextExceeded { .. } | Problem::Refused { .. } => ErrorCode::InvalidArgument,
            Problem::Full { .. } | Problem::Busy { status: 429, .. } => ErrorCode::ResourceExhausted,
            Problem::Busy { .. }
            | Problem::Unreachable { .. }
            | Problem::TimedOut { .. }
            | Problem::Failed { .. }
            | Problem::Broken { .. }
            | Problem::Protocol { .. } => ErrorCode::Unavailable,
        }
    }

    /// What programs switch on.
    pub fn reason(&self) -> &'static str {
        match &self.problem {
            Problem::NotEnabled(_) => "ENGINE_NOT_ENABLED",
            Problem::Unsupported { .. } => "UNSUPPORTED_BY_ENGINE",
            Problem::Full { .. } | Problem::Busy { .. } => "REMOTE_BUSY",
            Problem::Unreachable { .. } => "REMOTE_UNREACHABLE",
            Problem::TimedOut { .. } => "REMOTE_TIMEOUT",
            Problem::Unauthorized { .. } => "REMOTE_UNAUTHORIZED",
            Problem::UnknownModel { .. } => "UNKNOWN_MODEL",
            Problem::NoSuchPath { .. } | Problem::Redirect { .. } => "REMOTE_MISCONFIGURED",
            Problem::ContextExceeded { .. } => "CONTEXT_EXCEEDED",
            Problem::Refused { .. } => "REMOTE_REFUSED",
            Problem::Failed { .. } => "REMOTE_FAILED",
            Problem::Broken { .. } => "REMOTE_BROKEN",
            Problem::Protocol { .. } => "REMOTE_PROTOCOL",
        }
    }

    /// The field of the request at fault.
    pub fn field(&self) -> Option<&'static str> {
        matches!(self.problem, Problem::ContextExceeded { .. }).then_some("messages")
    }

    /// When it may be worth trying again.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.problem {
            Problem::Busy { after, .. } => Some(after.unwrap_or(Duration::from_secs(1))),
            Problem::Full { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// A key, which no text ever shows.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(…)")
    }
}
