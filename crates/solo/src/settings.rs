//! What every command starts from: the configuration as the services see it, and the flags that all commands share.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use solo_service::config::{self, GlobalConfig, Inputs};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::connection::Address;
use crate::failure::{Exit, Failure};
use crate::sections;
use crate::services::{self, GATEWAY, Service};

/// The settings of one invocation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the configuration is made from.
    pub inputs: Inputs,
    /// The configuration file that is read; `None`: there is none.
    pub file: Option<PathBuf>,
    /// `--set` overrides, which `solo up` hands on to the services.
    pub flags: Vec<(String, String)>,
    /// `[global]`, checked.
    pub global: GlobalConfig,
    /// Where the gateway answers to commands: `--endpoint`, else the configuration's. What the runner starts is another matter.
    pub gateway: String,
    /// `--json`.
    pub json: bool,
    /// `--offline`.
    pub offline: bool,
}

impl Settings {
    /// Reads and checks `[global]`.
    pub fn load(inputs: Inputs, json: bool, offline: bool) -> Result<Self, Failure> {
        let global = config::load_global(&inputs).map_err(|faults| invalid(&faults))?;
        Ok(Self {
            file: inputs.resolved_file(),
            flags: inputs.flags.clone(),
            inputs,
            gateway: global.endpoints.gateway.clone(),
            global,
            json,
            offline,
        })
    }

    /// Where `solo config set` writes: the file that is read, or the one that would be.
    pub fn writable_file(inputs: &Inputs) -> PathBuf {
        inputs.file.clone().unwrap_or_else(config::default_file)
    }

    /// An endpoint with what TLS needs.
    pub fn address(&self, endpoint: &str) -> Result<Address, Failure> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|e| {
                Failure::new(
                    Exit::Configuration,
                    format!("global.tls: {} cannot be read: {e}", path.display()),
                )
            })
        };
        let tls = match &self.global.tls {
            None => None,
            Some(files) => {
                let identity = Identity::from_pem(read(&files.cert)?, read(&files.key)?);
                Some(
                    ClientTlsConfig::new()
                        .identity(identity)
                        .ca_certificate(Certificate::from_pem(read(&files.ca)?)),
                )
            }
        };
        Ok(Address {
            url: services::with_scheme(endpoint),
            tls,
        })
    }

    /// The sockets that a service will listen on, as far as its section says. Empty when the section is wrong: then the
    /// service says so itself, better than anybody else could.
    pub fn listens(&self, service: &Service) -> Vec<SocketAddr> {
        sections::effective(service.section, &self.inputs)
            .map(|table| sections::sockets(&table))
            .unwrap_or_default()
    }

    /// The address of the gateway's page for a browser on this machine.
    pub fn page(&self) -> Option<String> {
        let gateway = services::find(GATEWAY)?;
        let grpc = services::host_and_port(&self.global.endpoints.gateway).map(|(_, port)| port);
        let mut socket = self
            .listens(gateway)
            .into_iter()
            .find(|socket| Some(socket.port()) != grpc)?;
        if socket.ip().is_unspecified() {
            socket.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let scheme = if self.global.tls.is_some() { "https" } else { "http" };
        Some(format!("{scheme}://{socket}"))
    }
}

/// Faults of the configuration as a failure.
pub fn invalid(faults: &config::Faults) -> Failure {
    Failure::new(Exit::Configuration, faults.to_string())
        .help("`solo config path` names the file, `solo config set KEY VALUE` corrects a key")
}
