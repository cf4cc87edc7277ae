//! Listening and deciding: from the moment at which somebody is heard to the words that they said.

use std::time::Duration;

use super::{Machine, Replying, State};
use crate::command::{Command, ListenFrom, Notice, Phase};
use crate::event::{Event, TurnId};
use crate::settings::WakeMode;

/// What began a listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Button,
    Wake,
    FollowUp,
    Open,
}

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) turn: TurnId,
    pub(super) origin: Origin,
    pub(super) deadline: Option<Duration>,
    since: Duration,
    /// Somebody speaks, since this sample.
    voice: Option<u64>,
    /// Somebody has spoken.
    spoke: bool,
    /// Silence has set in, or the button was let go: words are waited for.
    deciding: bool,
    /// The words were asked for, so that the next ones end the turn.
    finalized: bool,
    /// Last voiced sample.
    last_voiced: Option<u64>,
    /// When the end of the turn was decided.
    endpoint: Option<Duration>,
    /// Words of earlier utterances, when the person went on while they were being written down.
    parts: Vec<String>,
}

impl Listening {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self { deciding: true, .. } => Phase::Deciding,
            Self {
                origin: Origin::Open,
                spoke: false,
                ..
            } => Phase::Idle,
            _ => Phase::Listening,
        }
    }

    /// The button was pressed again before the words were there: go on.
    pub(super) fn resume(&mut self, deadline: Duration) {
        self.deciding = false;
        self.finalized = false;
        self.endpoint = None;
        self.deadline = Some(deadline);
    }

    /// True when recognition ends utterances by itself.
    fn auto_end(&self) -> bool {
        self.origin != Origin::Button
    }
}

impl Machine {
    pub(super) fn start_listening(&mut self, origin: Origin, from: ListenFrom, now: Duration) {
        let turn = self.next_turn();
        let wait = match origin {
            Origin::Button => Some(self.settings.max_utterance),
            Origin::Wake => Some(self.settings.listen_timeout),
            Origin::FollowUp => Some(self.settings.follow_up),
            Origin::Open => None,
        };
        let listening = Listening {
            turn,
            origin,
            deadline: wait.map(|wait| now + wait),
            since: now,
            voice: None,
            spoke: false,
            deciding: false,
            finalized: false,
            last_voiced: None,
            endpoint: None,
            parts: Vec::new(),
        };
        self.commands.push(Command::StartListening {
            turn,
            from,
            auto_end: listening.auto_end(),
        });
        self.state = State::Listening(Box::new(listening));
        if self.input_ended {
            self.on_end_of_speech(now);
        }
    }

    /// Stops listening, if it does, without a turn.
    pub(super) fn abandon_listening(&mut self) {
        if let State::Listening(listening) = &self.state {
            self.commands.push(Command::StopListening { turn: listening.turn });
            self.state = State::Idle { retry_at: None };
        }
    }

    pub(super) fn on_end_of_speech(&mut self, now: Duration) {
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let nothing_yet = listening.origin == Origin::Open && !listening.spoke;
        if listening.finalized || nothing_yet {
            return;
        }
        listening.finalized = true;
        listening.deciding = true;
        listening.endpoint.get_or_insert(now);
        listening.deadline = Some(now + self.settings.final_timeout);
        self.commands.push(Command::FinalizeListening { turn: listening.turn });
    }

