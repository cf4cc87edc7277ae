//! A microphone: samples come when they were spoken, not earlier, and when nobody speaks, the room is heard.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use super::RATE;

/// Samples of a piece: 20 ms.
pub const PIECE: usize = 320;
/// Loudness of the room: about −80 dBFS.
const ROOM: i16 = 5;

/// Says a clip from the moment that it is made, then is silent without end.
pub struct Microphone {
    begun: Instant,
    samples: Vec<i16>,
    position: usize,
    room: StdRng,
}

impl Microphone {
    /// Begins now.
    pub fn new(samples: &[i16]) -> Self {
        Self {
            begun: Instant::now(),
            samples: samples.to_vec(),
            position: 0,
            room: StdRng::seed_from_u64(4),
        }
    }

    /// The next 20 ms, as soon as they are over. Where the caller is late, pieces come at once until he has caught up. Can be
    /// given up while it waits: nothing is lost.
    pub async fn next(&mut self) -> Vec<i16> {
        tokio::time::sleep_until(self.time_of(self.position + PIECE)).await;
        self.piece()
    }

    fn piece(&mut self) -> Vec<i16> {
        let spoken = self.samples.get(self.position..).unwrap_or_default();
        let mut piece: Vec<i16> = spoken.iter().take(PIECE).copied().collect();
        piece.resize_with(PIECE, || self.room.random_range(-ROOM..=ROOM));
        self.position += PIECE;
        piece
    }

    /// When a sample is spoken.
    pub fn time_of(&self, sample: usize) -> Instant {
        self.begun + Duration::from_secs_f64(sample as f64 / f64::from(RATE))
    }

    /// Samples given so far.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// From one moment to another in ms; negative when the second comes first.
pub fn ms_between(from: Instant, to: Instant) -> f64 {
    let later = to.saturating_duration_since(from).as_secs_f64();
    let earlier = from.saturating_duration_since(to).as_secs_f64();
    (later - earlier) * 1000.0
}

/// How long speech begins with silence, in samples; all of it where nothing is audible (−50 dBFS).
pub fn leading_silence(samples: &[i16]) -> usize {
    const AUDIBLE: u16 = 100;
    let first = samples.iter().position(|sample| sample.unsigned_abs() > AUDIBLE);
    first.unwrap_or(samples.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_words_the_room_is_heard() {
        let mut microphone = Microphone::new(&[1_000; PIECE + 10]);
        assert_eq!(microphone.piece(), [1_000; PIECE]);
        let second = microphone.piece();
        assert_eq!(second.len(), PIECE);
        assert_eq!(second[..10], [1_000; 10]);
        assert!(second[10..].iter().all(|sample| sample.abs() <= ROOM));
        assert_eq!(microphone.position(), 2 * PIECE);
    }

    #[test]
    fn moments_are_those_of_the_samples() {
        let microphone = Microphone::new(&[]);
        let begun = microphone.time_of(0);
        assert_eq!(ms_between(begun, microphone.time_of(PIECE)), 20.0);
        assert_eq!(ms_between(microphone.time_of(PIECE), begun), -20.0);
    }

    #[test]
    fn silence_before_speech_is_measured() {
        assert_eq!(leading_silence(&[0, 100, -101, 0]), 2);
        assert_eq!(leading_silence(&[0, 7]), 2);
    }
}
