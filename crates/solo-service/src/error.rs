//! One error vocabulary for all of Solo, and the one place where it becomes a gRPC status.
//!
//! A service has its own `thiserror` enum and implements [`ServiceError`] for it. At the border — and only there —
//! [`IntoStatus::into_status`] logs the chain once and builds a status that carries `google.rpc.ErrorInfo`, so that
//! programs switch on `reason` and people read the message. [`Fault`] is the way back: what a client of a service learns
//! from a status.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `google.rpc.ErrorInfo` that Solo sends.
pub const ERROR_DOMAIN: &str = "solo";

/// What went wrong, as far as callers can act on it: a voluntarily small subset of gRPC's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is wrong whatever the state of the service.
    InvalidArgument,
    /// What the request names is not there.
    NotFound,
    /// What the request creates is there already.
    AlreadyExists,
    /// The request is right, but not in this state; retrying alone will not help.
    FailedPrecondition,
    /// A limit was reached: queue, quota, size.
    ResourceExhausted,
    /// The caller's time is up.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// The service cannot answer now; retrying later may help.
    Unavailable,
    /// Who is asking?
    Unauthenticated,
    /// Not this caller.
    PermissionDenied,
    /// The contract names it, this version does not do it.
    Unimplemented,
    /// A fault of ours: callers see "internal error" and a request id, the log has the rest.
    Internal,
}

impl ErrorCode {
    /// The gRPC code.
    pub fn grpc(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::Unavailable => Code::Unavailable,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    /// The nearest of ours for a code that came over the wire.
    pub fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition | Code::Aborted => Self::FailedPrecondition,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unavailable => Self::Unavailable,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::Unimplemented => Self::Unimplemented,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }

    /// A default reason for errors that state none, in upper snake case.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
        }
    }
}

/// An error that can cross a service's border. `Display` is for people: what is wrong and what to do about it; it never
/// repeats its source.
pub trait ServiceError: Error + Send + Sync + 'static {
    /// What callers can act on.
    fn code(&self) -> ErrorCode;

    /// What programs switch on, in upper snake case.
    fn reason(&self) -> &str {
        self.code().reason()
    }

    /// The field of the request at fault, as a path ("voice.speed").
    fn field(&self) -> Option<&str> {
        None
    }

    /// When it may be worth trying again.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// The service at fault, where it is not this one.
    fn service(&self) -> Option<&str> {
        None
    }
}

/// Turns an error into a status, at the border of a service.
pub trait IntoStatus {
    /// Logs the error's chain once, hides internal faults behind a request id, and attaches `google.rpc` details.
    fn into_status(self) -> Status;
}

impl<E: ServiceError> IntoStatus for E {
    fn into_status(self) -> Status {
        let code = self.code();
        let chain = chain(&self);
        let message = if code == ErrorCode::Internal {
            let request_id = uuid::Uuid::now_v7().simple().to_string();
            tracing::error!(reason = self.reason(), %request_id, error = %chain, "internal error");
            format!("internal error (request {request_id}; the service's log has the details)")
        } else {
            tracing::info!(?code, reason = self.reason(), error = %chain, "request refused");
            self.to_string()
        };
        let mut metadata = HashMap::new();
        if let Some(service) = self.service() {
            metadata.insert("service".to_owned(), service.to_owned());
        }
        let mut details = ErrorDetails::with_error_info(self.reason(), ERROR_DOMAIN, metadata);
        if let Some(field) = self.field() {
            details.add_bad_request_violation(field, message.clone());
        }
        if let Some(after) = self.retry_after() {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(code.grpc(), message, details)
    }
}

/// An error and its sources, joined by ": ".
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What a status says, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What callers can act on.
    pub code: ErrorCode,
    /// What programs switch on.
    pub reason: String,
    /// What people read.
    pub message: String,
    /// The service at fault, where the status names one.
    pub service: Option<String>,
}

impl From<&Status> for Fault {
    fn from(status: &Status) -> Self {
        let code = ErrorCode::from_grpc(status.code());
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == ERROR_DOMAIN);
        Self {
            code,
            reason: info
                .as_ref()
                .map_or_else(|| code.reason().to_owned(), |info| info.reason.clone()),
            message: status.message().to_owned(),
            service: info.and_then(|info| info.metadata.get("service").cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("speed 9 is out of range: 0.5 to 2.0")]
    struct OutOfRange;

    impl ServiceError for OutOfRange {
        fn code(&self) -> ErrorCode {
            ErrorCode::InvalidArgument
        }
        fn reason(&self) -> &str {
            "SPEED_OUT_OF_RANGE"
        }
        fn field(&self) -> Option<&str> {
            Some("voice.speed")
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("decoder lost its mind")]
    struct Broken(#[source] std::io::Error);

    impl ServiceError for Broken {
        fn code(&self) -> ErrorCode {
            ErrorCode::Internal
        }
    }

    #[test]
    fn a_refusal_carries_reason_and_field() {
        let status = OutOfRange.into_status();
        let fault = Fault::from(&status);
        assert_eq!(fault.code, ErrorCode::InvalidArgument);
        assert_eq!(fault.reason, "SPEED_OUT_OF_RANGE");
        assert_eq!(fault.message, "speed 9 is out of range: 0.5 to 2.0");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "voice.speed");
    }

    #[test]
    fn internal_faults_keep_their_secrets() {
        let status = Broken(std::io::Error::other("/secret/path")).into_status();
        assert_eq!(status.code(), Code::Internal);
        assert!(
            status.message().starts_with("internal error (request "),
            "{}",
            status.message()
        );
        assert!(!status.message().contains("secret"));
    }

    #[test]
    fn codes_survive_the_wire() {
        for code in [
            ErrorCode::NotFound,
            ErrorCode::ResourceExhausted,
            ErrorCode::Unavailable,
            ErrorCode::Unimplemented,
        ] {
            assert_eq!(ErrorCode::from_grpc(code.grpc()), code);
        }
    }
}
