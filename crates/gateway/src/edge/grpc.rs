//! `solo.gateway.v1.GatewayService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use solo_proto::gateway::v1::converse_request::Payload;
use solo_proto::gateway::v1::gateway_service_server::GatewayService;
use solo_proto::gateway::v1::{
    ConverseRequest, ConverseResponse, GetStatusRequest, GetStatusResponse, SubscribeEventsRequest,
    SubscribeEventsResponse,
};
use solo_service::{IntoStatus, request::LOCAL_PRINCIPAL};
use tonic::{Request, Response, Status, Streaming};

use crate::Gateway;
use crate::convert::Manner;
use crate::error::Error;
use crate::session::{self, End, Gone, Next};

/// Time that a client has to say how it wants to talk.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Serves conversations, events and the overview.
pub(crate) struct GatewayGrpc {
    gateway: Arc<Gateway>,
}

impl GatewayGrpc {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl GatewayService for GatewayGrpc {
    type ConverseStream = BoxStream<ConverseResponse>;
    type SubscribeEventsStream = BoxStream<SubscribeEventsResponse>;

    async fn converse(
        &self,
        request: Request<Streaming<ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let gateway = Arc::clone(&self.gateway);
        let mut incoming = request.into_inner();
        // The answer begins at once: some clients send nothing before they have seen its headers.
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let manner = opening(&mut incoming).await?;
            let incoming = incoming.map(|message| message.map_err(|_| Gone));
            let (_, mut outgoing) =
                session::start(&gateway, manner, incoming).map_err(IntoStatus::into_status)?;
            loop {
                match outgoing.next().await {
                    Next::Message(message) => yield *message,
                    Next::End(End::Done) => break,
                    Next::End(End::Draining) => Err(gateway.context.draining_status())?,
                    Next::End(End::TooSlow) => Err(too_slow().into_status())?,
                }
            }
        })))
    }

    async fn subscribe_events(
        &self,
        request: Request<SubscribeEventsRequest>,
    ) -> Result<Response<Self::SubscribeEventsStream>, Status> {
        let stopped = self.gateway.context.shutdown.clone();
        let events = self
            .gateway
            .bus
            .subscribe(request.into_inner(), LOCAL_PRINCIPAL.into(), stopped.clone())
            .map_err(IntoStatus::into_status)?;
        let context = self.gateway.context.clone();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            for await event in events {
                yield event;
            }
            if stopped.is_cancelled() {
                Err(context.draining_status())?;
            }
        })))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.gateway.overview().await))
    }
}

/// Waits for the first message, which says how the client wants to talk.
async fn opening(incoming: &mut Streaming<ConverseRequest>) -> Result<Manner, Status> {
    let not_opened = || Error::NotNow {
        reason: "NOT_OPENED",
        problem: "the first message must be `open`",
    };
    let first = tokio::time::timeout(OPEN_WITHIN, incoming.message()).await;
    let first = first.map_err(|_| not_opened().into_status())??;
    match first.and_then(|message| message.payload) {
        Some(Payload::Open(open)) => Manner::try_from(open).map_err(IntoStatus::into_status),
        _ => Err(not_opened().into_status()),
    }
}

/// What a client hears that has stopped reading.
pub(super) fn too_slow() -> Error {
    Error::Exhausted {
        reason: "CLIENT_TOO_SLOW",
        problem: "the conversation was ended because its messages were not read".into(),
    }
}
