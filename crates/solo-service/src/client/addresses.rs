//! Which addresses of a name can be called: one task each keeps a connection and a `health.Watch` on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const RESOLVE_EVERY: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts to connect: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Keeps one watching task for each address of the name.
pub(super) async fn resolve(
    service: &'static str,
    host: String,
    port: u16,
    tls: Option<ClientTlsConfig>,
    publish: watch::Sender<Vec<(SocketAddr, Channel)>>,
) {
    let publish = Arc::new(publish);
    let mut tasks = JoinSet::new();
    let mut watched: HashMap<SocketAddr, tokio::task::AbortHandle> = HashMap::new();
    loop {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                watched.retain(|address, task| {
                    let stays = found.contains(address);
                    if !stays {
                        task.abort();
                        publish.send_modify(|serving| serving.retain(|(other, _)| other != address));
                    }
                    stays
                });
                for address in found {
                    watched.entry(address).or_insert_with(|| {
                        tasks.spawn(watch_address(service, address, tls.clone(), Arc::clone(&publish)))
                    });
                }
            }
            Err(error) => tracing::debug!(service, host, %error, "name does not resolve"),
        }
        tokio::time::sleep(RESOLVE_EVERY).await;
    }
}

/// Connects, watches health, and lists the address exactly while it is SERVING.
async fn watch_address(
    service: &'static str,
    address: SocketAddr,
    tls: Option<ClientTlsConfig>,
    publish: Arc<watch::Sender<Vec<(SocketAddr, Channel)>>>,
) {
    let mut backoff = BACKOFF.0;
    loop {
        match watch_once(address, tls.clone(), &publish).await {
            Ok(()) => backoff = BACKOFF.0,
            Err(error) => {
                tracing::debug!(service, %address, error = %crate::error::chain(&*error), "not reachable");
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
        publish.send_modify(|serving| serving.retain(|(other, _)| *other != address));
        tokio::time::sleep(backoff).await;
    }
}

/// One connection's life. `Ok` when it had been SERVING at least once.
async fn watch_once(
    address: SocketAddr,
    tls: Option<ClientTlsConfig>,
    publish: &watch::Sender<Vec<(SocketAddr, Channel)>>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    let channel = endpoint.connect().await?;
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel.clone()).watch(request).await?.into_inner();
    let mut served = false;
    let ended = loop {
        match health.message().await {
            Ok(Some(answer)) => {
                let serving = answer.status() == ServingStatus::Serving;
                served |= serving;
                publish.send_modify(|addresses| {
                    addresses.retain(|(other, _)| *other != address);
                    if serving {
                        addresses.push((address, channel.clone()));
                    }
                });
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    match ended {
        Err(status) if !served && status.code() != Code::Unavailable => Err(status.into()),
        _ => Ok(()),
    }
}
