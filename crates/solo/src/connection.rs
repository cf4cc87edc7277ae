//! How commands and the runner reach a service: a plain gRPC connection, made when it is needed, and a failure that says
//! whether Solo is not running or just the gateway.

use std::time::Duration;

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::failure::{Exit, Failure};
use crate::services::{self, GATEWAY, Service};
use crate::settings::Settings;

const CONNECT: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A URL of a service with what TLS needs.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its URL.
    pub url: String,
    /// What TLS needs; none: plain text.
    pub tls: Option<ClientTlsConfig>,
}

impl Address {
    /// A connection, or why there is none.
    pub async fn connect(&self, timeout: Duration) -> Result<Channel, tonic::transport::Error> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())?
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone())?;
        }
        endpoint.connect().await
    }
}

/// A connection on which `service` answers: the gateway's, which hands its contract on. Whoever reaches the gateway needs nothing
/// else, wherever the services are.
pub async fn to(settings: &Settings, service: &Service) -> Result<Channel, Failure> {
    let endpoint = &settings.gateway;
    let address = settings.address(endpoint)?;
    let connected = address.connect(CONNECT).await;
    connected.map_err(|error| unreachable(settings, service, endpoint, &error))
}

fn unreachable(settings: &Settings, service: &Service, endpoint: &str, error: &tonic::transport::Error) -> Failure {
    let address = services::address(endpoint);
    let what = if service.name == GATEWAY {
        format!("the gateway does not answer at {address}")
    } else {
        format!(
            "the gateway, by which {} is reached, does not answer at {address}",
            service.name
        )
    };
    let local = services::host_and_port(endpoint).is_some_and(|(host, _)| services::is_local(&host));
    if !local {
        let why = solo_service::error::chain(error);
        return Failure::new(Exit::Unavailable, format!("{what}: {why}"))
            .help("is that machine on, and Solo running there?");
    }
    if running(settings) {
        Failure::new(Exit::Unavailable, what).help(format!(
            "see how it is with `solo ps`, and why with `solo logs {GATEWAY}`"
        ))
    } else {
        Failure::new(Exit::Unavailable, format!("Solo is not running: {what}"))
            .help("start it with `solo up`, or in containers with `docker compose up -d`")
    }
}

#[cfg(unix)]
fn running(settings: &Settings) -> bool {
    crate::runner::lock::Lock::holder(&settings.global.data_dir).is_some()
}

#[cfg(not(unix))]
fn running(_: &Settings) -> bool {
    false
}
