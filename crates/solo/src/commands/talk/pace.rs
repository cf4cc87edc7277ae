//! When each piece of a recording is due, so that it arrives as a microphone's sound would. Pure.
//!
//! Due times are counted from the first piece, not from the piece before: sleeping a little too long once does not shift
//! everything that follows.

use std::time::{Duration, Instant};

use solo_audio::SampleRate;

/// Length of a piece, in ms.
pub(super) const PIECE_MS: u64 = 20;

/// The pace of one stream of audio.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    rate: SampleRate,
    start: Instant,
}

impl Pace {
    /// A stream whose first sample is due at `start`.
    pub(super) fn new(rate: SampleRate, start: Instant) -> Self {
        Self { rate, start }
    }

    /// Samples of a piece.
    pub(super) fn piece(&self) -> usize {
        usize::try_from(self.rate.samples_in_ms(PIECE_MS))
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// When a piece that begins with this sample may be sent: once a microphone would have recorded all of it.
    pub(super) fn due(&self, first_sample: u64, samples: usize) -> Instant {
        let end = first_sample + samples as u64;
        self.start + Duration::from_nanos(end.saturating_mul(1_000_000_000) / u64::from(self.rate.hz()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_audio_takes_a_second_whatever_the_rate() {
        for hz in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            let (start, rate) = (Instant::now(), SampleRate::new(hz).unwrap());
            let pace = Pace::new(rate, start);
            let piece = pace.piece();
            let ms = piece as f64 * 1e3 / f64::from(hz);
            assert!((19.0..=40.0).contains(&ms), "{hz} Hz: a piece of {ms} ms");
            let last = u64::from(hz) - piece as u64;
            assert_eq!(pace.due(last, piece), start + Duration::from_secs(1), "{hz} Hz");
        }
    }

    #[test]
    fn pieces_do_not_drift() {
        let (start, rate) = (Instant::now(), SampleRate::new(22_050).unwrap());
        let pace = Pace::new(rate, start);
        let piece = pace.piece();
        let hour = 3600 * 22_050 / piece as u64;
        let due = pace.due((hour - 1) * piece as u64, piece) - start;
        assert!(
            due <= Duration::from_secs(3600) && due > Duration::from_millis(3_599_900),
            "{due:?}"
        );
    }
}
