//! Text to speech: `synthesize` a whole text, or text while it is written (`synthesize-start`, `-chunk`, `-stop`).
//!
//! The audio is at the voice's own rate, as every client of Wyoming can play it. A client that streams text says the whole
//! once more in a `synthesize` for servers that cannot stream; within a stream it is passed over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use solo_audio::SampleRate;
use solo_proto::tts::v1::speak_request::Payload as Tell;
use solo_proto::tts::v1::speech_event::Payload as Spoken;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::{SpeakRequest, SpeechEvent, SynthesizeRequest, VoiceConfig};
use solo_service::UpstreamError;

use super::framing::Event;
use super::line::{End, Line, data};
use crate::Gateway;
use crate::error::Error;

/// A text, or the beginning of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Synthesize {
    text: String,
    voice: Option<VoiceChoice>,
    text_format: Option<String>,
}

/// A voice by name, or any of a language.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VoiceChoice {
    name: Option<String>,
    language: Option<String>,
    speaker: Option<String>,
}

/// The next piece of a text.
#[derive(Debug, Deserialize)]
struct Delta {
    text: String,
}

/// Serves one connection until it ends.
pub(super) async fn serve(line: &mut Line) -> Result<(), End> {
    loop {
        let event = line.request().await?;
        match event.kind.as_str() {
            "synthesize" => whole(line, data(event)?).await?,
            "synthesize-start" => streamed(line, data(event)?).await?,
            // Whatever else there may be one day is not for us.
            kind => tracing::debug!(kind, "ignored"),
        }
    }
}

/// Speaks one text.
async fn whole(line: &mut Line, wanted: Synthesize) -> Result<(), End> {
    if wanted.text.trim().is_empty() {
        return Err(Error::field("EMPTY_TEXT", "text", "text: at least one word is wanted").into());
    }
    let request = SynthesizeRequest {
        voice: Some(voice(line, wanted.voice).await?),
        input: Some(if is_ssml(wanted.text_format.as_deref())? {
            Input::Ssml(wanted.text)
        } else {
            Input::Text(wanted.text)
        }),
    };
    let (gateway, caller) = (Arc::clone(&line.gateway), line.caller());
    let answers = gateway.upstreams.synthesize(&caller, request);
    let mut answers = line.unless_gone(answers).await??;
    let mut mouth = Mouth::new();
    while let Some(answer) = line
        .unless_gone(in_time(patience(&gateway), answers.message()))
        .await??
    {
        mouth.say(line, answer.event).await?;
    }
    mouth.end(line).await
}

/// Speaks a text while it is written.
async fn streamed(line: &mut Line, wanted: Synthesize) -> Result<(), End> {
    if is_ssml(wanted.text_format.as_deref())? {
        let problem = "text_format: SSML can be spoken as a whole only; send it in `synthesize`";
        return Err(Error::field("UNSUPPORTED_TEXT_FORMAT", "text_format", problem).into());
    }
    let (gateway, caller) = (Arc::clone(&line.gateway), line.caller());
    // Whoever writes the text may think for long.
    let idle = gateway.config.wyoming.idle();
    let config = voice(line, wanted.voice).await?;
    let call = gateway.upstreams.speak(&caller, config);
    let mut call = line.unless_gone(call).await??;
    let mut mouth = Mouth::new();
    let (mut open, mut bytes) = (true, 0);
    while open {
        let room = call.room();
        tokio::select! {
            said = call.message() => {
                let stopped = Error::Contract { service: "tts-svc", problem: "it stopped in the middle" };
                mouth.say(line, said?.ok_or(stopped)?.event).await?;
            }
            event = async { room.await; line.next(idle).await } => {
                let Some(event) = line.settle(event?).await? else { continue };
                match event.kind.as_str() {
                    "synthesize-chunk" => {
                        let Delta { text } = data(event)?;
                        bytes += text.len();
                        check_length(bytes, gateway.config.wyoming.max_data_bytes)?;
                        call.send(SpeakRequest { payload: Some(Tell::TextDelta(text)) })?;
                    }
                    "synthesize-stop" => open = false,
                    // The same text once more, for servers that cannot stream.
                    "synthesize" => {}
                    kind => tracing::debug!(kind, "ignored in a text"),
                }
            }
        }
    }
    call.half_close();
    while let Some(said) = line.unless_gone(in_time(patience(&gateway), call.message())).await?? {
        mouth.say(line, said.event).await?;
    }
    mouth.end(line).await?;
    line.send(Event::new("synthesize-stopped", json!({}))).await
}

