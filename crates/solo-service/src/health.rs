//! The health latch: NOT_SERVING from the first moment, SERVING once the engine has answered, NOT_SERVING while draining.
//!
//! `""` and every service of the process carry the same status, because SERVING means "my own engine works" and a process
//! has one engine.

use std::sync::{Arc, PoisonError, RwLock};

use solo_proto::events::v1::{HealthPayload, event::Payload, event_service_server};
use solo_proto::status::v1::{ServiceState, status_service_server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::events::EventPublisher;
use crate::status::StatusBoard;

/// Switches what the health service and the status service say about this process.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: Arc<[&'static str]>,
    status: StatusBoard,
    events: EventPublisher,
    /// Why the engine does not work.
    why: Arc<RwLock<Option<String>>>,
}

impl Health {
    /// All NOT_SERVING, before the first connection is accepted.
    pub(crate) async fn starting(
        services: &'static [&'static str],
        status: StatusBoard,
        events: EventPublisher,
    ) -> Self {
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
            events,
            why: Arc::default(),
        };
        health.set(ServingStatus::NotServing).await;
        health
    }

    pub(crate) fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    /// The engine works.
    pub async fn serving(&self) {
        self.because(None);
        self.turn(ServiceState::Serving, ServingStatus::Serving).await;
    }

    /// The engine does not work, though the process does: calls are refused, and hear why.
    pub async fn not_serving(&self, why: &str) {
        tracing::error!(why, "not serving");
        self.because(Some(why.to_owned()));
        self.turn(ServiceState::NotServing, ServingStatus::NotServing).await;
    }

    pub(crate) async fn draining(&self) {
        self.turn(ServiceState::Draining, ServingStatus::NotServing).await;
    }

    /// Why the engine does not work; `None` while it does.
    pub fn why(&self) -> Option<String> {
        self.why.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn because(&self, why: Option<String>) {
        *self.why.write().unwrap_or_else(PoisonError::into_inner) = why;
    }

    async fn turn(&self, state: ServiceState, status: ServingStatus) {
        self.status.set_state(state);
        let state = state.into();
        self.events.publish("", "", Payload::Health(HealthPayload { state }));
        self.set(status).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in self.names.iter() {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
