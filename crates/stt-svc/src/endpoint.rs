//! From the probability of each frame to "voice began" and "voice ended". Pure.
//!
//! A frame is voiced from the threshold on, and stays voiced down to a little below it (hysteresis), so that a syllable
//! that fades does not flicker. Voice begins after `min_speech` of voiced frames in a row, which keeps clicks out, and is
//! dated back to the first of them; it ends after `silence` without one, dated back to the last.

/// How far below the threshold a voiced frame may fall and still count, as Silero's own iterator has it.
const HYSTERESIS: f32 = 0.15;
/// While the assistant speaks the threshold never goes above this: a person must always be able to get through.
const MAX_THRESHOLD: f32 = 0.95;

/// When voice counts as speech. Lengths in samples at 16,000 Hz.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    /// Probability from which a frame counts as voiced, 0.0 to 1.0.
    pub(crate) threshold: f32,
    /// Voiced samples that start an utterance.
    pub(crate) min_speech: u64,
    /// Samples of silence after which voice has ended.
    pub(crate) silence: u64,
    /// Samples kept from before the start of voice.
    pub(crate) pre_roll: u64,
    /// Added to the threshold while the assistant speaks.
    pub(crate) playback_raise: f32,
}

/// Voice began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody began to speak.
    Started {
        /// First voiced sample.
        sample: u64,
    },
    /// Nobody has spoken for `silence`.
    Ended {
        /// Last voiced sample.
        sample: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nobody speaks.
    Quiet,
    /// Voiced frames, not enough of them yet.
    Rising { first: u64 },
    /// Somebody speaks. `voiced_end` is the first sample after the last voiced frame.
    Speaking { voiced_end: u64 },
}

/// Follows one stream of frames.
#[derive(Debug, Clone)]
pub(crate) struct Endpointer {
    settings: Settings,
    playing: bool,
    state: State,
    voiced: bool,
}

impl Endpointer {
    /// An endpointer that hears silence.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            playing: false,
            state: State::Quiet,
            voiced: false,
        }
    }

    /// The settings it was made with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// True between [`Event::Started`] and [`Event::Ended`].
    pub(crate) fn speaking(&self) -> bool {
        matches!(self.state, State::Speaking { .. })
    }

    /// True when the latest frame was voiced.
    pub(crate) fn voiced(&self) -> bool {
        self.voiced
    }

    /// The first sample after the last voiced frame, while somebody speaks or pauses.
    pub(crate) fn voiced_end(&self) -> Option<u64> {
        match self.state {
            State::Speaking { voiced_end } => Some(voiced_end),
            State::Quiet | State::Rising { .. } => None,
        }
    }

    /// Says whether the assistant speaks now, so that its own voice is taken for somebody's less easily.
    pub(crate) fn set_playing(&mut self, playing: bool) {
        self.playing = playing;
    }

    /// Takes the probability of the frame of `len` samples at `first`. Frames come in order.
    pub(crate) fn push(&mut self, first: u64, len: u64, probability: f32) -> Option<Event> {
        self.voiced = probability >= self.bar();
        let end = first + len;
        match (self.state, self.voiced) {
            (State::Quiet, false) => None,
            (State::Quiet, true) => self.rise(first, end),
            (State::Rising { first }, true) => self.rise(first, end),
            (State::Rising { .. }, false) => {
                self.state = State::Quiet;
                None
            }
            (State::Speaking { .. }, true) => {
                self.state = State::Speaking { voiced_end: end };
                None
            }
            (State::Speaking { voiced_end }, false) if end - voiced_end >= self.settings.silence => self.stop(),
            (State::Speaking { .. }, false) => None,
        }
    }

    /// Ends voice now, if somebody speaks.
    pub(crate) fn stop(&mut self) -> Option<Event> {
        let before = std::mem::replace(&mut self.state, State::Quiet);
        self.voiced = false;
        match before {
            State::Speaking { voiced_end } => Some(Event::Ended { sample: voiced_end - 1 }),
            _ => None,
        }
    }

    fn rise(&mut self, first: u64, end: u64) -> Option<Event> {
        if end - first < self.settings.min_speech {
            self.state = State::Rising { first };
            return None;
        }
        self.state = State::Speaking { voiced_end: end };
        Some(Event::Started { sample: first })
    }

    fn bar(&self) -> f32 {
        let raised = if self.playing {
            (self.settings.threshold + self.settings.playback_raise).min(MAX_THRESHOLD.max(self.settings.threshold))
        } else {
            self.settings.threshold
        };
        // At a threshold near 0 the lower bar must not let pure silence (probability 0) through.
        if self.voiced {
            (raised - HYSTERESIS).max(raised.min(0.01))
        } else {
            raised
        }
    }
}

#[cfg(test)]
mod tests;
