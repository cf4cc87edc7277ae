//! The seven services: what each is called, where its configuration stands, where it answers.

use std::path::{Path, PathBuf};

use solo_service::config::Endpoints;

use crate::failure::Failure;

/// A service that the runner starts and the doctor looks at.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// Name of the service and of its binary, for instance "stt-svc".
    pub name: &'static str,
    /// Its section in the configuration file, for instance "stt".
    pub section: &'static str,
}

/// All of them, leaves first: the order of every table.
pub const ALL: [Service; 7] = [
    Service {
        name: "wake-svc",
        section: "wake",
    },
    Service {
        name: "stt-svc",
        section: "stt",
    },
    Service {
        name: "tts-svc",
        section: "tts",
    },
    Service {
        name: "llm-svc",
        section: "llm",
    },
    Service {
        name: "memory-svc",
        section: "memory",
    },
    Service {
        name: "agent-svc",
        section: "agent",
    },
    Service {
        name: GATEWAY,
        section: "gateway",
    },
];

/// The only public edge; it is stopped first.
pub const GATEWAY: &str = "gateway";

/// Finds a service by its name or its section: `stt` is `stt-svc`.
pub fn find(name: &str) -> Option<&'static Service> {
    ALL.iter()
        .find(|service| service.name == name || service.section == name)
}

/// What the command line accepts, for its messages.
pub fn names() -> String {
    ALL.map(|service| service.name).join(", ")
}

/// Parses a service's name for clap.
pub fn parse(name: &str) -> Result<&'static Service, String> {
    find(name).ok_or_else(|| format!("there is no such service; there are {}", names()))
}

impl Service {
    /// The URL at which the configuration says that it answers.
    pub fn endpoint<'a>(&self, endpoints: &'a Endpoints) -> &'a str {
        match self.section {
            "wake" => &endpoints.wake,
            "stt" => &endpoints.stt,
            "tts" => &endpoints.tts,
            "llm" => &endpoints.llm,
            "memory" => &endpoints.memory,
            "agent" => &endpoints.agent,
            _ => &endpoints.gateway,
        }
    }
}

/// The folder of the services' binaries: SOLO_BIN_DIR, or where this program itself stands.
pub fn binaries() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("SOLO_BIN_DIR").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let own = std::env::current_exe().map_err(|e| Failure::failed(format!("this program cannot be found: {e}")))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// The binary of a service, which is there.
pub fn binary(service: &Service) -> Result<PathBuf, Failure> {
    let folder = binaries()?;
    let path = folder.join(format!("{}{}", service.name, std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::failed(format!("{} has no {}", folder.display(), service.name)).help(BUILD))
}

/// What to do when a binary is not there.
pub const BUILD: &str =
    "build Solo (`cargo build --workspace`), or set SOLO_BIN_DIR to the folder of the services' binaries";

/// Host and port of an endpoint: "http://127.0.0.1:50051", or the same without the scheme.
pub fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let uri: tonic::transport::Uri = with_scheme(endpoint).parse().ok()?;
    Some((uri.host()?.trim_matches(['[', ']']).to_owned(), uri.port_u16()?))
}

/// An endpoint as a URL: people leave the scheme out.
pub fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    }
}

/// "127.0.0.1:50051": an endpoint as people and `solo ps` show it.
pub fn address(endpoint: &str) -> String {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .trim_end_matches('/')
        .to_owned()
}

/// True when `host` names this machine, so that the runner can start what is to answer there.
pub fn is_local(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_names_its_service() {
        assert_eq!(find("stt").map(|service| service.name), Some("stt-svc"));
        assert_eq!(find("gateway").map(|service| service.name), Some("gateway"));
        assert!(parse("sst").unwrap_err().contains("stt-svc"));
    }

    #[test]
    fn endpoints_are_taken_apart() {
        assert_eq!(
            host_and_port("http://127.0.0.1:50051"),
            Some(("127.0.0.1".into(), 50051))
        );
        assert_eq!(host_and_port("localhost:50051"), Some(("localhost".into(), 50051)));
        assert_eq!(host_and_port("http://[::1]:50051"), Some(("::1".into(), 50051)));
        assert_eq!(host_and_port("http://nowhere"), None);
        assert_eq!(address("http://127.0.0.1:50051/"), "127.0.0.1:50051");
        assert!(is_local("::1") && is_local("localhost") && !is_local("10.0.0.5"));
    }
}
