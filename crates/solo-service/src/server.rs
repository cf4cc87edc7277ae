//! One process's life: bind, say NOT_SERVING, build, say SERVING, drain, end.
//!
//! The listener is open before the engine loads, so health, status and reflection answer from the first moment; calls of
//! the service itself are refused as unavailable until it is built. When it drains, calls that run may finish within the
//! deadline; watches of health and events do not count as such.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame};
use solo_proto::events::v1::event_service_server::{self, EventServiceServer};
use solo_proto::status::v1::status_service_server::{self, StatusServiceServer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::ServiceExt;

use crate::config::GlobalConfig;
use crate::events::{EventPublisher, EventsGrpc};
use crate::health::Health;
use crate::service::{Context, Definition, Service, StartupError};
use crate::status::{StatusBoard, StatusGrpc};
use crate::{net, tls};

const KEEPALIVE: Duration = Duration::from_secs(10);
/// What connections may take to hear the last words.
const HANG_UP: Duration = Duration::from_millis(250);

/// What engines may take to let go of their models. A process that ends before they have takes their libraries' statics from
/// under them: llama.cpp aborts when it frees a model after the CUDA driver has shut down.
const LET_GO: Duration = Duration::from_secs(5);

/// How a process's end is asked for, and how its progress is told.
pub(crate) struct Control {
    /// Cancelled from outside: drain and end.
    pub(crate) stop: CancellationToken,
    /// Hears the address and the context once the listener is open.
    pub(crate) bound: Option<oneshot::Sender<(SocketAddr, Context)>>,
}

/// Runs a service from bind to end.
pub(crate) async fn run<F, Fut>(
    definition: Definition,
    global: GlobalConfig,
    listen: SocketAddr,
    control: Control,
    build: F,
) -> Result<(), StartupError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<Service, StartupError>>,
{
    let listener = net::bind(listen).await?;
    let address = listener.local_addr().map_err(StartupError::other)?;
    let status = StatusBoard::new(definition.name, definition.version);
    let events = EventPublisher::new(definition.name, status.instance());
    let health = Health::starting(definition.grpc_services, status.clone(), events.clone()).await;
    let context = Context {
        global: Arc::new(global),
        events,
        health: health.clone(),
        status: status.clone(),
        shutdown: CancellationToken::new(),
        failed: CancellationToken::new(),
        engines: TaskTracker::new(),
    };
    let gate = Gate::new(definition.name, health.clone(), context.shutdown.clone());
    let cut = CancellationToken::new();
    let router = always_answered(definition, &context)?
        .into_axum_router()
        .fallback_service(gate.clone());
    let router = router.layer(axum::middleware::from_fn_with_state(
        (definition.name, cut.clone()),
        cut_off,
    ));
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .trace_fn(|request| tracing::info_span!("call", method = request.uri().path()));
    if let Some(tls) = tls::server(&context.global.tls).map_err(|error| StartupError::Config(error.to_string()))? {
        server = server.tls_config(tls).map_err(StartupError::other)?;
    }
    let hang_up = CancellationToken::new();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let accepting = hang_up.clone().cancelled_owned();
    let serving = server
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(incoming, accepting);
    let serving = tokio::spawn(serving);
    tracing::info!(service = definition.name, version = definition.version, %address, "starting");
    if let Some(bound) = control.bound {
        // Whoever asked may have gone.
        let _ = bound.send((address, context.clone()));
    }

    let built = tokio::select! {
        built = build(context.clone()) => built,
        () = control.stop.cancelled() => return Ok(()),
    };
    let Service { routes, tasks } = built?;
    gate.open(routes.routes().prepare().into_axum_router());
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task);
    }
    health.serving().await;
    tracing::info!(service = definition.name, %address, ready_ms = status.snapshot().ready_ms, "serving");
    // Loading took more than serving does.
    tokio::task::spawn_blocking(crate::memory::give_back);

    let failed = tokio::select! {
        () = control.stop.cancelled() => false,
        () = context.failed.cancelled() => true,
    };

    tracing::info!(service = definition.name, "draining");
    health.draining().await;
    context.shutdown.cancel();
    let drain = if failed { Duration::ZERO } else { context.global.drain };
    let finished = tokio::time::timeout(drain, async {
        gate.drained().await;
        while running.join_next().await.is_some() {}
    });
    if finished.await.is_err() && !failed {
        tracing::warn!(
            drain_ms = drain.as_millis() as u64,
            "calls were cut off: they did not finish in time"
        );
    }
    running.shutdown().await;
    cut.cancel();
    hang_up.cancel();
    let abort = serving.abort_handle();
    if tokio::time::timeout(HANG_UP, serving).await.is_err() {
        abort.abort();
    }
    // Engines end with the last handle, and routes hold them.
    drop(gate);
    context.engines.close();
    if tokio::time::timeout(LET_GO, context.engines.wait()).await.is_err() {
        tracing::warn!(
            engines = context.engines.len(),
            "engines still hold their models: {LET_GO:?} were not enough"
        );
    }
    tracing::info!(service = definition.name, "stopped");
    if failed {
        Err(StartupError::other(format!("{}'s engine failed", definition.name)))
    } else {
        Ok(())
    }
}

