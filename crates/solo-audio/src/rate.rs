//! A sample rate that has been checked once, so that nothing behind it divides by zero or allocates for 4 GHz.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Samples per second and channel, 8,000 to 192,000 Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(NonZeroU32);

/// A rate outside 8,000 to 192,000 Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sample rate of {hz} Hz cannot be used: {} to {} Hz is wanted", SampleRate::MIN.hz(), SampleRate::MAX.hz())]
pub struct SampleRateError {
    /// The rate that was refused, in Hz.
    pub hz: u32,
}

impl SampleRate {
    /// The lowest rate that is accepted: telephone speech, 8,000 Hz.
    pub const MIN: Self = Self::constant(8_000);
    /// The highest rate that is accepted, 192,000 Hz.
    pub const MAX: Self = Self::constant(192_000);
    /// The rate of all speech inside Solo, 16,000 Hz.
    pub const SPEECH: Self = Self::constant(16_000);

    /// Checks `hz`.
    ///
    /// # Errors
    /// When it is 0, or outside [`SampleRate::MIN`] to [`SampleRate::MAX`].
    pub fn new(hz: u32) -> Result<Self, SampleRateError> {
        match NonZeroU32::new(hz) {
            Some(rate) if hz >= Self::MIN.hz() && hz <= Self::MAX.hz() => Ok(Self(rate)),
            _ => Err(SampleRateError { hz }),
        }
    }

    const fn constant(hz: u32) -> Self {
        match NonZeroU32::new(hz) {
            Some(rate) => Self(rate),
            None => panic!("a constant rate is above zero"),
        }
    }

    /// The rate in Hz.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// How many samples of one channel last `ms` milliseconds, rounded down.
    pub const fn samples_in_ms(self, ms: u64) -> u64 {
        ms.saturating_mul(self.hz() as u64) / 1_000
    }

    /// How many milliseconds `samples` samples of one channel last, rounded down.
    pub const fn ms_of(self, samples: u64) -> u64 {
        samples.saturating_mul(1_000) / self.hz() as u64
    }

    /// How long `samples` samples of one channel last.
    pub fn duration_of(self, samples: u64) -> Duration {
        Duration::from_secs_f64(samples as f64 / f64::from(self.hz()))
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hz())
    }
}

impl TryFrom<u32> for SampleRate {
    type Error = SampleRateError;

    fn try_from(hz: u32) -> Result<Self, SampleRateError> {
        Self::new(hz)
    }
}

impl From<SampleRate> for u32 {
    fn from(rate: SampleRate) -> Self {
        rate.hz()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_absurd_rates_are_refused_with_the_range_in_the_text() {
        for hz in [0, 1, 7_999, 192_001, u32::MAX] {
            let error = SampleRate::new(hz).unwrap_err();
            assert_eq!(error.hz, hz);
            assert!(error.to_string().contains("8000 to 192000 Hz"), "{error}");
        }
        for hz in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000] {
            assert_eq!(SampleRate::new(hz).unwrap().hz(), hz);
        }
    }

    #[test]
    fn samples_and_milliseconds_convert_both_ways() {
        assert_eq!(SampleRate::SPEECH.samples_in_ms(100), 1_600);
        assert_eq!(SampleRate::SPEECH.ms_of(1_600), 100);
        assert_eq!(SampleRate::new(44_100).unwrap().samples_in_ms(1_000), 44_100);
        assert_eq!(SampleRate::SPEECH.duration_of(8_000), Duration::from_millis(500));
    }
}
