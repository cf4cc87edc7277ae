//! Listening while a reply is prepared or spoken, and what is heard then: nothing that matters ("mhm", a cough, the
//! assistant's own voice), a word to stop, or a person who has something to say.

use std::time::Duration;

use super::listening::Listening;
use super::{Machine, Origin, State};
use crate::command::{Command, ListenFrom, Outcome};
use crate::event::{Event, TurnId};
use crate::settings::WakeMode;
use crate::words;

/// Bytes of the reply before and after what is being spoken that an echo may consist of: about eight and four seconds.
const ECHO_BEFORE: usize = 120;
const ECHO_AFTER: usize = 60;

impl Machine {
    /// Goes on listening while a reply is prepared and spoken, where people speak freely.
    pub(super) fn overhear(&mut self, now: Duration) {
        let free = self.settings.barge_in.is_some() && self.settings.wake_mode != WakeMode::PushToTalk;
        if !free || self.muted || self.draining || self.input_ended {
            return;
        }
        let turn = self.next_turn();
        if let State::Replying(replying) = &mut self.state {
            replying.ear = Some(Box::new(Listening::new(turn, Origin::BargeIn, None, now)));
            self.commands.push(Command::StartListening {
                turn,
                from: ListenFrom::Now,
                auto_end: true,
            });
        }
    }

    /// True when `turn` is what is listened to while a reply is under way.
    pub(super) fn overhears(&self, turn: TurnId) -> bool {
        matches!(&self.state, State::Replying(replying) if replying.ear.as_ref().is_some_and(|ear| ear.turn == turn))
    }

    /// Stops listening to what may interrupt.
    pub(super) fn stop_overhearing(&mut self) {
        if let State::Replying(replying) = &mut self.state
            && let Some(ear) = replying.ear.take()
        {
            self.commands.push(Command::StopListening { turn: ear.turn });
        }
    }

    /// No more audio comes: what was said into the reply is asked for, what was not is not waited for.
    pub(super) fn finish_overhearing(&mut self) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        match &mut replying.ear {
            Some(ear) if ear.spoke => {
                ear.finalize();
                self.commands.push(Command::FinalizeListening { turn: ear.turn });
            }
            _ => self.stop_overhearing(),
        }
    }

    /// Takes what is heard while a reply is under way.
    pub(super) fn on_overheard(&mut self, event: Event, now: Duration) {
        let said = match &event {
            Event::Partial { text, end_sample, .. } => Some((text, Some(*end_sample), false)),
            Event::Candidate { text, .. } => Some((text, None, true)),
            Event::Final { text, end_sample, .. } => Some((text, *end_sample, true)),
            _ => None,
        };
        if said.is_some_and(|(text, end, complete)| self.interrupts(text, end, complete, now)) {
            return self.barge_in(event, now);
        }
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let Some(ear) = &mut replying.ear else { return };
        match event {
            Event::VoiceStarted { sample, .. } => ear.note_voice(sample),
            Event::VoiceEnded { sample, .. } => ear.note_silence(sample),
            Event::VoicePaused { sample, .. } => ear.note_pause(sample),
            Event::VoiceResumed { .. } => ear.note_resumed(),
            Event::Final { .. } | Event::Rejected { .. } | Event::VoiceWithdrawn { .. } => {
                if matches!(event, Event::VoiceWithdrawn { .. }) {
                    ear.voice = None;
                }
                // Somebody may be speaking again already.
                ear.spoke = ear.voice.is_some();
                if !ear.spoke {
                    ear.note_resumed();
                }
                if ear.finalized {
                    self.stop_overhearing();
                }
            }
            // The stream has ended by itself; the reply goes on.
            Event::ListenFailed { .. } => replying.ear = None,
            _ => {}
        }
    }

    /// Whether these words, said into the reply up to the sample `end`, interrupt it. `complete`: nobody is saying more.
    fn interrupts(&self, text: &str, end: Option<u64>, complete: bool, now: Duration) -> bool {
        let (State::Replying(replying), Some(barge_in)) = (&self.state, &self.settings.barge_in) else {
            return false;
        };
        let Some(ear) = &replying.ear else { return false };
        if !words::any(text) || words::is_echo(text, self.being_spoken(now)) {
            return false;
        }
        let at_once =
            words::holds_any(text, &self.settings.stop_phrases) || words::is_only(text, &barge_in.interjections);
        if at_once {
            return true;
        }
        // Recognition hears words in any hum ("Amen" in "mm-hmm"); what is too short for more is one, unless it asks.
        let length = ear.voice_length(end);
        let long_enough = length.is_none_or(|length| length >= barge_in.voice) || complete && words::asks(text);
        long_enough && !words::is_nod(text, &barge_in.backchannels)
    }

    /// What of the reply may be in the air: a little more than is being spoken now.
    fn being_spoken(&self, now: Duration) -> &str {
        let State::Replying(replying) = &self.state else {
            return "";
        };
        if !replying.is_speaking() {
            return "";
        }
        let reply = replying.reply.as_str();
        let at = replying.heard_bytes(&self.settings, self.reports_playback, now);
        let start = reply.floor_char_boundary(at.saturating_sub(ECHO_BEFORE));
        let end = reply.ceil_char_boundary((at + ECHO_AFTER).min(reply.len()));
        &reply[start..end]
    }

    /// Somebody has something to say: the reply is cut, and what they say is the next turn. Who goes on before anything
    /// was spoken had not finished: then their words belong together.
    fn barge_in(&mut self, heard: Event, now: Duration) {
        let State::Replying(replying) = &mut self.state else {
            return;
        };
        let Some(mut ear) = replying.ear.take() else { return };
        let went_on = replying.by_voice && !replying.is_speaking();
        if went_on {
            ear.parts.push(replying.transcript.clone());
        }
        self.cut_reply(Outcome::Interrupted, now);
        // No more than the words that were asked for can come where the audio has ended.
        let wait = if ear.finalized {
            self.settings.final_timeout
        } else {
            self.settings.max_utterance
        };
        ear.deadline = Some(now + wait);
        ear.spoke = true;
        self.state = State::Listening(ear);
        self.on_heard(heard, now);
    }

    /// The reply is over: whoever speaks into its end is listened to further.
    pub(super) fn keep_listening(&mut self, ear: Option<Box<Listening>>, follows: bool, now: Duration) {
        let Some(mut ear) = ear else {
            if follows {
                self.start_listening(Origin::FollowUp, ListenFrom::Now, now);
            }
            return;
        };
        (ear.since, ear.deadline) = match (self.settings.wake_mode, ear.finalized) {
            (_, true) => (now, Some(now + self.settings.final_timeout)),
            _ if ear.spoke => (now, Some(now + self.settings.max_utterance)),
            (WakeMode::Open, _) => {
                ear.origin = Origin::Open;
                (now, None)
            }
            _ if follows => {
                ear.origin = Origin::FollowUp;
                (now, Some(now + self.settings.follow_up))
            }
            _ => {
                self.commands.push(Command::StopListening { turn: ear.turn });
                return;
            }
        };
        self.state = State::Listening(ear);
    }
}
