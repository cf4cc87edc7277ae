//! A conversation over the gateway's gRPC, for tests that must act in the middle of a turn.

use std::time::Duration;

use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding};
use solo_proto::gateway::v1::converse_request::Payload as Say;
use solo_proto::gateway::v1::converse_response::Payload as Heard;
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::{ConverseRequest, ConverseResponse, OpenSession, TextInput, TurnError, TurnSummary};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

/// An open conversation.
pub struct Conversation {
    say: mpsc::Sender<ConverseRequest>,
    hear: Streaming<ConverseResponse>,
}

/// A format of audio.
pub fn s16le(sample_rate_hz: u32, channels: u32) -> AudioFormat {
    AudioFormat {
        encoding: Encoding::S16le.into(),
        sample_rate_hz,
        channels,
    }
}

fn request(payload: Say) -> ConverseRequest {
    ConverseRequest {
        payload: Some(payload),
        ..ConverseRequest::default()
    }
}

/// How a turn ended.
#[derive(Debug)]
pub struct Outcome {
    pub summary: Option<TurnSummary>,
    pub error: Option<TurnError>,
    pub reply: String,
    pub audio_bytes: usize,
    pub sorry: bool,
}

impl Conversation {
    /// Opens a conversation that wants speech.
    pub async fn open(port: u16) -> Self {
        let open = OpenSession {
            audio_out: Some(s16le(16_000, 1)),
            ..OpenSession::default()
        };
        Self::open_with(port, open).await
    }

    /// Opens a conversation.
    pub async fn open_with(port: u16, open: OpenSession) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let mut client = GatewayServiceClient::new(endpoint.connect().await.unwrap());
        let (say, requests) = mpsc::channel(64);
        say.send(request(Say::Open(open))).await.unwrap();
        let hear = client
            .converse(ReceiverStream::new(requests))
            .await
            .unwrap()
            .into_inner();
        let mut conversation = Self { say, hear };
        let opened = conversation.next().await.unwrap();
        assert!(matches!(opened, Heard::Opened(_)), "{opened:?}");
        conversation
    }

    /// Asks in writing.
    pub async fn ask(&mut self, text: &str, speak: bool) {
        let text = TextInput {
            text: text.into(),
            speak,
        };
        self.say(Say::Text(text)).await;
    }

    /// Says something.
    pub async fn say(&self, payload: Say) {
        self.say.send(request(payload)).await.unwrap();
    }

    /// Speaks a piece of audio.
    pub async fn speak(&self, data: &[u8]) {
        let data = data.to_vec();
        self.say(Say::Audio(AudioChunk { data, first_sample: 0 })).await;
    }

    /// The next thing said.
    pub async fn next(&mut self) -> Result<Heard, Status> {
        let message = tokio::time::timeout(Duration::from_secs(120), self.hear.message()).await;
        let message = message.expect("the gateway says something within two minutes")?;
        message
            .and_then(|message| message.payload)
            .ok_or_else(|| Status::cancelled("the conversation ended"))
    }

    /// Listens until the first words of the reply.
    pub async fn until_reply(&mut self) -> String {
        loop {
            match self.next().await.unwrap() {
                Heard::Reply(reply) => return reply.delta,
                Heard::Error(error) => panic!("the turn failed: {error:?}"),
                _ => {}
            }
        }
    }

    /// Listens until the first sound of the reply.
    pub async fn until_audio(&mut self) {
        loop {
            match self.next().await.unwrap() {
                Heard::Audio(_) => return,
                Heard::Error(error) => panic!("the turn failed: {error:?}"),
                _ => {}
            }
        }
    }

    /// Listens until the turn is over.
    pub async fn until_end(&mut self) -> Result<Outcome, Status> {
        let mut outcome = Outcome {
            summary: None,
            error: None,
            reply: String::new(),
            audio_bytes: 0,
            sorry: false,
        };
        loop {
            match self.next().await? {
                Heard::Reply(reply) => outcome.reply.push_str(&reply.delta),
                Heard::Audio(audio) => outcome.audio_bytes += audio.data.len(),
                Heard::Chime(chime) => {
                    outcome.sorry |= chime.kind() == solo_proto::gateway::v1::chime::Kind::Sorry;
                }
                Heard::Error(error) => outcome.error = Some(error),
                Heard::Summary(summary) => {
                    outcome.summary = Some(summary);
                    return Ok(outcome);
                }
                Heard::State(state) => {
                    // A failed turn has no summary: it is over when nothing goes on any more.
                    let idle = state.phase() == solo_proto::gateway::v1::TurnPhase::Idle;
                    if idle && outcome.error.is_some() {
                        return Ok(outcome);
                    }
                }
                _ => {}
            }
        }
    }
}
