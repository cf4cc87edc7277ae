//! What a service is to this library: a definition, a context to build it in, and what building gives.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tonic_types::{ErrorDetails, StatusExt};

use crate::client::{Upstream, UpstreamConfigError};
use crate::config::GlobalConfig;
use crate::error::ERROR_DOMAIN;
use crate::events::EventPublisher;
use crate::health::Health;
use crate::status::StatusBoard;

/// What is known of a service before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Name of the service, its binary and its compose service: "stt-svc".
    pub name: &'static str,
    /// Its section in the configuration: "stt".
    pub section: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Its commented defaults: the text of `config.toml`.
    pub defaults: &'static str,
    /// Full names of the gRPC services that it offers.
    pub grpc_services: &'static [&'static str],
    /// Environment variables for libraries that it is made of, beside those of every service or in their place.
    pub environment: &'static [(&'static str, &'static str)],
}

/// What a service is built in.
#[derive(Clone)]
pub struct Context {
    /// The `[global]` section.
    pub global: Arc<GlobalConfig>,
    /// What the service says about itself.
    pub status: StatusBoard,
    /// Out-of-band facts.
    pub events: EventPublisher,
    /// SERVING or not.
    pub health: Health,
    /// Cancelled when draining begins: idle streams end with [`Context::draining_status`], busy ones finish their unit.
    pub shutdown: CancellationToken,
    /// Cancelled when the engine is beyond repair: the process ends with exit code 70.
    pub(crate) failed: CancellationToken,
    /// Engines' threads that have not ended.
    pub(crate) engines: TaskTracker,
}

impl Context {
    /// A client of another service ("llm-svc"), at the address that the configuration names.
    pub fn upstream(&self, service: &'static str) -> Result<Upstream, StartupError> {
        Upstream::connect(service, &self.global)
            .map_err(|error: UpstreamConfigError| StartupError::Config(error.to_string()))
    }

    /// The engine is beyond repair: the process ends with exit code 70, and its supervisor starts it anew.
    pub fn fail(&self) {
        self.failed.cancel();
    }

    /// What calls hear that this process will not serve any more.
    pub fn draining_status(&self) -> Status {
        let service = self.status.service();
        let metadata = HashMap::from([("service".to_owned(), service.to_owned())]);
        let details = ErrorDetails::with_error_info("DRAINING", ERROR_DOMAIN, metadata);
        Status::with_error_details(tonic::Code::Unavailable, format!("{service} is restarting"), details)
    }

    /// A context with default configuration, for tests.
    pub async fn for_tests(service: &'static str) -> Self {
        let status = StatusBoard::new(service, "0.0.0");
        let events = EventPublisher::new(service, status.instance());
        Self {
            global: Arc::new(GlobalConfig::default()),
            health: Health::starting(&[], status.clone(), events.clone()).await,
            events,
            status,
            shutdown: CancellationToken::new(),
            failed: CancellationToken::new(),
            engines: TaskTracker::new(),
        }
    }
}

/// Why a service could not start. Each has its own exit code; 64 and 66 are for a person to mend and are not retried.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The configuration is wrong (exit 64).
    #[error("{0}")]
    Config(String),
    /// A model is not installed or damaged (exit 66); the message names the command to run.
    #[error("{message}")]
    MissingModel {
        /// What is missing and the command that brings it.
        message: String,
    },
    /// Anything else (exit 69).
    #[error(transparent)]
    Engine(Box<dyn Error + Send + Sync>),
}

impl StartupError {
    /// Any error as a reason not to start.
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Engine(error.into())
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::CONFIG,
            Self::MissingModel { .. } => exit::MISSING_MODEL,
            Self::Engine(_) => exit::UNAVAILABLE,
        }
    }
}

/// Exit codes of every service, after BSD's sysexits.
pub mod exit {
    /// The configuration is wrong; never restarted.
    pub const CONFIG: u8 = 64;
    /// A model is missing or damaged; never restarted.
    pub const MISSING_MODEL: u8 = 66;
    /// The service could not start (port taken, database locked).
    pub const UNAVAILABLE: u8 = 69;
    /// The engine failed while serving.
    pub const INTERNAL: u8 = 70;
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What building a service gives: its gRPC routes, and tasks that live as long as it serves.
#[derive(Default)]
pub struct Service {
    pub(crate) routes: RoutesBuilder,
    pub(crate) tasks: Vec<Task>,
}

impl Service {
    /// A service that offers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a generated gRPC server.
    #[must_use]
    pub fn grpc<S>(mut self, server: S) -> Self
    where
        S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(server);
        self
    }

    /// Runs `task` while the service serves. It should end on [`Context::shutdown`]; the drain deadline aborts it.
    #[must_use]
    pub fn task(mut self, task: impl Future<Output = ()> + Send + 'static) -> Self {
        self.tasks.push(Box::pin(task));
        self
    }
}
