//! A toy service on wake-svc's contract: `ListKeywords` answers at once, `Detect` answers when it is told to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use serde::Deserialize;
use solo_proto::wake::v1::wake_service_server::{SERVICE_NAME, WakeService, WakeServiceServer};
use solo_proto::wake::v1::{
    DetectRequest, DetectResponse, DetectStarted, ListKeywordsRequest, ListKeywordsResponse, detect_response,
};
use solo_service::testing::Harness;
use solo_service::{Context, Definition, RequestContext, Service, ServiceConfig};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

pub const DEFINITION: Definition = Definition {
    name: "wake-svc",
    section: "wake",
    version: "1.0.0",
    defaults: "[wake]\nlisten = \"127.0.0.1:50056\"\n",
    grpc_services: &[SERVICE_NAME],
    environment: &[],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    listen: SocketAddr,
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

/// Lets `Detect` say its second message.
pub type Finish = Arc<Notify>;

struct Toy(Finish);

#[tonic::async_trait]
impl WakeService for Toy {
    type DetectStream = Pin<Box<dyn Stream<Item = Result<DetectResponse, Status>> + Send>>;

    async fn detect(&self, _: Request<Streaming<DetectRequest>>) -> Result<Response<Self::DetectStream>, Status> {
        let finish = Arc::clone(&self.0);
        let say = |engine: &str| {
            let started = DetectStarted {
                engine: engine.into(),
                keywords: vec![],
            };
            Ok(DetectResponse {
                payload: Some(detect_response::Payload::Started(started)),
            })
        };
        Ok(Response::new(Box::pin(async_stream::stream! {
            yield say("first");
            finish.notified().await;
            yield say("second");
        })))
    }

    async fn list_keywords(
        &self,
        request: Request<ListKeywordsRequest>,
    ) -> Result<Response<ListKeywordsResponse>, Status> {
        let context = RequestContext::from_request(&request)?;
        let keyword = solo_proto::wake::v1::Keyword {
            keyword: context.principal,
            ..Default::default()
        };
        Ok(Response::new(ListKeywordsResponse {
            keywords: vec![keyword],
        }))
    }
}

pub fn service(finish: Finish) -> Service {
    Service::new().grpc(WakeServiceServer::new(Toy(finish)))
}

pub async fn start(overrides: &str, finish: Finish) -> Harness {
    Harness::start(DEFINITION, overrides, move |_: Config, _: Context| async move {
        Ok(service(finish))
    })
    .await
    .unwrap()
}

/// One message of an open `Detect` stream.
pub async fn next_engine(stream: &mut Streaming<DetectResponse>) -> Result<Option<String>, Status> {
    Ok(stream.message().await?.map(|message| match message.payload {
        Some(detect_response::Payload::Started(started)) => started.engine,
        other => panic!("unexpected {other:?}"),
    }))
}
