//! Cuts a recording into stretches of speech that an engine can take. Pure.
//!
//! A stretch is what lies between two pauses, with a little silence around it; one that nobody pauses in is cut at 28 s
//! at the latest, where voice was least likely in its last third. The times of stretches are the times of segments:
//! voice activity knows better than Whisper's timestamp tokens when somebody spoke.

use std::collections::VecDeque;

use crate::endpoint::{Endpointer, Event, Settings};
use crate::engine::MAX_WINDOW;
use crate::vad::FRAME;

/// Silence kept on both sides of a stretch, in samples: 200 ms.
const MARGIN: u64 = 3_200;
/// How far back a cut may lie when nobody pauses, in samples: 9 s.
const CUT_RANGE: u64 = 9 * 16_000;
/// A pause in a recording, in samples: 600 ms. Longer than in conversation, since nobody waits for the answer.
const PAUSE: u64 = 9_600;

/// A stretch of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// First sample.
    pub(crate) start: u64,
    /// Sample after the last.
    pub(crate) end: u64,
}

/// The best place to cut near the end of a stretch that is too long, given the probabilities of its latest frames.
#[derive(Debug, Clone, Default)]
pub(crate) struct CutFinder {
    frames: VecDeque<(u64, f32)>,
}

impl CutFinder {
    /// Notes a frame.
    pub(crate) fn push(&mut self, first: u64, probability: f32) {
        self.frames.push_back((first, probability));
        while self
            .frames
            .front()
            .is_some_and(|(oldest, _)| first - oldest > CUT_RANGE)
        {
            self.frames.pop_front();
        }
    }

    /// The middle of the frame where voice was least likely, and forgets the frames before it.
    pub(crate) fn cut(&mut self) -> Option<u64> {
        let (at, _) = self.frames.iter().copied().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        self.frames.retain(|(first, _)| *first > at);
        Some(at + FRAME as u64 / 2)
    }

    /// Forgets all frames.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }
}

/// Follows a recording frame by frame.
pub(crate) struct Windower {
    endpointer: Endpointer,
    cuts: CutFinder,
    open: Option<u64>,
    /// End of the last window: none begins before it.
    floor: u64,
    heard: u64,
}

impl Windower {
    /// With the configured threshold; pauses are this file's own.
    pub(crate) fn new(settings: Settings) -> Self {
        let endpointer = Endpointer::new(Settings {
            silence: PAUSE,
            ..settings
        });
        Self {
            endpointer,
            cuts: CutFinder::default(),
            open: None,
            floor: 0,
            heard: 0,
        }
    }

    /// Takes the probability of the frame at `first`; gives a stretch once it is complete.
    pub(crate) fn push(&mut self, first: u64, probability: f32) -> Option<Window> {
        let event = self.endpointer.push(first, FRAME as u64, probability);
        self.heard = first + FRAME as u64;
        self.cuts.push(first, probability);
        match event {
            Some(Event::Started { sample }) => {
                self.open = Some(sample.saturating_sub(MARGIN).max(self.floor));
                None
            }
            Some(Event::Ended { sample }) => self.close(sample + 1),
            None => self.split(),
        }
    }

    /// The recording of `total` samples is over: gives the stretch that was still open.
    pub(crate) fn finish(&mut self, total: u64) -> Option<Window> {
        self.heard = total;
        match self.endpointer.stop() {
            Some(Event::Ended { sample }) => self.close(sample + 1),
            _ => None,
        }
    }

    fn close(&mut self, voiced_end: u64) -> Option<Window> {
        let window = Window {
            start: self.open.take()?,
            end: (voiced_end + MARGIN).min(self.heard),
        };
        self.cuts.clear();
        self.floor = window.end;
        Some(window)
    }

    fn split(&mut self) -> Option<Window> {
        let start = self.open?;
        // Leaves room for the margin that closing may add.
        if self.heard - start < MAX_WINDOW - MARGIN - PAUSE {
            return None;
        }
        let end = self.cuts.cut()?.clamp(start + 1, self.heard);
        (self.open, self.floor) = (Some(end), end);
        Some(Window { start, end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings = Settings {
        threshold: 0.5,
        min_speech: 1_600,
        silence: 1,
        pre_roll: 0,
        playback_raise: 0.0,
    };

    fn run(probabilities: &[f32]) -> Vec<Window> {
        let mut windower = Windower::new(SETTINGS);
        let frames = probabilities.iter().enumerate();
        let mut windows: Vec<Window> = frames
            .filter_map(|(n, p)| windower.push((n * FRAME) as u64, *p))
            .collect();
        windows.extend(windower.finish((probabilities.len() * FRAME) as u64));
        windows
    }

    #[test]
    fn silence_has_no_windows() {
        assert!(run(&[0.1; 500]).is_empty());
    }

    #[test]
    fn a_pause_makes_two_windows_with_their_margins() {
        let frames = [vec![0.0; 20], vec![0.9; 50], vec![0.0; 40], vec![0.9; 50], vec![0.0; 3]].concat();
        let frame = FRAME as u64;
        let wanted = [
            Window {
                start: 20 * frame - MARGIN,
                end: 70 * frame + MARGIN,
            },
            Window {
                start: 110 * frame - MARGIN,
                end: 163 * frame,
            },
        ];
        assert_eq!(run(&frames), wanted);
    }

    #[test]
    fn endless_speech_is_cut_where_voice_is_least_likely() {
        let mut frames = vec![0.9; 1_200];
        frames[700] = 0.6;
        let windows = run(&frames);
        assert_eq!(
            windows[0],
            Window {
                start: 0,
                end: 700 * FRAME as u64 + 256
            }
        );
        assert_eq!(windows[1].start, windows[0].end);
        assert_eq!(windows.last().unwrap().end, 1_200 * FRAME as u64);
    }

    proptest! {
        #[test]
        fn windows_are_short_enough_in_order_and_hold_all_speech(
            runs in prop::collection::vec((prop::bool::ANY, 1_usize..1_500), 1..8),
        ) {
            let frames: Vec<f32> =
                runs.iter().flat_map(|(voiced, len)| vec![if *voiced { 0.9 } else { 0.1 }; *len]).collect();
            let windows = run(&frames);
            let mut floor = 0;
            for window in &windows {
                prop_assert!(window.start >= floor && window.end > window.start);
                prop_assert!(window.end - window.start <= MAX_WINDOW, "{window:?}");
                floor = window.end;
            }
            let mut at = 0;
            for (voiced, len) in voiced_runs(&runs) {
                let (start, end) = ((at * FRAME) as u64, ((at + len) * FRAME) as u64);
                if voiced && end - start >= SETTINGS.min_speech {
                    // A cut may lie in it, but no sample of it is lost.
                    let covered: u64 = windows
                        .iter()
                        .map(|window| window.end.min(end).saturating_sub(window.start.max(start)))
                        .sum();
                    prop_assert_eq!(covered, end - start);
                }
                at += len;
            }
        }
    }

    /// Neighbours of the same kind are one run.
    fn voiced_runs(runs: &[(bool, usize)]) -> Vec<(bool, usize)> {
        let mut merged: Vec<(bool, usize)> = Vec::new();
        for (voiced, len) in runs {
            match merged.last_mut() {
                Some((last, total)) if last == voiced => *total += len,
                _ => merged.push((*voiced, *len)),
            }
        }
        merged
    }
}
