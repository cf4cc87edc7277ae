//! A gateway in this process, and fakes of all services around it.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::{DEFINITION, build};
use solo_proto::audio::v1::{AudioChunk, AudioFormat};
use solo_proto::gateway::v1::converse_request::Payload as In;
use solo_proto::gateway::v1::converse_response::Payload as Out;
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::*;
use solo_service::testing::Harness;
use solo_testkit::{FakeAgent, FakeLlm, FakeMemory, FakeServer, FakeStt, FakeTts, FakeWake, wait_for};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::metadata::MetadataValue;

/// Long enough on a busy machine, short enough for a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Configuration of a gateway beside another one.
pub(crate) const NO_WYOMING: &str = "gateway.wyoming = { stt_listen = \"\", tts_listen = \"\", wake_listen = \"\" }";

/// Everything.
pub(crate) struct World {
    pub(crate) wake: FakeWake,
    pub(crate) stt: FakeStt,
    pub(crate) tts: FakeTts,
    pub(crate) agent: FakeAgent,
    pub(crate) memory: FakeMemory,
    pub(crate) servers: Servers,
    pub(crate) gateway: Harness,
    pub(crate) http: SocketAddr,
}

/// The fakes' servers; taking one out and stopping it is that service's end.
pub(crate) struct Servers {
    pub(crate) wake: Option<FakeServer>,
    pub(crate) stt: Option<FakeServer>,
    pub(crate) tts: Option<FakeServer>,
    pub(crate) agent: Option<FakeServer>,
    pub(crate) memory: Option<FakeServer>,
    pub(crate) llm: Option<FakeServer>,
}

