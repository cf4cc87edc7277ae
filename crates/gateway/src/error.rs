//! What can go wrong in the gateway itself, and what it passes on.

use solo_proto::agent::v1::TurnFailed;
use solo_service::{ErrorCode, ServiceError, UpstreamError};

/// What can go wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// Another service is at fault.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The agent gave a turn up.
    #[error("{}", .0.message)]
    Turn(Box<TurnFailed>),
    /// A service broke its contract.
    #[error("{service}: {problem}")]
    Contract {
        /// The service.
        service: &'static str,
        /// What it did.
        problem: &'static str,
    },
    /// Time is up.
    #[error("{service}: {problem}")]
    Late {
        /// The service that took too long.
        service: &'static str,
        /// Programs switch on it.
        reason: &'static str,
        /// What did not happen.
        problem: &'static str,
    },
    /// A message or request is wrong.
    #[error("{problem}")]
    Invalid {
        /// Programs switch on it.
        reason: &'static str,
        /// The field at fault.
        field: Option<&'static str>,
        /// What is wrong and what is wanted.
        problem: String,
    },
    /// A message is right, but not in this state.
    #[error("{problem}")]
    NotNow {
        /// Programs switch on it.
        reason: &'static str,
        /// Why, and what to do first.
        problem: &'static str,
    },
    /// A body is longer than configured.
    #[error("the body is larger than {limit} bytes; send less, or raise gateway.limits.max_body_bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// A limit of this process is reached.
    #[error("{problem}")]
    Exhausted {
        /// Programs switch on it.
        reason: &'static str,
        /// Which limit, and what to do.
        problem: String,
    },
    /// A web page of another site, or a name that is not ours.
    #[error("{problem}")]
    Forbidden {
        /// Programs switch on it.
        reason: &'static str,
        /// What is refused, and how it would be allowed.
        problem: String,
    },
    /// There is nothing at this address.
    #[error("there is nothing at {path}; see / for the page and /status for the services")]
    NoRoute {
        /// The path.
        path: String,
    },
    /// The address is right, the method is not.
    #[error("{method} is not offered here")]
    NoMethod {
        /// The method.
        method: String,
    },
    /// The gateway is going down.
    #[error("the gateway is restarting; try again in a moment")]
    Draining,
}

impl Error {
    pub(crate) fn invalid(reason: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            reason,
            field: None,
            problem: problem.into(),
        }
    }

    pub(crate) fn field(reason: &'static str, field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            reason,
            field: Some(field),
            problem: problem.into(),
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Upstream(error) => error.code(),
            Self::Turn(failed) => ErrorCode::from_grpc(i32::try_from(failed.code).unwrap_or(2).into()),
            Self::Contract { .. } => ErrorCode::Unavailable,
            Self::Late { .. } => ErrorCode::DeadlineExceeded,
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::NotNow { .. } => ErrorCode::FailedPrecondition,
            Self::BodyTooLarge { .. } | Self::Exhausted { .. } => ErrorCode::ResourceExhausted,
            Self::Forbidden { .. } => ErrorCode::PermissionDenied,
            Self::NoRoute { .. } => ErrorCode::NotFound,
            Self::NoMethod { .. } => ErrorCode::Unimplemented,
            Self::Draining => ErrorCode::Unavailable,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Turn(failed) => &failed.reason,
            Self::Contract { .. } => "CONTRACT_BROKEN",
            Self::Late { reason, .. }
            | Self::Invalid { reason, .. }
            | Self::NotNow { reason, .. }
            | Self::Exhausted { reason, .. }
            | Self::Forbidden { reason, .. } => reason,
            Self::BodyTooLarge { .. } => "BODY_TOO_LARGE",
            Self::NoRoute { .. } => "NO_SUCH_PAGE",
            Self::NoMethod { .. } => "METHOD_NOT_ALLOWED",
            Self::Draining => "DRAINING",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => *field,
            _ => None,
        }
    }

    fn service(&self) -> Option<&str> {
        match self {
            Self::Upstream(error) => error.service(),
            Self::Turn(failed) if failed.service.is_empty() => Some("agent-svc"),
            Self::Turn(failed) => Some(&failed.service),
            Self::Contract { service, .. } | Self::Late { service, .. } => Some(service),
            _ => None,
        }
    }
}
