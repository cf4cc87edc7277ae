//! One spoken turn with either contender: the same samples at the same pace, and the time from the last voiced sample to
//! whatever comes back.
//!
//! The client is one that plays at once and says so, so that turns follow one another as fast as they can; what is measured
//! lies before that.

use std::collections::BTreeMap;
use std::time::Duration;

use solo_audio::pcm;
use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding};
use solo_proto::gateway::v1::converse_request::Payload as Request;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{
    ConverseRequest, ConverseResponse, OpenSession, Played, SessionControl, TextInput, TurnSummary, WakeMode,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::RATE;
use super::corpus::Clip;
use super::microphone::{Microphone, leading_silence, ms_between};
use super::peer::{Caller, Said};

/// Rate of the replies' audio, in Hz: the voice's own, so that nobody resamples.
pub const VOICE_RATE: u32 = 22_050;
/// Longest turn; then it counts as failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// A turn that was answered aloud. Times are in ms from the last voiced sample.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The first chunk of speech was here.
    pub first_audio: f64,
    /// The first sample that can be heard is played.
    pub first_audible: f64,
    /// What was understood.
    pub transcript: String,
    /// What was answered.
    pub reply: String,
    /// When each stage was done, by its name.
    pub stages: BTreeMap<&'static str, f64>,
}

