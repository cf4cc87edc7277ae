//! Listening and deciding: from the moment at which somebody is heard to the words that they said.

use std::time::Duration;

use super::ahead::Ahead;
use super::pause::Pause;
use super::{Machine, Replying, State};
use crate::command::{Command, ListenFrom, Notice, Phase};
use crate::event::{Event, TurnId};
use crate::settings::WakeMode;
use crate::{stages, words};

/// What began a listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Button,
    Wake,
    FollowUp,
    Open,
    /// Somebody spoke into a reply.
    BargeIn,
}

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) turn: TurnId,
    pub(super) origin: Origin,
    pub(super) deadline: Option<Duration>,
    pub(super) since: Duration,
    /// Somebody speaks, since this sample.
    pub(super) voice: Option<u64>,
    /// Where somebody began to speak last.
    voice_began: Option<u64>,
    /// Somebody has spoken.
    pub(super) spoke: bool,
    /// Who speaks pauses.
    pub(super) pause: Option<Pause>,
    /// What is prepared in case that the pause is the end.
    pub(super) ahead: Option<Ahead>,
    /// Silence has set in, or the button was let go: words are waited for.
    deciding: bool,
    /// The words were asked for, so that the next ones end the turn.
    pub(super) finalized: bool,
    /// Last voiced sample.
    pub(super) last_voiced: Option<u64>,
    /// When the end of the turn was decided.
    endpoint: Option<Duration>,
    /// Words of earlier utterances, when the person went on while they were being written down.
    pub(super) parts: Vec<String>,
}

impl Listening {
    pub(super) fn new(turn: TurnId, origin: Origin, deadline: Option<Duration>, now: Duration) -> Self {
        Self {
            turn,
            origin,
            deadline,
            since: now,
            voice: None,
            voice_began: None,
            spoke: false,
            pause: None,
            ahead: None,
            deciding: false,
            finalized: false,
            last_voiced: None,
            endpoint: None,
            parts: Vec::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let ends_at = self.pause.as_ref().and_then(|pause| pause.ends_at);
        match (self.deadline, ends_at) {
            (Some(deadline), Some(ends_at)) => Some(deadline.min(ends_at)),
            (deadline, ends_at) => deadline.or(ends_at),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Self { deciding: true, .. } | Self { pause: Some(_), .. } => Phase::Deciding,
            Self {
                origin: Origin::Open,
                spoke: false,
                ..
            } => Phase::Idle,
            _ => Phase::Listening,
        }
    }

    /// The words are asked for: the next ones are the last.
    pub(super) fn finalize(&mut self) {
        self.finalized = true;
        self.deciding = true;
        self.pause = None;
    }

    /// The button was pressed again before the words were there: go on.
    pub(super) fn resume(&mut self, deadline: Duration) {
        self.deciding = false;
        self.finalized = false;
        self.pause = None;
        self.endpoint = None;
        self.deadline = Some(deadline);
    }

    /// All words of the turn, if `last` are its last.
    fn words_with(&self, last: &str) -> String {
        let mut parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        parts.push(last.trim());
        parts.join(" ").trim().to_owned()
    }

    /// Somebody speaks.
    pub(super) fn note_voice(&mut self, sample: u64) {
        (self.voice, self.voice_began) = (Some(sample), Some(sample));
        self.spoke = true;
        self.pause = None;
    }

    /// How long who spoke last has spoken up to `end`, or up to their last voiced sample; `None` where that is not known.
    pub(super) fn voice_length(&self, end: Option<u64>) -> Option<Duration> {
        let samples = end.or(self.last_voiced)?.saturating_sub(self.voice_began?);
        Some(stages::length(samples))
    }

    /// Who speaks pauses.
    pub(super) fn note_pause(&mut self, sample: u64) {
        if self.voice.is_some() {
            self.last_voiced = Some(sample);
            self.pause = Some(Pause::default());
        }
    }

    /// Who paused goes on.
    pub(super) fn note_resumed(&mut self) {
        self.pause = None;
    }

    /// Nobody speaks any more.
    pub(super) fn note_silence(&mut self, sample: u64) {
        self.voice = None;
        self.last_voiced = Some(sample);
        self.pause = None;
    }

    /// True when a pause can be the end.
    pub(super) fn may_end(&self) -> bool {
        self.auto_end() && !self.finalized
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
            Origin::BargeIn => Some(self.settings.max_utterance),
            Origin::Open => None,
        };
        let listening = Listening::new(turn, origin, wait.map(|wait| now + wait), now);
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
        self.drop_ahead();
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
        listening.finalize();
        listening.endpoint.get_or_insert(now);
        listening.deadline = Some(now + self.settings.final_timeout);
        self.commands.push(Command::FinalizeListening { turn: listening.turn });
    }

