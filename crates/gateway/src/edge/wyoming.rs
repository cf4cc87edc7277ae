//! Wyoming: the protocol by which Home Assistant and voice satellites use speech to text, text to speech and wake words of
//! other programs. One listener a port, one connection a task.
//!
//! It is no conversation: who listens when, and what is said to what was heard, is the client's business here, so nothing of
//! this touches a session. Three ports, one file each ([`stt`], [`tts`], [`wake`]); [`framing`] cuts bytes into events,
//! [`line`] is a connection with its limits, [`intake`] converts audio, [`info`] says what there is.
//!
//! Wyoming has no authentication. Who may connect is decided by address, before a byte is read.
//!
//! Everything ends with its connection: a request's streams are held by the task that reads the client, so that dropping it
//! cancels what the services do for it.

pub mod framing;
mod info;
mod intake;
mod line;
mod stt;
mod transcript;
mod tts;
mod wake;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use solo_service::StartupError;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use crate::Gateway;
use crate::config::Wyoming;
use framing::Event;
use line::{End, Line};

/// How long nobody is let in when the system has no more sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(200);

/// What is offered on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Speech to text.
    Stt,
    /// Text to speech.
    Tts,
    /// Wake words.
    Wake,
}

impl Port {
    /// The port whose business a request is.
    fn of_request(kind: &str) -> Option<Self> {
        match kind {
            "transcribe" => Some(Self::Stt),
            "synthesize" | "synthesize-start" | "synthesize-chunk" | "synthesize-stop" => Some(Self::Tts),
            "detect" => Some(Self::Wake),
            _ => None,
        }
    }

    /// The key of its address.
    fn key(self) -> &'static str {
        match self {
            Self::Stt => "gateway.wyoming.stt_listen",
            Self::Tts => "gateway.wyoming.tts_listen",
            Self::Wake => "gateway.wyoming.wake_listen",
        }
    }

    /// The gauge that says where it listens.
    fn gauge(self) -> &'static str {
        match self {
            Self::Stt => "wyoming_stt_port",
            Self::Tts => "wyoming_tts_port",
            Self::Wake => "wyoming_wake_port",
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stt => "speech to text",
            Self::Tts => "text to speech",
            Self::Wake => "wake word detection",
        })
    }
}

/// The listeners, those that are wanted.
pub(crate) struct Listeners(Vec<(Port, TcpListener)>);

impl Listeners {
    /// Binds at once, so that a taken port is known before anybody waits for anything.
    ///
    /// # Errors
    /// When an address cannot be bound; it names who has it, and how to do without.
    pub(crate) async fn bind(config: &Wyoming) -> Result<Self, StartupError> {
        let wanted = [
            (Port::Stt, config.stt_listen),
            (Port::Tts, config.tts_listen),
            (Port::Wake, config.wake_listen),
        ];
        let mut listeners = Vec::new();
        for (port, address) in wanted {
            let Some(address) = address else { continue };
            let listener = solo_service::net::bind(address).await.map_err(|error| {
                StartupError::other(format!(
                    "wyoming: {error} ({}; \"\" does without {port} for Home Assistant and satellites)",
                    port.key()
                ))
            })?;
            listeners.push((port, listener));
        }
        Ok(Self(listeners))
    }

    /// Serves all of them until the gateway stops and what is under way has ended.
    pub(crate) async fn serve(self, gateway: Arc<Gateway>) {
        let ports = self.0.into_iter().map(|(port, listener)| {
            if let Ok(address) = listener.local_addr() {
                let status = &gateway.context.status;
                status.gauge(port.gauge(), "1", f64::from(address.port()));
                tracing::info!(wyoming = %address, "listening for {port}");
            }
            serve_port(Arc::clone(&gateway), port, listener)
        });
        futures::future::join_all(ports).await;
    }
}

async fn serve_port(gateway: Arc<Gateway>, port: Port, listener: TcpListener) {
    let seats = Arc::new(Semaphore::new(gateway.config.wyoming.max_connections));
    // Dropped with this task: what is not done when the time to stop is over is cut off.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(stream) = admit(&gateway, port, stream, peer) {
                        let seat = Arc::clone(&seats).try_acquire_owned();
                        let span = tracing::info_span!("wyoming", %port, %peer);
                        let connection = connection(Arc::clone(&gateway), port, stream, seat.ok());
                        connections.spawn(connection.instrument(span));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, %port, "nobody can be let in");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                }
            },
            Some(ended) = connections.join_next() => note(port, ended),
            () = gateway.context.shutdown.cancelled() => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(port, ended);
    }
}

/// A connection that panicked is a defect of ours.
fn note(port: Port, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, %port, "a wyoming connection ended badly");
    }
}

/// Lets a client in that may connect.
fn admit(gateway: &Gateway, port: Port, stream: TcpStream, peer: SocketAddr) -> Option<TcpStream> {
    if !gateway.config.wyoming.admits(peer.ip()) {
        tracing::warn!(%peer, %port, "refused: it is in none of gateway.wyoming.allowed_networks");
        return None;
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small packets of this connection wait for company");
    }
    Some(stream)
}

async fn connection(gateway: Arc<Gateway>, port: Port, mut stream: TcpStream, seat: Option<OwnedSemaphorePermit>) {
    let Some(_seat) = seat else {
        let limit = gateway.config.wyoming.max_connections;
        tracing::warn!(limit, "refused: too many connections");
        let text = format!("{limit} connections are open; try again later (gateway.wyoming.max_connections)");
        let error = Event::new("error", json!({ "text": text, "code": "TOO_MANY_CONNECTIONS" }));
        // Who does not wait for it does not need it.
        let _ = tokio::time::timeout(gateway.config.wyoming.stall(), stream.write_all(&error.encode())).await;
        return;
    };
    let mut line = Line::new(gateway, port, stream);
    let served = match port {
        Port::Stt => stt::serve(&mut line).await,
        Port::Tts => tts::serve(&mut line).await,
        Port::Wake => wake::serve(&mut line).await,
    };
    let end = match served {
        Ok(()) => End::Gone,
        Err(end) => end,
    };
    line.end(end).await;
}
