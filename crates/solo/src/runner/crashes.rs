//! When a crashed service is started again, and when that is given up. Pure: time comes in with the call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The first wait; it doubles with every crash.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);
/// A service that was healthy for so long starts from the first wait again.
const HEALTHY: Duration = Duration::from_secs(60);
/// So many crashes within [`WINDOW`] are a loop.
pub const LIMIT: usize = 5;
/// See [`LIMIT`].
pub const WINDOW: Duration = Duration::from_secs(60);

/// The crashes of one service.
#[derive(Debug)]
pub struct Crashes {
    recent: VecDeque<Instant>,
    wait: Duration,
}

/// What to do after a crash.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this wait.
    Retry(Duration),
    /// It crashes in a loop: leave it.
    GiveUp,
}

impl Default for Crashes {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            wait: FIRST,
        }
    }
}

impl Crashes {
    /// Counts a crash at `now`, of a process that had been SERVING for `healthy`.
    pub fn crashed(&mut self, now: Instant, healthy: Duration) -> Verdict {
        if healthy >= HEALTHY {
            *self = Self::default();
        }
        self.recent.retain(|at| now.duration_since(*at) < WINDOW);
        self.recent.push_back(now);
        if self.recent.len() >= LIMIT {
            return Verdict::GiveUp;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST);
        Verdict::Retry(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_the_fifth_crash_ends_it() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        let waits: Vec<Verdict> = (0..5)
            .map(|i| crashes.crashed(start + Duration::from_secs(i), Duration::ZERO))
            .collect();
        let retry = |ms| Verdict::Retry(Duration::from_millis(ms));
        assert_eq!(
            waits,
            [retry(200), retry(400), retry(800), retry(1600), Verdict::GiveUp]
        );
    }

    #[test]
    fn slow_crashes_are_no_loop_and_wait_ten_seconds_at_most() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        let mut last = Duration::ZERO;
        for i in 0..12 {
            match crashes.crashed(start + Duration::from_secs(20 * i), Duration::from_secs(5)) {
                Verdict::Retry(wait) => last = wait,
                Verdict::GiveUp => panic!("crash {i} is no loop"),
            }
        }
        assert_eq!(last, LONGEST);
    }

    #[test]
    fn a_healthy_minute_forgives() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        for i in 0..4 {
            crashes.crashed(start + Duration::from_secs(i), Duration::ZERO);
        }
        let later = start + Duration::from_secs(70);
        assert_eq!(crashes.crashed(later, Duration::from_secs(65)), Verdict::Retry(FIRST));
    }
}
