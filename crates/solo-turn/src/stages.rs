//! When each stage of a turn was done.
//!
//! The clock that a person feels starts with the last voiced sample, which speech recognition names by its position in
//! the audio. [`SampleClock`] knows when that sample was there; [`StageClock`] collects the moments and gives them as
//! offsets from it.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples per second of the audio that is measured.
const SAMPLE_RATE_HZ: u64 = 16_000;
/// Arrivals that are remembered: more than two minutes at 20 ms a chunk.
const KEPT: usize = 8192;

/// Which sample was there when.
#[derive(Debug, Default)]
pub struct SampleClock {
    /// (one past the last sample, when it arrived), oldest first.
    arrivals: VecDeque<(u64, Duration)>,
}

impl SampleClock {
    /// Notes that all samples before `end` were there at `now`.
    pub fn arrived(&mut self, end: u64, now: Duration) {
        if self.arrivals.back().is_some_and(|&(last, _)| end <= last) {
            return;
        }
        if self.arrivals.len() == KEPT {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((end, now));
    }

    /// When `sample` was there. A chunk arrives as a whole, but its first samples were spoken earlier: between two
    /// arrivals time runs evenly, and never slower than speech. `None`: it has not arrived, or is forgotten.
    pub fn time_of(&self, sample: u64) -> Option<Duration> {
        let after = self.arrivals.partition_point(|&(end, _)| end <= sample);
        let &(end, at) = self.arrivals.get(after)?;
        let Some(&(start, before)) = after.checked_sub(1).and_then(|index| self.arrivals.get(index)) else {
            return Some(at.saturating_sub(length(end - sample - 1)));
        };
        let share = (end - sample - 1) as f64 / (end - start) as f64;
        Some(at - length(end - sample - 1).min(at.saturating_sub(before).mul_f64(share)))
    }
}

/// Length of so many samples.
pub(crate) fn length(samples: u64) -> Duration {
    Duration::from_nanos(samples.saturating_mul(1_000_000_000) / SAMPLE_RATE_HZ)
}

/// When each stage was done, in ms from the last voiced sample (by voice) or from the turn's arrival (in writing);
/// negative when done before it, `None` when it did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageOffsets {
    /// The words were there that a reply was drafted for.
    pub draft: Option<i64>,
    /// The end of the turn was decided.
    pub endpoint: Option<i64>,
    /// The final transcript was there.
    pub stt: Option<i64>,
    /// Memory had answered.
    pub recall: Option<i64>,
    /// The reply's first text was there.
    pub first_token: Option<i64>,
    /// The reply's first sentence was complete.
    pub first_sentence: Option<i64>,
    /// The first sample of speech was there.
    pub first_audio: Option<i64>,
}

/// Collects the moments of one turn; each keeps its first.
#[derive(Debug, Clone, Default)]
pub(crate) struct StageClock {
    pub(crate) origin: Duration,
    pub(crate) draft: Option<Duration>,
    pub(crate) endpoint: Option<Duration>,
    pub(crate) stt: Option<Duration>,
    pub(crate) recall: Option<Duration>,
    pub(crate) first_token: Option<Duration>,
    pub(crate) first_sentence: Option<Duration>,
    pub(crate) first_audio: Option<Duration>,
}

impl StageClock {
    pub(crate) fn offsets(&self) -> StageOffsets {
        let offset = |at: Option<Duration>| {
            at.map(|at| {
                let (later, earlier) = (at.saturating_sub(self.origin), self.origin.saturating_sub(at));
                millis(later) - millis(earlier)
            })
        };
        StageOffsets {
            draft: offset(self.draft),
            endpoint: offset(self.endpoint),
            stt: offset(self.stt),
            recall: offset(self.recall),
            first_token: offset(self.first_token),
            first_sentence: offset(self.first_sentence),
            first_audio: offset(self.first_audio),
        }
    }
}

fn millis(time: Duration) -> i64 {
    // Rounded, so that a stage and its parts add up as people expect.
    i64::try_from((time.as_micros() + 500) / 1000).unwrap_or(i64::MAX)
}

/// Whether `text` holds a complete sentence: an end mark with white space after it, or a line break.
pub(crate) fn has_sentence(text: &str) -> bool {
    let mut before = ' ';
    for c in text.trim_start().chars() {
        if c == '\n' || (c.is_whitespace() && matches!(before, '.' | '!' | '?' | '…')) || "。！？".contains(c) {
            return true;
        }
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_sample_in_a_chunk_was_there_before_the_chunk() {
        let mut clock = SampleClock::default();
        clock.arrived(1600, ms(100));
        clock.arrived(3200, ms(200));
        assert_eq!(clock.time_of(3199), Some(ms(200)));
        assert_eq!(clock.time_of(2399), Some(ms(150)));
        assert_eq!(clock.time_of(1600), Some(ms(200) - length(1599)));
        assert_eq!(clock.time_of(3200), None);
        assert_eq!(clock.time_of(0), Some(ms(100) - length(1599)));
    }

    #[test]
    fn a_fast_client_is_measured_by_its_own_pace() {
        let mut clock = SampleClock::default();
        clock.arrived(16_000, ms(5));
        clock.arrived(32_000, ms(6));
        let middle = clock.time_of(23_999).unwrap();
        assert_eq!(middle, Duration::from_micros(5500));
    }

    #[test]
    fn a_pause_before_a_chunk_does_not_age_it() {
        let mut clock = SampleClock::default();
        clock.arrived(1600, ms(100));
        clock.arrived(3200, ms(5000));
        assert_eq!(clock.time_of(1600), Some(ms(5000) - length(1599)));
    }

    #[test]
    fn offsets_are_signed() {
        let clock = StageClock {
            origin: ms(1000),
            endpoint: Some(ms(1400)),
            first_audio: Some(ms(900)),
            ..StageClock::default()
        };
        let offsets = clock.offsets();
        assert_eq!(
            (offsets.endpoint, offsets.first_audio, offsets.stt),
            (Some(400), Some(-100), None)
        );
    }

    #[test]
    fn sentences_end_with_a_mark_and_a_space() {
        assert!(has_sentence("It is 3.5 °C. And"));
        assert!(has_sentence("One\ntwo"));
        assert!(!has_sentence("It is 3.5 °C."));
        assert!(!has_sentence(" \n no"));
    }
}
