//! Watches a conversation's audio for keywords, as long as the conversation lasts.
//!
//! When wake-svc goes away the conversation is told once, and the call is opened again with growing pauses; what is said
//! meanwhile cannot wake anybody, so it is not kept.

use std::sync::Arc;
use std::time::Duration;

use solo_audio::pcm;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::wake::v1::{DetectConfig, DetectRequest, KeywordConfig, detect_request, detect_response};
use solo_service::{RequestContext, ServiceError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Ear, LegEvent};
use crate::Gateway;
use crate::error::Error;

/// Pieces of audio that may wait.
const WAITING: usize = 1024;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A running watch.
pub(in crate::session) struct WakeLeg {
    audio: mpsc::Sender<(u64, Vec<i16>)>,
    _task: AbortOnDropHandle<()>,
}

impl WakeLeg {
    pub(in crate::session) fn start(gateway: &Arc<Gateway>, caller: RequestContext, ear: Ear) -> Self {
        let (sender, audio) = mpsc::channel(WAITING);
        let watch = Watch {
            gateway: Arc::clone(gateway),
            caller,
            ear,
            audio,
        };
        Self {
            audio: sender,
            _task: gateway.tasks.spawn(&tracing::Span::current(), watch.run()),
        }
    }

    /// Hands samples over; `first` is the position of the first. A full queue means that wake-svc is not to be reached.
    pub(in crate::session) fn hear(&self, first: u64, samples: &[i16]) {
        // Lost audio shows as a gap in the positions, and the next call begins after it.
        let _ = self.audio.try_send((first, samples.to_vec()));
    }

    /// No more audio will come; [`LegEvent::WakeEnded`] follows when all of it was watched.
    pub(in crate::session) fn end(&mut self) {
        self.audio = mpsc::channel(1).0;
    }
}

struct Watch {
    gateway: Arc<Gateway>,
    caller: RequestContext,
    ear: Ear,
    audio: mpsc::Receiver<(u64, Vec<i16>)>,
}

impl Watch {
    async fn run(mut self) {
        let mut pause = BACKOFF.0;
        let mut told = false;
        loop {
            let mut worked = false;
            match self.watch(&mut worked).await {
                Ok(()) => return self.ear.hears(LegEvent::WakeEnded).await,
                Err(error) => {
                    if worked {
                        (pause, told) = (BACKOFF.0, false);
                    }
                    if !told {
                        told = true;
                        self.ear.hears(LegEvent::WakeFailed(error)).await;
                    }
                }
            }
            let resume = tokio::time::Instant::now() + pause;
            pause = (pause * 2).min(BACKOFF.1);
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(resume) => break,
                    audio = self.audio.recv() => if audio.is_none() {
                        return self.ear.hears(LegEvent::WakeEnded).await;
                    },
                }
            }
        }
    }

    /// One call, until the audio ends.
    async fn watch(&mut self, worked: &mut bool) -> Result<(), Error> {
        let keyword = |keyword: &String| KeywordConfig {
            keyword: keyword.clone(),
            ..KeywordConfig::default()
        };
        let keywords = self.gateway.config.voice.keywords.iter().map(keyword).collect();
        let mut call = self
            .gateway
            .upstreams
            .detect(&self.caller, DetectConfig { keywords })
            .await?;
        *worked = true;
        let mut base = None;
        let mut sent = 0;
        let mut open = true;
        loop {
            tokio::select! {
                audio = self.audio.recv(), if open => match audio {
                    Some((first, samples)) => {
                        let base = *base.get_or_insert(first);
                        if first != base + sent {
                            return Err(Error::Contract { service: "wake-svc", problem: "it does not keep up" });
                        }
                        let chunk = AudioChunk { data: pcm::to_s16le(&samples), first_sample: sent };
                        sent += samples.len() as u64;
                        call.send(DetectRequest { payload: Some(detect_request::Payload::Audio(chunk)) })?;
                    }
                    None => {
                        open = false;
                        call.half_close();
                    }
                },
                said = call.message() => match said {
                    Ok(Some(message)) => {
                        if let Some(detect_response::Payload::Wake(mut event)) = message.payload {
                            event.start_sample += base.unwrap_or(0);
                            event.end_sample += base.unwrap_or(0);
                            self.ear.hears(LegEvent::Wake(event)).await;
                        }
                    }
                    Ok(None) if !open => return Ok(()),
                    Ok(None) => return Err(Error::Contract { service: "wake-svc", problem: "it stopped listening" }),
                    Err(error) => {
                        tracing::debug!(reason = error.reason(), "wake detection broke off");
                        return Err(error.into());
                    }
                },
            }
        }
    }
}
