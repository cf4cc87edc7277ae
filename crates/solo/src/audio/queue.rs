//! What waits to be played, and how far that has come. Pure: the loudspeaker's callback takes from it, the conversation
//! puts into it, a lock around it is the only thing between them.
//!
//! Samples of a reply are counted, a chime is not: the gateway wants to know how much of a *reply* was really heard.

use std::collections::VecDeque;

/// How long it takes to fall silent in the middle of a word: long enough not to click.
const FADE_MS: u64 = 5;

/// Sound of one reply (numbered by the conversation), or of none.
#[derive(Debug)]
struct Piece {
    reply: Option<u64>,
    samples: Vec<f32>,
    at: usize,
}

/// A queue of samples, one channel at the loudspeaker's rate.
#[derive(Debug, Default)]
pub struct Queue {
    pieces: VecDeque<Piece>,
    reply: u64,
    played: u64,
}

impl Queue {
    /// Adds sound behind what waits.
    pub fn push(&mut self, reply: Option<u64>, samples: Vec<f32>) {
        if !samples.is_empty() {
            self.pieces.push_back(Piece { reply, samples, at: 0 });
        }
    }

    /// Fills `out` with what is next, the rest with silence; gives how many samples were there.
    pub fn take(&mut self, out: &mut [f32]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let Some(piece) = self.pieces.front_mut() else { break };
            let there = (piece.samples.len() - piece.at).min(out.len() - filled);
            out[filled..filled + there].copy_from_slice(&piece.samples[piece.at..piece.at + there]);
            piece.at += there;
            filled += there;
            if let Some(reply) = piece.reply {
                if reply != self.reply {
                    (self.reply, self.played) = (reply, 0);
                }
                self.played += there as u64;
            }
            if piece.at == piece.samples.len() {
                self.pieces.pop_front();
            }
        }
        out[filled..].fill(0.0);
        filled
    }

    /// Samples of this reply that were taken.
    pub fn played(&self, reply: u64) -> u64 {
        if reply == self.reply { self.played } else { 0 }
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Drops all that waits. What is being played fades out; that is no part of a reply any more.
    pub fn stop(&mut self, rate: solo_audio::SampleRate) {
        let front = self.pieces.pop_front();
        self.pieces.clear();
        let Some(piece) = front else { return };
        let fade = usize::try_from(rate.samples_in_ms(FADE_MS)).unwrap_or(usize::MAX);
        let rest = &piece.samples[piece.at..];
        let length = rest.len().min(fade);
        let faded = rest[..length]
            .iter()
            .enumerate()
            .map(|(n, sample)| sample * (1.0 - n as f32 / length as f32));
        self.push(None, faded.collect());
    }
}

#[cfg(test)]
mod tests {
    use solo_audio::SampleRate;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_then_silence() {
        let mut queue = Queue::default();
        queue.push(Some(1), vec![0.1, 0.2, 0.3]);
        queue.push(None, vec![0.9]);
        queue.push(Some(1), vec![0.4]);
        let mut out = [1.0; 4];
        assert_eq!(queue.take(&mut out), 4);
        assert_eq!((out, queue.played(1)), ([0.1, 0.2, 0.3, 0.9], 3));
        assert_eq!(queue.take(&mut out), 1);
        assert_eq!((out, queue.played(1)), ([0.4, 0.0, 0.0, 0.0], 4));
        assert!(queue.is_empty());
        assert_eq!(queue.take(&mut out), 0);
        assert_eq!(queue.played(1), 4, "silence is no reply");
    }

    #[test]
    fn each_reply_is_counted_by_itself() {
        let mut queue = Queue::default();
        queue.push(Some(1), vec![0.1; 5]);
        queue.push(Some(2), vec![0.2; 5]);
        let mut out = [0.0; 7];
        queue.take(&mut out);
        assert_eq!((queue.played(2), queue.played(1), queue.played(3)), (2, 0, 0));
    }

    #[test]
    fn stopped_it_is_silent_within_5_ms_and_counts_no_further() {
        let mut queue = Queue::default();
        queue.push(Some(1), vec![1.0; 48_000]);
        queue.push(Some(1), vec![1.0; 48_000]);
        let mut out = [0.0; 480];
        queue.take(&mut out);
        queue.stop(SampleRate::new(48_000).unwrap());
        assert_eq!(queue.take(&mut out), 240);
        assert!(out[..240].is_sorted_by(|a, b| a >= b), "it fades");
        assert!(out[239] < 0.01 && out[240..].iter().all(|sample| *sample == 0.0));
        assert_eq!(queue.played(1), 480);
        queue.stop(SampleRate::SPEECH);
        assert!(queue.is_empty());
    }
}
