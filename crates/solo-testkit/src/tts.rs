//! A voice that hums: each sentence becomes a tone whose length follows from its text, with true marks.

use std::f32::consts::TAU;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding};
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::tts_service_server::{TtsService, TtsServiceServer};
use solo_proto::tts::v1::*;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::Gate;
use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

/// Identifier of the fake's only voice.
pub const VOICE: &str = "fake-voice";
/// Rate of its audio, in Hz: not Solo's own, so that forgotten resampling shows.
pub const SAMPLE_RATE_HZ: u32 = 22_050;
/// Samples for each byte of text: 20 ms.
pub const SAMPLES_PER_BYTE: u64 = 441;
/// Samples of a chunk of audio: 100 ms.
const CHUNK_SAMPLES: usize = 2205;

/// The fake; clones share everything.
#[derive(Clone, Default)]
pub struct FakeTts {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    texts: Journal<Recorded<String>>,
    gate: Mutex<Option<Gate>>,
    failure: Mutex<Option<(usize, Status)>>,
    cancelled: Arc<AtomicUsize>,
}

impl FakeTts {
    /// Speaks at once, and everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every unit waits at this gate before its audio.
    pub fn hold_at(&self, gate: &Gate) -> &Self {
        *locked(&self.state.gate) = Some(gate.clone());
        self
    }

    /// Each speech fails so after that many units.
    pub fn fail_after(&self, units: usize, status: Status) -> &Self {
        *locked(&self.state.failure) = Some((units, status));
        self
    }

    /// The units that were spoken (their text, trimmed), oldest first.
    pub fn units(&self) -> Vec<Recorded<String>> {
        self.state.texts.all()
    }

    /// Speeches that the client dropped before their end.
    pub fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// The gRPC service.
    pub fn service(&self) -> TtsServiceServer<Self> {
        TtsServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }
}

/// Bytes of `text` that make up its first complete sentence; `None` when there is none yet.
fn complete_unit(text: &str) -> Option<usize> {
    let ends = text
        .match_indices(['.', '!', '?', '\n'])
        .map(|(at, end)| at + end.len());
    ends.filter(|end| !text[..*end].trim().is_empty())
        .find(|end| text[*end..].starts_with(char::is_whitespace))
}

/// One speech while it is made.
struct Speech {
    state: Arc<State>,
    metadata: tonic::metadata::MetadataMap,
    voice: VoiceConfig,
    pending: String,
    text_at: usize,
    sample: u64,
    units: usize,
    ended: bool,
}