/// Why a turn counts for nothing.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It answered before the person had finished.
    CutOff,
    /// It said this instead of an answer.
    Refused(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CutOff => f.write_str("the person was cut off"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// A conversation of Solo in open-microphone mode.
pub struct Conversation {
    requests: mpsc::UnboundedSender<ConverseRequest>,
    responses: Streaming<ConverseResponse>,
}

impl Conversation {
    /// Opens one, a new dialogue.
    ///
    /// # Errors
    /// What the gateway answers instead.
    pub async fn open(gateway: Channel, wake_mode: WakeMode) -> Result<Self, tonic::Status> {
        let format = |sample_rate_hz| AudioFormat {
            encoding: Encoding::S16le.into(),
            sample_rate_hz,
            channels: 1,
        };
        let open = OpenSession {
            audio_in: Some(format(RATE)),
            audio_out: Some(format(VOICE_RATE)),
            wake_mode: wake_mode.into(),
            ..OpenSession::default()
        };
        let (requests, outgoing) = mpsc::unbounded_channel();
        let opening = ConverseRequest {
            payload: Some(Request::Open(open)),
            ..ConverseRequest::default()
        };
        requests.send(opening).expect("the other end is here");
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let mut responses = GatewayServiceClient::new(gateway)
            .converse(outgoing)
            .await?
            .into_inner();
        match responses.message().await?.and_then(|message| message.payload) {
            Some(Payload::Opened(_)) => Ok(Self { requests, responses }),
            other => Err(tonic::Status::internal(format!(
                "no conversation was opened: {other:?}"
            ))),
        }
    }

    /// Sends samples. Where the conversation is over, reading it says why.
    pub fn hear(&self, samples: &[i16], first_sample: usize) {
        self.send(Request::Audio(AudioChunk {
            data: pcm::to_s16le(samples),
            first_sample: first_sample as u64,
        }));
    }

    /// Writes something that is to be answered aloud.
    pub fn ask(&self, text: &str) {
        self.send(Request::Text(TextInput {
            text: text.to_owned(),
            speak: true,
        }));
    }

    /// Says how much of the reply has been played, in samples.
    pub fn played(&self, samples: u64) {
        self.send(Request::Control(SessionControl {
            control: Some(Control::Played(Played { samples })),
        }));
    }

    /// What comes next. Can be given up while it waits: nothing is lost.
    ///
    /// # Errors
    /// When the conversation is over.
    pub async fn next(&mut self) -> Result<Payload, Failure> {
        let message = self.responses.message().await;
        let message = message.map_err(|status| Failure::Refused(status.message().to_owned()))?;
        message
            .and_then(|message| message.payload)
            .ok_or_else(|| Failure::Refused("the conversation ended".into()))
    }

    /// One turn.
    ///
    /// # Errors
    /// When it is not answered aloud.
    pub async fn turn(mut self, clip: &Clip) -> Result<Turn, Failure> {
        let mut microphone = Microphone::new(&clip.samples);
        let over = microphone.time_of(clip.last_voiced);
        let limit = over + PATIENCE;
        let mut speech = Speech::default();
        let mut transcript = String::new();
        loop {
            let payload = tokio::select! {
                biased;
                payload = self.next() => payload?,
                piece = microphone.next() => {
                    self.hear(&piece, microphone.position() - piece.len());
                    if Instant::now() > limit {
                        return Err(Failure::Refused(format!("no answer to {transcript:?}")));
                    }
                    continue;
                }
            };
            let at = Instant::now();
            match payload {
                Payload::Final(text) => transcript = text.text,
                Payload::Audio(chunk) => {
                    let samples = pcm::from_s16le(&chunk.data).map_err(|odd| Failure::Refused(odd.to_string()))?;
                    speech.take(at, VOICE_RATE, &samples);
                    self.played(speech.samples);
                }
                Payload::Rejected(rejected) => {
                    return Err(Failure::Refused(format!("{}: {:?}", rejected.reason, rejected.text)));
                }
                Payload::Error(error) => return Err(Failure::Refused(error.message)),
                Payload::Summary(summary) => {
                    let mut turn = speech.turn(over)?;
                    turn.stages = stages(&summary);
                    (turn.transcript, turn.reply) = (summary.transcript, summary.reply);
                    return Ok(turn);
                }
                _ => {}
            }
        }
    }

    fn send(&self, payload: Request) {
        // As above.
        let _ = self.requests.send(ConverseRequest {
            payload: Some(payload),
            ..ConverseRequest::default()
        });
    }
}

/// One turn of the Python stack.
///
/// # Errors
/// When it is not answered aloud.
pub async fn peer_turn(mut caller: Caller, clip: &Clip) -> Result<Turn, Failure> {
    caller.open(true);
    let mut microphone = Microphone::new(&clip.samples);
    let over = microphone.time_of(clip.last_voiced);
    let limit = over + PATIENCE;
    let mut speech = Speech::default();
    let (mut transcript, mut stages) = (String::new(), BTreeMap::new());
    loop {
        let news = tokio::select! {
            biased;
            news = caller.next() => news,
            piece = microphone.next() => {
                caller.hear(&piece);
                if Instant::now() > limit {
                    return Err(Failure::Refused(format!("no answer to {transcript:?}")));
                }
                continue;
            }
        };
        let mut done = |stage| {
            stages.entry(stage).or_insert(ms_between(over, news.at));
        };
        match news.said {
            Said::Ended => done(ENDPOINT),
            Said::Final(text) if text.is_empty() => return Err(Failure::Refused("it understood nothing".into())),
            Said::Final(text) => {
                done(STT);
                transcript = text;
            }
            Said::FirstToken => done(LLM_FIRST_TOKEN),
            Said::FirstSentence => done(LLM_FIRST_SENTENCE),
            Said::Audio { rate, samples } => {
                done(TTS_FIRST_AUDIO);
                speech.take(news.at, rate, &samples);
            }
            Said::Done(reply) => {
                let turn = speech.turn(over)?;
                return Ok(Turn {
                    transcript,
                    reply,
                    stages,
                    ..turn
                });
            }
        }
    }
}

/// The end of the turn was decided.
pub const ENDPOINT: &str = "endpoint";
/// The words were there that were answered.
pub const STT: &str = "stt";
/// Memory had answered.
pub const RECALL: &str = "recall";
/// The model's first token was there.
pub const LLM_FIRST_TOKEN: &str = "llm first token";
/// The first sentence, or the first unit that can be spoken, was there.
pub const LLM_FIRST_SENTENCE: &str = "llm first sentence";
/// Speech was there.
pub const TTS_FIRST_AUDIO: &str = "tts first audio";
/// Time between the words and the first audio that had passed when the end of the turn was decided: what would have come on
/// top, had nothing begun before the decision.
pub const HIDDEN: &str = "hidden";

/// What the gateway says of a turn's stages, by its own clock.
fn stages(summary: &TurnSummary) -> BTreeMap<&'static str, f64> {
    let Some(times) = &summary.stages else {
        return BTreeMap::new();
    };
    // A reply that was drafted had its words before the Final came.
    let words = times.draft.filter(|_| summary.drafted).or(times.stt);
    let named = [
        (ENDPOINT, times.endpoint),
        (STT, words),
        (RECALL, times.recall),
        (LLM_FIRST_TOKEN, times.llm_first_token),
        (LLM_FIRST_SENTENCE, times.llm_first_sentence),
        (TTS_FIRST_AUDIO, times.tts_first_audio),
    ];
    let known = named.into_iter().filter_map(|(name, ms)| Some((name, ms? as f64)));
    let mut stages: BTreeMap<_, _> = known.collect();
    if let (Some(&decided), Some(&words), Some(&audio)) =
        (stages.get(ENDPOINT), stages.get(STT), stages.get(TTS_FIRST_AUDIO))
    {
        stages.insert(HIDDEN, (decided.min(audio) - words).max(0.0));
    }
    stages
}

/// What came as speech.
#[derive(Default)]
struct Speech {
    /// When the first chunk was here.
    first: Option<Instant>,
    /// Time of silence before the first audible sample, from the first chunk on; `None` while nothing was audible.
    silence: Option<Duration>,
    samples: u64,
    rate: u32,
}

impl Speech {
    fn take(&mut self, at: Instant, rate: u32, samples: &[i16]) {
        self.first.get_or_insert(at);
        let quiet = leading_silence(samples);
        if self.silence.is_none() && quiet < samples.len() {
            let before = (self.samples + quiet as u64) as f64 / f64::from(rate);
            self.silence = Some(Duration::from_secs_f64(before));
        }
        self.samples += samples.len() as u64;
        self.rate = rate;
    }

    fn turn(&self, over: Instant) -> Result<Turn, Failure> {
        let (Some(first), Some(silence)) = (self.first, self.silence) else {
            return Err(Failure::Refused("nothing audible was said".into()));
        };
        if first < over {
            return Err(Failure::CutOff);
        }
        Ok(Turn {
            first_audio: ms_between(over, first),
            first_audible: ms_between(over, first + silence),
            ..Turn::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use solo_proto::gateway::v1::StageTimes;

    use super::*;

    #[test]
    fn what_was_hidden_is_what_was_done_before_the_decision() {
        let hidden = |endpoint, stt, audio| {
            let summary = TurnSummary {
                stages: Some(StageTimes {
                    endpoint: Some(endpoint),
                    stt: Some(stt),
                    tts_first_audio: Some(audio),
                    ..StageTimes::default()
                }),
                ..TurnSummary::default()
            };
            stages(&summary)[HIDDEN]
        };
        assert_eq!(hidden(400, 150, 700), 250.0);
        assert_eq!(hidden(400, 150, 380), 230.0, "all of it");
        assert_eq!(hidden(400, 600, 900), 0.0, "nothing began before the decision");
        let drafted = TurnSummary {
            drafted: true,
            stages: Some(StageTimes {
                endpoint: Some(400),
                draft: Some(250),
                stt: Some(410),
                tts_first_audio: Some(700),
                ..StageTimes::default()
            }),
            ..TurnSummary::default()
        };
        assert_eq!((stages(&drafted)[STT], stages(&drafted)[HIDDEN]), (250.0, 150.0));
        let of_other_words = TurnSummary {
            drafted: false,
            ..drafted
        };
        assert_eq!(stages(&of_other_words)[STT], 410.0);
    }

    #[test]
    fn silence_in_front_counts_for_what_is_heard() {
        let over = Instant::now();
        let at = over + Duration::from_millis(300);
        let mut speech = Speech::default();
        speech.take(at, 1_000, &[0; 50]);
        speech.take(at + Duration::from_millis(5), 1_000, &[0, 0, 9_000]);
        let turn = speech.turn(over).unwrap();
        assert_eq!((turn.first_audio, turn.first_audible), (300.0, 352.0));
    }

    #[test]
    fn who_answers_early_has_cut_somebody_off() {
        let at = Instant::now();
        let mut speech = Speech::default();
        speech.take(at, 1_000, &[9_000]);
        let turn = speech.turn(at + Duration::from_millis(1));
        assert!(matches!(turn, Err(Failure::CutOff)), "{turn:?}");
        let nothing = Speech::default().turn(at);
        assert!(matches!(nothing, Err(Failure::Refused(_))), "{nothing:?}");
    }
}
