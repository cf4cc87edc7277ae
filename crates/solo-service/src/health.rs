//! The health latch: NOT_SERVING from the first moment, SERVING once the engine has answered, NOT_SERVING while draining.
//!
//! `""` and every service of the process carry the same status, because SERVING means "my own engine works" and a process
//! has one engine.

use std::sync::Arc;

use solo_proto::events::v1::event_service_server;
use solo_proto::status::v1::{ServiceState, status_service_server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::status::StatusBoard;

/// Switches what the health service and the status service say about this process.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: Arc<[&'static str]>,
    status: StatusBoard,
}

impl Health {
    /// All NOT_SERVING, before the first connection is accepted.
    pub(crate) async fn starting(services: &'static [&'static str], status: StatusBoard) -> Self {
        let always = [
            "",
            status_service_server::SERVICE_NAME,
            event_service_server::SERVICE_NAME,
        ];
        let names = always.into_iter().chain(services.iter().copied()).collect();
        let health = Self {
            reporter: HealthReporter::new(),
            names,
            status,
        };
        health.set(ServingStatus::NotServing).await;
        health
    }

    pub(crate) fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    /// The engine works.
    pub async fn serving(&self) {
        self.status.set_state(ServiceState::Serving);
        self.set(ServingStatus::Serving).await;
    }

    /// The engine does not work, though the process does. `why` goes to the log.
    pub async fn not_serving(&self, why: &str) {
        tracing::warn!(why, "not serving");
        self.status.set_state(ServiceState::NotServing);
        self.set(ServingStatus::NotServing).await;
    }

    pub(crate) async fn draining(&self) {
        self.status.set_state(ServiceState::Draining);
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in self.names.iter() {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
