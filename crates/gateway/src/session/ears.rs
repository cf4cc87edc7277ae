//! The audio that a client sends, converted once: from its rate, channels and odd pieces to 16,000 Hz mono.
//!
//! Where the client does not take its own loudspeaker out of what it sends, this does it, from the first reply on that was
//! played; before, nothing is touched.
//!
//! The newest audio is kept, because a wake word is known only after it was spoken, and what followed it belongs to
//! the question.

use std::collections::VecDeque;

use solo_audio::{Clean, EchoCanceller, Intake, NoiseSuppressor, Resampler, SampleRate};

/// Samples that may be inside an echo canceller and a noise suppressor: an unfinished frame and their delays.
const CANCELLER_HOLDS: usize = 160 + EchoCanceller::DELAY_SAMPLES;
const SUPPRESSOR_HOLDS: usize = 160 + NoiseSuppressor::DELAY_SAMPLES;

/// Takes the client's loudspeaker out of what it sends.
struct Echo {
    /// From the client's rate to ours.
    resampler: Resampler,
    /// `None` until something is played.
    canceller: Option<EchoCanceller>,
}

/// Takes steady noise out of both ways in which sound is heard.
#[derive(Default)]
struct Noise {
    strict: NoiseSuppressor,
    gentle: NoiseSuppressor,
}

/// One conversation's incoming audio.
pub(crate) struct Ears {
    intake: Intake,
    /// The same for words, from the first that the client sent apart; at our rate alone.
    words: Option<Intake>,
    /// Rate and channels are ours.
    plain: bool,
    /// `None`: the client takes care of it.
    echo: Option<Echo>,
    /// `None`: noise is left in.
    noise: Option<Noise>,
    kept: VecDeque<(i16, i16)>,
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
            words: None,
            plain: rate == SampleRate::SPEECH && channels == 1,
            echo: None,
            noise: None,
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

