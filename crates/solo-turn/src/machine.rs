//! The states of a conversation and the ways between them.
//!
//! ```text
//! Idle ──wake / button / voice──▶ Listening ──silence──▶ Deciding ──words──▶ Thinking ──audio──▶ Speaking ──▶ Idle
//!                                     ▲──voice again──────┘                    │ control, wake word   │
//!                                     └────────────────────────────────────────┴──────────────────────┘
//! ```
//!
//! While a reply is prepared or spoken the conversation may go on listening ([`overhearing`]), so that a person can speak
//! into it; while somebody pauses, the answer is prepared ([`ahead`]).
//!
//! Every state that waits for somebody has a deadline ([`Machine::deadline`]), so a leg that never answers cannot hold a
//! conversation: after it, the next turn works.

mod ahead;
mod ending;
mod listening;
mod overhearing;
mod pause;
mod replying;

use std::time::Duration;

use crate::command::{Command, ListenFrom, Phase};
use crate::event::{Event, TurnId};
use crate::settings::{Settings, WakeMode};
use crate::stages::SampleClock;

use listening::{Listening, Origin};
use replying::Replying;

/// One conversation.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    state: State,
    clock: SampleClock,
    /// The newest turn.
    turn: TurnId,
    muted: bool,
    /// Nothing new may begin: the service is going down.
    draining: bool,
    /// The client sends no more.
    input_ended: bool,
    /// The client says how far it has played; from then on it is waited for.
    reports_playback: bool,
    commands: Vec<Command>,
}

#[derive(Debug)]
enum State {
    /// Nothing is going on; listening is to be opened again at `retry_at`.
    Idle {
        retry_at: Option<Duration>,
    },
    Listening(Box<Listening>),
    Replying(Box<Replying>),
    Closed,
}

