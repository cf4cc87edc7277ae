//! `ask` and `talk` against a gateway that speaks the contract and nothing else.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use serde_json::Value;
use solo_audio::{SampleRate, wav};
use solo_proto::agent::v1::ReplyCitation;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::converse_request::Payload as Request;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::gateway_service_server::{GatewayService, GatewayServiceServer};
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{
    ConverseRequest, ConverseResponse, FinalText, GetStatusRequest, GetStatusResponse, ReplyText, SessionOpened,
    StageTimes, StateChanged, SubscribeEventsRequest, SubscribeEventsResponse, TurnError, TurnPhase, TurnSummary,
    WakeHeard, WakeMode,
};
use solo_proto::memory::v1::Citation;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Response, Status, Streaming};

use crate::sandbox::{Sandbox, text};

/// Samples after which this gateway believes to have heard its wake word, and those after which the question is over: from the
/// first piece on that is not silent, for a microphone is open for a while before anybody speaks.
const WAKE_AT: u64 = 4_000;
const QUESTION_END: u64 = 12_000;

struct Gateway;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl GatewayService for Gateway {
    type ConverseStream = Messages<ConverseResponse>;
    type SubscribeEventsStream = Messages<SubscribeEventsResponse>;

    async fn converse(
        &self,
        request: tonic::Request<Streaming<ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(converse(request.into_inner(), Out(sender)));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }

    async fn subscribe_events(
        &self,
        _: tonic::Request<SubscribeEventsRequest>,
    ) -> Result<Response<Self::SubscribeEventsStream>, Status> {
        Err(Status::unimplemented("no events here"))
    }

    async fn get_status(&self, _: tonic::Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse {
            ready: true,
            services: Vec::new(),
        }))
    }
}

struct Out(mpsc::Sender<ConverseResponse>);

impl Out {
    async fn say(&self, payload: Payload) {
        let _ = self
            .0
            .send(ConverseResponse {
                turn_id: "t".into(),
                payload: Some(payload),
            })
            .await;
    }

    async fn turn(&self, question: &str, spoken: bool) {
        self.say(Payload::Final(FinalText {
            text: question.into(),
            confidence: 0.9,
        }))
        .await;
        if question.contains("fail") {
            let error = TurnError {
                code: 14,
                message: "the connection broke off".into(),
                service: "llm-svc".into(),
                ..TurnError::default()
            };
            return self.say(Payload::Error(error)).await;
        }
        for delta in ["It is ", "green."] {
            self.say(Payload::Reply(ReplyText { delta: delta.into() })).await;
        }
        let citation = Citation {
            document: "d1".into(),
            title: "my bike".into(),
            ..Citation::default()
        };
        self.say(Payload::Citation(ReplyCitation {
            number: 1,
            citation: Some(citation),
            score: 0.5,
        }))
        .await;
        if spoken {
            self.say(Payload::Audio(AudioChunk {
                data: vec![1; 4_410],
                first_sample: 0,
            }))
            .await;
        }
        let summary = TurnSummary {
            dialogue_id: "d7".into(),
            transcript: question.into(),
            reply: "It is green.".into(),
            stages: Some(StageTimes {
                endpoint: Some(400),
                ..StageTimes::default()
            }),
            voice_to_voice_ms: spoken.then_some(900),
            completion_tokens: 4,
            prompt_tokens: 50,
            ..TurnSummary::default()
        };
        self.say(Payload::Summary(summary)).await;
    }

    async fn phase(&self, phase: TurnPhase) {
        self.say(Payload::State(StateChanged { phase: phase as i32 })).await;
    }
}

async fn converse(mut requests: Streaming<ConverseRequest>, out: Out) {
    let (mut push, mut rate, mut samples, mut heard) = (false, 16_000, 0_u64, 0_u64);
    while let Ok(Some(ConverseRequest {
        payload: Some(payload), ..
    })) = requests.message().await
    {
        match payload {
            Request::Open(open) => {
                push = open.wake_mode() == WakeMode::PushToTalk;
                rate = open.audio_in.as_ref().map_or(16_000, |format| format.sample_rate_hz);
                let opened = SessionOpened {
                    session_id: "s".into(),
                    audio_out: open.audio_out,
                    ..SessionOpened::default()
                };
                out.say(Payload::Opened(opened)).await;
                out.phase(TurnPhase::Idle).await;
            }
            Request::Audio(chunk) => {
                assert_eq!(chunk.first_sample, samples, "no gap");
                let (before, length) = (heard, chunk.data.len() as u64 / 2);
                samples += length;
                if heard > 0 || chunk.data.iter().any(|byte| *byte != 0) {
                    heard += length;
                }
                let passes = |heard: u64, at: u64| before < at && heard >= at;
                if !push && passes(heard, WAKE_AT) {
                    let at_ms = WAKE_AT * 1000 / u64::from(rate);
                    out.say(Payload::Wake(WakeHeard {
                        keyword: "hey_jarvis".into(),
                        at_ms,
                        score: 0.93,
                    }))
                    .await;
                    out.phase(TurnPhase::Listening).await;
                }
                if chunk.data.ends_with(&[7, 0]) {
                    heard = 0;
                    out.phase(TurnPhase::Idle).await;
                }
                if !push && passes(heard, QUESTION_END) {
                    out.phase(TurnPhase::Deciding).await;
                    out.turn("What colour is my bike?", true).await;
                    out.phase(TurnPhase::Idle).await;
                }
            }
            Request::Control(control) if matches!(control.control, Some(Control::EndOfSpeech(_))) => {
                out.turn("What colour is my bike?", true).await;
            }
            Request::Text(input) => out.turn(&input.text, false).await,
            _ => {}
        }
    }
}

