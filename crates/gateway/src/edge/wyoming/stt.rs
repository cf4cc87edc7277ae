//! Speech to text: `transcribe`, audio, and the words as soon as the client says that it was all.
//!
//! Clients of this port decide themselves when an utterance is over (Home Assistant has its own voice activity detection),
//! so what counts is the time from `audio-stop` to the words. A recording that is sent off at `audio-stop` would cost its whole
//! decoding then. So the audio goes to stt-svc's Listen while it comes: voice activity has run, and in every pause the words so
//! far are written down (`candidate_ms`); at `audio-stop` the utterance is finalised, and if nothing was said after the pause,
//! the words are there already. It stays one utterance: pauses do not cut it.
//!
//! If stt-svc goes away, the audio is sent once more to whoever takes its place.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use solo_proto::stt::v1::listen_request::Payload as Tell;
use solo_proto::stt::v1::{ListenConfig, ListenControl, ListenRequest, ListenResponse, listen_control};
use solo_service::{ErrorCode, ServiceError, UpstreamError};

use super::framing::Event;
use super::intake::{self, Chunk, Intake};
use super::line::{End, Line, data};
use super::transcript::Transcript;
use crate::convert;
use crate::error::Error;
use crate::upstream::Duplex;

/// Samples of a message to stt-svc: 100 ms.
const PIECE: usize = 1600;
/// Most hints that stt-svc takes, and the most characters of one.
const MAX_HINTS: usize = 100;
const MAX_HINT_CHARS: usize = 100;

/// How the client wants to be heard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Transcribe {
    /// A model.
    name: Option<String>,
    language: Option<String>,
    /// Names to prefer.
    transcript_names: Option<Vec<String>>,
    /// Terms to prefer, less than names.
    transcript_terms: Option<Vec<String>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(line: &mut Line) -> Result<(), End> {
    let mut wanted = Transcribe::default();
    loop {
        let event = line.request().await?;
        match event.kind.as_str() {
            "transcribe" => wanted = data(event)?,
            // Some clients say nothing but the audio.
            "audio-start" | "audio-chunk" => hear(line, std::mem::take(&mut wanted), event).await?,
            // Whatever else there may be one day is not for us.
            kind => tracing::debug!(kind, "ignored"),
        }
    }
}

/// One utterance, beginning with its first event.
async fn hear(line: &mut Line, wanted: Transcribe, first: Event) -> Result<(), End> {
    let gateway = Arc::clone(&line.gateway);
    let (stall, limits) = (gateway.config.wyoming.stall(), &gateway.config.limits);
    let mut intake = Intake::new(PIECE, Some(limits.max_audio_seconds));
    take(first, &mut intake)?;
    let mut transcript = Transcript::new(wanted.name.clone(), gateway.config.wyoming.partial_interval_ms > 0);
    let mut listening = Listening::open(line, wanted).await?;
    transcript.begin(line).await?;
    let mut over = false;
    while !over {
        let room = listening.call.room();
        tokio::select! {
            said = listening.call.message() => match said {
                Ok(Some(said)) => transcript.take(line, said).await?,
                Ok(None) => return Err(Error::Contract { service: "stt-svc", problem: "it stopped listening" }.into()),
                Err(error) => listening.again(line, error).await?,
            },
            event = async { room.await; line.next(stall).await } => {
                let Some(event) = line.settle(event?).await? else { continue };
                over = event.kind == "audio-stop";
                take(event, &mut intake)?;
                while let Some(piece) = intake.piece() {
                    listening.tell(Tell::Audio(piece))?;
                }
            }
        }
    }
    for piece in intake.finish() {
        listening.tell(Tell::Audio(piece))?;
    }
    let action = listen_control::Action::Finalize.into();
    listening.tell(Tell::Control(ListenControl { action }))?;
    listening.finish(line, &mut transcript).await?;
    transcript.end(line).await
}

/// Takes an event of an utterance.
fn take(event: Event, intake: &mut Intake) -> Result<(), Error> {
    match event.kind.as_str() {
        "audio-start" => intake::check(data(event)?)?,
        "audio-chunk" => {
            let payload = event.payload.clone();
            let chunk: Chunk = data(event)?;
            intake.push(chunk.format, &payload)?;
        }
        "audio-stop" => {}
        kind => tracing::debug!(kind, "ignored in an utterance"),
    }
    Ok(())
}

/// A call of stt-svc, and everything that it was told: an utterance is short enough to be said twice.
struct Listening {
    config: ListenConfig,
    call: Duplex<ListenRequest, ListenResponse>,
    told: Vec<Tell>,
    tried_again: bool,
}

impl Listening {
    async fn open(line: &mut Line, wanted: Transcribe) -> Result<Self, End> {
        let wyoming = &line.gateway.config.wyoming;
        let names = wanted.transcript_names.into_iter().flatten();
        let hints = names.chain(wanted.transcript_terms.into_iter().flatten());
        let config = ListenConfig {
            language: wanted.language.as_deref().map(convert::language_of).unwrap_or_default(),
            partial_interval_ms: wyoming.partial_interval_ms,
            candidate_ms: wyoming.candidate_ms,
            // Hints are hints: a house with more devices than stt-svc takes is heard all the same.
            hot_words: hints
                .filter(|hint| !hint.trim().is_empty() && hint.chars().count() <= MAX_HINT_CHARS)
                .take(MAX_HINTS)
                .collect(),
            ..ListenConfig::default()
        };
        Ok(Self {
            call: call(line, &config).await?,
            config,
            told: Vec::new(),
            tried_again: false,
        })
    }

    fn tell(&mut self, tell: Tell) -> Result<(), Error> {
        self.told.push(tell.clone());
        self.call.send(ListenRequest {
            payload: Some(tell),
            ..ListenRequest::default()
        })
    }

    /// Says everything once more to whoever takes the place of a service that went away.
    async fn again(&mut self, line: &mut Line, error: UpstreamError) -> Result<(), End> {
        if error.code() != ErrorCode::Unavailable || std::mem::replace(&mut self.tried_again, true) {
            return Err(error.into());
        }
        tracing::info!(%error, "listening is tried once more");
        self.call = call(line, &self.config).await?;
        for tell in self.told.clone() {
            self.call.send(ListenRequest {
                payload: Some(tell),
                ..ListenRequest::default()
            })?;
        }
        Ok(())
    }

    /// Takes what stt-svc still has to say of an utterance that is over.
    async fn finish(&mut self, line: &mut Line, transcript: &mut Transcript) -> Result<(), End> {
        let patience = Duration::from_millis(line.gateway.config.timeouts.transcript_ms);
        loop {
            // A call that was opened anew has yet to learn that there is no more.
            self.call.half_close();
            let said = tokio::time::timeout(patience, self.call.message());
            let said = line.unless_gone(said).await?.map_err(|_| Error::Late {
                service: "stt-svc",
                reason: "TRANSCRIPT_TIMED_OUT",
                problem: "it did not say what was said in time",
            })?;
            match said {
                Ok(Some(said)) => transcript.take(line, said).await?,
                Ok(None) => return Ok(()),
                Err(error) => self.again(line, error).await?,
            }
        }
    }
}

async fn call(line: &mut Line, config: &ListenConfig) -> Result<Duplex<ListenRequest, ListenResponse>, End> {
    let (gateway, caller) = (Arc::clone(&line.gateway), line.caller());
    let call = gateway.upstreams.listen(&caller, config.clone());
    Ok(line.unless_gone(call).await??)
}
