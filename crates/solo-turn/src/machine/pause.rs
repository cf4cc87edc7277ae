//! A pause, and whether it is the end of the turn: judged by how the person sounds and by how their words read.
//!
//! | the words | the voice sounds finished | it does not |
//! |---|---|---|
//! | a whole sentence | [`TurnEnd::silence`] | [`TurnEnd::hesitation`] |
//! | no sentence, nothing missing | [`TurnEnd::doubt`] | the utterance's own end |
//! | something is missing ("turn on the") | the utterance's own end | the utterance's own end |
//!
//! The silence is counted from the pause's beginning. The utterance's own end is recognition's longest silence.

use std::time::Duration;

use super::{Machine, State};
use crate::settings::TurnEnd;
use crate::words::Ending;

/// Who spoke pauses.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// When silence will have lasted long enough.
    pub(super) ends_at: Option<Duration>,
    sound: Option<Sound>,
    /// How what was said so far ends.
    reads: Option<Ending>,
}

/// What the voice before the pause sounds like.
#[derive(Debug, Clone, Copy)]
struct Sound {
    probability: f32,
    /// When the silence began.
    began: Duration,
}

impl Pause {
    /// The moment at which this pause is the end, if it is one.
    fn end(&self, settings: &TurnEnd) -> Option<Duration> {
        let Sound { probability, began } = self.sound?;
        let finished = probability >= settings.probability;
        let reads = if settings.reads { self.reads? } else { Ending::Whole };
        let silence = match (reads, finished) {
            (Ending::Whole, true) => settings.silence,
            (Ending::Whole, false) if settings.reads => settings.hesitation,
            (Ending::Bare, true) => settings.doubt,
            _ => return None,
        };
        Some(began + silence)
    }
}

impl Machine {
    /// The voice before the pause was judged, `silence` after it had ended.
    pub(super) fn on_turn_end(&mut self, probability: f32, silence: Duration, now: Duration) {
        if let Some(pause) = self.pause() {
            let began = now.saturating_sub(silence);
            pause.sound = Some(Sound { probability, began });
            self.judge_pause(now);
        }
    }

    /// The words before the pause are known.
    pub(super) fn on_words_of_pause(&mut self, reads: Ending, now: Duration) {
        if let Some(pause) = self.pause() {
            pause.reads = Some(reads);
            self.judge_pause(now);
        }
    }

    fn judge_pause(&mut self, now: Duration) {
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let Some(pause) = &mut listening.pause else { return };
        pause.ends_at = pause.end(&self.settings.turn_end);
        if pause.ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.on_end_of_speech(now);
        }
    }

    /// The pause that may be the end of the turn.
    fn pause(&mut self) -> Option<&mut Pause> {
        match &mut self.state {
            State::Listening(listening) if listening.may_end() => listening.pause.as_mut(),
            _ => None,
        }
    }
}
