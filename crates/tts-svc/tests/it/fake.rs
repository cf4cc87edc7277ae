//! A voice without weights, the service with it, and what tests say to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use solo_audio::SampleRate;
use solo_proto::tts::v1::speak_request::Payload as Said;
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::speech_mark::Kind;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{
    SpeakFlush, SpeakRequest, SpeakResponse, SpeechHeader, SpeechMark, SpeechSummary, SynthesizeRequest,
    SynthesizeResponse, VoiceConfig,
};
use solo_service::testing::Harness;
use solo_service::{CancelToken, StartupError};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tts_svc::catalogue::{Catalogue, KnownVoice};
use tts_svc::engine::{Emit, EngineError, EngineKind, Made, SynthesisError, Synthesizer, Utterance, VoiceFacts};

/// Samples that the fake voice makes of each byte of text at speed 1.
pub(crate) const SAMPLES_A_BYTE: usize = 1000;
pub(crate) const RATE: u32 = 22_050;

/// What the fake voice was asked, and whether it was stopped.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) texts: Mutex<Vec<String>>,
    pub(crate) speeds: Mutex<Vec<f32>>,
    pub(crate) soon: Mutex<Vec<bool>>,
    /// Lets a voice that stopped half-way finish.
    pub(crate) go_on: AtomicBool,
    pub(crate) cancelled: AtomicBool,
    pub(crate) running: AtomicBool,
}

struct FakeVoice {
    facts: VoiceFacts,
    journal: Arc<Journal>,
}

impl Synthesizer for FakeVoice {
    fn facts(&self) -> &VoiceFacts {
        &self.facts
    }

    fn synthesize(
        &mut self,
        utterance: &Utterance<'_>,
        cancel: &CancelToken,
        emit: &mut Emit<'_>,
    ) -> Result<(), SynthesisError> {
        let Utterance { text, speed, soon } = *utterance;
        self.journal.texts.lock().unwrap().push(text.to_owned());
        self.journal.speeds.lock().unwrap().push(speed);
        self.journal.soon.lock().unwrap().push(soon);
        if text.contains("forever") {
            self.journal.running.store(true, Ordering::SeqCst);
            while !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            self.journal.cancelled.store(true, Ordering::SeqCst);
            return Err(SynthesisError::Cancelled);
        }
        if text.contains("broken") {
            return Err(SynthesisError::Run("a secret of the engine".into()));
        }
        let at = |bytes: usize| (bytes as f32 * SAMPLES_A_BYTE as f32 / speed) as usize;
        let samples = vec![0.5; at(text.len())];
        // Karl does not know when he says what.
        let words = match self.facts.id.as_str() {
            "karl" => Vec::new(),
            _ => text
                .split(' ')
                .map(|word| at(word.as_ptr() as usize - text.as_ptr() as usize))
                .collect(),
        };
        emit(Made::Length {
            samples: samples.len(),
            words,
        })?;
        if text.contains("half-way") {
            emit(Made::Samples(samples[..samples.len() / 2].to_vec()))?;
            while !self.journal.go_on.load(Ordering::SeqCst) && !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            return emit(Made::Samples(samples[samples.len() / 2..].to_vec()));
        }
        emit(Made::Samples(samples))
    }
}

pub(crate) struct Fake {
    pub(crate) harness: Harness,
    pub(crate) client: TtsServiceClient<Channel>,
    pub(crate) journal: Arc<Journal>,
}

pub(crate) fn catalogue() -> Catalogue {
    let voice = |id, language| KnownVoice::built_in(id, language, EngineKind::Piper, "CC0-1.0", RATE);
    Catalogue::new(vec![
        voice("amy", "en-GB"),
        voice("joe", "en-US"),
        voice("karl", "de-DE"),
        voice("gone", "fr-FR"),
        KnownVoice::built_in("koko", "en-US", EngineKind::Kokoro, "CC0-1.0", RATE),
    ])
}

/// Starts the service with fake voices; "gone" is known but not installed. `overrides` are lines of `[tts]`.
pub(crate) async fn start(overrides: &str) -> Result<Fake, StartupError> {
    let journal = Arc::new(Journal::default());
    let seen = Arc::clone(&journal);
    let voice = if overrides.contains("voice =") {
        ""
    } else {
        "voice = \"joe\""
    };
    let overrides = format!("[tts]\n{voice}\n{overrides}");
    let harness = Harness::start(tts_svc::DEFINITION, &overrides, move |config, context| async move {
        let loader = move |_: EngineKind, id: &str| match id {
            "gone" => Err(EngineError::NotInstalled {
                message: "model \"gone\" is not installed: run `solo models pull gone`".into(),
            }),
            id => Ok(Box::new(FakeVoice {
                facts: VoiceFacts {
                    id: id.into(),
                    language: "en-US".into(),
                    sample_rate: SampleRate::new(RATE).unwrap(),
                },
                journal: Arc::clone(&seen),
            }) as Box<dyn Synthesizer>),
        };
        tts_svc::build_with(config, context, catalogue(), Box::new(loader)).await
    })
    .await?;
    let client = TtsServiceClient::new(harness.channel().await);
    Ok(Fake {
        harness,
        client,
        journal,
    })
}

