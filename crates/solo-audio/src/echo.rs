//! Takes out of a microphone's sound what the loudspeaker beside it plays, so that an assistant never hears itself.
//!
//! The work is done by WebRTC's AEC3, as ported to Rust by the crate sonora (`aec3.rs`, ADR 0015). It knows frames of 10 ms, one
//! played for one captured, and finds the delay between them itself. Around it this file keeps what a caller wants to
//! rely on: pieces of any length, at any moment, on either side.
//!
//! # Time
//! The microphone is the clock. What was played waits in a queue, and every captured frame takes one played frame from
//! it, silence when there is none: the queue empties as a loudspeaker's buffer would, so that a second of speech that
//! was handed over at once is compared with the second of sound that followed. Both clocks may drift: each pause in what
//! is played brings the two together again.
//!
//! AEC3 looks for the echo *behind* what was played, at least 10 ms and at most [`EchoCanceller::REACH`] later; an echo
//! that comes before what made it stays. So [`EchoCanceller::played`] must be called a little before the sound is heard,
//! and not much earlier: a device callback, which fills a buffer that is to be played next, is the right moment. Who sends
//! sound to a player far away, whose buffer holds more than that, hands it over when that player is about to come to it,
//! or hands over silence in front of it.
//!
//! # Cost
//! What comes out is at most 18 ms later than what went in, has lost what is below 100 Hz, as AEC3 wants it, and carries
//! noise in the last bit where nothing was.

mod aec3;

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Framer, SampleRate};
use aec3::Aec3;

/// Removes the echo of what is played from what is captured. Both are one channel at [`SampleRate::SPEECH`].
///
/// ```
/// # use solo_audio::EchoCanceller;
/// let mut canceller = EchoCanceller::new();
/// canceller.played(&[0; 500]); // when it goes to the loudspeaker
/// let clean = canceller.capture(&[0; 250]); // what came from the microphone
/// assert_eq!(clean.strict.len(), 160); // whole frames of 10 ms; the rest comes with the next call
/// ```
pub struct EchoCanceller {
    aec3: Aec3,
    captured: Framer<i16>,
    played: VecDeque<i16>,
    /// What was played and has met no captured frame; reused, so that no frame allocates.
    far: [i16; FRAME],
}

/// Captured sound without its echo, twice: as long, and of the same moments. Where nothing is played they hardly differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clean {
    /// As much of the echo is taken out as can be, and with it now and then a piece of who speaks over it: for whoever must
    /// not take the echo for a voice.
    pub strict: Vec<i16>,
    /// Who speaks over the echo is whole, and of the echo a whisper is left: for whoever reads the words.
    pub gentle: Vec<i16>,
}

/// Samples of a frame: 10 ms.
const FRAME: usize = 160;
/// Silence in front of what is played after a pause: a captured frame ends up to one frame after its samples came, and
/// without this the queue would run dry in the middle of a word.
const LEAD: usize = FRAME;
/// The most that waits to be heard, ten minutes (19 MB); what is played beyond that is not compared with anything. Speech
/// is made many times faster than it is heard, so a long reply waits here almost as a whole; one of 512 tokens lasts two
/// to three minutes.
const LONGEST_QUEUE: usize = 600 * SampleRate::SPEECH.hz() as usize;

impl EchoCanceller {
    /// How long after [`EchoCanceller::played`] its sound may come back through the microphone and is still found.
    pub const REACH: Duration = Duration::from_millis(500);
    /// How much later a sample comes out than it went in, besides waiting for its frame of 10 ms: 8 ms.
    pub const DELAY_SAMPLES: usize = 128;

    /// A canceller that has heard nothing.
    pub fn new() -> Self {
        Self {
            aec3: Aec3::new(),
            captured: Framer::new(FRAME),
            played: VecDeque::new(),
            far: [0; FRAME],
        }
    }

    /// Takes what goes to the loudspeaker now, or is next in its buffer. Silence need not be told.
    pub fn played(&mut self, samples: &[i16]) {
        if samples.is_empty() {
            return;
        }
        if self.played.is_empty() {
            self.played.extend([0; LEAD]);
        }
        let room = LONGEST_QUEUE.saturating_sub(self.played.len());
        self.played.extend(&samples[..samples.len().min(room)]);
    }

    /// The loudspeaker fell silent before it had played all that it was given: what has not been heard never will be.
    pub fn stopped(&mut self) {
        self.played.clear();
    }

    /// Takes what the microphone captured and gives it back without the echo: all whole frames, so between none and
    /// as many samples as went in plus 159. They come [`EchoCanceller::DELAY_SAMPLES`] late.
    pub fn capture(&mut self, samples: &[i16]) -> Clean {
        self.captured.push(samples);
        let mut clean = Clean::default();
        while let Some(frame) = self.captured.next_frame() {
            let there = self.played.len().min(FRAME);
            self.far[there..].fill(0);
            for (to, sample) in self.far.iter_mut().zip(self.played.drain(..there)) {
                *to = sample;
            }
            self.aec3.process(&self.far, &frame.samples, &mut clean);
        }
        clean
    }

    /// Begins anew after a gap in what is captured, or with another microphone or loudspeaker: forgets the room, what
    /// was played, and up to 159 samples that waited for their frame.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for EchoCanceller {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for EchoCanceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EchoCanceller")
            .field("played_waiting", &self.played.len())
            .field("captured_waiting", &self.captured.pending())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
