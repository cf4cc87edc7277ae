//! Whether a stream that reports errors is lost. Some systems report one that means nothing, PulseAudio's plugin for ALSA when a
//! stream begins; a device that was unplugged reports them on and on, or says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpal::ErrorKind;

/// Errors and nothing else for so long: then the stream is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What both callbacks of a stream know of its errors; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Faltering(Arc<Mutex<Option<Instant>>>);

impl Faltering {
    /// Samples went through.
    pub(super) fn works(&self) {
        *self.since() = None;
    }

    /// An error was reported; true when the stream is of no use any more.
    pub(super) fn is_lost(&self, error: &cpal::Error, now: Instant) -> bool {
        match error.kind() {
            // A buffer that ran dry or a refused priority is no loss.
            ErrorKind::Xrun | ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged | ErrorKind::DeviceBusy => false,
            ErrorKind::DeviceNotAvailable | ErrorKind::StreamInvalidated | ErrorKind::HostUnavailable => true,
            _ => now.saturating_duration_since(*self.since().get_or_insert(now)) >= PATIENCE,
        }
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_none_and_a_second_of_them_is_a_loss() {
        let stream = Faltering::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let odd = cpal::Error::with_message(ErrorKind::Other, "I/O error (5)");
        assert!(!stream.is_lost(&odd, at(0)));
        assert!(!stream.is_lost(&odd, at(900)));
        stream.works();
        assert!(!stream.is_lost(&odd, at(1_100)), "it worked in between");
        assert!(!stream.is_lost(&ErrorKind::Xrun.into(), at(9_000)));
        assert!(stream.is_lost(&odd, at(2_100)));
        assert!(Faltering::default().is_lost(&ErrorKind::DeviceNotAvailable.into(), at(0)));
    }
}