fn check_length(bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::Exhausted {
        reason: "TEXT_TOO_LONG",
        problem: format!("the text is longer than {limit} bytes (gateway.wyoming.max_data_bytes)"),
    })
}

fn is_ssml(format: Option<&str>) -> Result<bool, Error> {
    match format {
        None | Some("text") => Ok(false),
        Some("ssml") => Ok(true),
        Some(other) => {
            let problem = format!("text_format: `{other}` cannot be spoken; text or ssml is wanted");
            Err(Error::field("UNSUPPORTED_TEXT_FORMAT", "text_format", problem))
        }
    }
}

/// The voice that is meant; where a language alone is named, the first installed one that speaks it.
async fn voice(line: &mut Line, wanted: Option<VoiceChoice>) -> Result<VoiceConfig, End> {
    let VoiceChoice {
        name,
        language,
        speaker,
    } = wanted.unwrap_or_default();
    if let Some(speaker) = speaker {
        let problem = format!("voice.speaker: there is no speaker `{speaker}`: every voice here has one");
        return Err(Error::field("UNKNOWN_SPEAKER", "voice.speaker", problem).into());
    }
    let voice = match (name, language) {
        (Some(name), _) => name,
        (None, None) => String::new(),
        (None, Some(language)) => {
            let (gateway, caller) = (Arc::clone(&line.gateway), line.caller());
            let voices = gateway.upstreams.voices(&caller, &language);
            let voices = line.unless_gone(voices).await??.voices;
            let unknown = || {
                let problem = format!("voice.language: no installed voice speaks `{language}`");
                Error::field("UNKNOWN_LANGUAGE", "voice.language", problem)
            };
            let found = voices.into_iter().find(|voice| voice.installed);
            found.ok_or_else(unknown)?.id
        }
    };
    Ok(VoiceConfig {
        voice,
        ..VoiceConfig::default()
    })
}

fn patience(gateway: &Gateway) -> Duration {
    Duration::from_millis(gateway.config.timeouts.speech_ms)
}

/// The next message, unless speech stands still.
async fn in_time<T>(
    patience: Duration,
    message: impl Future<Output = Result<Option<T>, UpstreamError>>,
) -> Result<Option<T>, Error> {
    match tokio::time::timeout(patience, message).await {
        Ok(said) => Ok(said?),
        Err(_) => Err(Error::Late {
            service: "tts-svc",
            reason: "SPEECH_TIMED_OUT",
            problem: "it stood still in the middle of the text",
        }),
    }
}

/// Speech on its way to the client.
struct Mouth {
    rate: Option<SampleRate>,
    samples: u64,
}

impl Mouth {
    fn new() -> Self {
        Self { rate: None, samples: 0 }
    }

    async fn say(&mut self, line: &mut Line, event: Option<SpeechEvent>) -> Result<(), End> {
        let broken = |problem| Error::Contract {
            service: "tts-svc",
            problem,
        };
        match event.and_then(|event| event.payload) {
            Some(Spoken::Header(header)) => {
                let hz = header.format.map_or(0, |format| format.sample_rate_hz);
                let rate = SampleRate::new(hz).map_err(|_| broken("it speaks at a rate that cannot be played"))?;
                self.rate = Some(rate);
                line.send(Event::new("audio-start", self.at(rate))).await
            }
            Some(Spoken::Audio(chunk)) => {
                let rate = self.rate.ok_or_else(|| broken("it speaks before it says how"))?;
                let data = self.at(rate);
                self.samples += chunk.data.len() as u64 / 2;
                let payload = chunk.data.into();
                line.send(Event {
                    payload,
                    ..Event::new("audio-chunk", data)
                })
                .await
            }
            Some(Spoken::Mark(_) | Spoken::Summary(_)) | None => Ok(()),
        }
    }

    async fn end(&self, line: &mut Line) -> Result<(), End> {
        let rate = self.rate.ok_or(Error::Contract {
            service: "tts-svc",
            problem: "it did not say what its audio looks like",
        })?;
        let timestamp = rate.ms_of(self.samples);
        line.send(Event::new("audio-stop", json!({ "timestamp": timestamp })))
            .await
    }

    /// What an event of audio says at this point.
    fn at(&self, rate: SampleRate) -> serde_json::Value {
        json!({ "rate": rate.hz(), "width": 2, "channels": 1, "timestamp": rate.ms_of(self.samples) })
    }
}
