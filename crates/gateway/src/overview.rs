//! All services at a glance, and whether Solo can answer.

use std::time::Duration;

use solo_proto::gateway::v1::{GetStatusResponse, ServiceAtAddress};
use solo_proto::status::v1::GetStatusRequest;
use solo_proto::status::v1::ServiceState;
use solo_proto::status::v1::status_service_client::StatusServiceClient;

use crate::Gateway;
use crate::peers::{Peer, SERVICES};

/// Time that a service has to say how it is.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Whether Solo can answer, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Readiness {
    /// True when gateway, agent and language model serve.
    pub(crate) ready: bool,
    /// Services without which nothing is answered, that do not serve.
    pub(crate) not_serving: Vec<&'static str>,
    /// Other services that do not serve: part of what Solo can do is missing.
    pub(crate) degraded: Vec<&'static str>,
}

impl Gateway {
    /// Whether Solo can answer, from what is known without asking.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut not_serving = Vec::new();
        let mut degraded = Vec::new();
        if self.context.status.state() != ServiceState::Serving {
            not_serving.push("gateway");
        }
        for service in SERVICES {
            let serving = self.upstreams.of(service).is_some_and(|upstream| upstream.is_serving());
            match service {
                _ if serving => {}
                "agent-svc" | "llm-svc" => not_serving.push(service),
                _ => degraded.push(service),
            }
        }
        Readiness {
            ready: not_serving.is_empty(),
            not_serving,
            degraded,
        }
    }

    /// Asks all services at all addresses, at once.
    pub(crate) async fn overview(&self) -> GetStatusResponse {
        let own = ServiceAtAddress {
            service: "gateway".into(),
            address: self.config.listen.to_string(),
            status: Some(self.context.status.snapshot()),
            error: String::new(),
        };
        let others = futures::future::join_all(SERVICES.map(|service| self.ask(service))).await;
        let services = std::iter::once(own).chain(others.into_iter().flatten()).collect();
        GetStatusResponse {
            ready: self.readiness().ready,
            services,
        }
    }

    async fn ask(&self, service: &'static str) -> Vec<ServiceAtAddress> {
        let peers = self.peers(service).await;
        if peers.is_empty() {
            let address = self.context.global.endpoints.of(service).unwrap_or_default().to_owned();
            let error = format!("no address answers for it; see `solo ps` and `solo logs {service}`");
            return vec![ServiceAtAddress {
                service: service.into(),
                address,
                status: None,
                error,
            }];
        }
        futures::future::join_all(peers.into_iter().map(ask_peer)).await
    }
}

async fn ask_peer(peer: Peer) -> ServiceAtAddress {
    let mut client = StatusServiceClient::new(peer.channel);
    let answer = tokio::time::timeout(PATIENCE, client.get_status(GetStatusRequest {})).await;
    let (status, error) = match answer {
        Ok(Ok(response)) => (response.into_inner().status, String::new()),
        Ok(Err(status)) => {
            tracing::debug!(service = peer.service, address = peer.address, %status, "no status");
            (
                None,
                format!("it does not answer; see `solo ps` and `solo logs {}`", peer.service),
            )
        }
        Err(_) => (None, format!("it did not answer within {} ms", PATIENCE.as_millis())),
    };
    ServiceAtAddress {
        service: peer.service.into(),
        address: peer.address,
        status,
        error,
    }
}