    /// Takes what speech recognition says, if it says it of the listening that is under way.
    pub(super) fn on_heard(&mut self, event: Event, now: Duration) {
        let (Event::VoiceStarted { turn, .. }
        | Event::VoiceEnded { turn, .. }
        | Event::VoiceWithdrawn { turn }
        | Event::VoicePaused { turn, .. }
        | Event::VoiceResumed { turn }
        | Event::TurnEnd { turn, .. }
        | Event::Partial { turn, .. }
        | Event::Candidate { turn, .. }
        | Event::Final { turn, .. }
        | Event::Rejected { turn }
        | Event::ListenFailed { turn }) = event
        else {
            return;
        };
        if self.overhears(turn) {
            return self.on_overheard(event, now);
        }
        if matches!(event, Event::VoiceStarted { .. } | Event::VoiceResumed { .. }) && self.listens(turn) {
            self.drop_ahead();
        }
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        if listening.turn != turn {
            return;
        }
        match event {
            Event::VoiceStarted { sample, .. } => {
                listening.note_voice(sample);
                if !listening.finalized {
                    listening.deciding = false;
                    listening.endpoint = None;
                    if listening.auto_end() {
                        listening.deadline = Some(now + self.settings.max_utterance);
                    }
                }
            }
            Event::VoicePaused { sample, .. } => listening.note_pause(sample),
            Event::VoiceResumed { .. } => listening.note_resumed(),
            Event::TurnEnd {
                probability, silence, ..
            } => self.on_turn_end(probability, silence, now),
            Event::Candidate { text, .. } if words::any(&text) => {
                let text = listening.words_with(&text);
                let reads = words::ending(&text, &self.settings.turn_end.open_words);
                self.draft(text, now);
                self.on_words_of_pause(reads, now);
            }
            Event::VoiceEnded { sample, .. } => {
                listening.note_silence(sample);
                if listening.auto_end() && !listening.finalized {
                    listening.deciding = true;
                    listening.endpoint = Some(now);
                    listening.deadline = Some(now + self.settings.final_timeout);
                }
            }
            Event::VoiceWithdrawn { .. } => {
                listening.voice = None;
                listening.pause = None;
                self.drop_ahead();
                self.on_rejected(now);
            }
            Event::Final { text, .. } if words::is_only(&text, &self.settings.stop_phrases) => self.abandon_listening(),
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
                let (spoke, origin) = (listening.spoke, listening.origin);
                self.drop_ahead();
                if spoke || origin != Origin::Open {
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
            Origin::Button | Origin::Open | Origin::BargeIn => None,
        };
        let deadline = wait
            .map(|wait| listening.since + wait)
            .filter(|&deadline| deadline > now);
        if deadline.is_none() && (listening.finalized || listening.origin != Origin::Open) {
            self.abandon_listening();
            return;
        }
        listening.deciding = false;
        listening.note_resumed();
        listening.spoke = false;
        listening.endpoint = None;
        listening.deadline = deadline;
    }

    pub(super) fn on_listening_deadline(&mut self, now: Duration) {
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let turn = listening.turn;
        let ends_at = listening.pause.as_ref().and_then(|pause| pause.ends_at);
        if ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.on_end_of_speech(now);
            return;
        }
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
        let State::Listening(listening) = &mut self.state else {
            return;
        };
        let turn = listening.turn;
        let last_voice = listening
            .last_voiced
            .and_then(|sample| self.clock.time_of(sample))
            .unwrap_or(now);
        let endpoint = listening.endpoint.unwrap_or(now);
        let text = listening.parts.join(" ");
        let ahead = listening.ahead.take();
        self.commands.push(Command::StopListening { turn });
        let mut replying = Replying::by_voice(turn, text, last_voice, endpoint, &self.settings, now);
        self.bring_ahead(&mut replying, ahead);
        self.commit(replying);
        self.overhear(now);
    }

    fn listens(&self, turn: TurnId) -> bool {
        matches!(&self.state, State::Listening(listening) if listening.turn == turn)
    }
}
