//! The `[gateway.wyoming]` block.
//!
//! It listens unless it is told not to, so that Home Assistant on this machine finds Solo where it looks. On loopback that
//! gives no more away than the REST API does; a port that another program has is named with the remedy before anything starts.
//!
//! Wyoming has no authentication: an address that others can reach is refused until networks are named, on top of what
//! `global.exposure` says. A network of everybody is no list.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use solo_service::{Faults, GlobalConfig};

/// The block as it is written; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Wyoming {
    #[serde(deserialize_with = "address")]
    pub stt_listen: Option<SocketAddr>,
    #[serde(deserialize_with = "address")]
    pub tts_listen: Option<SocketAddr>,
    #[serde(deserialize_with = "address")]
    pub wake_listen: Option<SocketAddr>,
    pub allowed_networks: Vec<IpNet>,
    pub max_connections: usize,
    pub max_header_bytes: usize,
    pub max_data_bytes: usize,
    pub max_payload_bytes: usize,
    pub candidate_ms: u32,
    pub partial_interval_ms: u32,
    pub idle_ms: u64,
    pub stall_ms: u64,
}

impl Wyoming {
    /// True for a machine that may connect: this one, and those of the networks that are named.
    pub(crate) fn admits(&self, peer: IpAddr) -> bool {
        // A socket for both families shows IPv4 in IPv6's clothes.
        let peer = peer.to_canonical();
        peer.is_loopback() || self.allowed_networks.iter().any(|network| network.contains(&peer))
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }

    /// The three addresses with the names of their keys.
    fn addresses(&self) -> [(&'static str, Option<SocketAddr>); 3] {
        [
            ("gateway.wyoming.stt_listen", self.stt_listen),
            ("gateway.wyoming.tts_listen", self.tts_listen),
            ("gateway.wyoming.wake_listen", self.wake_listen),
        ]
    }

    pub(super) fn validate(&self, global: &GlobalConfig, faults: &mut Faults) {
        for (key, address) in self.addresses() {
            let Some(address) = address else { continue };
            let mut exposed = Faults::default();
            global.check_listen("gateway.wyoming", address, &mut exposed);
            for fault in exposed.iter() {
                faults.add(key, &fault.problem);
            }
            if !address.ip().is_loopback() && self.allowed_networks.is_empty() {
                faults.add(
                    key,
                    format!(
                        "{address} is reachable from outside, and Wyoming knows no keys: name who may connect in \
                         gateway.wyoming.allowed_networks (such as [\"192.168.1.0/24\"])"
                    ),
                );
            }
        }
        for network in self.allowed_networks.iter().filter(|network| network.prefix_len() == 0) {
            faults.add(
                "gateway.wyoming.allowed_networks",
                format!("`{network}` is everybody; name the networks of your home"),
            );
        }
        faults.range("gateway.wyoming.max_connections", self.max_connections, 1, 10_000);
        faults.range(
            "gateway.wyoming.max_header_bytes",
            self.max_header_bytes,
            1024,
            1024 * 1024,
        );
        faults.range("gateway.wyoming.max_data_bytes", self.max_data_bytes, 1024, 16 << 20);
        faults.range(
            "gateway.wyoming.max_payload_bytes",
            self.max_payload_bytes,
            1024,
            16 << 20,
        );
        if self.candidate_ms != 0 {
            faults.range("gateway.wyoming.candidate_ms", self.candidate_ms, 32, 10_000);
        }
        if self.partial_interval_ms != 0 {
            faults.range(
                "gateway.wyoming.partial_interval_ms",
                self.partial_interval_ms,
                100,
                5_000,
            );
        }
        faults.range("gateway.wyoming.idle_ms", self.idle_ms, 1_000, 86_400_000);
        faults.range("gateway.wyoming.stall_ms", self.stall_ms, 100, 600_000);
    }
}

/// An address, or nothing where the text is empty.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wanted = |_| serde::de::Error::custom(format!("`{text}` is no address; 127.0.0.1:10300 or \"\" is wanted"));
    text.parse().map(Some).map_err(wanted)
}

#[cfg(test)]
mod tests {
    use solo_service::config::{self, Inputs};

    use crate::Config;

    fn load(text: &str) -> Result<Config, String> {
        let inputs = Inputs {
            inline: Some(text.into()),
            ..Inputs::default()
        };
        let loaded = config::load("gateway", crate::DEFINITION.defaults, &inputs);
        loaded.map(|(_, config)| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn it_listens_on_the_usual_ports_of_this_machine() {
        let wyoming = load("").unwrap().wyoming;
        let ports = [wyoming.stt_listen, wyoming.tts_listen, wyoming.wake_listen].map(|at| at.unwrap());
        assert_eq!(ports.map(|at| at.port()), [10_300, 10_200, 10_400]);
        assert!(ports.iter().all(|at| at.ip().is_loopback()));
    }

    #[test]
    fn an_empty_address_is_none() {
        let wyoming = load("gateway.wyoming.stt_listen = \"\"").unwrap().wyoming;
        assert_eq!(wyoming.stt_listen, None);
        let faults = load("gateway.wyoming.stt_listen = \"10300\"").unwrap_err();
        assert!(faults.contains("`10300` is no address"), "{faults}");
    }

    #[test]
    fn only_named_networks_may_connect_from_outside() {
        let beyond = "global.exposure = \"private\"\ngateway.wyoming.stt_listen = \"0.0.0.0:10300\"\n";
        let faults = load(beyond).unwrap_err();
        assert!(faults.contains("gateway.wyoming.allowed_networks"), "{faults}");
        let named = format!("{beyond}gateway.wyoming.allowed_networks = [\"192.168.1.0/24\", \"fd00:1::/64\"]");
        let wyoming = load(&named).unwrap().wyoming;
        for (peer, admitted) in [
            ("192.168.1.7", true),
            ("::ffff:192.168.1.7", true),
            ("192.168.2.7", false),
            ("fd00:1::7", true),
            ("fd00:2::7", false),
            ("127.0.0.1", true),
            ("::1", true),
        ] {
            assert_eq!(wyoming.admits(peer.parse().unwrap()), admitted, "{peer}");
        }
    }

    #[test]
    fn the_exposure_of_solo_holds_here_too() {
        let text = "[gateway.wyoming]\ntts_listen = \"192.168.1.5:10200\"\nallowed_networks = [\"192.168.1.0/24\"]";
        let faults = load(text).unwrap_err();
        assert!(faults.contains("gateway.wyoming.tts_listen"), "{faults}");
        assert!(faults.contains("global.exposure"), "{faults}");
    }

    #[test]
    fn everybody_is_no_network() {
        let faults = load("gateway.wyoming.allowed_networks = [\"0.0.0.0/0\"]").unwrap_err();
        assert!(faults.contains("`0.0.0.0/0` is everybody"), "{faults}");
    }
}
