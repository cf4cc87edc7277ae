//! Where a reply's sound goes: into a file, all at once, or to a loudspeaker, which takes its time and may be stopped.
//!
//! The gateway ends a turn when all of its sound has been played, so both say how far they have come, in samples of the
//! format that the gateway sends.

use std::sync::Arc;

use solo_audio::{Resampler, SampleRate, pcm};

use crate::audio::speaker::Speaker;
use crate::failure::Failure;

/// Where a reply's sound goes.
pub(super) enum Sink {
    /// Kept for a file.
    File(Kept),
    /// Played.
    Speaker(Box<Loud>),
}

impl Sink {
    /// Takes more of the sound of a turn's reply, s16le at the gateway's rate.
    pub(super) fn play(&mut self, turn_id: &str, data: &[u8]) -> Result<(), Failure> {
        let samples =
            pcm::from_s16le(data).map_err(|e| Failure::failed(format!("gateway: its audio is broken: {e}")))?;
        match self {
            Self::File(kept) => kept.samples.extend(samples),
            Self::Speaker(loud) => loud.play(turn_id, &samples),
        }
        Ok(())
    }

    /// Takes a sound that is no reply. A file keeps replies alone.
    pub(super) fn chime(&mut self, data: &[u8]) -> Result<(), Failure> {
        let samples =
            pcm::from_s16le(data).map_err(|e| Failure::failed(format!("gateway: its audio is broken: {e}")))?;
        if let Self::Speaker(loud) = self {
            loud.chime(&samples);
        }
        Ok(())
    }

    /// How many samples of the running turn's reply have been played, in the gateway's format. None between turns.
    pub(super) fn played(&mut self) -> u64 {
        match self {
            Self::File(kept) => (kept.samples.len() - kept.reply_start) as u64,
            Self::Speaker(loud) => loud.played(),
        }
    }

    /// The turn is over. Interrupted, none of its sound is wanted any more.
    pub(super) fn end(&mut self, turn_id: &str, interrupted: bool) {
        match self {
            Self::File(kept) => kept.reply_start = kept.samples.len(),
            Self::Speaker(loud) => loud.end(turn_id, interrupted),
        }
    }
}

/// The sound of all replies.
#[derive(Default)]
pub(super) struct Kept {
    /// Samples at the gateway's rate.
    pub(super) samples: Vec<i16>,
    /// Where the running turn's reply begins.
    reply_start: usize,
}

/// A loudspeaker with the reply that it plays.
pub(super) struct Loud {
    speaker: Option<Arc<Speaker>>,
    /// Rate at which the gateway sends.
    rate: SampleRate,
    reply: Reply,
    /// Number of the reply that the queue counts.
    number: u64,
}

#[derive(Default)]
struct Reply {
    turn_id: String,
    /// To the loudspeaker's rate; none before the first sample.
    resampler: Option<Resampler>,
    /// Samples that the gateway sent.
    sent: u64,
    /// Something is still in the resampler.
    inside: bool,
    /// What still comes of it is not played.
    stopped: bool,
    /// Nobody asks any more how far it has come.
    over: bool,
}

impl Loud {
    /// A loudspeaker for what the gateway sends at `rate`.
    pub(super) fn new(speaker: Option<Arc<Speaker>>, rate: SampleRate) -> Self {
        Self {
            speaker,
            rate,
            reply: Reply::default(),
            number: 0,
        }
    }

    /// Another loudspeaker, or none, from now on. What the old one had not played is lost.
    pub(super) fn replace(&mut self, speaker: Option<Arc<Speaker>>) {
        self.speaker = speaker;
        self.reply.stopped = true;
        self.reply.resampler = None;
    }

    /// True while something is being played.
    pub(super) fn is_sounding(&self) -> bool {
        self.speaker.as_ref().is_some_and(|speaker| !speaker.queue().is_empty())
    }

    /// Falls silent at once; what still comes of this turn (empty: of the one that is being played) is not played.
    pub(super) fn stop(&mut self, turn_id: &str) {
        if !turn_id.is_empty() && turn_id != self.reply.turn_id {
            return;
        }
        self.reply.stopped = true;
        if let Some(speaker) = &self.speaker {
            speaker.stop();
        }
    }

    fn end(&mut self, turn_id: &str, interrupted: bool) {
        if interrupted {
            self.stop(turn_id);
        } else {
            self.flush();
        }
        self.reply.over = true;
    }

    fn play(&mut self, turn_id: &str, samples: &[i16]) {
        if turn_id != self.reply.turn_id {
            self.flush();
            self.number += 1;
            self.reply = Reply {
                turn_id: turn_id.to_owned(),
                ..Reply::default()
            };
        }
        let (Some(speaker), false) = (&self.speaker, self.reply.stopped) else {
            return;
        };
        let resampler = self
            .reply
            .resampler
            .get_or_insert_with(|| Resampler::new(self.rate, speaker.rate));
        self.reply.sent += samples.len() as u64;
        self.reply.inside = true;
        let samples = resampler.push(&pcm::to_f32(samples));
        speaker.queue().push(Some(self.number), samples);
    }

    fn chime(&mut self, samples: &[i16]) {
        if let Some(speaker) = &self.speaker {
            let samples = solo_audio::resample(&pcm::to_f32(samples), self.rate, speaker.rate);
            speaker.queue().push(None, samples);
        }
    }

    /// Nothing more comes for now: what is left in the resampler is played.
    fn flush(&mut self) {
        if let (Some(speaker), Some(resampler), true) = (&self.speaker, &mut self.reply.resampler, self.reply.inside) {
            speaker.queue().push(Some(self.number), resampler.flush());
            self.reply.inside = false;
        }
    }

    fn played(&mut self) -> u64 {
        let (Some(speaker), false) = (self.speaker.clone(), self.reply.over) else {
            return 0;
        };
        let (taken, empty) = {
            let queue = speaker.queue();
            (queue.played(self.number), queue.is_empty())
        };
        if empty && self.reply.inside && !self.reply.stopped {
            self.flush();
        } else if empty && !self.reply.stopped {
            // To the last sample, however the rates round.
            return self.reply.sent;
        }
        let sent = taken * u64::from(self.rate.hz()) / u64::from(speaker.rate.hz());
        sent.min(self.reply.sent)
    }
}
