//! The `[global]` section.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Faults, GLOBAL_DEFAULTS, Inputs, default_data_dir, default_models_dir, path_or};

/// What all services share, with paths and thread counts resolved.
#[derive(Debug, Clone)]
pub struct GlobalConfig {
    /// Where Solo keeps dialogues, memory and logs.
    pub data_dir: PathBuf,
    /// Where models are installed.
    pub models_dir: PathBuf,
    /// CPU threads that Solo may keep busy, at least 1.
    pub threads: usize,
    /// Who may connect.
    pub exposure: Exposure,
    /// Longest time that a running turn may take to finish when a service stops.
    pub drain: Duration,
    /// Largest message that a service accepts, in bytes.
    pub max_message_bytes: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
    /// Where each service is reached.
    pub endpoints: Endpoints,
    /// Certificates; `None`: plain text.
    pub tls: Option<TlsFiles>,
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// This machine only.
    Loopback,
    /// Container and home networks; refused on a public address.
    Private,
    /// Anybody, with certificates.
    Public,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Plain,
    /// For programs.
    Json,
}

/// Where each service is reached, as URLs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Endpoints {
    pub gateway: String,
    pub stt: String,
    pub tts: String,
    pub llm: String,
    pub memory: String,
    pub agent: String,
    pub wake: String,
}

impl Endpoints {
    /// The endpoint of a service by its name ("llm-svc", "gateway").
    pub fn of(&self, service: &str) -> Option<&str> {
        Some(match service {
            "gateway" => &self.gateway,
            "stt-svc" => &self.stt,
            "tts-svc" => &self.tts,
            "llm-svc" => &self.llm,
            "memory-svc" => &self.memory,
            "agent-svc" => &self.agent,
            "wake-svc" => &self.wake,
            _ => return None,
        })
    }
}

/// Certificates as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain of this service.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signs both sides' certificates.
    pub ca: PathBuf,
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    data_dir: String,
    models_dir: String,
    threads: usize,
    exposure: Exposure,
    drain_ms: u64,
    max_message_bytes: usize,
    log_format: LogFormat,
    log_filter: String,
    endpoints: Endpoints,
    tls: RawTls,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert: String,
    key: String,
    ca: String,
}

impl Raw {
    pub(super) fn resolve(self, inputs: &Inputs, faults: &mut Faults) -> GlobalConfig {
        faults.range("global.threads", self.threads, 0, 1024);
        faults.range("global.drain_ms", self.drain_ms, 0, 600_000);
        faults.range(
            "global.max_message_bytes",
            self.max_message_bytes,
            64 * 1024,
            256 * 1024 * 1024,
        );
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            faults.add("global.log_filter", format!("no filter: {error}"));
        }
        let tls = match (self.tls.cert.as_str(), self.tls.key.as_str(), self.tls.ca.as_str()) {
            ("", "", "") => None,
            (cert, key, ca) if !cert.is_empty() && !key.is_empty() && !ca.is_empty() => Some(TlsFiles {
                cert: cert.into(),
                key: key.into(),
                ca: ca.into(),
            }),
            _ => {
                faults.add("global.tls", "cert, key and ca are wanted together, or none of them");
                None
            }
        };
        if self.exposure == Exposure::Public && tls.is_none() {
            faults.add(
                "global.exposure",
                "\"public\" demands certificates: set global.tls.cert, key and ca",
            );
        }
        // A short name of its own, because every person with a second disk wants to set it.
        let models_dir = match inputs.environment.get("SOLO_MODELS_DIR") {
            Some(folder) if self.models_dir.is_empty() => folder.clone(),
            _ => self.models_dir,
        };
        let data_dir = match inputs.environment.get("SOLO_DATA_DIR") {
            Some(folder) if self.data_dir.is_empty() => folder.clone(),
            _ => self.data_dir,
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        GlobalConfig {
            data_dir: path_or(&data_dir, default_data_dir),
            models_dir: path_or(&models_dir, default_models_dir),
            threads: if self.threads == 0 { cores() } else { self.threads },
            exposure: self.exposure,
            drain: Duration::from_millis(self.drain_ms),
            max_message_bytes: self.max_message_bytes,
            log_format: self.log_format,
            log_filter: self.log_filter,
            endpoints: self.endpoints,
            tls,
        }
    }
}

impl GlobalConfig {
    /// Refuses an address that the exposure does not allow.
    pub fn check_listen(&self, section: &str, listen: SocketAddr, faults: &mut Faults) {
        let ip = listen.ip();
        let key = format!("{section}.listen");
        match self.exposure {
            Exposure::Loopback if !ip.is_loopback() => faults.add(
                key,
                format!("{listen} is reachable from outside; use 127.0.0.1, or set global.exposure = \"private\""),
            ),
            Exposure::Private if is_public(ip) => {
                faults.add(
                    key,
                    format!("{listen} is a public address, which global.exposure = \"private\" refuses"),
                );
            }
            _ => {}
        }
    }
}

/// True for an address that the whole internet can reach. An unspecified one (0.0.0.0) is the container's own network.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || is_shared(ip))
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// 100.64.0.0/10, RFC 6598: carrier-grade NAT, which home overlay networks use too.
fn is_shared(ip: std::net::Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

impl Default for GlobalConfig {
    /// The embedded defaults, as on a machine without file and environment.
    fn default() -> Self {
        let table: toml::Table = toml::from_str(GLOBAL_DEFAULTS).expect("embedded defaults are TOML");
        let raw: Raw = table["global"].clone().try_into().expect("embedded defaults fit");
        let mut faults = Faults::default();
        let global = raw.resolve(&Inputs::default(), &mut faults);
        assert!(faults.is_empty(), "embedded defaults are valid: {faults}");
        global
    }
}