impl World {
    /// All services serve.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With more configuration.
    pub(crate) async fn with(overrides: &str) -> Self {
        let (wake, stt, tts) = (FakeWake::new(), FakeStt::new(), FakeTts::new());
        let (agent, memory, llm) = (FakeAgent::new(), FakeMemory::new(), FakeLlm::new());
        let servers = Servers {
            wake: Some(wake.serve().await),
            stt: Some(stt.serve().await),
            tts: Some(tts.serve().await),
            agent: Some(agent.serve().await),
            memory: Some(memory.serve().await),
            llm: Some(llm.serve().await),
        };
        let at = |server: &Option<FakeServer>| server.as_ref().unwrap().endpoint();
        let config = format!(
            r#"
            gateway.http_listen = "127.0.0.1:0"
            gateway.wyoming.stt_listen = "127.0.0.1:0"
            gateway.wyoming.tts_listen = "127.0.0.1:0"
            gateway.wyoming.wake_listen = "127.0.0.1:0"
            global.endpoints.wake = "{}"
            global.endpoints.stt = "{}"
            global.endpoints.tts = "{}"
            global.endpoints.agent = "{}"
            global.endpoints.memory = "{}"
            global.endpoints.llm = "{}"
            {overrides}
            "#,
            at(&servers.wake),
            at(&servers.stt),
            at(&servers.tts),
            at(&servers.agent),
            at(&servers.memory),
            at(&servers.llm),
        );
        let gateway = Harness::start(DEFINITION, &config, build).await.unwrap();
        let port = gauge(&gateway, "http_port").unwrap() as u16;
        let world = Self {
            wake,
            stt,
            tts,
            agent,
            memory,
            servers,
            gateway,
            http: ([127, 0, 0, 1], port).into(),
        };
        wait_for("all services to be found", PATIENCE, async || {
            let ready = crate::http::get(world.http, "/readyz").await.json();
            ready["ready"] == true && ready["degraded"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
        world
    }

    /// A conversation over gRPC.
    pub(crate) async fn talk(&self, open: OpenSession) -> Talk {
        let (sender, receiver) = mpsc::channel(4096);
        sender.send(request(In::Open(open))).await.unwrap();
        let mut call = tonic::Request::new(ReceiverStream::new(receiver));
        // Whoever a client says it is, the gateway says who it is.
        call.metadata_mut()
            .insert("solo-principal", MetadataValue::from_static("mallory"));
        let answers = GatewayServiceClient::new(self.gateway.channel().await)
            .converse(call)
            .await
            .unwrap()
            .into_inner();
        Talk {
            sender: Some(sender),
            answers,
            seen: Vec::new(),
        }
    }

    /// Waits until no task works for any turn.
    pub(crate) async fn idle(&self) {
        wait_for("all tasks to end", PATIENCE, async || {
            gauge(&self.gateway, "active_tasks") == Some(0.0)
        })
        .await;
    }
}

pub(crate) fn gauge(gateway: &Harness, name: &str) -> Option<f64> {
    let status = gateway.context().status.snapshot();
    status
        .gauges
        .into_iter()
        .find(|gauge| gauge.name == name)
        .map(|gauge| gauge.value)
}

pub(crate) fn request(payload: In) -> ConverseRequest {
    ConverseRequest {
        payload: Some(payload),
        ..ConverseRequest::default()
    }
}

/// s16le at a rate.
pub(crate) fn format(sample_rate_hz: u32, channels: u32) -> Option<AudioFormat> {
    Some(AudioFormat {
        encoding: 1,
        sample_rate_hz,
        channels,
    })
}

/// A conversation over gRPC.
pub(crate) struct Talk {
    sender: Option<mpsc::Sender<ConverseRequest>>,
    answers: Streaming<ConverseResponse>,
    /// Everything that was said so far.
    pub(crate) seen: Vec<ConverseResponse>,
}

impl Talk {
    pub(crate) async fn send(&self, payload: In) {
        self.send_raw(request(payload)).await;
    }

    pub(crate) async fn send_raw(&self, request: ConverseRequest) {
        let sender = self.sender.as_ref().expect("the client has not half-closed");
        sender.send(request).await.unwrap();
    }

    pub(crate) async fn say(&self, text: &str, speak: bool) {
        self.send(In::Text(TextInput {
            text: text.into(),
            speak,
        }))
        .await;
    }

    pub(crate) async fn control(&self, control: Control) {
        self.send(In::Control(SessionControl { control: Some(control) })).await;
    }

    /// So many samples of silence, in pieces of 100 ms at 16 kHz. (Fakes hear by counting.)
    pub(crate) async fn silence(&self, samples: usize) {
        let data = vec![0; samples * 2];
        for piece in data.chunks(3200) {
            self.send(In::Audio(AudioChunk {
                data: piece.to_vec(),
                first_sample: 0,
            }))
            .await;
        }
    }

    pub(crate) fn half_close(&mut self) {
        self.sender = None;
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Out> {
        let next = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let message = next.unwrap_or_else(|_| panic!("nothing more is said after {:#?}", short(&self.seen)));
        let message = message.unwrap()?;
        self.seen.push(message.clone());
        message.payload
    }

    /// Reads up to the first message that `wanted` takes.
    pub(crate) async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Out) -> Option<T>) -> T {
        loop {
            match self.next().await {
                Some(payload) => {
                    if let Some(found) = wanted(&payload) {
                        return found;
                    }
                }
                None => panic!("the conversation ended before {what}: {:#?}", short(&self.seen)),
            }
        }
    }

    pub(crate) async fn phase(&mut self, phase: TurnPhase) {
        let is_it = |payload: &Out| matches!(payload, Out::State(state) if state.phase() == phase).then_some(());
        self.until(phase.as_str_name(), is_it).await;
    }

    pub(crate) async fn summary(&mut self) -> TurnSummary {
        self.until("a summary", |payload| {
            if let Out::Summary(summary) = payload {
                Some(summary.clone())
            } else {
                None
            }
        })
        .await
    }

    pub(crate) async fn error(&mut self) -> TurnError {
        self.until("an error", |payload| {
            if let Out::Error(error) = payload {
                Some(error.clone())
            } else {
                None
            }
        })
        .await
    }

    /// The status that the conversation ends with.
    pub(crate) async fn end(&mut self) -> Result<(), tonic::Status> {
        loop {
            match tokio::time::timeout(PATIENCE, self.answers.message())
                .await
                .expect("the conversation ends")?
            {
                Some(message) => self.seen.push(message),
                None => return Ok(()),
            }
        }
    }

    /// All text of the reply that was shown.
    pub(crate) fn shown(&self) -> String {
        let deltas = self.seen.iter().filter_map(|message| match &message.payload {
            Some(Out::Reply(reply)) => Some(reply.delta.as_str()),
            _ => None,
        });
        deltas.collect()
    }

    /// All samples of replies.
    pub(crate) fn samples(&self) -> Vec<i16> {
        let chunks = self.seen.iter().filter_map(|message| match &message.payload {
            Some(Out::Audio(chunk)) => Some(chunk.data.as_slice()),
            _ => None,
        });
        chunks
            .flat_map(|data| data.as_chunks::<2>().0)
            .map(|pair| i16::from_le_bytes(*pair))
            .collect()
    }

    /// The states that were told, in order.
    pub(crate) fn phases(&self) -> Vec<TurnPhase> {
        let states = self.seen.iter().filter_map(|message| match &message.payload {
            Some(Out::State(state)) => Some(state.phase()),
            _ => None,
        });
        states.collect()
    }
}

/// Messages for the eye of who reads a failed test.
fn short(seen: &[ConverseResponse]) -> Vec<String> {
    let line = |message: &ConverseResponse| format!("{:?}", message.payload).chars().take(160).collect();
    seen.iter().map(line).collect()
}
