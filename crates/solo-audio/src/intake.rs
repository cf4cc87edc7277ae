//! A stream of bytes as clients send it, made into what Solo hears: 16,000 Hz, one channel.

use crate::{Resampler, SampleRate, pcm};

/// s16le at one rate with one or two channels, in pieces of any length, to mono at [`SampleRate::SPEECH`].
pub struct Intake {
    channels: u16,
    /// Bytes of an instant that is not complete yet.
    carry: Vec<u8>,
    resampler: Resampler,
}

impl Intake {
    /// Takes audio at `rate`; no channel counts as one.
    pub fn new(rate: SampleRate, channels: u16) -> Self {
        Self {
            channels: channels.max(1),
            carry: Vec::new(),
            resampler: Resampler::new(rate, SampleRate::SPEECH),
        }
    }

    /// Takes bytes and gives the samples that are ready.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<i16> {
        self.carry.extend_from_slice(bytes);
        let whole = self.carry.len() - self.carry.len() % (2 * usize::from(self.channels));
        let (pairs, _) = self.carry[..whole].as_chunks::<2>();
        let samples: Vec<i16> = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        self.carry.drain(..whole);
        match pcm::downmix_i16(&samples, self.channels) {
            Ok(mono) => self.resampler.push_i16(&mono),
            Err(never) => unreachable!("whole instants were cut: {never}"),
        }
    }

    /// Bytes of an instant that is not complete yet.
    pub fn waiting(&self) -> &[u8] {
        &self.carry
    }

    /// Gives what is still inside the resampler, and forgets an instant that was never completed: after it comes a pause.
    pub fn flush(&mut self) -> Vec<i16> {
        self.carry.clear();
        self.resampler.flush_i16()
    }
}
