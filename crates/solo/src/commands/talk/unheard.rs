//! What was said and has not become words yet: kept, so that a connection that breaks in the middle of a question costs a
//! pause and not the question.
//!
//! It is sent once more when the gateway is back. Once there are words a reply is under way, and what a reply does must not
//! be done twice: from then on nothing is said again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use solo_audio::SampleRate;
use solo_proto::gateway::v1::TurnPhase;
use solo_proto::gateway::v1::converse_response::Payload;

/// Sound before a question, in ms: a wake word is known only after it was spoken.
const LEAD_MS: u64 = 3_000;
/// The most that is kept, in ms: the gateway's longest utterance.
const LONGEST_MS: u64 = 30_000;
/// After so long nobody waits for an answer any more.
const STALE: Duration = Duration::from_secs(10);

/// What a new connection has to hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// A key began it.
    pub(super) pressed: bool,
    /// The samples, at [`SampleRate::SPEECH`].
    pub(super) samples: Vec<i16>,
    /// A key also ended it.
    pub(super) released: bool,
}

/// The key that says what is a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Untouched,
    Pressed,
    Released,
}

/// The newest speech.
#[derive(Debug)]
pub(super) struct Unheard {
    kept: VecDeque<i16>,
    /// The gateway listens to a question.
    asking: bool,
    key: Key,
    /// Since when nobody hears.
    cut_off: Option<Instant>,
}

impl Unheard {
    pub(super) fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            asking: false,
            key: Key::Untouched,
            cut_off: None,
        }
    }

    /// Something was said, whether or not it could be sent.
    pub(super) fn said(&mut self, samples: &[i16]) {
        self.kept.extend(samples);
        let question = self.asking || self.key != Key::Untouched || self.cut_off.is_some();
        let ms = if question { LONGEST_MS } else { LEAD_MS };
        let most = usize::try_from(SampleRate::SPEECH.samples_in_ms(ms)).unwrap_or(usize::MAX);
        self.kept.drain(..self.kept.len().saturating_sub(most));
    }

    /// A key began a question: what was said before is no part of it.
    pub(super) fn pressed(&mut self) {
        self.forget();
        self.key = Key::Pressed;
    }

    /// A key ended it.
    pub(super) fn released(&mut self) {
        if self.key == Key::Pressed {
            self.key = Key::Released;
        }
    }

    /// The gateway says how far it is.
    pub(super) fn hear(&mut self, payload: &Payload) {
        match payload {
            Payload::State(state) => match state.phase() {
                TurnPhase::Listening | TurnPhase::Deciding => self.asking = true,
                TurnPhase::Idle if self.asking => self.forget(),
                _ => self.asking = false,
            },
            // It has words, or knows that there are none.
            Payload::Final(_) | Payload::Rejected(_) => self.forget(),
            _ => {}
        }
    }

    /// Nothing of it is wanted any more.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        (self.asking, self.key) = (false, Key::Untouched);
    }

    /// Nobody hears what is said from now on.
    pub(super) fn cut_off(&mut self, now: Instant) {
        self.cut_off.get_or_insert(now);
    }

    /// Somebody hears again: what they have to hear first. `None`: it is too old.
    pub(super) fn heard_again(&mut self, now: Instant) -> Option<Again> {
        let since = self.cut_off.take()?;
        let again = Again {
            pressed: self.key != Key::Untouched,
            samples: self.kept.iter().copied().collect(),
            released: self.key == Key::Released,
        };
        let stale = now.duration_since(since) > STALE;
        if stale {
            self.forget();
        }
        // The samples stay: this connection may break too.
        self.asking = false;
        (!stale).then_some(again)
    }
}

#[cfg(test)]
mod tests {
    use solo_proto::gateway::v1::{FinalText, StateChanged};

    use super::*;

    const SECOND: usize = 16_000;

    fn state(phase: TurnPhase) -> Payload {
        Payload::State(StateChanged { phase: phase as i32 })
    }

    fn again(unheard: &mut Unheard, after: Duration) -> Option<Again> {
        let now = Instant::now();
        unheard.cut_off(now);
        unheard.heard_again(now + after)
    }

    #[test]
    fn a_question_is_kept_from_before_its_wake_word_on() {
        let mut unheard = Unheard::new();
        unheard.said(&vec![1; 9 * SECOND]);
        unheard.hear(&state(TurnPhase::Listening));
        unheard.said(&vec![2; 2 * SECOND]);
        let again = again(&mut unheard, Duration::from_secs(2)).unwrap();
        assert_eq!((again.pressed, again.released), (false, false));
        assert_eq!(again.samples, [vec![1; 3 * SECOND], vec![2; 2 * SECOND]].concat());
    }

    #[test]
    fn words_are_not_said_twice() {
        let mut unheard = Unheard::new();
        unheard.hear(&state(TurnPhase::Listening));
        unheard.said(&[1; SECOND]);
        unheard.hear(&Payload::Final(FinalText::default()));
        assert!(again(&mut unheard, Duration::ZERO).unwrap().samples.is_empty());
    }

    #[test]
    fn what_is_said_while_nobody_hears_is_kept_for_a_while() {
        let mut unheard = Unheard::new();
        let now = Instant::now();
        unheard.cut_off(now);
        unheard.said(&vec![1; 8 * SECOND]);
        let again = unheard.heard_again(now + STALE).unwrap();
        assert_eq!(again.samples.len(), 8 * SECOND);

        unheard.cut_off(now);
        unheard.said(&vec![1; 60 * SECOND]);
        assert_eq!(unheard.heard_again(now + STALE * 2), None, "too old");
        assert!(unheard.kept.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_a_question_may_be_long() {
        let mut unheard = Unheard::new();
        unheard.hear(&state(TurnPhase::Listening));
        for _ in 0..60 {
            unheard.said(&[1; SECOND]);
        }
        assert_eq!(again(&mut unheard, Duration::ZERO).unwrap().samples.len(), 30 * SECOND);
    }

    #[test]
    fn a_key_begins_and_ends_the_question_again() {
        let mut unheard = Unheard::new();
        unheard.said(&[1; SECOND]);
        unheard.pressed();
        unheard.said(&[2; 5]);
        let held = again(&mut unheard, Duration::ZERO).unwrap();
        assert_eq!((held.pressed, held.released, held.samples), (true, false, vec![2; 5]));
        unheard.said(&[3; 2]);
        unheard.released();
        let released = again(&mut unheard, Duration::ZERO).unwrap();
        assert_eq!((released.released, released.samples), (true, vec![2, 2, 2, 2, 2, 3, 3]));
    }

    #[test]
    fn a_question_that_was_none_is_forgotten() {
        let mut unheard = Unheard::new();
        unheard.pressed();
        unheard.hear(&state(TurnPhase::Listening));
        unheard.said(&[1; SECOND]);
        unheard.hear(&state(TurnPhase::Idle));
        let again = again(&mut unheard, Duration::ZERO).unwrap();
        assert_eq!((again.pressed, again.samples), (false, vec![]));
    }
}