/// Health, reflection, status and events: what answers whatever the engine does.
fn always_answered(definition: Definition, context: &Context) -> Result<Routes, StartupError> {
    let names = [
        status_service_server::SERVICE_NAME,
        event_service_server::SERVICE_NAME,
        "grpc.health.v1.Health",
    ];
    let reflection = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(solo_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        for name in names.iter().chain(definition.grpc_services) {
            builder = builder.with_service_name(*name);
        }
        builder
    };
    let stopped = context.shutdown.clone();
    Ok(Routes::new(HealthServer::new(HealthService::from_health_reporter(
        context.health.reporter(),
    )))
    .add_service(reflection().build_v1().map_err(StartupError::other)?)
    .add_service(reflection().build_v1alpha().map_err(StartupError::other)?)
    .add_service(StatusServiceServer::new(StatusGrpc(context.status.clone())))
    .add_service(EventServiceServer::new(EventsGrpc {
        publisher: context.events.clone(),
        stopped,
    })))
}

/// Ends every answer, streams and watches included, once `cut` is cancelled: with a status that says so, so that callers
/// need not guess from a broken connection.
async fn cut_off(
    State((service, cut)): State<(&'static str, CancellationToken)>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let status = move || Status::unavailable(format!("{service} stopped before it had finished"));
    let answer = tokio::select! {
        answer = next.run(request) => answer,
        () = cut.cancelled() => return status().into_http(),
    };
    answer.map(|mut body| {
        // A refusal has no body at all: wrapped, it would look like a stream that ended without its trailers.
        if body.is_end_stream() {
            return body;
        }
        let frames = async_stream::stream! {
            loop {
                tokio::select! {
                    frame = body.frame() => match frame {
                        Some(frame) => yield frame,
                        None => break,
                    },
                    () = cut.cancelled() => {
                        // A refusal's headers are what its trailers would be.
                        let trailers = status().into_http::<Body>().into_parts().0.headers;
                        yield Ok(Frame::trailers(trailers));
                        break;
                    }
                }
            }
        };
        Body::new(StreamBody::new(frames))
    })
}

/// Stands before the service's own routes: closed until they are built, while the engine does not work and while draining,
/// and counting what is in flight between.
#[derive(Clone)]
struct Gate {
    service: &'static str,
    health: Health,
    routes: Arc<OnceLock<axum::Router>>,
    in_flight: TaskTracker,
    draining: CancellationToken,
}

impl Gate {
    fn new(service: &'static str, health: Health, draining: CancellationToken) -> Self {
        Self {
            service,
            health,
            routes: Arc::default(),
            in_flight: TaskTracker::new(),
            draining,
        }
    }

    fn open(&self, routes: axum::Router) {
        // Called once, by `run`.
        let _ = self.routes.set(routes);
    }

    /// Waits until no call is in flight.
    async fn drained(&self) {
        self.in_flight.close();
        self.in_flight.wait().await;
    }
}

impl tower::Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The guard is taken before the check: a call that passes is one that draining waits for.
        let guard = self.in_flight.token();
        let broken = self.health.why();
        let what = match (self.routes.get(), broken) {
            (Some(_), _) if self.draining.is_cancelled() => "restarting".to_owned(),
            (None, _) => "starting: its engine is loading".to_owned(),
            (Some(_), Some(why)) => format!("out of order: {why}"),
            (Some(routes), None) => {
                let answer = routes.clone().oneshot(request);
                return Box::pin(async move {
                    let response = answer.await?;
                    // The call is in flight until its body has been sent or dropped.
                    Ok(response.map(|body| {
                        if body.is_end_stream() {
                            return body;
                        }
                        Body::new(body.map_frame(move |frame| {
                            let _in_flight = &guard;
                            frame
                        }))
                    }))
                });
            }
        };
        let refusal = Status::unavailable(format!("{} is {what}", self.service));
        Box::pin(async move { Ok(refusal.into_http::<Body>()) })
    }
}