    /// Takes what speech recognition says, if it says it of the listening that is under way.
    pub(super) fn on_heard(&mut self, event: Event, now: Duration) {
        let (Event::VoiceStarted { turn, .. }
        | Event::VoiceEnded { turn, .. }
        | Event::VoiceWithdrawn { turn }
        | Event::Final { turn, .. }
        | Event::Rejected { turn }
        | Event::ListenFailed { turn }) = event
        else {
            return;
        };
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        if listening.turn != turn {
            return;
        }
        match event {
            Event::VoiceStarted { sample, .. } => {
                listening.voice = Some(sample);
                listening.spoke = true;
                if !listening.finalized {
                    listening.deciding = false;
                    listening.endpoint = None;
                    if listening.auto_end() {
                        listening.deadline = Some(now + self.settings.max_utterance);
                    }
                }
            }
            Event::VoiceEnded { sample, .. } => {
                listening.voice = None;
                listening.last_voiced = Some(sample);
                if listening.auto_end() && !listening.finalized {
                    listening.deciding = true;
                    listening.endpoint = Some(now);
                    listening.deadline = Some(now + self.settings.final_timeout);
                }
            }
            Event::VoiceWithdrawn { .. } => {
                listening.voice = None;
                self.on_rejected(now);
            }
            Event::Final { text, end_sample, .. } if !text.trim().is_empty() => {
                listening.spoke = true;
                listening.last_voiced = end_sample.or(listening.last_voiced);
                listening.parts.push(text.trim().to_owned());
                // Words of before the person went on are kept, and the rest is waited for.
                let went_on = listening
                    .voice
                    .is_some_and(|since| end_sample.is_some_and(|end| end < since));
                if listening.finalized || (listening.auto_end() && !went_on) {
                    self.take_words(now);
                }
            }
            Event::Final { .. } | Event::Rejected { .. } => self.on_rejected(now),
            Event::ListenFailed { .. } => {
                // The stream has ended by itself: there is nothing to stop.
                if listening.spoke || listening.origin != Origin::Open {
                    self.say_sorry(turn);
                }
                let retry_at = now + self.settings.retry_after;
                let retry = self.settings.wake_mode == WakeMode::Open;
                self.state = State::Idle {
                    retry_at: retry.then_some(retry_at),
                };
            }
            _ => {}
        }
    }

    /// What was heard were no words. Where a person still has time to speak, it goes on; else it is over.
    fn on_rejected(&mut self, now: Duration) {
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        if !listening.finalized && (listening.voice.is_some() || !listening.auto_end()) {
            return;
        }
        if !listening.parts.is_empty() {
            self.take_words(now);
            return;
        }
        let wait = match listening.origin {
            _ if listening.finalized => None,
            Origin::Wake => Some(self.settings.listen_timeout),
            Origin::FollowUp => Some(self.settings.follow_up),
            Origin::Button | Origin::Open => None,
        };
        let deadline = wait
            .map(|wait| listening.since + wait)
            .filter(|&deadline| deadline > now);
        if deadline.is_none() && (listening.finalized || listening.origin != Origin::Open) {
            self.abandon_listening();
            return;
        }
        listening.deciding = false;
        listening.spoke = false;
        listening.endpoint = None;
        listening.deadline = deadline;
    }

    pub(super) fn on_listening_deadline(&mut self, now: Duration) {
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let turn = listening.turn;
        let (waits_for_words, speaks) = (listening.deciding, listening.voice.is_some() || !listening.auto_end());
        if waits_for_words {
            if listening.parts.is_empty() {
                self.abandon_listening();
                self.commands.push(Command::Notice {
                    turn,
                    notice: Notice::NoTranscript,
                });
                self.say_sorry(turn);
            } else {
                self.take_words(now);
            }
        } else if speaks {
            // Longer than an utterance may be: what was heard so far is the turn.
            self.on_end_of_speech(now);
        } else {
            let asked = listening.origin == Origin::Wake;
            self.abandon_listening();
            if asked {
                self.commands.push(Command::Notice {
                    turn,
                    notice: Notice::NothingHeard,
                });
            }
        }
    }

    /// The words are there: the listening becomes a turn.
    fn take_words(&mut self, now: Duration) {
        let State::Listening(listening) = &self.state else {
            return;
        };
        let turn = listening.turn;
        let origin = listening
            .last_voiced
            .and_then(|sample| self.clock.time_of(sample))
            .unwrap_or(now);
        let endpoint = listening.endpoint.unwrap_or(now);
        let text = listening.parts.join(" ");
        self.commands.push(Command::StopListening { turn });
        self.commit(Replying::by_voice(turn, text, origin, endpoint, &self.settings, now));
    }
}