    /// Takes steady noise out of what is heard.
    pub(crate) fn suppressing_noise(self) -> Self {
        Self {
            noise: Some(Noise::default()),
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

    /// True when `words` can be what words are read from where `bytes` are heard.
    pub(crate) fn takes_words(&self, bytes: &[u8], words: &[u8]) -> bool {
        self.plain && self.echo.is_none() && words.len() == bytes.len()
    }

    /// Takes bytes, in pieces of any length, and gives the samples that are ready. Words are read from `words`, if there are
    /// some that [`Ears::takes_words`] admits.
    pub(crate) fn push(&mut self, bytes: &[u8], words: &[u8]) -> Clean {
        if self.words.is_none() && !words.is_empty() {
            let mut intake = Intake::new(SampleRate::SPEECH, 1);
            intake.push(self.intake.waiting());
            self.words = Some(intake);
        }
        let strict = self.intake.push(bytes);
        let apart = if words.is_empty() { bytes } else { words };
        let ready = match &mut self.words {
            Some(intake) => Clean {
                gentle: intake.push(apart),
                strict,
            },
            None => self.without_echo(strict),
        };
        let ready = self.without_noise(ready);
        self.keep(&ready);
        ready
    }

    fn without_echo(&mut self, samples: Vec<i16>) -> Clean {
        match self.echo.as_mut().and_then(|echo| echo.canceller.as_mut()) {
            Some(canceller) => canceller.capture(&samples),
            None => Clean {
                gentle: samples.clone(),
                strict: samples,
            },
        }
    }

    fn without_noise(&mut self, samples: Clean) -> Clean {
        match &mut self.noise {
            Some(noise) => Clean {
                strict: noise.strict.suppress(&samples.strict),
                gentle: noise.gentle.suppress(&samples.gentle),
            },
            None => samples,
        }
    }

    /// Gives what is still inside the resampler: the last milliseconds before a pause.
    pub(crate) fn flush(&mut self) -> Clean {
        if let Some(words) = &mut self.words {
            words.flush();
        }
        let mut rest = self.intake.flush();
        // What waits for its frame to be full comes out before the silence does.
        if self.echo.as_ref().is_some_and(|echo| echo.canceller.is_some()) {
            rest.extend([0; CANCELLER_HOLDS]);
        }
        if self.noise.is_some() {
            rest.extend([0; SUPPRESSOR_HOLDS]);
        }
        let ready = self.without_echo(rest);
        let ready = self.without_noise(ready);
        self.keep(&ready);
        ready
    }

    /// What is kept from `sample` on, and where it really begins.
    pub(crate) fn since(&self, sample: u64) -> (u64, Clean) {
        let oldest = self.end - self.kept.len() as u64;
        let first = sample.clamp(oldest, self.end);
        let (strict, gentle) = self.kept.range((first - oldest) as usize..).copied().unzip();
        (first, Clean { strict, gentle })
    }

    fn keep(&mut self, samples: &Clean) {
        self.end += samples.strict.len() as u64;
        let both = samples.strict.iter().zip(&samples.gentle);
        self.kept.extend(both.map(|(strict, gentle)| (*strict, *gentle)));
        let surplus = self.kept.len().saturating_sub(self.capacity);
        self.kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use solo_audio::{level, pcm};

    use super::*;

    #[test]
    fn odd_pieces_of_stereo_come_out_as_mono() {
        let mut ears = Ears::new(SampleRate::SPEECH, 2, 1);
        let bytes: Vec<u8> = [100i16, 300, -100, -300, 5, 7]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let heard: Vec<i16> = bytes.chunks(5).flat_map(|piece| ears.push(piece, &[]).strict).collect();
        assert_eq!(heard, [200, -200, 6]);
        assert_eq!(ears.end(), 3);
    }

    #[test]
    fn noise_is_taken_out_and_what_waits_for_a_frame_is_not_kept_back() {
        let hiss: Vec<i16> = (0..48_077_i64).map(|n| (n * n % 1_201 - 600) as i16).collect();
        let mut ears = Ears::new(SampleRate::SPEECH, 1, 4).suppressing_noise();
        let mut heard = ears.push(&pcm::to_s16le(&hiss), &[]).strict;
        assert_eq!(heard.len(), 48_000, "whole frames");
        heard.extend(ears.flush().strict);
        assert!(heard.len() >= hiss.len() + NoiseSuppressor::DELAY_SAMPLES);
        let level = |samples: &[i16]| level::rms_dbfs_i16(&samples[32_000..48_000]);
        let taken = level(&hiss) - level(&heard);
        assert!(taken > 6.0, "{taken:.1} dB");
    }

    #[test]
    fn a_client_may_send_what_words_are_read_from() {
        let mut ears = Ears::new(SampleRate::SPEECH, 1, 1);
        let both = |strict: &[i16], gentle: &[i16]| Clean {
            strict: strict.to_vec(),
            gentle: gentle.to_vec(),
        };
        // Half a sample waits for its other half, in both.
        assert_eq!(ears.push(&[1, 0, 2], &[]), both(&[1], &[1]));
        assert_eq!(ears.push(&[0, 3, 0], &[9, 8, 0]), both(&[2, 3], &[2 + 9 * 256, 8]));
        assert_eq!(ears.push(&[4, 0], &[]), both(&[4], &[4]));
        assert_eq!(ears.since(1), (1, both(&[2, 3, 4], &[2 + 9 * 256, 8, 4])));
        assert!(ears.takes_words(&[0, 0], &[0, 0]) && !ears.takes_words(&[0, 0], &[0]));
        assert!(!Ears::new(SampleRate::SPEECH, 2, 1).takes_words(&[0], &[0]));
        assert!(!Ears::new(SampleRate::MIN, 1, 1).takes_words(&[0], &[0]));
        let cancelling = Ears::new(SampleRate::SPEECH, 1, 1).cancelling_echo(SampleRate::SPEECH);
        assert!(!cancelling.takes_words(&[0], &[0]), "then the gateway does it");
    }

    #[test]
    fn what_followed_a_sample_is_there_as_long_as_it_is_kept() {
        let mut ears = Ears::new(SampleRate::SPEECH, 1, 1);
        ears.push(&pcm::to_s16le(&(0..20_000).map(|n| n as i16).collect::<Vec<_>>()), &[]);
        let last = vec![19_998, 19_999];
        let both = Clean {
            strict: last.clone(),
            gentle: last,
        };
        assert_eq!(ears.since(19_998), (19_998, both));
        assert_eq!(ears.since(0).0, 4000, "only the newest second is kept");
        assert_eq!(ears.since(99_999), (20_000, Clean::default()));
    }

    #[test]
    fn all_rates_come_out_at_one() {
        for rate in [8_000, 11_025, 44_100, 48_000] {
            let mut ears = Ears::new(SampleRate::new(rate).unwrap(), 1, 5);
            let second = vec![0u8; rate as usize * 2];
            let mut heard: usize = second.chunks(777).map(|piece| ears.push(piece, &[]).strict.len()).sum();
            heard += ears.flush().strict.len();
            assert!((16_000..=16_001).contains(&heard), "{rate}: {heard}");
        }
    }
}