pub(crate) fn text(text: &str, voice: VoiceConfig) -> SynthesizeRequest {
    SynthesizeRequest {
        input: Some(Input::Text(text.into())),
        voice: Some(voice),
    }
}

pub(crate) fn ssml(document: &str) -> SynthesizeRequest {
    SynthesizeRequest {
        input: Some(Input::Ssml(document.into())),
        voice: None,
    }
}

pub(crate) fn config(voice: VoiceConfig) -> SpeakRequest {
    SpeakRequest {
        payload: Some(Said::Config(voice)),
    }
}

pub(crate) fn delta(text: &str) -> SpeakRequest {
    SpeakRequest {
        payload: Some(Said::TextDelta(text.into())),
    }
}

pub(crate) fn flush() -> SpeakRequest {
    SpeakRequest {
        payload: Some(Said::Flush(SpeakFlush {})),
    }
}

/// The payload of either answer.
pub(crate) trait Answer {
    fn payload(self) -> Payload;
}

impl Answer for SynthesizeResponse {
    fn payload(self) -> Payload {
        self.event
            .and_then(|event| event.payload)
            .expect("an answer has a payload")
    }
}

impl Answer for SpeakResponse {
    fn payload(self) -> Payload {
        self.event
            .and_then(|event| event.payload)
            .expect("an answer has a payload")
    }
}

/// A whole speech, with its order checked.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) header: SpeechHeader,
    /// Those of units.
    pub(crate) marks: Vec<SpeechMark>,
    pub(crate) words: Vec<SpeechMark>,
    /// All bytes, whatever the format.
    pub(crate) bytes: Vec<u8>,
    /// Where no format is asked for.
    pub(crate) samples: Vec<i16>,
    pub(crate) summary: SpeechSummary,
}

impl Heard {
    /// The text that each mark covers.
    pub(crate) fn texts<'a>(&self, whole: &'a str) -> Vec<&'a str> {
        self.marks
            .iter()
            .map(|mark| &whole[mark.text_start as usize..mark.text_end as usize])
            .collect()
    }
}

pub(crate) async fn next<A: Answer>(answers: &mut Streaming<A>) -> Result<Option<Payload>, Status> {
    Ok(answers.message().await?.map(Answer::payload))
}

/// Reads a speech to its end and holds it against the contract: header, marks before their audio, chunks without gaps and
/// of at most 100 ms, summary.
pub(crate) async fn hear<A: Answer>(answers: impl Stream<Item = Result<A, Status>>) -> Result<Heard, Status> {
    let mut answers = std::pin::pin!(answers);
    let mut heard = Heard::default();
    let mut count = 0;
    let mut done = false;
    while let Some(answer) = answers.next().await {
        assert!(!done, "nothing follows the summary");
        match answer?.payload() {
            Payload::Header(header) => {
                assert_eq!(count, 0, "the header is first");
                heard.header = header;
            }
            Payload::Mark(mark) if mark.kind() == Kind::Word => {
                let unit = heard.marks.last().expect("words follow the mark of their unit");
                assert!(
                    unit.text_start <= mark.text_start && mark.text_end <= unit.text_end,
                    "{mark:?}"
                );
                assert!(
                    unit.start_sample <= mark.start_sample && mark.end_sample <= unit.end_sample,
                    "{mark:?}"
                );
                assert_eq!(
                    unit.start_sample,
                    heard.samples.len() as u64,
                    "words stand before their audio"
                );
                heard.words.push(mark);
            }
            Payload::Mark(mark) => {
                assert!(count > 0);
                assert_eq!(
                    mark.start_sample,
                    heard.samples.len() as u64,
                    "a mark stands before its audio"
                );
                let before = heard.marks.last().map_or(0, |last| last.text_end);
                assert!(mark.text_start >= before, "marks ascend");
                heard.marks.push(mark);
            }
            Payload::Audio(chunk) => {
                heard.bytes.extend(&chunk.data);
                let rate = heard.header.format.expect("the header says the format").sample_rate_hz;
                assert_eq!(chunk.first_sample, heard.samples.len() as u64, "chunks have no gaps");
                assert!(
                    !chunk.data.is_empty() && chunk.data.len() as u32 / 2 <= rate / 10,
                    "at most 100 ms"
                );
                heard.samples.extend(solo_audio::pcm::from_s16le(&chunk.data).unwrap());
            }
            Payload::Summary(summary) => {
                done = true;
                heard.summary = summary;
            }
        }
        count += 1;
    }
    assert!(done, "the summary is last");
    assert_eq!(heard.summary.samples, heard.samples.len() as u64);
    Ok(heard)
}
