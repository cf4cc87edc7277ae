//! What is prepared before it is certain that the person has finished: a reply to the words so far, and its first words
//! spoken, held back. Nothing of it has an effect until the turn is committed; if the person goes on it is taken back.

use std::time::Duration;

use super::replying::Speech;
use super::{Machine, Replying, State};
use crate::command::Command;
use crate::event::TurnId;
use crate::words;

/// A reply that is prepared.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What it answers.
    text: String,
    /// When it was begun.
    begun: Duration,
    /// The reply so far.
    pub(super) reply: String,
    /// Whether it is being spoken.
    pub(super) speaks: bool,
}

impl Machine {
    /// Has a reply prepared to what was said so far.
    pub(super) fn draft(&mut self, text: String, now: Duration) {
        let State::Listening(listening) = &self.state else {
            return;
        };
        let turn = listening.turn;
        let known = listening
            .ahead
            .as_ref()
            .is_some_and(|ahead| words::same(&ahead.text, &text));
        if known || listening.finalized || words::is_only(&text, &self.settings.stop_phrases) {
            return;
        }
        self.silence_ahead();
        self.commands.push(Command::Draft {
            turn,
            text: text.clone(),
        });
        if let State::Listening(listening) = &mut self.state {
            listening.ahead = Some(Ahead {
                text,
                begun: now,
                reply: String::new(),
                speaks: false,
            });
        }
    }

    /// More of the reply that is prepared: it is spoken already, unheard.
    pub(super) fn on_draft_delta(&mut self, turn: TurnId, text: String) {
        let speaks = self.settings.audio_out_hz.is_some();
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let Some(ahead) = listening
            .ahead
            .as_mut()
            .filter(|_| listening.turn == turn && !text.is_empty())
        else {
            return;
        };
        ahead.reply.push_str(&text);
        if !speaks {
            return;
        }
        if !std::mem::replace(&mut ahead.speaks, true) {
            self.commands.push(Command::SpeakAhead { turn });
        }
        self.commands.push(Command::SpeakDelta { turn, text });
    }

    /// Takes back what is prepared, if anything is.
    pub(super) fn drop_ahead(&mut self) {
        self.silence_ahead();
        if let State::Listening(listening) = &mut self.state
            && listening.ahead.take().is_some()
        {
            self.commands.push(Command::DropDraft { turn: listening.turn });
        }
    }

    fn silence_ahead(&mut self) {
        if let State::Listening(listening) = &mut self.state
            && let Some(ahead) = &mut listening.ahead
            && std::mem::take(&mut ahead.speaks)
        {
            self.commands.push(Command::CancelSpeaking { turn: listening.turn });
        }
    }

    /// Gives what was prepared to the reply that is about to be committed, if it answers the same words.
    pub(super) fn bring_ahead(&mut self, replying: &mut Replying, ahead: Option<Ahead>) {
        let Some(ahead) = ahead else { return };
        if words::same(&ahead.text, &replying.transcript) {
            replying.stages.draft = Some(ahead.begun);
            if ahead.speaks {
                replying.speech = Speech::Ahead;
            }
            replying.ahead = Some(ahead.reply);
        } else if ahead.speaks {
            self.commands.push(Command::CancelSpeaking { turn: replying.turn });
        }
    }

    /// The turn was written down, and it is known whether its reply is the one that was prepared.
    pub(super) fn on_accepted(&mut self, draft_adopted: bool) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let turn = replying.turn;
        if draft_adopted {
            replying.drafted = true;
            if replying.speech == Speech::Ahead {
                replying.speech = Speech::Running;
                self.commands.push(Command::ReleaseSpeech { turn });
            }
        } else {
            self.refuse_ahead();
        }
    }

    /// What was prepared is not what is answered.
    pub(super) fn refuse_ahead(&mut self) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        replying.ahead = None;
        if replying.speech == Speech::Ahead {
            replying.speech = Speech::Wanted;
            self.commands.push(Command::CancelSpeaking { turn: replying.turn });
        }
    }
}
