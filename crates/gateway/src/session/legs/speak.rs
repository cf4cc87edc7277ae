//! The voice of one reply: text goes in as it is written, audio comes out at the client's rate.
//!
//! If tts-svc goes away before a sound was made, the text so far is sent once more to whoever takes its place.

use std::sync::Arc;

use solo_audio::{Resampler, SampleRate, pcm};
use solo_proto::tts::v1::{SpeakRequest, SpeechEvent, VoiceConfig, speak_request, speech_event};
use solo_service::RequestContext;
use solo_turn::TurnId;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Ear, LegEvent, is_passing};
use crate::error::Error;
use crate::session::outbox::Outbox;
use crate::{Gateway, convert};

/// What speech is told.
enum Input {
    Text(String),
    Finish,
}

/// A reply that is being spoken. Dropping it silences it.
pub(in crate::session) struct SpeakLeg {
    input: mpsc::UnboundedSender<Input>,
    _task: AbortOnDropHandle<()>,
}

/// How a reply is spoken.
pub(in crate::session) struct Manner {
    pub(in crate::session) turn: TurnId,
    /// Which attempt at speaking it is; what an earlier one still says is not wanted.
    pub(in crate::session) take: u64,
    pub(in crate::session) voice: String,
    pub(in crate::session) rate: SampleRate,
}

impl SpeakLeg {
    pub(in crate::session) fn start(
        gateway: &Arc<Gateway>,
        caller: RequestContext,
        span: &tracing::Span,
        manner: Manner,
        outbox: Outbox,
        ear: Ear,
    ) -> Self {
        let (sender, input) = mpsc::unbounded_channel();
        let mouth = Mouth {
            gateway: Arc::clone(gateway),
            caller,
            manner,
            outbox,
            ear,
            input,
            text: String::new(),
            finished: false,
            made_sound: false,
        };
        Self {
            input: sender,
            _task: gateway.tasks.spawn(span, mouth.run()),
        }
    }

    /// Speaks this next.
    pub(in crate::session) fn say(&self, text: String) {
        // A leg that has ended has said why.
        let _ = self.input.send(Input::Text(text));
    }

    /// No more text will come.
    pub(in crate::session) fn finish(&self) {
        // As above.
        let _ = self.input.send(Input::Finish);
    }
}

struct Mouth {
    gateway: Arc<Gateway>,
    caller: RequestContext,
    manner: Manner,
    outbox: Outbox,
    ear: Ear,
    input: mpsc::UnboundedReceiver<Input>,
    /// Text so far.
    text: String,
    finished: bool,
    made_sound: bool,
}

impl Mouth {
    async fn run(mut self) {
        let (turn, take) = (self.manner.turn, self.manner.take);
        let mut result = self.speak().await;
        if let Err(error) = &result
            && is_passing(error)
            && !self.made_sound
        {
            tracing::info!(%error, "speaking is tried once more");
            result = self.speak().await;
        }
        match result {
            Ok(true) => self.ear.hears(LegEvent::Spoken { turn, take }).await,
            Ok(false) => {}
            Err(error) => self.ear.hears(LegEvent::SpeakFailed { turn, take, error }).await,
        }
    }

    /// One call. True when everything was spoken; false when it was silenced.
    async fn speak(&mut self) -> Result<bool, Error> {
        let voice = VoiceConfig {
            voice: self.manner.voice.clone(),
            ..VoiceConfig::default()
        };
        let mut call = self.gateway.upstreams.speak(&self.caller, voice).await?;
        if !self.text.is_empty() {
            call.send(text(self.text.clone()))?;
        }
        if self.finished {
            call.half_close();
        }
        let mut resampler = None;
        loop {
            tokio::select! {
                input = self.input.recv(), if !self.finished => match input {
                    None => return Ok(false),
                    Some(Input::Text(delta)) => {
                        self.text.push_str(&delta);
                        call.send(text(delta))?;
                    }
                    Some(Input::Finish) => {
                        self.finished = true;
                        call.half_close();
                    }
                },
                message = call.message() => match message? {
                    Some(message) => {
                        if let Some(SpeechEvent { payload: Some(payload) }) = message.event {
                            self.hear(payload, &mut resampler).await?;
                        }
                    }
                    None if self.finished => {
                        if let Some(resampler) = &mut resampler {
                            let rest = resampler.flush_i16();
                            self.hand_over(&rest).await;
                        }
                        return Ok(true);
                    }
                    None => return Err(Error::Contract { service: "tts-svc", problem: "it stopped in the middle" }),
                },
            }
        }
    }

    async fn hear(&mut self, payload: speech_event::Payload, resampler: &mut Option<Resampler>) -> Result<(), Error> {
        let broken = |problem| Error::Contract {
            service: "tts-svc",
            problem,
        };
        match payload {
            speech_event::Payload::Header(header) => {
                let format = header.format.unwrap_or_default();
                let rate = SampleRate::new(format.sample_rate_hz)
                    .map_err(|_| broken("it speaks at a rate that cannot be played"))?;
                if format.channels != 1 {
                    return Err(broken("it speaks in more than one channel"));
                }
                *resampler = Some(Resampler::new(rate, self.manner.rate));
            }
            speech_event::Payload::Mark(mark) => {
                let from = resampler
                    .as_ref()
                    .ok_or_else(|| broken("it speaks before it says how"))?
                    .from();
                if let Some(mark) = convert::mark(&mark, from, self.manner.rate) {
                    self.ear
                        .hears(LegEvent::Marked {
                            turn: self.manner.turn,
                            take: self.manner.take,
                            mark,
                        })
                        .await;
                }
            }
            speech_event::Payload::Audio(chunk) => {
                let resampler = resampler
                    .as_mut()
                    .ok_or_else(|| broken("it speaks before it says how"))?;
                let samples = pcm::from_s16le(&chunk.data).map_err(|_| broken("it sends half a sample"))?;
                let ready = resampler.push_i16(&samples);
                self.hand_over(&ready).await;
            }
            speech_event::Payload::Summary(_) => {}
        }
        Ok(())
    }

    /// Hands audio over, in pieces of at most 100 ms, as fast as the client takes it.
    async fn hand_over(&mut self, samples: &[i16]) {
        let piece = self.manner.rate.samples_in_ms(100) as usize;
        for samples in samples.chunks(piece) {
            self.made_sound = true;
            let room = self.outbox.room().await;
            let event = LegEvent::Audio {
                turn: self.manner.turn,
                take: self.manner.take,
                data: pcm::to_s16le(samples),
                room,
            };
            self.ear.hears(event).await;
        }
    }
}

fn text(delta: String) -> SpeakRequest {
    SpeakRequest {
        payload: Some(speak_request::Payload::TextDelta(delta)),
    }
}
