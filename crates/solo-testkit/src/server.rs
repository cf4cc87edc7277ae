//! Puts a gRPC service on a free loopback port, with the health service, and can end it as abruptly as `kill -9`.
//!
//! Ports are taken below the range from which the system gives out its own: a test that restarts a server on the same port
//! finds it free, because neither "port 0" nor an outgoing connection can have got it meanwhile.
//!
//! Each server has a runtime and a thread of its own: dropping the runtime drops every connection and every stream in
//! flight, which aborting one task would not.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// A running server; dropping it stops it.
pub struct FakeServer {
    /// Where it listens.
    pub addr: SocketAddr,
    name: &'static str,
    health: HealthReporter,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Serves on a free port of 127.0.0.1; health says SERVING for "" and for the service's name.
///
/// # Panics
/// When no port can be bound.
pub async fn serve<S>(service: S) -> FakeServer
where
    S: tonic::codegen::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    serve_at(free_address(), service).await
}

/// An address that nobody listens on now and that nobody is given by chance.
fn free_address() -> SocketAddr {
    let mut tried = std::hash::RandomState::new().build_hasher().finish();
    for _ in 0..1000 {
        let port = 20_000 + (tried % 12_000) as u16;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if std::net::TcpListener::bind(addr).is_ok() {
            return addr;
        }
        tried = tried.wrapping_add(1);
    }
    panic!("no port from 20000 to 31999 is free");
}

/// Serves on a given address: how a test restarts a service that it stopped.
///
/// # Panics
/// When the address cannot be bound.
pub async fn serve_at<S>(addr: SocketAddr, service: S) -> FakeServer
where
    S: tonic::codegen::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(S::NAME, ServingStatus::Serving).await;
    let (ready, bound) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name(format!("fake {}", S::NAME))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the fake server can be made");
            runtime.block_on(async move {
                let listener = TcpListener::bind(addr)
                    .await
                    .unwrap_or_else(|error| panic!("{addr} cannot be bound: {error}"));
                let local = listener.local_addr().expect("a bound socket has an address");
                // The test may have given up waiting; then there is nobody to tell.
                let _ = ready.send(local);
                let serving = Server::builder()
                    .add_service(health_service)
                    .add_service(service)
                    .serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    result = serving => result.expect("the fake server serves"),
                    _ = stopped => {}
                }
            });
            // Dropping the runtime here breaks all connections.
        })
        .expect("a thread for the fake server can be started");
    let addr = bound
        .await
        .unwrap_or_else(|_| panic!("the fake {} did not start: see its panic above", S::NAME));
    FakeServer {
        addr,
        name: S::NAME,
        health,
        running: Some(Running { stop, thread }),
    }
}

impl FakeServer {
    /// Its address as configuration wants it: `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A connected channel, for tests that call the fake themselves.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.endpoint())
            .expect("an address is a valid URI")
            .connect()
            .await
            .unwrap_or_else(|error| panic!("the fake {} at {} cannot be reached: {error}", self.name, self.addr))
    }

    /// Health says NOT_SERVING from now on; calls are still answered.
    pub async fn set_not_serving(&self) {
        self.set_status(ServingStatus::NotServing).await;
    }

    /// Health says SERVING again.
    pub async fn set_serving(&self) {
        self.set_status(ServingStatus::Serving).await;
    }

    async fn set_status(&self, status: ServingStatus) {
        self.health.set_service_status("", status).await;
        self.health.set_service_status(self.name, status).await;
    }

    /// Ends it at once, as `kill -9` would: the port closes, connections break. Returns when that is done; the port may
    /// then be bound again with [`serve_at`].
    pub async fn stop(mut self) {
        if let Some(thread) = self.signal() {
            tokio::task::spawn_blocking(move || thread.join())
                .await
                .expect("joining does not panic")
                .expect("the fake server did not panic");
        }
    }

    fn signal(&mut self) -> Option<JoinHandle<()>> {
        let Running { stop, thread } = self.running.take()?;
        // A server that has ended by itself has nobody to tell.
        let _ = stop.send(());
        Some(thread)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.signal();
    }
}
