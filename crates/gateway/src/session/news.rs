//! Takes what the legs say. A word of a turn that is over is dropped here, or by the machine.

use std::time::Duration;

use solo_audio::pcm;
use solo_proto::agent::v1::converse_response::Payload as Said;
use solo_proto::agent::v1::turn_status::Stage;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::events::v1::SpeechToTextPayload;
use solo_proto::events::v1::event::Payload as Fact;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::{ConverseResponse, FinalText, PartialText, ReplyMark, SpeechRejected};
use solo_proto::stt::v1::{FinalTranscript, RejectedTranscript, listen_response, voice_activity};
use solo_proto::wake::v1::WakeEvent;
use solo_service::ServiceError;
use solo_turn::{Event, Mark, TurnId};

use super::Session;
use super::legs::LegEvent;
use super::outbox::Room;
use crate::convert;
use crate::error::Error;

impl Session {
    /// Takes what a leg says.
    pub(super) fn on_news(&mut self, event: LegEvent) {
        match event {
            LegEvent::Wake(event) => self.on_wake(event),
            LegEvent::WakeFailed(error) => self.complain(None, &error),
            LegEvent::WakeEnded => {
                self.wake = None;
                self.feed(Event::InputEnded);
            }
            LegEvent::Heard { turn, base, said } if self.is_listening(turn) => self.on_heard(turn, base, said),
            LegEvent::ListenFailed { turn, error } if self.is_listening(turn) => {
                self.listen = None;
                self.complain(Some(turn), &error);
                self.feed(Event::ListenFailed { turn });
            }
            LegEvent::Said { turn, said } if self.is_current(turn) && self.reply.is_some() => self.on_said(turn, said),
            LegEvent::ReplyFailed { turn, error } if self.is_current(turn) && self.reply.is_some() => {
                self.reply = None;
                self.failed(turn, &error);
                self.feed(Event::ReplyFailed { turn });
            }
            LegEvent::Marked { turn, take, .. }
            | LegEvent::Audio { turn, take, .. }
            | LegEvent::Spoken { turn, take }
            | LegEvent::SpeakFailed { turn, take, .. }
                if !self.is_current(turn) || self.speech.is_none() || self.take != take => {}
            spoken @ (LegEvent::Marked { .. }
            | LegEvent::Audio { .. }
            | LegEvent::Spoken { .. }
            | LegEvent::SpeakFailed { .. })
                if self.held.is_some() =>
            {
                self.held.get_or_insert_default().push(spoken);
            }
            LegEvent::Marked { turn, mark, .. } => self.on_mark(turn, mark),
            LegEvent::Audio { turn, data, room, .. } => self.on_speech(turn, data, room),
            LegEvent::Spoken { turn, .. } => {
                self.speech = None;
                self.feed(Event::AudioDone { turn });
            }
            LegEvent::SpeakFailed { turn, error, .. } => {
                self.speech = None;
                self.failed(turn, &error);
                self.feed(Event::SpeakingFailed { turn });
            }
            LegEvent::Heard { .. }
            | LegEvent::ListenFailed { .. }
            | LegEvent::Said { .. }
            | LegEvent::ReplyFailed { .. } => {}
        }
    }

    fn is_listening(&self, turn: TurnId) -> bool {
        self.machine.listening_turn() == Some(turn) && self.listen.is_some()
    }

    fn is_current(&self, turn: TurnId) -> bool {
        self.machine.current_turn() == Some(turn)
    }

    fn failed(&mut self, turn: TurnId, error: &Error) {
        error.reason().clone_into(&mut self.notes(turn).failure);
        self.complain(Some(turn), error);
    }

    fn on_wake(&mut self, event: WakeEvent) {
        let end_sample = event.end_sample;
        // Taken when the machine begins to listen; it may have reasons not to.
        self.woken = Some(event);
        self.feed(Event::Wake { end_sample });
        self.woken = None;
    }

