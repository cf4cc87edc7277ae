//! Cuts a stream that arrives in pieces of any length into frames of one length, each knowing where it stands.
//!
//! Models want fixed frames (512 samples for Silero, 160 for microWakeWord), networks deliver what they like, and
//! events must name sample positions: this is the one place that joins the three.

use std::collections::VecDeque;

/// A run of consecutive mono samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<T> {
    /// Position of `samples[0]`, counted from the first sample of the stream (0-based).
    pub first_sample: u64,
    /// The samples; as many as [`Framer::frame_len`].
    pub samples: Vec<T>,
}

/// Collects samples and gives them back in frames of one length. `T` is the sample type, `i16` or `f32`.
///
/// Push what arrived, then take frames until there is none:
///
/// ```
/// # use solo_audio::Framer;
/// let mut framer = Framer::new(4);
/// framer.push(&[1_i16, 2, 3]);
/// assert!(framer.next_frame().is_none());
/// framer.push(&[4, 5]);
/// let frame = framer.next_frame().unwrap();
/// assert_eq!((frame.first_sample, frame.samples), (0, vec![1, 2, 3, 4]));
/// assert_eq!(framer.pending(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct Framer<T> {
    frame_len: usize,
    waiting: VecDeque<T>,
    first_waiting: u64,
}

impl<T: Copy> Framer<T> {
    /// A framer at position 0.
    ///
    /// # Panics
    /// When `frame_len` is 0: the length of a frame is a constant of the caller's, never data.
    pub fn new(frame_len: usize) -> Self {
        assert!(frame_len > 0, "a frame has at least one sample");
        Self {
            frame_len,
            waiting: VecDeque::with_capacity(2 * frame_len),
            first_waiting: 0,
        }
    }

    /// Samples in a frame.
    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Adds samples that follow the last ones.
    pub fn push(&mut self, samples: &[T]) {
        self.waiting.extend(samples);
    }

    /// Takes the next whole frame, or `None` until more samples are pushed.
    pub fn next_frame(&mut self) -> Option<Frame<T>> {
        if self.waiting.len() < self.frame_len {
            return None;
        }
        let first_sample = self.first_waiting;
        let samples = self.waiting.drain(..self.frame_len).collect();
        self.first_waiting += self.frame_len as u64;
        Some(Frame { first_sample, samples })
    }

    /// Samples that wait for a frame to fill.
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// Position of the next sample that would be pushed: how many samples of the stream have been seen.
    pub fn position(&self) -> u64 {
        self.first_waiting + self.waiting.len() as u64
    }

    /// Continues at `position` after a gap in the stream; samples that wait for a frame to fill are dropped.
    pub fn skip_to(&mut self, position: u64) {
        self.waiting.clear();
        self.first_waiting = position;
    }

    /// Takes what is left as a last frame, filled up with `filler`; `None` when nothing is left.
    pub fn finish(&mut self, filler: T) -> Option<Frame<T>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting
            .resize(self.waiting.len().next_multiple_of(self.frame_len), filler);
        self.next_frame()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_moves_the_position_and_drops_what_was_cut_off() {
        let mut framer = Framer::new(4);
        framer.push(&[1_i16, 2, 3]);
        framer.skip_to(100);
        framer.push(&[7, 8, 9, 10]);
        assert_eq!(
            framer.next_frame(),
            Some(Frame {
                first_sample: 100,
                samples: vec![7, 8, 9, 10]
            })
        );
        assert_eq!(framer.position(), 104);
    }

    #[test]
    fn the_last_frame_is_filled_up() {
        let mut framer = Framer::new(4);
        assert_eq!(framer.finish(0), None);
        framer.push(&[1_i16, 2, 3, 4, 5]);
        assert!(framer.next_frame().is_some());
        assert_eq!(
            framer.finish(0),
            Some(Frame {
                first_sample: 4,
                samples: vec![5, 0, 0, 0]
            })
        );
        assert_eq!(framer.finish(0), None);
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_the_frames_are_the_same(
            frame_len in 1_usize..64,
            pieces in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..200), 0..20),
        ) {
            let whole: Vec<i16> = pieces.concat();
            let mut framer = Framer::new(frame_len);
            let mut seen = Vec::new();
            for piece in &pieces {
                framer.push(piece);
                while let Some(frame) = framer.next_frame() {
                    prop_assert_eq!(frame.first_sample, seen.len() as u64);
                    prop_assert_eq!(frame.samples.len(), frame_len);
                    seen.extend(frame.samples);
                }
            }
            prop_assert_eq!(framer.position(), whole.len() as u64);
            prop_assert!(framer.pending() < frame_len);
            prop_assert_eq!(&seen[..], &whole[..seen.len()]);
            prop_assert_eq!(seen.len() + framer.pending(), whole.len());
        }
    }
}
