//! Listening sockets, and who has the one that we wanted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::service::StartupError;

/// Where a process of this machine reaches what listens on `listen`: every address includes the loopback.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// Its identifier.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Binds eagerly, so that a taken port is known before any model loads.
///
/// # Errors
/// Names the process that has the port, where the system tells.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, StartupError> {
    TcpListener::bind(address).await.map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        match port_owner(address.port()).filter(|_| taken) {
            Some(PortOwner { pid, name }) => StartupError::other(format!(
                "{address} is taken by {name} (process {pid}); stop it, or configure another port"
            )),
            None if taken => StartupError::other(format!("{address} is taken; configure another port")),
            None => StartupError::other(format!("{address} cannot be listened on: {error}")),
        }
    })
}

/// The process that listens on a TCP port of this machine; `None` where nobody does or the system does not tell.
#[cfg(target_os = "linux")]
pub fn port_owner(port: u16) -> Option<PortOwner> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .skip(1)
                .filter_map(|line| listening_inode(line, port))
                .collect::<Vec<_>>()
        })
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = std::fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|file| {
                std::fs::read_link(file.path())
                    .is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
            });
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        holds.then(|| PortOwner {
            pid,
            name: name.trim().to_owned(),
        })
    })
}

/// The process that listens on a TCP port; this system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn port_owner(_port: u16) -> Option<PortOwner> {
    None
}

/// The inode of a line of `/proc/net/tcp` that listens (state 0A) on `port`.
#[cfg(target_os = "linux")]
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local_port, 16).ok()? == port;
    listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_culprit() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(port_owner(address.port()).unwrap().pid, std::process::id());
        let refused = bind(address).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        assert_eq!(port_owner(address.port()), None);
    }
}
