//! Text to speech, as tts-svc's clients have it.

use solo_audio::pcm;
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::speech_mark::Kind;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{SynthesizeRequest, VoiceConfig};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use super::RATE;
use super::peer::{Caller, Said};

/// A text that was spoken. Times are in s, from the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoken {
    /// The first samples were here.
    pub first_audio: f64,
    /// The last ones were here.
    pub total: f64,
    /// How long it is.
    pub seconds: f64,
}

impl Spoken {
    /// Time taken over its length: below 1 is faster than speech.
    pub fn real_time_factor(&self) -> f64 {
        self.total / self.seconds
    }
}

/// Speaks a text.
///
/// # Errors
/// What tts-svc answers instead.
pub async fn speak(tts: Channel, text: &str) -> Result<Spoken, Status> {
    let request = SynthesizeRequest {
        input: Some(Input::Text(text.to_owned())),
        ..SynthesizeRequest::default()
    };
    let start = Instant::now();
    let mut events = TtsServiceClient::new(tts).synthesize(request).await?.into_inner();
    let (mut spoken, mut rate, mut samples) = (Spoken::default(), 0, 0);
    while let Some(message) = events.message().await? {
        match message.event.and_then(|event| event.payload) {
            Some(Payload::Header(header)) => rate = header.format.unwrap_or_default().sample_rate_hz,
            Some(Payload::Audio(chunk)) => {
                spoken.total = start.elapsed().as_secs_f64();
                if samples == 0 {
                    spoken.first_audio = spoken.total;
                }
                samples += chunk.data.len() / 2;
            }
            _ => {}
        }
    }
    if samples == 0 || rate == 0 {
        return Err(Status::data_loss("nothing was spoken"));
    }
    spoken.seconds = samples as f64 / f64::from(rate);
    Ok(spoken)
}

/// A word that was spoken.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// Its first byte in the text.
    pub text_start: usize,
    /// Its end in the audio, in samples at 16,000 Hz.
    pub end_sample: usize,
}

/// Speaks a text; what it sounds like at 16,000 Hz, and where its words are.
///
/// # Errors
/// What tts-svc answers instead.
pub async fn speak_words(tts: Channel, text: &str, speed: f32) -> Result<(Vec<i16>, Vec<Word>), Status> {
    let voice = VoiceConfig {
        speed,
        format: Some(AudioFormat {
            encoding: Encoding::S16le.into(),
            sample_rate_hz: RATE,
            channels: 1,
        }),
        ..VoiceConfig::default()
    };
    let request = SynthesizeRequest {
        voice: Some(voice),
        input: Some(Input::Text(text.to_owned())),
    };
    let mut events = TtsServiceClient::new(tts).synthesize(request).await?.into_inner();
    let (mut samples, mut words) = (Vec::new(), Vec::new());
    while let Some(message) = events.message().await? {
        match message.event.and_then(|event| event.payload) {
            Some(Payload::Audio(chunk)) => {
                samples.extend(pcm::from_s16le(&chunk.data).map_err(|odd| Status::data_loss(odd.to_string()))?);
            }
            Some(Payload::Mark(mark)) if mark.kind() == Kind::Word => words.push(Word {
                text_start: mark.text_start as usize,
                end_sample: mark.end_sample as usize,
            }),
            _ => {}
        }
    }
    Ok((samples, words))
}

/// The same of the Python stack.
pub async fn peer_speak(mut caller: Caller, text: &str) -> Spoken {
    let start = Instant::now();
    caller.speak(text);
    let mut spoken = Spoken::default();
    loop {
        let news = caller.next().await;
        match news.said {
            Said::Audio { rate, samples } => {
                spoken.total = news.at.duration_since(start).as_secs_f64();
                if spoken.seconds == 0.0 {
                    spoken.first_audio = spoken.total;
                }
                spoken.seconds += samples.len() as f64 / f64::from(rate);
            }
            Said::Done(_) => return spoken,
            _ => {}
        }
    }
}
