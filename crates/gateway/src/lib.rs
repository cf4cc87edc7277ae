//! The gateway: Solo's only public edge. It holds conversations, decides turns, and is what people and programs talk to.
//!
//! A tour: an edge ([`edge`]: gRPC, WebSocket, REST, the page, Wyoming) takes messages of `solo.gateway.v1` and hands them to a
//! [`session`], which drives one `solo_turn::Machine` over the other services; calls of their own contracts it hands on. [`upstream`] is the only place that calls
//! them. [`bus`] merges what happens in turns with what services say; [`overview`] asks all of them how they are.
//!
//! The gateway keeps nothing: it may be killed at any time, and clients take their dialogue up again by its identifier.

mod bus;
mod config;
mod convert;
mod edge;
mod error;
mod json;
mod overview;
mod peers;
mod session;
mod tasks;
mod upstream;

use std::sync::Arc;

use solo_proto::gateway::v1::ConverseRequest;
use solo_proto::gateway::v1::gateway_service_server::{GatewayServiceServer, SERVICE_NAME};
use solo_service::{Context, Definition, RequestContext, Service, StartupError};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use config::Config;
pub use edge::wyoming::framing;

use bus::Bus;
use session::Sounds;
use tasks::Tasks;
use upstream::Upstreams;

/// What is known of the gateway before it starts.
pub const DEFINITION: Definition = Definition {
    name: "gateway",
    section: "gateway",
    version: env!("CARGO_PKG_VERSION"),
    defaults: include_str!("../config.toml"),
    grpc_services: &[SERVICE_NAME],
    environment: &[],
};

/// What all conversations and requests share.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) context: Context,
    pub(crate) upstreams: Upstreams,
    pub(crate) bus: Bus,
    pub(crate) sounds: Sounds,
    pub(crate) tasks: Tasks,
    /// One permit a conversation.
    pub(crate) seats: Arc<Semaphore>,
    /// Conversations, whatever edge they came in by.
    pub(crate) sessions: TaskTracker,
}

impl Gateway {
    /// What a new request carries to other services. The principal is set here and nowhere else: whatever a client says
    /// about it is ignored.
    pub(crate) fn caller(&self) -> RequestContext {
        RequestContext::new(solo_service::request::LOCAL_PRINCIPAL)
    }
}

/// What a text frame of `/ws` says. Public, so that it can be tried on what strangers write.
///
/// # Errors
/// What the client is answered.
pub fn read_frame(text: &str) -> Result<ConverseRequest, String> {
    json::request_from_text(text).map_err(|error| error.to_string())
}

/// Builds the gateway. It binds the addresses of HTTP and Wyoming at once; SERVING does not wait for other services.
///
/// # Errors
/// When one of these addresses cannot be bound or an endpoint is no URL.
pub async fn build(config: Config, context: Context) -> Result<Service, StartupError> {
    let listener = solo_service::net::bind(config.http_listen).await?;
    let wyoming = edge::wyoming::Listeners::bind(&config.wyoming).await?;
    let upstreams = Upstreams::connect(&context, &config.timeouts)?;
    let bus = Bus::new(context.status.instance());
    let gateway = Arc::new(Gateway {
        sounds: Sounds::load().map_err(StartupError::other)?,
        seats: Arc::new(Semaphore::new(config.limits.max_sessions)),
        tasks: Tasks::new(context.status.clone()),
        sessions: TaskTracker::new(),
        bus: bus.clone(),
        upstreams,
        config,
        context,
    });
    let address = listener.local_addr().map_err(StartupError::other)?;
    gateway
        .context
        .status
        .gauge("http_port", "1", f64::from(address.port()));
    tracing::info!(http = %address, "listening");
    let service = Service::new().grpc(GatewayServiceServer::new(edge::grpc::GatewayGrpc::new(Arc::clone(
        &gateway,
    ))));
    Ok(edge::forward::all(service, &gateway)
        .task(edge::serve_http(Arc::clone(&gateway), listener))
        .task(wyoming.serve(Arc::clone(&gateway)))
        .task(bus::feed(Arc::clone(&gateway))))
}
