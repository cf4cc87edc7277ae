//! The end of a turn: heard to its last word, cut short, or given up.

use std::time::Duration;

use super::replying::Speech;
use super::{Machine, State};
use crate::command::{Command, Notice, Outcome, Summary};

impl Machine {
    /// Ends the turn when the reply is complete and has been played, as far as can be known.
    pub(super) fn finish_if_over(&mut self, now: Duration) {
        let State::Replying(replying) = &self.state else { return };
        let over = match replying.speech {
            Speech::Off | Speech::Failed => true,
            Speech::Sent => !self.reports_playback || replying.played >= replying.sent,
            Speech::Wanted | Speech::Ahead | Speech::Running => false,
        };
        if over && replying.reply_done.is_some() {
            self.finish(now);
        }
    }

    pub(super) fn finish(&mut self, now: Duration) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let (turn, bytes) = (replying.turn, replying.reply.len());
        let follows = replying.by_voice && replying.speech == Speech::Sent;
        let ear = replying.ear.take();
        self.commands.push(Command::ReportHeard {
            turn,
            bytes,
            interrupted: false,
        });
        self.end_turn(Outcome::Done, now);
        let follows =
            follows && !self.settings.follow_up.is_zero() && !self.muted && !self.draining && !self.input_ended;
        self.keep_listening(ear, follows, now);
    }

    /// Cuts the reply, if there is one, where the person stopped hearing it.
    pub(super) fn interrupt_reply(&mut self, now: Duration) {
        if matches!(self.state, State::Replying(_)) {
            self.cut_reply(Outcome::Interrupted, now);
        }
    }

    pub(super) fn cut_reply(&mut self, outcome: Outcome, now: Duration) {
        let State::Replying(replying) = &self.state else { return };
        let turn = replying.turn;
        let bytes = replying.heard_bytes(&self.settings, self.reports_playback, now);
        if replying.reply_done.is_none() {
            self.commands.push(Command::CancelReply { turn });
        }
        self.cancel_speaking();
        self.commands.push(Command::ReportHeard {
            turn,
            bytes,
            interrupted: true,
        });
        self.end_turn(outcome, now);
    }

    pub(super) fn cancel_speaking(&mut self) {
        if let State::Replying(replying) = &mut self.state {
            let turn = replying.turn;
            match replying.speech {
                Speech::Running | Speech::Ahead => self.commands.push(Command::CancelSpeaking { turn }),
                Speech::Off | Speech::Wanted | Speech::Sent | Speech::Failed => {}
            }
        }
    }

    pub(super) fn on_replying_deadline(&mut self, now: Duration) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let turn = replying.turn;
        if replying.reply_done.is_none() {
            let spoken = replying.by_voice || replying.speech != Speech::Off;
            self.commands.push(Command::Notice {
                turn,
                notice: Notice::ReplyTimedOut,
            });
            self.cut_reply(Outcome::Failed, now);
            if spoken {
                self.say_sorry(turn);
            }
        } else if replying.speech == Speech::Running {
            self.cancel_speaking();
            self.commands.push(Command::Notice {
                turn,
                notice: Notice::SpeechTimedOut,
            });
            self.say_sorry(turn);
            if let State::Replying(replying) = &mut self.state {
                replying.speech = Speech::Failed;
            }
            self.finish(now);
        } else {
            self.finish(now);
        }
    }

    pub(super) fn end_turn(&mut self, outcome: Outcome, now: Duration) {
        self.stop_overhearing();
        let State::Replying(replying) = &self.state else { return };
        let heard_bytes = match outcome {
            Outcome::Done => replying.reply.len(),
            Outcome::Interrupted | Outcome::Failed => replying.heard_bytes(&self.settings, self.reports_playback, now),
        };
        self.commands.push(Command::EndTurn(Box::new(Summary {
            turn: replying.turn,
            outcome,
            by_voice: replying.by_voice,
            transcript: replying.transcript.clone(),
            reply: replying.reply.clone(),
            heard_bytes,
            drafted: replying.drafted,
            stages: replying.stages.offsets(),
        })));
        self.state = State::Idle { retry_at: None };
    }
}
