//! Speech to text, as stt-svc's clients have it: a recording, or a live stream at the pace of real time.

use std::time::Duration;

use solo_audio::pcm;
use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding};
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::{
    ListenConfig, ListenControl, ListenRequest, TranscribeConfig, TranscribeRequest, VadConfig, listen_request,
    listen_response, transcribe_request, transcribe_response, voice_activity,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::RATE;
use super::corpus::Clip;
use super::defaults;
use super::microphone::{Microphone, ms_between};
use super::peer::{Caller, Said};

/// How long the words of an utterance may take on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Transcribes a recording, and how long that took, in s.
///
/// # Errors
/// What stt-svc answers instead.
pub async fn transcribe(stt: Channel, samples: &[i16]) -> Result<(String, f64), Status> {
    let config = TranscribeConfig {
        format: Some(AudioFormat {
            encoding: Encoding::S16le.into(),
            sample_rate_hz: RATE,
            channels: 1,
        }),
        language: "en".into(),
        ..TranscribeConfig::default()
    };
    let data = pcm::to_s16le(samples);
    let mut requests = vec![transcribe_request::Payload::Config(config)];
    requests.extend(
        data.chunks(512 * 1024)
            .map(|piece| transcribe_request::Payload::Data(piece.to_vec())),
    );
    let requests = requests
        .into_iter()
        .map(|payload| TranscribeRequest { payload: Some(payload) });
    let start = Instant::now();
    let mut client = SttServiceClient::new(stt);
    let mut answers = client.transcribe(tokio_stream::iter(requests)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if let Some(transcribe_response::Payload::Summary(summary)) = answer.payload {
            return Ok((summary.text, start.elapsed().as_secs_f64()));
        }
    }
    Err(Status::data_loss("the stream ended without a summary"))
}

/// The same of the Python stack.
pub async fn peer_transcribe(mut caller: Caller, samples: &[i16]) -> (String, f64) {
    let start = Instant::now();
    caller.transcribe(samples);
    loop {
        let news = caller.next().await;
        if let Said::Done(text) = news.said {
            return (text, news.at.duration_since(start).as_secs_f64());
        }
    }
}

/// What a live stream said of one utterance. Times are in ms.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The words.
    pub words: String,
    /// From the last voiced sample to the words.
    pub after_voice: f64,
    /// From the end of the turn, as it was decided, to the words.
    pub after_end: f64,
    /// How far the last voiced sample, as it was heard, lies behind the real one, by its position in the stream. What was
    /// dropped would make it negative.
    pub shift: f64,
    /// Partial transcripts that came before.
    pub partials: usize,
}

/// Says a clip to a live stream of its own. The words are asked for when the pause sounds like the end of the turn and is long
/// enough for that, or when it is too long for anything else. (The gateway reads the words besides, before it asks.)
///
/// # Errors
/// What stt-svc answers instead, or that it found no words.
pub async fn listen(stt: Channel, clip: &Clip) -> Result<Heard, Status> {
    let (requests, outgoing) = mpsc::unbounded_channel();
    let send = |payload| {
        // Where the stream is over, reading it says why.
        let _ = requests.send(ListenRequest {
            payload: Some(payload),
            ..ListenRequest::default()
        });
    };
    let manner = defaults::listening();
    send(listen_request::Payload::Config(ListenConfig {
        language: "en".into(),
        vad: Some(VadConfig {
            silence_ms: Some(manner.silence_ms),
            ..VadConfig::default()
        }),
        partial_interval_ms: manner.partial_interval_ms,
        candidate_ms: manner.candidate_ms,
        ..ListenConfig::default()
    }));
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let mut answers = SttServiceClient::new(stt).listen(outgoing).await?.into_inner();
    let mut microphone = Microphone::new(&clip.samples);
    let over = microphone.time_of(clip.last_voiced);
    let limit = over + PATIENCE;
    // When the pause will have been long enough, and when the words were asked for.
    let (mut decision, mut ended) = (None, None);
    let (mut partials, mut said) = (0, String::new());
    let finalize = || {
        send(listen_request::Payload::Control(ListenControl {
            action: Action::Finalize.into(),
        }));
        Some(Instant::now())
    };
    loop {
        let answer = tokio::select! {
            biased;
            answer = answers.message() => answer?,
            () = until(decision) => {
                (decision, ended) = (None, finalize());
                continue;
            }
            piece = microphone.next() => {
                send(listen_request::Payload::Audio(AudioChunk {
                    data: pcm::to_s16le(&piece),
                    first_sample: (microphone.position() - piece.len()) as u64,
                }));
                if Instant::now() > limit {
                    return Err(Status::deadline_exceeded(format!("{}: no words", clip.name)));
                }
                continue;
            }
        };
        let at = Instant::now();
        match answer.and_then(|answer| answer.payload) {
            Some(listen_response::Payload::VoiceActivity(activity)) => match activity.kind() {
                voice_activity::Kind::Resumed => decision = None,
                voice_activity::Kind::Ended if ended.is_none() => (decision, ended) = (None, finalize()),
                _ => {}
            },
            Some(listen_response::Payload::TurnEnd(end)) if ended.is_none() => {
                let wanting = manner.end_silence_ms.saturating_sub(end.silence_ms);
                let finished = end.probability >= manner.end_probability;
                decision = finished.then(|| at + Duration::from_millis(wanting.into()));
            }
            Some(listen_response::Payload::Partial(_)) => partials += 1,
            Some(listen_response::Payload::Final(heard)) => {
                said = format!("{said} {}", heard.text).trim().to_owned();
                // A pause within the words makes two of one: the last is what counts.
                if (heard.end_sample as usize) + (RATE as usize) / 2 < clip.last_voiced {
                    ended = None;
                    continue;
                }
                return Ok(Heard {
                    words: said,
                    after_voice: ms_between(over, at),
                    after_end: ended.map_or(0.0, |ended| ms_between(ended, at)),
                    shift: (heard.end_sample as f64 - clip.last_voiced as f64) / f64::from(RATE) * 1000.0,
                    partials,
                });
            }
            Some(listen_response::Payload::Rejected(rejected)) => {
                let reason = rejected.reason();
                return Err(Status::not_found(format!(
                    "{}: {reason:?} {:?}",
                    clip.name, rejected.text
                )));
            }
            Some(_) => {}
            None => return Err(Status::data_loss("the stream ended without the words")),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The same of the Python stack, which ends an utterance after its own 500 ms. It says no positions.
pub async fn peer_listen(mut caller: Caller, clip: &Clip) -> Option<Heard> {
    caller.open(false);
    let mut microphone = Microphone::new(&clip.samples);
    let over = microphone.time_of(clip.last_voiced);
    let (mut ended, mut said) = (over, String::new());
    while Instant::now() < over + PATIENCE {
        tokio::select! {
            biased;
            news = caller.next() => match news.said {
                Said::Ended => ended = news.at,
                Said::Final(words) => {
                    said = format!("{said} {words}").trim().to_owned();
                    if ended < over {
                        continue;
                    }
                    return Some(Heard {
                        words: said,
                        after_voice: ms_between(over, news.at),
                        after_end: ms_between(ended, news.at),
                        shift: 0.0,
                        partials: 0,
                    });
                }
                _ => {}
            },
            piece = microphone.next() => caller.hear(&piece),
        }
    }
    None
}
