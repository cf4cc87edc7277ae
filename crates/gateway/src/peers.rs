//! The addresses of other services, serving or not: who is asked for its status and its events.
//!
//! Calls of a conversation go through `solo_service::Upstream`, which knows only addresses that serve. A service that is
//! loading has a status too, so it is asked here directly.

use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

use crate::Gateway;

/// The other services, in the order in which people are shown them.
pub(crate) const SERVICES: [&str; 6] = ["agent-svc", "llm-svc", "stt-svc", "tts-svc", "memory-svc", "wake-svc"];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// One address of one service.
pub(crate) struct Peer {
    pub(crate) service: &'static str,
    /// Host and port.
    pub(crate) address: String,
    /// A connection that is made when it is first used.
    pub(crate) channel: Channel,
}

impl Gateway {
    /// All addresses that a service's endpoint resolves to; none when it does not.
    pub(crate) async fn peers(&self, service: &'static str) -> Vec<Peer> {
        if self.context.global.tls.is_some() {
            // The certificates are Upstream's; it lends its connections, to those that serve.
            return self.serving_peers(service).await;
        }
        let endpoint = self.context.global.endpoints.of(service).unwrap_or_default();
        let Some(authority) = endpoint
            .parse::<http::Uri>()
            .ok()
            .and_then(|uri| uri.into_parts().authority)
        else {
            return Vec::new();
        };
        let Ok(addresses) = tokio::net::lookup_host(authority.as_str()).await else {
            return Vec::new();
        };
        let peer = |address: std::net::SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
            let channel = endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_while_idle(true)
                .connect_lazy();
            Some(Peer {
                service,
                address: address.to_string(),
                channel,
            })
        };
        addresses.filter_map(peer).collect()
    }

    async fn serving_peers(&self, service: &'static str) -> Vec<Peer> {
        let Some(upstream) = self.upstreams.of(service) else {
            return Vec::new();
        };
        let mut peers = Vec::new();
        for address in upstream.addresses() {
            if let Ok(channel) = upstream.channel(Instant::now()).await {
                peers.push(Peer {
                    service,
                    address,
                    channel,
                });
            }
        }
        peers
    }
}