    fn on_heard(&mut self, turn: TurnId, base: u64, said: listen_response::Payload) {
        match said {
            listen_response::Payload::Started(_) => {}
            listen_response::Payload::VoiceActivity(activity) => {
                let sample = base + activity.sample;
                match activity.kind() {
                    voice_activity::Kind::Started => self.feed(Event::VoiceStarted { turn, sample }),
                    voice_activity::Kind::Ended if self.is_keyword(turn, sample) => {
                        self.feed(Event::VoiceWithdrawn { turn });
                    }
                    voice_activity::Kind::Ended => self.feed(Event::VoiceEnded { turn, sample }),
                    voice_activity::Kind::Paused if self.is_keyword(turn, sample) => {}
                    voice_activity::Kind::Paused => self.feed(Event::VoicePaused { turn, sample }),
                    voice_activity::Kind::Resumed => self.feed(Event::VoiceResumed { turn }),
                    voice_activity::Kind::Unspecified => {}
                }
            }
            listen_response::Payload::Partial(partial) if self.is_keyword(turn, base + partial.end_sample) => {}
            listen_response::Payload::Partial(partial) => {
                let text = format!("{} {}", partial.stable_text, partial.unstable_text)
                    .trim()
                    .to_owned();
                self.feed(Event::Partial {
                    turn,
                    text: text.clone(),
                    end_sample: base + partial.end_sample,
                });
                if !self.is_current(turn) {
                    // Said into a reply, and it goes on.
                    return;
                }
                self.publish(
                    turn,
                    Fact::SpeechToText(SpeechToTextPayload {
                        text,
                        ..Default::default()
                    }),
                );
                let (stable_text, unstable_text) = (partial.stable_text, partial.unstable_text);
                self.say(
                    Some(turn),
                    Payload::Partial(PartialText {
                        stable_text,
                        unstable_text,
                    }),
                );
            }
            listen_response::Payload::TurnEnd(estimate) => {
                tracing::debug!(
                    probability = estimate.probability,
                    silence_ms = estimate.silence_ms,
                    "how finished a pause sounds"
                );
                self.feed(Event::TurnEnd {
                    turn,
                    probability: estimate.probability,
                    silence: Duration::from_millis(u64::from(estimate.silence_ms)),
                });
            }
            listen_response::Payload::Candidate(candidate) if self.is_keyword(turn, base + candidate.end_sample) => {}
            listen_response::Payload::Candidate(candidate) => {
                let text = self.without_keyword(turn, &candidate.text);
                self.feed(Event::Candidate { turn, text });
            }
            // Words of the keyword's own tail, and doubts about them, are nobody's business.
            listen_response::Payload::Final(transcript) => {
                if transcript.end_sample == 0 || !self.is_keyword(turn, base + transcript.end_sample) {
                    self.on_final(turn, base, transcript);
                }
            }
            listen_response::Payload::Rejected(rejected) => {
                if rejected.end_sample == 0 || !self.is_keyword(turn, base + rejected.end_sample) {
                    self.on_rejected(turn, rejected);
                }
            }
        }
    }

    /// Whether voice that ends with `sample` is the keyword itself, of which a little is listened to.
    fn is_keyword(&mut self, turn: TurnId, sample: u64) -> bool {
        sample < self.notes(turn).keyword_until
    }

    fn on_final(&mut self, turn: TurnId, base: u64, transcript: FinalTranscript) {
        let text = self.without_keyword(turn, &transcript.text);
        let end_sample = (transcript.end_sample > 0).then(|| base + transcript.end_sample);
        if !self.is_current(turn) {
            // Said into a reply: only if it interrupts are they words of a turn.
            self.feed(Event::Final {
                turn,
                text: text.clone(),
                end_sample,
            });
            if self.is_current(turn) {
                self.say_final(turn, text, transcript.confidence);
            }
            return;
        }
        if text.is_empty() {
            let reason = "NO_WORDS".to_owned();
            self.say(
                Some(turn),
                Payload::Rejected(SpeechRejected {
                    reason,
                    text: transcript.text,
                }),
            );
            self.feed(Event::Rejected { turn });
            return;
        }
        self.say_final(turn, text.clone(), transcript.confidence);
        self.feed(Event::Final { turn, text, end_sample });
    }