impl Machine {
    /// A conversation that has not been opened yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Idle { retry_at: None },
            clock: SampleClock::default(),
            turn: TurnId(0),
            muted: false,
            draining: false,
            input_ended: false,
            reports_playback: false,
            commands: Vec::new(),
        }
    }

    /// Notes that all samples before `end` (from the start of the conversation, at 16,000 Hz) were there at `now`.
    pub fn audio_arrived(&mut self, end: u64, now: Duration) {
        self.clock.arrived(end, now);
    }

    /// Where the conversation is.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Idle { .. } | State::Closed => Phase::Idle,
            State::Listening(listening) => listening.phase(),
            State::Replying(replying) if replying.is_speaking() => Phase::Speaking,
            State::Replying(_) => Phase::Thinking,
        }
    }

    /// The turn that is under way, listening included.
    pub fn current_turn(&self) -> Option<TurnId> {
        match &self.state {
            State::Listening(listening) => Some(listening.turn),
            State::Replying(replying) => Some(replying.turn),
            State::Idle { .. } | State::Closed => None,
        }
    }

    /// The turn that somebody is listened to for: the one that is under way, or one that may interrupt it.
    pub fn listening_turn(&self) -> Option<TurnId> {
        match &self.state {
            State::Listening(listening) => Some(listening.turn),
            State::Replying(replying) => replying.ear.as_ref().map(|ear| ear.turn),
            State::Idle { .. } | State::Closed => None,
        }
    }

    /// True when nothing is under way; waiting for any voice ([`WakeMode::Open`]) counts as nothing.
    pub fn is_idle(&self) -> bool {
        self.phase() == Phase::Idle
    }

    /// When it wants [`Event::Tick`] at the latest, in the time of [`Machine::on`].
    pub fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Idle { retry_at } => *retry_at,
            State::Listening(listening) => listening.next_deadline(),
            State::Replying(replying) => replying.deadline(&self.settings, self.reports_playback),
            State::Closed => None,
        }
    }

    /// Takes an event that happened at `now` (from the start of the conversation; never less than before) and says what
    /// is to be done, in this order.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Command> {
        if matches!(self.state, State::Closed) {
            return Vec::new();
        }
        let before = self.phase();
        self.dispatch(event, now);
        self.settle(now);
        let after = self.phase();
        if before != after {
            let last = self.commands.len() - usize::from(self.commands.last() == Some(&Command::CloseSession));
            self.commands.insert(last, Command::Notify(after));
        }
        std::mem::take(&mut self.commands)
    }

    fn dispatch(&mut self, event: Event, now: Duration) {
        match event {
            Event::Opened => {}
            Event::Tick => self.on_tick(now),
            Event::Wake { end_sample } => self.on_wake(end_sample, now),
            Event::PushToTalk => self.on_push_to_talk(now),
            Event::EndOfSpeech => self.on_end_of_speech(now),
            Event::InputEnded => {
                self.input_ended = true;
                self.finish_overhearing();
                self.on_end_of_speech(now);
            }
            Event::TextInput { text, speak } => self.on_text(text, speak, now),
            Event::Interrupt if self.is_idle() => {}
            Event::Interrupt => self.interrupt(now),
            Event::Mute(muted) => {
                self.muted = muted;
                if muted {
                    self.stop_overhearing();
                    self.abandon_listening();
                }
            }
            Event::Drain => self.draining = true,
            Event::Closed => {
                self.interrupt(now);
                self.state = State::Closed;
            }
            Event::Played { samples } => {
                self.reports_playback = true;
                self.on_played(samples, now);
            }
            heard @ (Event::VoiceStarted { .. }
            | Event::VoiceEnded { .. }
            | Event::VoiceWithdrawn { .. }
            | Event::VoicePaused { .. }
            | Event::VoiceResumed { .. }
            | Event::TurnEnd { .. }
            | Event::Partial { .. }
            | Event::Candidate { .. }
            | Event::Final { .. }
            | Event::Rejected { .. }
            | Event::ListenFailed { .. }) => self.on_heard(heard, now),
            Event::DraftDelta { turn, text } => self.on_draft_delta(turn, text),
            said @ (Event::Accepted { .. }
            | Event::Recalled { .. }
            | Event::ReplyDelta { .. }
            | Event::ReplyDone { .. }
            | Event::ReplyFailed { .. }
            | Event::Marked { .. }
            | Event::AudioSent { .. }
            | Event::AudioDone { .. }
            | Event::SpeakingFailed { .. }) => self.on_said(said, now),
        }
    }

    fn on_tick(&mut self, now: Duration) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.state {
            State::Idle { .. } => self.state = State::Idle { retry_at: None },
            State::Listening(_) => self.on_listening_deadline(now),
            State::Replying(_) => self.on_replying_deadline(now),
            State::Closed => {}
        }
    }

    fn on_wake(&mut self, end_sample: u64, now: Duration) {
        let free = match self.state {
            State::Idle { .. } => true,
            State::Replying(_) => self.settings.wake_interrupts,
            State::Listening(_) | State::Closed => false,
        };
        if free && !self.muted && !self.draining {
            self.interrupt(now);
            self.start_listening(Origin::Wake, ListenFrom::Sample(end_sample), now);
            self.commands.push(Command::PlayChime);
        }
    }

    fn on_push_to_talk(&mut self, now: Duration) {
        if self.muted || self.draining {
            return;
        }
        if let State::Listening(listening) = &mut self.state
            && listening.origin == Origin::Button
        {
            listening.resume(now + self.settings.max_utterance);
            return;
        }
        self.interrupt(now);
        self.start_listening(Origin::Button, ListenFrom::Now, now);
    }

    fn on_text(&mut self, text: String, speak: bool, now: Duration) {
        if self.draining || text.trim().is_empty() {
            return;
        }
        self.interrupt(now);
        let turn = self.next_turn();
        self.commit(Replying::in_writing(turn, text, speak, &self.settings, now));
        if speak {
            self.overhear(now);
        }
    }

    /// Stops whatever is under way.
    fn interrupt(&mut self, now: Duration) {
        self.abandon_listening();
        self.interrupt_reply(now);
    }

    fn next_turn(&mut self) -> TurnId {
        self.turn = TurnId(self.turn.0 + 1);
        self.turn
    }

    /// What has to hold whenever nothing is under way.
    fn settle(&mut self, now: Duration) {
        let over = self.draining || self.input_ended;
        if over && matches!(&self.state, State::Listening(listening) if listening.phase() == Phase::Idle) {
            self.abandon_listening();
        }
        let State::Idle { retry_at: None } = self.state else {
            if over && matches!(self.state, State::Idle { .. }) {
                self.close();
            }
            return;
        };
        if over {
            self.close();
        } else if self.settings.wake_mode == WakeMode::Open && !self.muted {
            self.start_listening(Origin::Open, ListenFrom::Now, now);
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.commands.push(Command::CloseSession);
    }
}