impl Drop for Speech {
    fn drop(&mut self) {
        if !self.ended {
            self.state.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Speech {
    fn new(state: Arc<State>, metadata: tonic::metadata::MetadataMap, voice: VoiceConfig) -> Result<Self, Status> {
        if !voice.voice.is_empty() && voice.voice != VOICE {
            return Err(Status::not_found(format!(
                "there is no voice {:?}; there is {VOICE:?}",
                voice.voice
            )));
        }
        Ok(Self {
            state,
            metadata,
            voice,
            pending: String::new(),
            text_at: 0,
            sample: 0,
            units: 0,
            ended: false,
        })
    }

    fn header(&self) -> Payload {
        let format = AudioFormat {
            encoding: Encoding::S16le.into(),
            sample_rate_hz: SAMPLE_RATE_HZ,
            channels: 1,
        };
        Payload::Header(SpeechHeader {
            format: Some(format),
            voice: VOICE.into(),
        })
    }

    /// Takes the next complete unit out of the pending text, or all of it.
    fn take_unit(&mut self, all: bool) -> Option<String> {
        let end =
            complete_unit(&self.pending).or_else(|| (all && !self.pending.is_empty()).then_some(self.pending.len()))?;
        Some(self.pending.drain(..end).collect())
    }

    /// Speaks one unit: its marks, then its audio.
    async fn speak(&mut self, unit: &str) -> Result<Vec<Payload>, Status> {
        let start = self.text_at;
        self.text_at += unit.len();
        let spoken = unit.trim();
        if spoken.is_empty() {
            return Ok(Vec::new());
        }
        let failure = locked(&self.state.failure).clone();
        if let Some((units, status)) = failure
            && self.units >= units
        {
            self.ended = true;
            return Err(status);
        }
        let gate = locked(&self.state.gate).clone();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        self.units += 1;
        self.state.texts.push(Recorded {
            message: spoken.to_owned(),
            metadata: self.metadata.clone(),
        });
        let text_start = start + unit.find(spoken).unwrap_or(0);
        let first = self.sample;
        let mark = |kind: speech_mark::Kind, from: usize, to: usize| {
            Payload::Mark(SpeechMark {
                kind: kind.into(),
                text_start: (text_start + from) as u32,
                text_end: (text_start + to) as u32,
                start_sample: first + from as u64 * SAMPLES_PER_BYTE,
                end_sample: first + to as u64 * SAMPLES_PER_BYTE,
            })
        };
        let mut payloads = vec![mark(speech_mark::Kind::Unit, 0, spoken.len())];
        for word in spoken.split_whitespace() {
            let from = word.as_ptr() as usize - spoken.as_ptr() as usize;
            payloads.push(mark(speech_mark::Kind::Word, from, from + word.len()));
        }
        let samples = tone(spoken.len() as u64 * SAMPLES_PER_BYTE, self.voice.volume.unwrap_or(1.0));
        for chunk in samples.chunks(CHUNK_SAMPLES) {
            let data = chunk.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            payloads.push(Payload::Audio(AudioChunk {
                data,
                first_sample: self.sample,
            }));
            self.sample += chunk.len() as u64;
        }
        Ok(payloads)
    }

    fn summary(&mut self) -> Payload {
        self.ended = true;
        Payload::Summary(SpeechSummary {
            samples: self.sample,
            first_audio_ms: 1,
            synthesis_ms: 1,
            real_time_factor: 0.01,
        })
    }
}

/// A 440 Hz tone at a quarter of full scale.
fn tone(samples: u64, volume: f32) -> Vec<i16> {
    let step = TAU * 440.0 / SAMPLE_RATE_HZ as f32;
    (0..samples)
        .map(|index| ((index as f32 * step).sin() * 8192.0 * volume) as i16)
        .collect()
}

#[tonic::async_trait]
impl TtsService for FakeTts {
    type SynthesizeStream = BoxStream<'static, Result<SynthesizeResponse, Status>>;
    type SpeakStream = BoxStream<'static, Result<SpeakResponse, Status>>;

    async fn synthesize(
        &self,
        request: Request<SynthesizeRequest>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let Some(synthesize_request::Input::Text(text)) = message.input else {
            return Err(Status::invalid_argument("the fake speaks plain text only"));
        };
        if text.trim().is_empty() {
            return Err(Status::invalid_argument("text must not be empty"));
        }
        let mut speech = Speech::new(Arc::clone(&self.state), metadata, message.voice.unwrap_or_default())?;
        speech.pending = text;
        let respond = |payload| SynthesizeResponse {
            event: Some(SpeechEvent { payload: Some(payload) }),
        };
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            yield respond(speech.header());
            while let Some(unit) = speech.take_unit(true) {
                for payload in speech.speak(&unit).await? {
                    yield respond(payload);
                }
            }
            yield respond(speech.summary());
        })))
    }

    async fn speak(&self, request: Request<Streaming<SpeakRequest>>) -> Result<Response<Self::SpeakStream>, Status> {
        let metadata = request.metadata().clone();
        let state = Arc::clone(&self.state);
        let mut incoming = request.into_inner();
        let respond = |payload| SpeakResponse {
            event: Some(SpeechEvent { payload: Some(payload) }),
        };
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let first = incoming.message().await?.and_then(|message| message.payload);
            let Some(speak_request::Payload::Config(voice)) = first else {
                Err(Status::invalid_argument("the first message must be config"))?;
                return;
            };
            let mut speech = Speech::new(state, metadata, voice)?;
            yield respond(speech.header());
            loop {
                let message = incoming.message().await?;
                let all = match message.map(|message| message.payload) {
                    None => break,
                    Some(Some(speak_request::Payload::TextDelta(delta))) => {
                        speech.pending.push_str(&delta);
                        false
                    }
                    Some(Some(speak_request::Payload::Flush(_))) => true,
                    Some(_) => {
                        Err(Status::invalid_argument("text or flush is wanted after config"))?;
                        return;
                    }
                };
                while let Some(unit) = speech.take_unit(all) {
                    for payload in speech.speak(&unit).await? {
                        yield respond(payload);
                    }
                }
            }
            while let Some(unit) = speech.take_unit(true) {
                for payload in speech.speak(&unit).await? {
                    yield respond(payload);
                }
            }
            yield respond(speech.summary());
        })))
    }

    async fn list_voices(&self, _: Request<ListVoicesRequest>) -> Result<Response<ListVoicesResponse>, Status> {
        let voice = Voice {
            id: VOICE.into(),
            language: "en-US".into(),
            engine: "fake".into(),
            sample_rate_hz: SAMPLE_RATE_HZ,
            licence: "Apache-2.0 OR MIT".into(),
            installed: true,
            active: true,
        };
        Ok(Response::new(ListVoicesResponse { voices: vec![voice] }))
    }
}