    fn say_final(&mut self, turn: TurnId, text: String, confidence: f32) {
        let fact = SpeechToTextPayload {
            text: text.clone(),
            r#final: true,
            ..Default::default()
        };
        self.publish(turn, Fact::SpeechToText(fact));
        self.say(Some(turn), Payload::Final(FinalText { text, confidence }));
    }

    /// The words without what is left of the keyword that began the turn.
    fn without_keyword(&mut self, turn: TurnId, text: &str) -> String {
        match &self.notes(turn).phrase {
            Some(phrase) => solo_turn::keyword::strip_keyword(text, phrase).to_owned(),
            None => text.trim().to_owned(),
        }
    }

    fn on_rejected(&mut self, turn: TurnId, rejected: RejectedTranscript) {
        if !self.is_current(turn) {
            // A noise beside a reply.
            self.feed(Event::Rejected { turn });
            return;
        }
        let reason = convert::rejection(rejected.reason());
        let fact = SpeechToTextPayload {
            text: rejected.text.clone(),
            r#final: true,
            rejected_reason: reason.clone(),
        };
        self.publish(turn, Fact::SpeechToText(fact));
        self.say(
            Some(turn),
            Payload::Rejected(SpeechRejected {
                reason,
                text: rejected.text,
            }),
        );
        self.feed(Event::Rejected { turn });
    }

    fn on_said(&mut self, turn: TurnId, said: Said) {
        match said {
            Said::Accepted(accepted) => self.feed(Event::Accepted {
                turn,
                draft_adopted: accepted.draft_adopted,
            }),
            Said::DraftText(piece) => {
                if self
                    .reply
                    .as_ref()
                    .is_some_and(|reply| reply.is_newest_draft(piece.draft))
                {
                    self.feed(Event::DraftDelta { turn, text: piece.text });
                }
            }
            Said::Status(status) if status.stage() == Stage::Recalled => self.feed(Event::Recalled { turn }),
            Said::Text(delta) => self.feed(Event::ReplyDelta { turn, text: delta.text }),
            Said::Citation(citation) => self.say(Some(turn), Payload::Citation(citation)),
            Said::Action(action) => self.say(Some(turn), Payload::Action(action)),
            Said::Done(done) => {
                self.notes(turn).usage = done.usage.unwrap_or_default();
                self.feed(Event::ReplyDone { turn });
            }
            Said::Status(_) | Said::Opened(_) | Said::Failed(_) => {}
        }
    }

    fn on_mark(&mut self, turn: TurnId, mark: Mark) {
        let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (text_start, text_end) = (byte(mark.text_start), byte(mark.text_end));
        self.say(
            Some(turn),
            Payload::Mark(ReplyMark {
                text_start,
                text_end,
                start_sample: mark.start_sample,
            }),
        );
        self.feed(Event::Marked { turn, mark });
    }

    fn on_speech(&mut self, turn: TurnId, data: Vec<u8>, room: Room) {
        let notes = self.notes(turn);
        let (turn_id, first_sample) = (notes.id.clone(), notes.sent);
        notes.sent += data.len() as u64 / 2;
        let samples = notes.sent;
        // First the machine, so that the client hears of the new state before it hears the voice.
        self.feed(Event::AudioSent { turn, samples });
        if self.is_current(turn) {
            if let (Some(ears), Ok(samples)) = (&mut self.ears, pcm::from_s16le(&data)) {
                ears.played(&samples);
            }
            let payload = Payload::Audio(AudioChunk { data, first_sample });
            self.outbox.push_audio(
                turn,
                ConverseResponse {
                    turn_id,
                    payload: Some(payload),
                },
                room,
            );
        }
    }
}
