//! How a service calls another: every address that a name resolves to is watched, calls go to those that are SERVING.
//!
//! tonic's own lazy channel reports ready after a failed connect and picks dead endpoints, so balancing is done here:
//! a task per address keeps a connection and a `health.Watch` on it; the address can be called exactly while that says
//! SERVING. When none can, a call waits for one until its deadline. A call is retried once, and only before its first
//! message: then the service had done nothing that the caller could have seen.

mod addresses;
mod forward;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::config::GlobalConfig;
use crate::error::{ErrorCode, Fault, ServiceError};
use crate::tls;

/// What the health watch may take to notice what a call noticed first.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A service that this one calls. Cheap to clone; clones share connections. Dropping the last one closes them.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

struct Shared {
    service: &'static str,
    serving: watch::Receiver<Vec<(SocketAddr, Channel)>>,
    next: AtomicUsize,
    resolver: tokio::task::AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.resolver.abort();
    }
}

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamConfigError {
    /// No endpoint is configured for this name.
    #[error("global.endpoints has no address for {0}")]
    Unknown(&'static str),
    /// It is no URL with host and port.
    #[error("global.endpoints: {service} is `{endpoint}`; a URL such as http://127.0.0.1:50051 is wanted")]
    Malformed {
        /// Service that it is for.
        service: &'static str,
        /// What the configuration says.
        endpoint: String,
    },
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// Why a call of another service failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{service}: {message}")]
pub struct UpstreamError {
    service: String,
    code: ErrorCode,
    reason: String,
    message: String,
}

impl UpstreamError {
    fn new(service: &str, code: ErrorCode, reason: &str, message: String) -> Self {
        Self {
            service: service.into(),
            code,
            reason: reason.into(),
            message,
        }
    }

    /// What `service` answered. A fault that names another culprit keeps it.
    pub fn from_status(service: &str, status: &Status) -> Self {
        let fault = Fault::from(status);
        // A connection that broke is reported with the transport's words, which say nothing to people.
        let transport =
            std::error::Error::source(status).is_some() || status.message().starts_with("h2 protocol error");
        let (code, message) = if transport
            && matches!(
                fault.code,
                ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::Cancelled
            ) {
            tracing::debug!(service, error = %crate::error::chain(status), "connection broke");
            (
                ErrorCode::Unavailable,
                "the connection broke off (it stopped or was killed)".to_owned(),
            )
        } else {
            (fault.code, fault.message)
        };
        let reason = if code == fault.code {
            fault.reason
        } else {
            code.reason().to_owned()
        };
        let service = fault.service.unwrap_or_else(|| service.to_owned());
        // A service speaks of itself by name; so does our Display.
        let message = message
            .strip_prefix(&format!("{service} "))
            .map_or(message.clone(), str::to_owned);
        Self {
            service,
            code,
            reason,
            message,
        }
    }

    /// What it said, without the service's name.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl ServiceError for UpstreamError {
    fn code(&self) -> ErrorCode {
        self.code
    }
    fn reason(&self) -> &str {
        &self.reason
    }
    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }
}

impl Upstream {
    /// Begins to resolve and watch `service` ("llm-svc") at the endpoint that the configuration names. Returns at once.
    /// Must be called within a tokio runtime.
    pub fn connect(service: &'static str, global: &GlobalConfig) -> Result<Self, UpstreamConfigError> {
        let (host, port) = Self::endpoint(service, global)?;
        Self::begin(service, host.clone(), host, port, global)
    }

    /// The same of the one process of `service` that listens on `address`. A certificate is held against the endpoint's name
    /// all the same.
    pub fn at(service: &'static str, address: SocketAddr, global: &GlobalConfig) -> Result<Self, UpstreamConfigError> {
        let (name, _) = Self::endpoint(service, global)?;
        Self::begin(service, name, address.ip().to_string(), address.port(), global)
    }

    /// Host and port of the endpoint that the configuration names.
    fn endpoint(service: &'static str, global: &GlobalConfig) -> Result<(String, u16), UpstreamConfigError> {
        let endpoint = global
            .endpoints
            .of(service)
            .ok_or(UpstreamConfigError::Unknown(service))?;
        let malformed = || UpstreamConfigError::Malformed {
            service,
            endpoint: endpoint.to_owned(),
        };
        let uri: http::Uri = endpoint.parse().map_err(|_| malformed())?;
        let host = uri.host().ok_or_else(malformed)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().ok_or_else(malformed)?;
        Ok((host, port))
    }

    fn begin(
        service: &'static str,
        name: String,
        host: String,
        port: u16,
        global: &GlobalConfig,
    ) -> Result<Self, UpstreamConfigError> {
        let tls = tls::client(&global.tls)?.map(|tls| tls.domain_name(name));
        let (publish, serving) = watch::channel(Vec::new());
        let resolver = tokio::spawn(addresses::resolve(service, host, port, tls, publish)).abort_handle();
        Ok(Self(Arc::new(Shared {
            service,
            serving,
            next: AtomicUsize::new(0),
            resolver,
        })))
    }

    /// Name of the service.
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// True while at least one address is SERVING.
    pub fn is_serving(&self) -> bool {
        !self.0.serving.borrow().is_empty()
    }

    /// Addresses that are SERVING now.
    pub fn addresses(&self) -> Vec<String> {
        self.0
            .serving
            .borrow()
            .iter()
            .map(|(address, _)| address.to_string())
            .collect()
    }

    /// A connection to an address that is SERVING, in turn; waits for one until `deadline`.
    pub async fn channel(&self, deadline: Instant) -> Result<Channel, UpstreamError> {
        let mut serving = self.0.serving.clone();
        let ready = tokio::time::timeout_at(deadline.into(), serving.wait_for(|addresses| !addresses.is_empty()));
        let service = self.0.service;
        match ready.await {
            Ok(Ok(addresses)) => {
                let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
                Ok(addresses[turn % addresses.len()].1.clone())
            }
            Ok(Err(_)) | Err(_) => Err(UpstreamError::new(
                service,
                ErrorCode::Unavailable,
                "NOT_SERVING",
                format!("it is not serving; see `solo ps` and `solo logs {service}`"),
            )),
        }
    }

    /// One call with one answer, retried once when the service turned out to be unavailable. The deadline covers it all.
    pub async fn call<T, F, Fut>(&self, deadline: Instant, mut call: F) -> Result<T, UpstreamError>
    where
        F: FnMut(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut retried = false;
        loop {
            let channel = self.channel(deadline).await?;
            let answer = tokio::time::timeout_at(deadline.into(), call(channel)).await;
            match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => {
                    let error = UpstreamError::from_status(self.0.service, &status);
                    if retried || !self.may_retry(&error, deadline).await {
                        return Err(error);
                    }
                    retried = true;
                }
                Err(_) => return Err(self.late()),
            }
        }
    }

    /// A call whose answer streams, opened and awaited to its first message; retried once before that. Between messages
    /// at most `idle` may pass; the deadline covers the whole stream.
    pub async fn open<T, F, Fut>(
        &self,
        deadline: Instant,
        idle: Duration,
        mut call: F,
    ) -> Result<UpstreamStream<T>, UpstreamError>
    where
        F: FnMut(Channel) -> Fut,
        Fut: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        let mut retried = false;
        loop {
            let channel = self.channel(deadline).await?;
            let first = async {
                let mut stream = call(channel).await?.into_inner();
                let first = stream.message().await?;
                Ok::<_, Status>((stream, first))
            };
            match tokio::time::timeout_at(deadline.into(), first).await {
                Ok(Ok((stream, first))) => {
                    return Ok(UpstreamStream {
                        upstream: self.clone(),
                        stream,
                        first: Some(first),
                        deadline,
                        idle,
                    });
                }
                Ok(Err(status)) => {
                    let error = UpstreamError::from_status(self.0.service, &status);
                    if retried || !self.may_retry(&error, deadline).await {
                        return Err(error);
                    }
                    retried = true;
                }
                Err(_) => return Err(self.late()),
            }
        }
    }

    /// True when the fault was the connection's or the process's own, and there is time left. Waits a moment, so that the
    /// health watch can notice what the call noticed first.
    async fn may_retry(&self, error: &UpstreamError, deadline: Instant) -> bool {
        if error.code != ErrorCode::Unavailable || Instant::now() + RETRY_AFTER >= deadline {
            return false;
        }
        tokio::time::sleep(RETRY_AFTER).await;
        true
    }

    fn late(&self) -> UpstreamError {
        let message = "it did not answer in time".to_owned();
        UpstreamError::new(
            self.0.service,
            ErrorCode::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            message,
        )
    }
}

/// A streamed answer whose every message is bounded in time. Dropping it cancels the call.
pub struct UpstreamStream<T> {
    upstream: Upstream,
    stream: Streaming<T>,
    first: Option<Option<T>>,
    deadline: Instant,
    idle: Duration,
}

impl<T> UpstreamStream<T> {
    /// The next message; `None` at the end.
    pub async fn message(&mut self) -> Result<Option<T>, UpstreamError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let limit = self.deadline.min(Instant::now() + self.idle);
        match tokio::time::timeout_at(limit.into(), self.stream.message()).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(status)) => Err(UpstreamError::from_status(self.upstream.service(), &status)),
            Err(_) => Err(self.upstream.late()),
        }
    }
}
