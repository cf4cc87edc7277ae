//! A wake word detector that fires where the test says, in samples.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use solo_proto::wake::v1::wake_service_server::{WakeService, WakeServiceServer};
use solo_proto::wake::v1::*;
use tonic::{Request, Response, Status, Streaming};

use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

/// The fake's only keyword.
pub const KEYWORD: &str = "hey_jarvis";

/// The fake; clones share everything.
#[derive(Clone, Default)]
pub struct FakeWake {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    detections: Mutex<Vec<WakeEvent>>,
    failure: Mutex<Option<(u64, Status)>>,
    configs: Journal<Recorded<DetectConfig>>,
    samples: Mutex<u64>,
}

impl FakeWake {
    /// Detects nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every stream fires when that many samples have been heard (the keyword took the 12,800 before).
    pub fn detect_at(&self, end_sample: u64) -> &Self {
        let start_sample = end_sample.saturating_sub(12_800);
        locked(&self.state.detections).push(WakeEvent {
            keyword: KEYWORD.into(),
            score: 0.93,
            start_sample,
            end_sample,
        });
        self
    }

    /// Every stream fails so when that many samples have been heard.
    pub fn fail_at(&self, sample: u64, status: Status) -> &Self {
        *locked(&self.state.failure) = Some((sample, status));
        self
    }

    /// The configurations of the streams.
    pub fn configs(&self) -> Vec<Recorded<DetectConfig>> {
        self.state.configs.all()
    }

    /// Samples heard on all streams.
    pub fn samples(&self) -> u64 {
        *locked(&self.state.samples)
    }

    /// The gRPC service.
    pub fn service(&self) -> WakeServiceServer<Self> {
        WakeServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }
}

#[tonic::async_trait]
impl WakeService for FakeWake {
    type DetectStream = BoxStream<'static, Result<DetectResponse, Status>>;

    async fn detect(&self, request: Request<Streaming<DetectRequest>>) -> Result<Response<Self::DetectStream>, Status> {
        let metadata = request.metadata().clone();
        let state = Arc::clone(&self.state);
        let mut incoming = request.into_inner();
        let mut detections = locked(&state.detections).clone();
        detections.sort_by_key(|event| event.end_sample);
        let failure = locked(&state.failure).clone();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let first = incoming.message().await?.and_then(|message| message.payload);
            let Some(detect_request::Payload::Config(message)) = first else {
                Err(Status::invalid_argument("the first message must be config"))?;
                return;
            };
            state.configs.push(Recorded { message, metadata });
            let started = DetectStarted { keywords: vec![KEYWORD.into()], engine: "fake".into() };
            yield DetectResponse { payload: Some(detect_response::Payload::Started(started)) };
            let mut detections = detections.into_iter().peekable();
            let mut heard = 0;
            while let Some(message) = incoming.message().await? {
                let Some(detect_request::Payload::Audio(chunk)) = message.payload else {
                    Err(Status::invalid_argument("audio is wanted after config"))?;
                    return;
                };
                let samples = chunk.data.len() as u64 / 2;
                heard += samples;
                *locked(&state.samples) += samples;
                while let Some(event) = detections.next_if(|event| event.end_sample <= heard) {
                    yield DetectResponse { payload: Some(detect_response::Payload::Wake(event)) };
                }
                if let Some((at, status)) = &failure && heard >= *at {
                    Err(status.clone())?;
                }
            }
        })))
    }

    async fn list_keywords(&self, _: Request<ListKeywordsRequest>) -> Result<Response<ListKeywordsResponse>, Status> {
        let keyword = Keyword {
            keyword: KEYWORD.into(),
            phrase: "Hey Jarvis".into(),
            engine: "fake".into(),
            licence: "Apache-2.0".into(),
            active: true,
            installed: true,
        };
        Ok(Response::new(ListKeywordsResponse {
            keywords: vec![keyword],
        }))
    }
}