/// A gateway at the sandbox's address, as long as the runtime lives.
pub fn serve(sandbox: &Sandbox) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let address = ("127.0.0.1", sandbox.port("gateway"));
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(GatewayServiceServer::new(Gateway))
        .serve_with_incoming(TcpListenerStream::new(listener));
    runtime.spawn(server);
    runtime
}

fn recording(sandbox: &Sandbox, name: &str, samples: &[i16]) -> String {
    let path = sandbox.path(name);
    std::fs::write(&path, wav::encode(samples, SampleRate::SPEECH)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn ask_prints_the_reply_and_its_json() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    let output = sandbox.solo(&["ask", "What", "colour?"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "It is green.\n",
        "the reply alone"
    );
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("[1] my bike"),
        "{}",
        text(&output)
    );
    let output = sandbox.solo(&["ask", "What colour?", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["reply"], &json["dialogue"]),
        (&"It is green.".into(), &"d7".into())
    );
    assert_eq!(json["usage"]["prompt_tokens"], 50);
    assert_eq!(json["citations"][0]["title"], "my bike");
}

#[test]
fn a_failed_turn_names_the_service() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    let output = sandbox.solo(&["ask", "please fail"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(
        text(&output).contains("error: llm-svc: the connection broke off"),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("help: see how it is with `solo ps`, and why with `solo logs llm-svc`"),
        "{}",
        text(&output)
    );
}

#[test]
fn talk_streams_a_recording_and_writes_the_reply() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    // 0.6 s of sound; the question of this gateway ends at 0.75 s, in the silence that follows.
    let question = recording(&sandbox, "question.wav", &[1000; 9_600]);
    let begun = Instant::now();
    let output = sandbox.solo(&["talk", "--in", &question, "--out", "reply.wav", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        begun.elapsed() >= Duration::from_millis(740),
        "faster than real time: {:?}",
        begun.elapsed()
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().count(), 1, "one object a turn: {said}");
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        json["wake"],
        serde_json::json!({"keyword": "hey_jarvis", "at_ms": 250, "score": 0.93})
    );
    assert_eq!(
        (&json["transcript"], &json["reply"]),
        (&"What colour is my bike?".into(), &"It is green.".into())
    );
    assert_eq!(
        (&json["voice_to_voice_ms"], &json["stages_ms"]["endpoint"]),
        (&900.into(), &400.into())
    );
    let reply = wav::read(&std::fs::read(sandbox.path("reply.wav")).unwrap()).unwrap();
    assert_eq!((reply.samples.len(), reply.sample_rate.hz()), (2_205, 22_050));
}

#[test]
fn talk_can_hurry_and_can_push() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    let question = recording(&sandbox, "long.wav", &[1000; 160_000]);
    for arguments in [
        &["talk", "--fast", "--in", &question][..],
        &["talk", "--fast", "--push", "--in", &question],
    ] {
        let begun = Instant::now();
        let output = sandbox.solo(arguments);
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "10 s of audio took {:?}",
            begun.elapsed()
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("you   What colour is my bike?\nsolo It is green."),
            "{said}"
        );
        assert!(said.contains("voice to voice 900 ms (endpoint 400)"), "{said}");
        assert_eq!(
            said.contains("wake  hey_jarvis (0.93)"),
            !arguments.contains(&"--push"),
            "{said}"
        );
    }
}

#[test]
fn without_a_wake_word_talk_fails_and_says_so() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    let silence = recording(&sandbox, "silence.wav", &[0; 1_600]);
    let output = sandbox.solo(&["talk", "--in", &silence, "--out", "reply.wav", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("error: no wake word was heard in "),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains("--push"), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(!sandbox.path("reply.wav").exists());
}

#[test]
fn chat_reads_lines_from_a_pipe() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    std::fs::write(sandbox.path("lines"), "What colour?\n/new\nAnd now?\n").unwrap();
    let lines = std::fs::File::open(sandbox.path("lines")).unwrap();
    let output = sandbox.command(&["chat", "--json"]).stdin(lines).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let replies: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies.len(), 2, "{said}");
    assert!(replies.iter().all(|json| json["reply"] == "It is green."), "{said}");
}

#[test]
fn a_wake_word_without_a_question_is_told() {
    let sandbox = Sandbox::new();
    let _gateway = serve(&sandbox);
    // This gateway falls asleep when what it is told ends in the number 7.
    let mut samples = [1000; 6_400];
    samples[6_399] = 7;
    let recorded = recording(&sandbox, "wake.wav", &samples);
    let output = sandbox.solo(&["talk", "--fast", "--in", &recorded, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("error: hey_jarvis was heard in "),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains("and no question after it"), "{}", text(&output));
}
