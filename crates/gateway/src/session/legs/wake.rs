//! Watches a conversation's audio for keywords, as long as the conversation lasts.
//!
//! When wake-svc goes away, the call is opened again at once, beginning with the last seconds of audio, so that a restart
//! misses no keyword. When that fails the conversation is told, once, and it is tried with growing pauses; what is said
//! meanwhile cannot wake anybody, so it is not kept.

use std::collections::VecDeque;
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
/// Audio that a new call begins with, in samples: longer than any keyword.
const RECENT: usize = 32_000;
/// Two keywords are not spoken within this, in samples: what is heard again is the same one.
const SAME: u64 = 8_000;

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
            recent: VecDeque::new(),
            last_wake: None,
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
    /// The newest audio that was sent, without gaps.
    recent: VecDeque<(u64, Vec<i16>)>,
    /// Where the last keyword ended.
    last_wake: Option<u64>,
}

impl Watch {
    async fn run(mut self) {
        let mut pause = BACKOFF.0;
        let mut told = false;
        loop {
            let begun = tokio::time::Instant::now();
            let mut worked = false;
            let error = match self.watch(&mut worked).await {
                Ok(()) => return self.ear.hears(LegEvent::WakeEnded).await,
                Err(error) => error,
            };
            if worked && begun.elapsed() > BACKOFF.0 {
                (pause, told) = (BACKOFF.0, false);
                continue;
            }
            if !told {
                told = true;
                self.ear.hears(LegEvent::WakeFailed(error)).await;
            }
            if !self.be_deaf(pause).await {
                return self.ear.hears(LegEvent::WakeEnded).await;
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Drops audio for a while; false when there is no more.
    async fn be_deaf(&mut self, pause: Duration) -> bool {
        self.recent.clear();
        let resume = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(resume) => return true,
                audio = self.audio.recv() => if audio.is_none() { return false },
            }
        }
    }

    fn remember(&mut self, first: u64, samples: Vec<i16>) {
        self.recent.push_back((first, samples));
        let mut length: usize = self.recent.iter().map(|(_, samples)| samples.len()).sum();
        while let Some((_, oldest)) = self.recent.front()
            && length - oldest.len() >= RECENT
        {
            length -= oldest.len();
            self.recent.pop_front();
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
        let mut base = self.recent.front().map(|(first, _)| *first);
        let mut sent = 0;
        for (_, samples) in &self.recent {
            call.send(request(samples, &mut sent))?;
        }
        let mut open = true;
        loop {
            tokio::select! {
                audio = self.audio.recv(), if open => match audio {
                    Some((first, samples)) => {
                        let base = *base.get_or_insert(first);
                        if first != base + sent {
                            return Err(Error::Contract { service: "wake-svc", problem: "it does not keep up" });
                        }
                        call.send(request(&samples, &mut sent))?;
                        self.remember(first, samples);
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
                            let again = self.last_wake.is_some_and(|last| event.end_sample < last + SAME);
                            if !again {
                                self.last_wake = Some(event.end_sample);
                                self.ear.hears(LegEvent::Wake(event)).await;
                            }
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

fn request(samples: &[i16], sent: &mut u64) -> DetectRequest {
    let chunk = AudioChunk {
        data: pcm::to_s16le(samples),
        first_sample: *sent,
    };
    *sent += samples.len() as u64;
    DetectRequest {
        payload: Some(detect_request::Payload::Audio(chunk)),
    }
}
