//! What travels beside a message: whose it is, its identifier, its deadline, its priority, its trace.
//!
//! The gateway alone sets `solo-principal`. Deadlines travel as remaining time (`grpc-timeout`), so clocks need not agree.

use std::time::{Duration, Instant};

use opentelemetry::propagation::{Extractor, Injector};
use tonic::metadata::{KeyAndValueRef, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Status};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::error::{ErrorCode, IntoStatus, ServiceError};

/// Metadata key of the principal.
pub const PRINCIPAL: &str = "solo-principal";
/// Metadata key of the request's identifier.
pub const REQUEST_ID: &str = "solo-request-id";
/// Metadata key of the priority.
pub const PRIORITY: &str = "solo-priority";
/// The principal where nobody says another: the person at this machine.
pub const LOCAL_PRINCIPAL: &str = "local";

/// Who goes first when work queues up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Ingest, extraction, runs.
    Background,
    /// Everything else.
    #[default]
    Normal,
    /// A person waits for the answer with their ears.
    Spoken,
}

impl Priority {
    /// The next higher one; the highest is its own.
    #[must_use]
    pub fn above(self) -> Self {
        match self {
            Self::Background => Self::Normal,
            Self::Normal | Self::Spoken => Self::Spoken,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Normal => "normal",
            Self::Spoken => "spoken",
        }
    }
}

/// What travels beside a message.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Whose request it is: 1 to 128 of letters, digits, `-`, `_`, `.`, `@`.
    pub principal: String,
    /// Names the request in logs.
    pub request_id: String,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Who goes first.
    pub priority: Priority,
}

/// Metadata that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("metadata `{key}` is {problem}")]
pub struct MetadataError {
    key: &'static str,
    problem: String,
}

impl ServiceError for MetadataError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }
    fn reason(&self) -> &str {
        "BAD_METADATA"
    }
}

impl RequestContext {
    /// A new request of `principal`, without a deadline.
    pub fn new(principal: impl Into<String>) -> Self {
        Self {
            principal: principal.into(),
            request_id: uuid::Uuid::now_v7().simple().to_string(),
            deadline: None,
            priority: Priority::default(),
        }
    }

    /// Reads the context of an incoming request, and hangs the current span under the caller's trace.
    pub fn from_request<T>(request: &Request<T>) -> Result<Self, Status> {
        let context = Self::from_metadata(request.metadata()).map_err(IntoStatus::into_status)?;
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract(&MetadataReader(request.metadata()))
        });
        // Fails only where no OpenTelemetry layer is installed; then there is no trace to join.
        let _ = tracing::Span::current().set_parent(parent);
        Ok(context)
    }

    /// Reads the context from metadata.
    pub fn from_metadata(metadata: &MetadataMap) -> Result<Self, MetadataError> {
        let principal = text(metadata, PRINCIPAL)?.unwrap_or(LOCAL_PRINCIPAL);
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if principal.is_empty() || principal.len() > 128 || !principal.chars().all(named) {
            return Err(MetadataError {
                key: PRINCIPAL,
                problem: "no name: 1 to 128 letters, digits, `-`, `_`, `.` or `@` are wanted".into(),
            });
        }
        let priority = match text(metadata, PRIORITY)? {
            None | Some("normal") => Priority::Normal,
            Some("background") => Priority::Background,
            Some("spoken") => Priority::Spoken,
            Some(other) => {
                let problem = format!("`{}`: background, normal or spoken is wanted", other.escape_debug());
                return Err(MetadataError { key: PRIORITY, problem });
            }
        };
        let request_id = text(metadata, REQUEST_ID)?.filter(|id| !id.is_empty() && id.len() <= 64);
        Ok(Self {
            principal: principal.to_owned(),
            request_id: request_id.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned),
            deadline: grpc_timeout(metadata).map(|timeout| Instant::now() + timeout),
            priority,
        })
    }

    /// The same request with a deadline at most `timeout` from now; an earlier one stays.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        let limit = Instant::now() + timeout;
        Self {
            deadline: Some(self.deadline.map_or(limit, |deadline| deadline.min(limit))),
            ..self.clone()
        }
    }

    /// The same request with another priority.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self {
            priority,
            ..self.clone()
        }
    }

    /// The deadline, or `default` from now.
    pub fn deadline_or(&self, default: Duration) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + default)
    }

    /// An outgoing request: `message` with this context beside it.
    pub fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let metadata = request.metadata_mut();
        for (key, value) in [
            (PRINCIPAL, self.principal.as_str()),
            (REQUEST_ID, &self.request_id),
            (PRIORITY, self.priority.as_str()),
        ] {
            // Both were checked when they came in, or made here.
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(key, value);
            }
        }
        let context = tracing::Span::current().context();
        opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut MetadataWriter(metadata));
        });
        request
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &'static str) -> Result<Option<&'a str>, MetadataError> {
    metadata
        .get(key)
        .map(|value| {
            value.to_str().map_err(|_| MetadataError {
                key,
                problem: "not printable ASCII".into(),
            })
        })
        .transpose()
}

/// Parses `grpc-timeout` as the gRPC specification writes it: at most eight digits and a unit.
fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

struct MetadataReader<'a>(&'a MetadataMap);

impl Extractor for MetadataReader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }
    fn keys(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|pair| match pair {
                KeyAndValueRef::Ascii(key, _) => Some(key.as_str()),
                KeyAndValueRef::Binary(..) => None,
            })
            .collect()
    }
}

struct MetadataWriter<'a>(&'a mut MetadataMap);

impl Injector for MetadataWriter<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_the_wire() {
        let sent = RequestContext::new("ada")
            .within(Duration::from_secs(5))
            .with_priority(Priority::Spoken);
        let request = sent.request(());
        let received = RequestContext::from_metadata(request.metadata()).unwrap();
        assert_eq!(received.principal, "ada");
        assert_eq!(received.request_id, sent.request_id);
        assert_eq!(received.priority, Priority::Spoken);
        let left = received.deadline.unwrap() - Instant::now();
        assert!(
            left > Duration::from_secs(4) && left <= Duration::from_secs(5),
            "{left:?}"
        );
    }

    #[test]
    fn nobody_named_means_the_local_person() {
        assert_eq!(
            RequestContext::from_metadata(&MetadataMap::new()).unwrap().principal,
            LOCAL_PRINCIPAL
        );
    }

    #[test]
    fn hostile_principals_are_refused() {
        for principal in ["", "a b", "x' OR 1=1", "../etc", &"x".repeat(129)] {
            let mut metadata = MetadataMap::new();
            metadata.insert(PRINCIPAL, principal.parse().unwrap());
            assert!(RequestContext::from_metadata(&metadata).is_err(), "{principal:?}");
        }
    }

    #[test]
    fn timeouts_are_read_as_the_specification_writes_them() {
        let read = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            grpc_timeout(&metadata)
        };
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("123456789S"), None);
        assert_eq!(read("S"), None);
        assert_eq!(read("1x"), None);
        assert_eq!(read(""), None);
    }
}
