//! Ears that hear what the test wrote down for them.
//!
//! Listen follows a list of cues in order: each waits for its moment (so many samples, a finalize, a gate) and then says
//! something, so that a test decides what is heard when, in samples and not in seconds.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use solo_proto::stt::v1::listen_request::Payload as Heard;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_proto::stt::v1::stt_service_server::{SttService, SttServiceServer};
use solo_proto::stt::v1::*;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::Gate;
use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

/// Identifier of the fake's only model.
pub const MODEL: &str = "fake-ears";

/// When something is said.
#[derive(Debug, Clone)]
pub enum Cue {
    /// At once.
    Now,
    /// When that many samples of the stream have been heard.
    Samples(u64),
    /// At the next control of this kind.
    Control(listen_control::Action),
    /// When the gate opens.
    Gate(Gate),
}

/// What happens then.
#[derive(Debug, Clone)]
pub enum Then {
    /// This is sent.
    Say(Said),
    /// The stream ends with this error.
    Fail(Status),
}

/// A moment and what happens at it.
#[derive(Debug, Clone)]
pub struct ListenCue {
    /// The moment.
    pub when: Cue,
    /// What happens.
    pub then: Then,
}

impl ListenCue {
    /// Says something at a moment.
    pub fn say(when: Cue, said: Said) -> Self {
        Self {
            when,
            then: Then::Say(said),
        }
    }
}

/// The cues of one utterance: voice from `start` to `end` (samples), its end noticed `silence` samples later with a
/// probability of 0.95, and its words on finalize.
pub fn utterance(text: &str, start: u64, end: u64, silence: u64) -> Vec<ListenCue> {
    let activity = |kind: voice_activity::Kind, sample, heard_samples| {
        Said::VoiceActivity(VoiceActivity {
            kind: kind.into(),
            sample,
            heard_samples,
        })
    };
    let noticed = end + silence;
    let silence_ms = (silence / 16) as u32;
    vec![
        ListenCue::say(
            Cue::Samples(start),
            activity(voice_activity::Kind::Started, start, start),
        ),
        ListenCue::say(
            Cue::Samples(noticed),
            activity(voice_activity::Kind::Ended, end, noticed),
        ),
        ListenCue::say(
            Cue::Now,
            Said::TurnEnd(TurnEnd {
                probability: 0.95,
                silence_ms,
                heard_samples: noticed,
            }),
        ),
        ListenCue::say(
            Cue::Control(listen_control::Action::Finalize),
            Said::Final(final_text(text, start, end)),
        ),
    ]
}

/// A final transcript of a range of samples.
pub fn final_text(text: &str, start_sample: u64, end_sample: u64) -> FinalTranscript {
    FinalTranscript {
        text: text.into(),
        words: Vec::new(),
        confidence: 0.9,
        language: "en".into(),
        start_sample,
        end_sample,
        decode_ms: 1,
    }
}

/// The fake; clones share everything.
#[derive(Clone, Default)]
pub struct FakeStt {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    transcript: Mutex<Option<Result<String, Status>>>,
    cues: Mutex<Vec<ListenCue>>,
    transcriptions: Journal<(Recorded<TranscribeConfig>, Vec<u8>)>,
    configs: Journal<Recorded<ListenConfig>>,
    controls: Journal<listen_control::Action>,
    samples: Mutex<u64>,
    words_data: Journal<Vec<u8>>,
}

impl FakeStt {
    /// Hears nothing until it is told what.
    pub fn new() -> Self {
        Self::default()
    }

    /// Transcribe says this of every recording, or fails so.
    pub fn transcript(&self, result: Result<&str, Status>) -> &Self {
        *locked(&self.state.transcript) = Some(result.map(str::to_owned));
        self
    }

    /// Every later Listen follows these cues.
    pub fn listen(&self, cues: Vec<ListenCue>) -> &Self {
        *locked(&self.state.cues) = cues;
        self
    }

    /// What Transcribe was given: configuration and bytes.
    pub fn transcriptions(&self) -> Vec<(Recorded<TranscribeConfig>, Vec<u8>)> {
        self.state.transcriptions.all()
    }

    /// The configurations of the Listen streams.
    pub fn configs(&self) -> Vec<Recorded<ListenConfig>> {
        self.state.configs.all()
    }

    /// The controls of all Listen streams.
    pub fn controls(&self) -> Vec<listen_control::Action> {
        self.state.controls.all()
    }

    /// Samples heard on all Listen streams.
    pub fn samples(&self) -> u64 {
        *locked(&self.state.samples)
    }

    /// What words were to be read from, of each piece of audio that came with something else for them.
    pub fn words_data(&self) -> Vec<Vec<u8>> {
        self.state.words_data.all()
    }

    /// The gRPC service.
    pub fn service(&self) -> SttServiceServer<Self> {
        SttServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }
}

/// One Listen stream: what came in so far.
struct Listening {
    incoming: Streaming<ListenRequest>,
    state: Arc<State>,
    samples: u64,
}

