//! Thinking and speaking: from the words that a person said to the last word that they have heard.

use std::time::Duration;

use super::listening::Listening;
use super::{Machine, State};
use crate::command::{Command, Outcome};
use crate::event::{Event, TurnId};
use crate::heard::Heard;
use crate::settings::Settings;
use crate::stages::{StageClock, has_sentence};

/// Where the speech of a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Nothing is to be spoken.
    Off,
    /// It begins with the first words of the reply.
    Wanted,
    /// It has begun before the turn was committed, and is held back until the turn is accepted.
    Ahead,
    /// Text goes in, audio comes out.
    Running,
    /// All audio was handed over; the client plays.
    Sent,
    /// It broke down; the reply goes on in writing.
    Failed,
}

#[derive(Debug)]
pub(super) struct Replying {
    pub(super) turn: TurnId,
    pub(super) transcript: String,
    pub(super) by_voice: bool,
    pub(super) reply: String,
    /// What is being spoken of the reply that was drafted, for as long as the reply has not caught up with it.
    pub(super) ahead: Option<String>,
    /// Whether the reply is the one that was drafted.
    pub(super) drafted: bool,
    /// Listens to what may interrupt.
    pub(super) ear: Option<Box<Listening>>,
    /// When the reply's text was complete.
    pub(super) reply_done: Option<Duration>,
    reply_deadline: Duration,
    pub(super) speech: Speech,
    heard: Heard,
    /// Samples handed over.
    pub(super) sent: u64,
    /// Samples that the client says it has played.
    pub(super) played: u64,
    /// When speech last moved.
    progress: Duration,
    pub(super) stages: StageClock,
}

impl Replying {
    pub(super) fn in_writing(turn: TurnId, text: String, speak: bool, settings: &Settings, now: Duration) -> Self {
        let stages = StageClock {
            origin: now,
            ..StageClock::default()
        };
        let speech = if speak && settings.audio_out_hz.is_some() {
            Speech::Wanted
        } else {
            Speech::Off
        };
        Self::new(turn, text, false, speech, stages, settings, now)
    }

    pub(super) fn by_voice(
        turn: TurnId,
        text: String,
        last_voice: Duration,
        endpoint: Duration,
        settings: &Settings,
        now: Duration,
    ) -> Self {
        let stages = StageClock {
            origin: last_voice,
            endpoint: Some(endpoint),
            stt: Some(now),
            ..StageClock::default()
        };
        let speech = if settings.audio_out_hz.is_some() {
            Speech::Wanted
        } else {
            Speech::Off
        };
        Self::new(turn, text, true, speech, stages, settings, now)
    }

    fn new(
        turn: TurnId,
        transcript: String,
        by_voice: bool,
        speech: Speech,
        stages: StageClock,
        settings: &Settings,
        now: Duration,
    ) -> Self {
        Self {
            turn,
            transcript,
            by_voice,
            reply: String::new(),
            ahead: None,
            drafted: false,
            ear: None,
            reply_done: None,
            reply_deadline: now + settings.reply_timeout,
            speech,
            heard: Heard::default(),
            sent: 0,
            played: 0,
            progress: now,
            stages,
        }
    }

    pub(super) fn is_speaking(&self) -> bool {
        self.sent > 0 && matches!(self.speech, Speech::Running | Speech::Sent)
    }

    pub(super) fn deadline(&self, settings: &Settings, reports_playback: bool) -> Option<Duration> {
        match (self.reply_done, self.speech) {
            (None, _) => Some(self.reply_deadline),
            (Some(done), Speech::Running) => Some(done.max(self.progress) + settings.speech_timeout),
            (Some(_), Speech::Sent) if reports_playback => {
                let begun = self.stages.first_audio.unwrap_or(self.progress);
                let played_out = begun + duration(self.sent, settings.audio_out_hz);
                Some(played_out.max(self.progress) + settings.playback_grace)
            }
            (Some(done), _) => Some(done),
        }
    }

    /// What of the next `text` of the reply is not being spoken already; `None` when something else is being spoken.
    fn not_ahead(&mut self, text: &str) -> Option<String> {
        let Some(ahead) = &self.ahead else {
            return Some(text.to_owned());
        };
        if ahead.starts_with(&self.reply) {
            return Some(String::new());
        }
        let new = self.reply.strip_prefix(ahead.as_str()).map(str::to_owned);
        self.ahead = None;
        new
    }

    /// Bytes of the reply that the person has got. Written words are got when they are shown; spoken ones when they were
    /// played, which the clock estimates where the client does not say.
    pub(super) fn heard_bytes(&self, settings: &Settings, reports_playback: bool, now: Duration) -> usize {
        match self.speech {
            Speech::Off | Speech::Failed => self.reply.len(),
            Speech::Wanted | Speech::Ahead => 0,
            Speech::Running | Speech::Sent => {
                let elapsed = self
                    .stages
                    .first_audio
                    .map_or(Duration::ZERO, |begun| now.saturating_sub(begun));
                let by_clock = (elapsed.as_secs_f64() * f64::from(settings.audio_out_hz.unwrap_or(0))) as u64;
                let played = if reports_playback {
                    self.played
                } else {
                    by_clock.min(self.sent)
                };
                self.heard.bytes(&self.reply, played)
            }
        }
    }
}

