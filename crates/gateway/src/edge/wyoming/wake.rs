//! Wake words: `detect`, audio without end, a `detection` for each keyword, `not-detected` at the end of audio without one.
//!
//! Satellites stay connected for days, so a stream has no longest length. When wake-svc goes away the connection is ended:
//! clients connect anew, and would otherwise send audio that nobody hears.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use solo_audio::SampleRate;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::wake::v1::{
    DetectConfig, DetectRequest, DetectResponse, KeywordConfig, WakeEvent, detect_request, detect_response,
};

use super::framing::Event;
use super::intake::{self, Chunk, Intake};
use super::line::{End, Line, data};
use crate::error::Error;
use crate::upstream::Duplex;

/// Samples of a message to wake-svc, 20 ms: a keyword is not to wait for the rest of a larger piece.
const PIECE: usize = 320;
/// Chunks whose time is remembered: detectors are sure late, but not as late as that.
const REMEMBERED: usize = 512;

/// What to listen for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detect {
    /// Keywords; none: those of wake-svc's configuration.
    names: Option<Vec<String>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(line: &mut Line) -> Result<(), End> {
    let mut wanted = Detect::default();
    loop {
        let event = line.request().await?;
        match event.kind.as_str() {
            "detect" => wanted = data(event)?,
            // Some clients say nothing but the audio; what is listened for stays.
            "audio-start" | "audio-chunk" => watch(line, &wanted, event).await?,
            // Whatever else there may be one day is not for us.
            kind => tracing::debug!(kind, "ignored"),
        }
    }
}

/// One stream of audio, beginning with its first event.
async fn watch(line: &mut Line, wanted: &Detect, first: Event) -> Result<(), End> {
    let gateway = Arc::clone(&line.gateway);
    let (idle, stopping) = (gateway.config.wyoming.idle(), gateway.context.shutdown.clone());
    let mut audio = Audio::new();
    audio.take(first)?;
    let keyword = |keyword: &String| KeywordConfig {
        keyword: keyword.clone(),
        ..KeywordConfig::default()
    };
    let config = DetectConfig {
        keywords: wanted.names.iter().flatten().map(keyword).collect(),
    };
    let caller = line.caller();
    let call = gateway.upstreams.detect(&caller, config);
    let mut call = line.unless_gone(call).await??;
    let (mut detected, mut over) = (false, false);
    while !over {
        let room = call.room();
        tokio::select! {
            said = call.message() => {
                let stopped = Error::Contract { service: "wake-svc", problem: "it stopped listening" };
                detected |= tell(line, &audio, said?.ok_or(stopped)?).await?;
            }
            event = async { room.await; line.next(idle).await } => {
                let Some(event) = line.settle(event?).await? else { continue };
                over = event.kind == "audio-stop";
                audio.take(event)?;
                while let Some(piece) = audio.intake.piece() {
                    call.send(request(piece))?;
                }
            }
            // Nothing of it is worth finishing: the client connects anew.
            () = stopping.cancelled() => return Err(Error::Draining.into()),
        }
    }
    for piece in std::mem::replace(&mut audio.intake, Intake::new(PIECE, None)).finish() {
        call.send(request(piece))?;
    }
    detected |= finish(line, &mut call, &audio).await?;
    if !detected {
        line.send(Event::new("not-detected", json!({}))).await?;
    }
    Ok(())
}

/// Takes what wake-svc still has to say of audio that is over.
async fn finish(line: &mut Line, call: &mut Duplex<DetectRequest, DetectResponse>, audio: &Audio) -> Result<bool, End> {
    call.half_close();
    let patience = Duration::from_millis(line.gateway.config.timeouts.request_ms);
    let mut detected = false;
    loop {
        let said = tokio::time::timeout(patience, call.message());
        let said = line.unless_gone(said).await?.map_err(|_| Error::Late {
            service: "wake-svc",
            reason: "WAKE_TIMED_OUT",
            problem: "it did not finish in time",
        })?;
        match said? {
            Some(said) => detected |= tell(line, audio, said).await?,
            None => return Ok(detected),
        }
    }
}

/// Tells the client of a keyword; true when there was one.
async fn tell(line: &mut Line, audio: &Audio, said: DetectResponse) -> Result<bool, End> {
    let Some(detect_response::Payload::Wake(WakeEvent {
        keyword, end_sample, ..
    })) = said.payload
    else {
        return Ok(false);
    };
    let detection = json!({ "name": keyword, "timestamp": audio.time_of(end_sample), "speaker": null });
    line.send(Event::new("detection", detection)).await?;
    Ok(true)
}

fn request(piece: AudioChunk) -> DetectRequest {
    DetectRequest {
        payload: Some(detect_request::Payload::Audio(piece)),
    }
}

/// Audio that knows the client's clock.
struct Audio {
    intake: Intake,
    /// Where the newest chunks begin: sample and the client's time of it, in ms.
    times: VecDeque<(u64, i64)>,
}

impl Audio {
    fn new() -> Self {
        Self {
            intake: Intake::new(PIECE, None),
            times: VecDeque::new(),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        match event.kind.as_str() {
            "audio-start" => intake::check(data(event)?)?,
            "audio-chunk" => {
                let payload = event.payload.clone();
                let chunk: Chunk = data(event)?;
                if let Some(timestamp) = chunk.timestamp {
                    if self.times.len() == REMEMBERED {
                        self.times.pop_front();
                    }
                    self.times.push_back((self.intake.position(), timestamp));
                }
                self.intake.push(chunk.format, &payload)?;
            }
            "audio-stop" => {}
            kind => tracing::debug!(kind, "ignored in a stream of audio"),
        }
        Ok(())
    }

    /// The client's time of a sample, in ms; without any from the client, the time since its first sample.
    fn time_of(&self, sample: u64) -> i64 {
        let ms = |samples| i64::try_from(SampleRate::SPEECH.ms_of(samples)).unwrap_or(i64::MAX);
        let later = self.times.partition_point(|(first, _)| *first <= sample);
        match self.times.get(later.saturating_sub(1)) {
            Some((first, timestamp)) if *first <= sample => timestamp.saturating_add(ms(sample - first)),
            // Longer ago than is remembered.
            Some((first, timestamp)) => timestamp.saturating_sub(ms(first - sample)),
            None => ms(sample),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_keyword_has_the_time_of_its_chunk() {
        let mut audio = Audio::new();
        assert_eq!(
            audio.time_of(16_000),
            1000,
            "without a clock it counts from the first sample"
        );
        for (timestamp, samples) in [(5_000, 1600), (5_100, 1600), (9_000, 1600)] {
            let format = json!({"rate": 16000, "width": 2, "channels": 1, "timestamp": timestamp});
            let chunk = Event {
                payload: Bytes::from(vec![0; samples * 2]),
                ..Event::new("audio-chunk", format)
            };
            audio.take(chunk).unwrap();
        }
        assert_eq!(audio.time_of(0), 5_000);
        assert_eq!(audio.time_of(2_400), 5_150);
        assert_eq!(audio.time_of(3_200), 9_000);
    }
}
