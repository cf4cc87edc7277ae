//! What a runner is going to start, and the checks that need no process: binaries there, ports free.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::{Duration, Instant};

use solo_service::net::{PortOwner, port_owner};

use super::process::Program;
use crate::connection::Address;
use crate::failure::{Exit, Failure};
use crate::services::{self, Service};
use crate::settings::Settings;
use crate::terminal;

/// How long the services of a runner that was killed may take to let go of their ports.
const ORPHANS: Duration = Duration::from_secs(8);
const ORPHANS_PAUSE: Duration = Duration::from_millis(50);

/// What is going to be started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The services, in the order of the table.
    pub services: Vec<Planned>,
    /// Services that the configuration places on another machine: name and address.
    pub elsewhere: Vec<(&'static str, String)>,
}

/// One service that is going to be started.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The service.
    pub service: &'static Service,
    /// How it is started.
    pub program: Program,
    /// Where it will answer.
    pub address: Address,
    /// Sockets that it will listen on, as far as the configuration says.
    pub listens: Vec<SocketAddr>,
}

impl Plan {
    /// Plans all services, or those of `only`.
    pub fn new(settings: &Settings, only: &[&'static Service]) -> Result<Self, Failure> {
        let folder = services::binaries()?;
        let mut plan = Self {
            services: Vec::new(),
            elsewhere: Vec::new(),
        };
        let mut missing = Vec::new();
        for service in services::ALL
            .iter()
            .filter(|service| only.is_empty() || only.contains(service))
        {
            let endpoint = service.endpoint(&settings.global.endpoints);
            let (host, _) = services::host_and_port(endpoint).ok_or_else(|| malformed(service, endpoint))?;
            if !services::is_local(&host) {
                plan.elsewhere.push((service.name, services::address(endpoint)));
                continue;
            }
            let binary = folder.join(format!("{}{}", service.name, std::env::consts::EXE_SUFFIX));
            if !binary.is_file() {
                missing.push(service.name);
            }
            plan.services.push(Planned {
                service,
                program: Program {
                    binary,
                    config: settings.file.clone(),
                    flags: settings.flags.clone(),
                },
                address: settings.address(endpoint)?,
                listens: settings.listens(service),
            });
        }
        if !missing.is_empty() {
            return Err(
                Failure::failed(format!("{} has no {}", folder.display(), missing.join(", "))).help(services::BUILD),
            );
        }
        Ok(plan)
    }

    /// Refuses a start for which a port is taken, and names who has it. Services of a runner that was killed a moment
    /// ago are on their way out and waited for.
    pub fn check_ports(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let taken = self.taken();
            let orphans = taken
                .iter()
                .all(|(_, _, owner)| owner.as_ref().is_some_and(|o| services::find(&o.name).is_some()));
            if taken.is_empty() || !orphans || begun.elapsed() > ORPHANS {
                return refuse(&taken);
            }
            if !std::mem::replace(&mut told, true) {
                terminal::remark("waiting for the services of an earlier run to end");
            }
            std::thread::sleep(ORPHANS_PAUSE);
        }
    }

    /// What is said of the services that are not started here.
    pub fn remarks(&self) -> Vec<String> {
        let remark = |(service, address): &(&str, String)| {
            format!("{service:<10} is at {address} by configuration: not started here")
        };
        self.elsewhere.iter().map(remark).collect()
    }

    /// Whether all ports are free now.
    pub fn ports_are_free(&self) -> Result<(), Failure> {
        refuse(&self.taken())
    }

    fn taken(&self) -> Vec<(&'static str, SocketAddr, Option<PortOwner>)> {
        let mut taken = Vec::new();
        for planned in &self.services {
            for address in planned.sockets() {
                let busy = TcpListener::bind(address).is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse);
                if busy {
                    taken.push((planned.service.name, address, port_owner(address.port())));
                }
            }
        }
        taken
    }
}

impl Planned {
    fn sockets(&self) -> Vec<SocketAddr> {
        let mut sockets = self.listens.clone();
        if sockets.is_empty() {
            let resolved = services::host_and_port(&self.address.url).and_then(|at| at.to_socket_addrs().ok());
            sockets.extend(resolved.into_iter().flatten().take(1));
        }
        sockets
    }
}

fn refuse(taken: &[(&'static str, SocketAddr, Option<PortOwner>)]) -> Result<(), Failure> {
    if taken.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = taken
        .iter()
        .map(|(service, address, owner)| match owner {
            Some(PortOwner { pid, name }) => {
                format!(
                    "port {} of {service} is taken by {name} (process {pid})",
                    address.port()
                )
            }
            None => format!("port {} of {service} is taken by another process", address.port()),
        })
        .collect();
    let mut help =
        "stop that process, or give the service another port: `listen` in its section and `[global.endpoints]` \
                    (`solo config set`)"
            .to_owned();
    if taken.iter().any(|(service, _, _)| *service == "gateway") {
        help.push_str(
            "\nthe gateway's other ports: `gateway.http_listen`, and in `[gateway.wyoming]` those for Home Assistant and \
             satellites, which \"\" does without",
        );
    }
    Err(Failure::failed(lines.join("\n       ")).help(help))
}

fn malformed(service: &Service, endpoint: &str) -> Failure {
    Failure::new(
        Exit::Configuration,
        format!(
            "global.endpoints.{} is `{endpoint}`; a URL with host and port is wanted",
            service.section
        ),
    )
    .help(format!(
        "for instance `solo config set global.endpoints.{} http://127.0.0.1:50051`",
        service.section
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_port_service_and_culprit() {
        let owner = PortOwner {
            pid: 4711,
            name: "python3".into(),
        };
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let failure = refuse(&[("stt-svc", at(50051), Some(owner)), ("tts-svc", at(50052), None)]).unwrap_err();
        assert!(
            failure
                .message
                .contains("port 50051 of stt-svc is taken by python3 (process 4711)"),
            "{failure}"
        );
        assert!(
            failure
                .message
                .contains("port 50052 of tts-svc is taken by another process"),
            "{failure}"
        );
        assert_eq!(failure.exit, Exit::Failed);
        assert!(!failure.help.unwrap().contains("gateway.wyoming"));
        let failure = refuse(&[("gateway", at(10300), None)]).unwrap_err();
        assert!(failure.help.unwrap().contains("[gateway.wyoming]"));
        assert_eq!(refuse(&[]), Ok(()));
    }
}