impl Listening {
    /// Reads one message; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Option<listen_control::Action>>, Status> {
        let Some(message) = self.incoming.message().await? else {
            return Ok(None);
        };
        match message.payload {
            Some(Heard::Audio(chunk)) => {
                let samples = chunk.data.len() as u64 / 2;
                self.samples += samples;
                *locked(&self.state.samples) += samples;
                if !message.words_data.is_empty() {
                    self.state.words_data.push(message.words_data);
                }
                Ok(Some(None))
            }
            Some(Heard::Control(control)) => {
                let action = control.action();
                self.state.controls.push(action);
                Ok(Some(Some(action)))
            }
            Some(Heard::Config(_)) => Err(Status::invalid_argument("config comes once")),
            None => Err(Status::invalid_argument("a message without payload")),
        }
    }

    /// Waits for a cue; false when the stream ended first.
    async fn wait(&mut self, cue: &Cue) -> Result<bool, Status> {
        match cue {
            Cue::Now => Ok(true),
            Cue::Samples(wanted) => {
                while self.samples < *wanted {
                    if self.next().await?.is_none() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Cue::Control(wanted) => loop {
                match self.next().await? {
                    None => return Ok(false),
                    Some(Some(action)) if action == *wanted => return Ok(true),
                    Some(_) => {}
                }
            },
            Cue::Gate(gate) => {
                let gate = gate.clone();
                let passed = gate.pass();
                tokio::pin!(passed);
                loop {
                    tokio::select! {
                        () = &mut passed => return Ok(true),
                        read = self.next() => if read?.is_none() { return Ok(false) },
                    }
                }
            }
        }
    }
}

#[tonic::async_trait]
impl SttService for FakeStt {
    type TranscribeStream = BoxStream<'static, Result<TranscribeResponse, Status>>;
    type ListenStream = BoxStream<'static, Result<ListenResponse, Status>>;

    async fn transcribe(
        &self,
        request: Request<Streaming<TranscribeRequest>>,
    ) -> Result<Response<Self::TranscribeStream>, Status> {
        let metadata = request.metadata().clone();
        let mut incoming = request.into_inner();
        let mut config = None;
        let mut data = Vec::new();
        while let Some(message) = incoming.message().await? {
            match message.payload {
                Some(transcribe_request::Payload::Config(first)) => config = Some(first),
                Some(transcribe_request::Payload::Data(piece)) => data.extend_from_slice(&piece),
                None => return Err(Status::invalid_argument("a message without payload")),
            }
        }
        let message = config.ok_or_else(|| Status::invalid_argument("the first message must be config"))?;
        self.state.transcriptions.push((Recorded { message, metadata }, data));
        let scripted = locked(&self.state.transcript).clone();
        let text = scripted.ok_or_else(|| Status::failed_precondition("no transcript was scripted"))??;
        let segment = Segment {
            start_ms: 0,
            end_ms: 1000,
            text: text.clone(),
            ..Segment::default()
        };
        let summary = TranscribeSummary {
            text,
            language: "en".into(),
            duration_ms: 1000,
            processing_ms: 100,
            real_time_factor: 0.1,
            model: MODEL.into(),
        };
        let payloads = [
            transcribe_response::Payload::Progress(Progress {
                done_ms: 1000,
                total_ms: 1000,
            }),
            transcribe_response::Payload::Segment(segment),
            transcribe_response::Payload::Summary(summary),
        ];
        let responses = payloads.map(|payload| Ok(TranscribeResponse { payload: Some(payload) }));
        Ok(Response::new(Box::pin(futures::stream::iter(responses))))
    }

    async fn listen(&self, request: Request<Streaming<ListenRequest>>) -> Result<Response<Self::ListenStream>, Status> {
        let metadata = request.metadata().clone();
        let cues = locked(&self.state.cues).clone();
        let state = Arc::clone(&self.state);
        let mut incoming = request.into_inner();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let first = incoming.message().await?.and_then(|message| message.payload);
            let Some(Heard::Config(message)) = first else {
                Err(Status::invalid_argument("the first message must be config"))?;
                return;
            };
            state.configs.push(Recorded { message, metadata });
            let started = ListenStarted { engine: "fake".into(), model: MODEL.into(), turn_model: String::new() };
            yield ListenResponse { payload: Some(Said::Started(started)) };
            let mut listening = Listening { incoming, state, samples: 0 };
            for cue in cues {
                if !listening.wait(&cue.when).await? {
                    return;
                }
                match cue.then {
                    Then::Say(said) => yield ListenResponse { payload: Some(said) },
                    Then::Fail(status) => Err(status)?,
                }
            }
            while listening.next().await?.is_some() {}
        })))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let model = SpeechModel {
            id: MODEL.into(),
            languages: vec!["en".into()],
            installed: true,
            active: true,
        };
        Ok(Response::new(ListModelsResponse { models: vec![model] }))
    }
}
