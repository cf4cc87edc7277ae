//! The contracts of the other services at the gateway's own gRPC port, as they are: whoever reaches the gateway reaches all of Solo,
//! and where nothing else can be reached, in containers, the command line and gRPC clients work all the same.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::HeaderValue;
use http::{Request, Response};
use solo_proto::agent::v1::agent_service_server;
use solo_proto::llm::v1::llm_service_server;
use solo_proto::memory::v1::memory_service_server;
use solo_proto::stt::v1::stt_service_server;
use solo_proto::tts::v1::tts_service_server;
use solo_proto::wake::v1::wake_service_server;
use solo_service::request::{LOCAL_PRINCIPAL, PRINCIPAL, PRIORITY};
use tonic::body::Body;
use tonic::server::NamedService;

use crate::Gateway;

/// What is handed on, and to whom.
const CONTRACTS: [(&str, &str); 6] = [
    (wake_service_server::SERVICE_NAME, "wake-svc"),
    (stt_service_server::SERVICE_NAME, "stt-svc"),
    (tts_service_server::SERVICE_NAME, "tts-svc"),
    (llm_service_server::SERVICE_NAME, "llm-svc"),
    (memory_service_server::SERVICE_NAME, "memory-svc"),
    (agent_service_server::SERVICE_NAME, "agent-svc"),
];

/// Hands calls of one of [`CONTRACTS`] on, by its place there.
#[derive(Clone)]
pub(crate) struct Forward<const CONTRACT: usize>(Arc<Gateway>);

impl<const CONTRACT: usize> Forward<CONTRACT> {
    fn new(gateway: &Arc<Gateway>) -> Self {
        Self(Arc::clone(gateway))
    }
}

/// Offers all of them.
pub(crate) fn all(service: solo_service::Service, gateway: &Arc<Gateway>) -> solo_service::Service {
    service
        .grpc(Forward::<0>::new(gateway))
        .grpc(Forward::<1>::new(gateway))
        .grpc(Forward::<2>::new(gateway))
        .grpc(Forward::<3>::new(gateway))
        .grpc(Forward::<4>::new(gateway))
        .grpc(Forward::<5>::new(gateway))
}

impl<const CONTRACT: usize> NamedService for Forward<CONTRACT> {
    const NAME: &'static str = CONTRACTS[CONTRACT].0;
}

impl<const CONTRACT: usize> tower::Service<Request<Body>> for Forward<CONTRACT> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let gateway = Arc::clone(&self.0);
        // Whatever a client says about them is ignored, as everywhere at this edge.
        let principal = HeaderValue::from_static(LOCAL_PRINCIPAL);
        request.headers_mut().insert(PRINCIPAL, principal);
        request.headers_mut().remove(PRIORITY);
        Box::pin(async move {
            let (_, service) = CONTRACTS[CONTRACT];
            let section = service.trim_end_matches("-svc");
            if !gateway.config.forward.iter().any(|allowed| allowed == section) {
                let message = format!("calls of {service} are not handed on: gateway.forward does not name it");
                return Ok(tonic::Status::permission_denied(message).into_http());
            }
            let deadline = Instant::now() + gateway.config.timeouts.connect();
            Ok(match gateway.upstreams.of(service) {
                Some(upstream) => upstream.forward(deadline, request).await,
                // The gateway calls all that it hands on to.
                None => tonic::Status::unimplemented(format!("{service} is not known here")).into_http(),
            })
        })
    }
}