impl Machine {
    /// The words are there: have them answered.
    pub(super) fn commit(&mut self, replying: Replying) {
        self.commands.push(Command::CommitTurn {
            turn: replying.turn,
            text: replying.transcript.clone(),
            speak: matches!(replying.speech, Speech::Wanted | Speech::Ahead),
            by_voice: replying.by_voice,
        });
        self.state = State::Replying(Box::new(replying));
    }

    /// Takes what the legs of a reply say, if they say it of the turn that is under way.
    pub(super) fn on_said(&mut self, event: Event, now: Duration) {
        let (Event::Accepted { turn, .. }
        | Event::Recalled { turn }
        | Event::ReplyDelta { turn, .. }
        | Event::ReplyDone { turn }
        | Event::ReplyFailed { turn }
        | Event::Marked { turn, .. }
        | Event::AudioSent { turn, .. }
        | Event::AudioDone { turn }
        | Event::SpeakingFailed { turn }) = event
        else {
            return;
        };
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        if replying.turn != turn {
            return;
        }
        match event {
            Event::Accepted { draft_adopted, .. } => self.on_accepted(draft_adopted),
            Event::Recalled { .. } => {
                replying.stages.recall.get_or_insert(now);
            }
            Event::ReplyDelta { text, .. } if replying.reply_done.is_none() && !text.is_empty() => {
                self.on_reply_delta(text, now);
            }
            Event::ReplyDone { .. } if replying.reply_done.is_none() => self.on_reply_done(now),
            Event::ReplyFailed { .. } if replying.reply_done.is_none() => {
                let spoken = replying.by_voice || replying.speech != Speech::Off;
                self.cancel_speaking();
                if spoken {
                    self.say_sorry(turn);
                }
                self.end_turn(Outcome::Failed, now);
            }
            Event::Marked { mark, .. } if replying.speech == Speech::Running => {
                replying.heard.push(mark);
                replying.progress = now;
            }
            Event::AudioSent { samples, .. } if replying.speech == Speech::Running && samples > 0 => {
                replying.stages.first_audio.get_or_insert(now);
                replying.sent = samples;
                replying.progress = now;
            }
            Event::AudioDone { .. } if replying.speech == Speech::Running => {
                replying.speech = Speech::Sent;
                replying.progress = now;
                self.finish_if_over(now);
            }
            Event::SpeakingFailed { .. } if replying.speech == Speech::Running => {
                replying.speech = Speech::Failed;
                self.say_sorry(turn);
                self.finish_if_over(now);
            }
            _ => {}
        }
    }

    fn on_reply_delta(&mut self, text: String, now: Duration) {
        let State::Replying(replying) = &self.state else {
            return;
        };
        if replying.speech == Speech::Ahead {
            // It speaks before it says whether the draft is what it speaks.
            self.refuse_ahead();
        }
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let turn = replying.turn;
        replying.reply.push_str(&text);
        let new = replying.not_ahead(&text);
        replying.stages.first_token.get_or_insert(now);
        if replying.stages.first_sentence.is_none() && has_sentence(&replying.reply) {
            replying.stages.first_sentence = Some(now);
        }
        if replying.speech == Speech::Wanted {
            replying.speech = Speech::Running;
            replying.progress = now;
            self.commands.push(Command::StartSpeaking { turn });
        }
        match (replying.speech, new) {
            (Speech::Running, Some(text)) if text.is_empty() => {}
            (Speech::Running, Some(text)) => self.commands.push(Command::SpeakDelta { turn, text }),
            (Speech::Running, None) => {
                // The reply is another than the one that is being spoken; it goes on in writing.
                self.commands.push(Command::CancelSpeaking { turn });
                replying.speech = Speech::Failed;
                self.say_sorry(turn);
            }
            _ => {}
        }
        self.commands.push(Command::ShowReply { turn, text });
    }

    fn on_reply_done(&mut self, now: Duration) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        replying.reply_done = Some(now);
        if !replying.reply.is_empty() {
            replying.stages.first_sentence.get_or_insert(now);
        }
        match replying.speech {
            Speech::Running => self.commands.push(Command::FinishSpeaking { turn: replying.turn }),
            // Nothing was said, so there is nothing to speak.
            Speech::Wanted => replying.speech = Speech::Off,
            Speech::Ahead => {
                self.commands.push(Command::CancelSpeaking { turn: replying.turn });
                replying.speech = Speech::Off;
            }
            Speech::Off | Speech::Sent | Speech::Failed => {}
        }
        self.finish_if_over(now);
    }

    pub(super) fn on_played(&mut self, samples: u64, now: Duration) {
        if let State::Replying(replying) = &mut self.state {
            let samples = samples.min(replying.sent);
            if samples > replying.played {
                replying.played = samples;
                replying.progress = now;
            }
            self.finish_if_over(now);
        }
    }

    /// Says in recorded words that something went wrong, to a client that can play them.
    pub(super) fn say_sorry(&mut self, turn: TurnId) {
        if self.settings.audio_out_hz.is_some() {
            self.commands.push(Command::PlaySorry { turn });
        }
    }
}

/// Length of so many samples at a rate; zero without one.
fn duration(samples: u64, rate_hz: Option<u32>) -> Duration {
    rate_hz.filter(|&rate| rate > 0).map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(samples as f64 / f64::from(rate))
    })
}
