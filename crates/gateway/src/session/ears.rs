//! The audio that a client sends, converted once: from its rate, channels and odd pieces to 16,000 Hz mono.
//!
//! Where the client does not take its own loudspeaker out of what it sends, this does it, from the first reply on that was
//! played; before, nothing is touched.
//!
//! The newest audio is kept, because a wake word is known only after it was spoken, and what followed it belongs to
//! the question.

use std::collections::VecDeque;

use solo_audio::{EchoCanceller, Intake, Resampler, SampleRate};

/// Samples that may be inside an echo canceller: an unfinished frame and its delay.
const CANCELLER_HOLDS: usize = 160 + EchoCanceller::DELAY_SAMPLES;

/// Takes the client's loudspeaker out of what it sends.
struct Echo {
    /// From the client's rate to ours.
    resampler: Resampler,
    /// `None` until something is played.
    canceller: Option<EchoCanceller>,
}

/// One conversation's incoming audio.
pub(crate) struct Ears {
    intake: Intake,
    /// `None`: the client takes care of it.
    echo: Option<Echo>,
    kept: VecDeque<i16>,
    capacity: usize,
    /// Samples so far, at 16,000 Hz.
    end: u64,
}

impl Ears {
    /// Hears s16le at `rate` with 1 or 2 channels; keeps the newest `keep_seconds`.
    pub(crate) fn new(rate: SampleRate, channels: u16, keep_seconds: u64) -> Self {
        let capacity = SampleRate::SPEECH.samples_in_ms(keep_seconds.saturating_mul(1000));
        Self {
            intake: Intake::new(rate, channels),
            echo: None,
            kept: VecDeque::new(),
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            end: 0,
        }
    }

    /// Takes what is played at `rate` out of what is heard.
    pub(crate) fn cancelling_echo(self, rate: SampleRate) -> Self {
        let echo = Echo {
            resampler: Resampler::new(rate, SampleRate::SPEECH),
            canceller: None,
        };
        Self {
            echo: Some(echo),
            ..self
        }
    }

    /// The client was given samples to play.
    pub(crate) fn played(&mut self, samples: &[i16]) {
        if let Some(echo) = &mut self.echo {
            let far = echo.resampler.push_i16(samples);
            echo.canceller.get_or_insert_with(EchoCanceller::new).played(&far);
        }
    }

    /// The client has dropped what it had not played yet.
    pub(crate) fn stopped(&mut self) {
        if let Some(canceller) = self.echo.as_mut().and_then(|echo| echo.canceller.as_mut()) {
            canceller.stopped();
        }
    }

    /// Samples so far, at 16,000 Hz.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Takes bytes, in pieces of any length, and gives the samples that are ready.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<i16> {
        let ready = self.intake.push(bytes);
        let ready = self.without_echo(ready);
        self.keep(&ready);
        ready
    }

    fn without_echo(&mut self, samples: Vec<i16>) -> Vec<i16> {
        match self.echo.as_mut().and_then(|echo| echo.canceller.as_mut()) {
            Some(canceller) => canceller.capture(&samples),
            None => samples,
        }
    }

    /// Gives what is still inside the resampler: the last milliseconds before a pause.
    pub(crate) fn flush(&mut self) -> Vec<i16> {
        let mut ready = self.intake.flush();
        if self.echo.as_ref().is_some_and(|echo| echo.canceller.is_some()) {
            // What waits in the canceller for its frame to be full comes out before the silence does.
            ready.extend([0; CANCELLER_HOLDS]);
            ready = self.without_echo(ready);
        }
        self.keep(&ready);
        ready
    }

    /// What is kept from `sample` on, and where it really begins.
    pub(crate) fn since(&self, sample: u64) -> (u64, Vec<i16>) {
        let oldest = self.end - self.kept.len() as u64;
        let first = sample.clamp(oldest, self.end);
        (first, self.kept.range((first - oldest) as usize..).copied().collect())
    }

    fn keep(&mut self, samples: &[i16]) {
        self.end += samples.len() as u64;
        self.kept.extend(samples);
        let surplus = self.kept.len().saturating_sub(self.capacity);
        self.kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use solo_audio::pcm;

    use super::*;

    #[test]
    fn odd_pieces_of_stereo_come_out_as_mono() {
        let mut ears = Ears::new(SampleRate::SPEECH, 2, 1);
        let bytes: Vec<u8> = [100i16, 300, -100, -300, 5, 7]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let heard: Vec<i16> = bytes.chunks(5).flat_map(|piece| ears.push(piece)).collect();
        assert_eq!(heard, [200, -200, 6]);
        assert_eq!(ears.end(), 3);
    }

    #[test]
    fn what_followed_a_sample_is_there_as_long_as_it_is_kept() {
        let mut ears = Ears::new(SampleRate::SPEECH, 1, 1);
        ears.push(&pcm::to_s16le(&(0..20_000).map(|n| n as i16).collect::<Vec<_>>()));
        assert_eq!(ears.since(19_998), (19_998, vec![19_998, 19_999]));
        assert_eq!(ears.since(0).0, 4000, "only the newest second is kept");
        assert_eq!(ears.since(99_999), (20_000, vec![]));
    }

    #[test]
    fn all_rates_come_out_at_one() {
        for rate in [8_000, 11_025, 44_100, 48_000] {
            let mut ears = Ears::new(SampleRate::new(rate).unwrap(), 1, 5);
            let second = vec![0u8; rate as usize * 2];
            let mut heard: usize = second.chunks(777).map(|piece| ears.push(piece).len()).sum();
            heard += ears.flush().len();
            assert!((16_000..=16_001).contains(&heard), "{rate}: {heard}");
        }
    }
}
