//! The one place where Solo's errors become HTTP: RFC 9457 `application/problem+json`. Used by the gateway alone.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tonic::Status;

use crate::error::{ErrorCode, Fault, IntoStatus, ServiceError};

/// A problem as RFC 9457 describes it, with Solo's `reason` and `service` as extensions.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Always "about:blank": `title` is the HTTP status's own.
    pub r#type: &'static str,
    /// The HTTP status's phrase.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// What programs switch on, in upper snake case.
    pub reason: String,
    /// The service at fault; absent when it is the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl Problem {
    /// A problem from its parts.
    pub fn new(code: ErrorCode, reason: impl Into<String>, detail: impl Into<String>) -> Self {
        let status = http_status(code);
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            reason: reason.into(),
            service: None,
        }
    }

    /// The problem that an error amounts to. Logs it, as the border does.
    pub fn of(error: impl ServiceError) -> Self {
        Self::from(&error.into_status())
    }
}

impl From<&Status> for Problem {
    fn from(status: &Status) -> Self {
        let fault = Fault::from(status);
        Self {
            service: fault.service,
            ..Self::new(fault.code, fault.reason, fault.message)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

/// The HTTP status of a code.
pub fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists | ErrorCode::FailedPrecondition => StatusCode::CONFLICT,
        ErrorCode::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        // nginx's "client closed request": nobody is there to read it, but logs are.
        ErrorCode::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_status_becomes_a_problem() {
        let response = Problem::from(&Status::unavailable("llm-svc is not reachable")).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["reason"], "UNAVAILABLE");
        assert_eq!(body["detail"], "llm-svc is not reachable");
    }
}
