//! Does what the machine says.

use std::sync::Arc;

use solo_audio::{Clean, SampleRate};
use solo_proto::agent::v1::{DialogueMode, OpenDialogue};
use solo_proto::events::v1::event::Payload as Fact;
use solo_proto::events::v1::{BargeInPayload, ReplyPayload, SpeechPayload, TurnSummaryPayload, WakePayload};
use solo_proto::gateway::v1::chime::Kind;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::{Chime, ReplyText, SpeechRejected, StateChanged, TurnSummary, WakeHeard};
use solo_turn::{Command, Event, ListenFrom, Notice, Outcome, Phase, Summary, TurnId};

use super::legs::listen::{ListenLeg, Listening};
use super::legs::reply::{Question, ReplyLeg};
use super::legs::speak::{self, SpeakLeg};
use super::{End, Session};
use crate::convert;
use crate::error::Error;

/// A detector may be sure a little before the keyword's last sound, in samples: 150 ms.
const KEYWORD_MAY_LAST: u64 = 2_400;

impl Session {
    /// Carries a command out.
    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::StartListening { turn, from, auto_end } => self.start_listening(turn, from, auto_end),
            Command::FinalizeListening { .. } => self.finalize(),
            Command::StopListening { turn } => {
                self.listen = None;
                // A draft that was not committed.
                if self.reply.as_ref().is_some_and(|reply| reply.turn() == turn)
                    && self.machine.current_turn() != Some(turn)
                {
                    self.reply = None;
                }
            }
            Command::Draft { turn, text } => self.draft(turn, text),
            Command::DropDraft { turn } => {
                if let Some(reply) = self.reply.as_mut().filter(|reply| reply.turn() == turn) {
                    reply.draft(String::new());
                }
            }
            Command::CommitTurn { turn, text, speak, .. } => self.ask(turn, text, speak),
            // The reply learns it from what was heard of it, which always follows.
            Command::CancelReply { .. } => {}
            Command::ShowReply { turn, text } => self.show(turn, text),
            Command::StartSpeaking { turn } => self.start_speaking(turn),
            Command::SpeakAhead { turn } => {
                self.start_speaking(turn);
                self.held = Some(Vec::new());
            }
            Command::ReleaseSpeech { .. } => self.released.extend(self.held.take().unwrap_or_default()),
            Command::SpeakDelta { text, .. } => {
                if let Some(speech) = &self.speech {
                    speech.say(text);
                }
            }
            Command::FinishSpeaking { .. } => {
                if let Some(speech) = &self.speech {
                    speech.finish();
                }
            }
            Command::CancelSpeaking { turn } => {
                self.speech = None;
                // What was held back was not handed over, and the turn may speak yet.
                if self.held.take().is_none() {
                    self.silence(turn);
                }
            }
            Command::ReportHeard {
                turn,
                bytes,
                interrupted,
            } => self.report_heard(turn, bytes, interrupted),
            Command::PlayChime => {
                if self.gateway.config.voice.chime {
                    self.play(self.machine.current_turn(), Kind::Wake);
                }
            }
            Command::PlaySorry { turn } => self.play(Some(turn), Kind::Sorry),
            Command::Notice { turn, notice } => self.notice(turn, notice),
            Command::Notify(phase) => self.notify(phase),
            Command::EndTurn(summary) => self.end_turn(*summary),
            Command::CloseSession => {
                let end = if self.draining { End::Draining } else { End::Done };
                self.over.get_or_insert(end);
            }
        }
    }

    fn start_listening(&mut self, turn: TurnId, from: ListenFrom, auto_end: bool) {
        if let Some(event) = self.woken.take() {
            let notes = self.notes(turn);
            notes.phrase = Some(solo_turn::keyword::phrase_of(&event.keyword));
            notes.keyword_until = event.end_sample + KEYWORD_MAY_LAST;
            self.publish(
                turn,
                Fact::Wake(WakePayload {
                    keyword: event.keyword.clone(),
                    score: event.score,
                }),
            );
            let at_ms = event.end_sample / 16;
            self.say(
                Some(turn),
                Payload::Wake(WakeHeard {
                    keyword: event.keyword,
                    at_ms,
                    score: event.score,
                }),
            );
        }
        // Only a conversation with ears gets as far as here.
        let Some(ears) = &self.ears else { return };
        let (base, backlog) = match from {
            ListenFrom::Now => (ears.end(), Clean::default()),
            ListenFrom::Sample(sample) => {
                let pre_roll = SampleRate::SPEECH.samples_in_ms(self.gateway.config.voice.pre_roll_ms);
                ears.since(sample.saturating_sub(pre_roll))
            }
        };
        let language = convert::language_of(&self.manner.locale);
        let listening = Listening {
            turn,
            base,
            language,
            auto_end,
        };
        let (gateway, ear) = (Arc::clone(&self.gateway), self.ear.clone());
        let notes = self.notes(turn);
        let leg = ListenLeg::start(&gateway, notes.caller.clone(), &notes.span, listening, ear);
        let heard = leg.hear(&backlog);
        self.listen = Some(leg);
        if let Err(error) = heard {
            self.listening_failed(&error);
        }
    }

    fn finalize(&mut self) {
        self.flush_ears();
        if let Some(listen) = &self.listen
            && let Err(error) = listen.finalize()
        {
            self.listening_failed(&error);
        }
    }

    /// Listening cannot go on.
    pub(super) fn listening_failed(&mut self, error: &Error) {
        self.listen = None;
        if let Some(turn) = self.machine.listening_turn() {
            self.complain(Some(turn), error);
            // Commands of the event before are still being carried out; this one comes after them.
            self.todo.push_back(Event::ListenFailed { turn });
        }
    }

    /// Has a reply prepared, in case that the person has finished.
    fn draft(&mut self, turn: TurnId, text: String) {
        if self.reply.as_ref().is_none_or(|reply| reply.turn() != turn) {
            self.open_reply(turn, self.manner.audio_out.is_some());
        }
        if let Some(reply) = &mut self.reply {
            reply.draft(text);
        }
    }

    fn ask(&mut self, turn: TurnId, text: String, speak: bool) {
        let drafted = self.reply.as_ref().filter(|reply| reply.turn() == turn);
        if drafted.is_some_and(|reply| reply.commit(text.clone())) {
            return;
        }
        self.open_reply(turn, speak);
        if let Some(reply) = &self.reply {
            reply.commit(text);
        }
    }

    /// Opens the dialogue for a turn.
    fn open_reply(&mut self, turn: TurnId, speak: bool) {
        let mode = if speak { DialogueMode::Voice } else { DialogueMode::Text };
        let open = OpenDialogue {
            mode: mode.into(),
            locale: self.manner.locale.clone(),
            time_zone: self.manner.time_zone.clone(),
            show_drafts: true,
            ..OpenDialogue::default()
        };
        let dialogue = Arc::clone(&self.dialogue);
        let before = self.closing.take();
        let (gateway, ear) = (Arc::clone(&self.gateway), self.ear.clone());
        let notes = self.notes(turn);
        let question = Question {
            turn,
            turn_id: notes.id.clone(),
            dialogue,
            open,
        };
        self.reply = Some(ReplyLeg::start(
            &gateway,
            notes.caller.clone(),
            &notes.span.clone(),
            question,
            before,
            ear,
        ));
    }

    fn show(&mut self, turn: TurnId, text: String) {
        let notes = self.notes(turn);
        let sentence_ended = text.contains(['.', '!', '?', '\n']);
        notes.reply.push_str(&text);
        if sentence_ended {
            let text = notes.reply.clone();
            self.publish(turn, Fact::Reply(ReplyPayload { text, r#final: false }));
        }
        self.say(Some(turn), Payload::Reply(ReplyText { delta: text }));
    }

    /// Audio of the turn that was not sent is not sent any more, and what was sent the client drops.
    fn silence(&mut self, turn: TurnId) {
        self.outbox.silence(turn);
        if let Some(ears) = &mut self.ears {
            ears.stopped();
        }
    }

    fn start_speaking(&mut self, turn: TurnId) {
        // Only a client that plays audio gets as far as here.
        let Some(rate) = self.manner.audio_out else { return };
        self.take += 1;
        let manner = speak::Manner {
            turn,
            take: self.take,
            voice: self.manner.voice.clone(),
            rate,
        };
        let (gateway, ear, outbox) = (Arc::clone(&self.gateway), self.ear.clone(), self.outbox.clone());
        let notes = self.notes(turn);
        self.speech = Some(SpeakLeg::start(
            &gateway,
            notes.caller.clone(),
            &notes.span,
            manner,
            outbox,
            ear,
        ));
    }

    fn report_heard(&mut self, turn: TurnId, bytes: usize, interrupted: bool) {
        if let Some(reply) = self.reply.take() {
            self.closing = Some(reply.heard(bytes, interrupted));
        }
        if interrupted {
            let heard_text_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.publish(turn, Fact::BargeIn(BargeInPayload { heard_text_bytes }));
        }
    }

    /// Plays a sound that is no part of the reply, to a client that plays audio.
    fn play(&mut self, turn: Option<TurnId>, kind: Kind) {
        let Some(rate) = self.manner.audio_out else { return };
        let data = match kind {
            Kind::Wake => self.gateway.sounds.chime(rate),
            Kind::Sorry => self.gateway.sounds.sorry(rate),
            Kind::Unspecified => return,
        };
        self.say(
            turn,
            Payload::Chime(Chime {
                kind: kind.into(),
                data,
            }),
        );
    }

    fn notice(&mut self, turn: TurnId, notice: Notice) {
        match convert::notice_error(notice) {
            Some(error) => {
                solo_service::ServiceError::reason(&error).clone_into(&mut self.notes(turn).failure);
                self.complain(Some(turn), &error);
            }
            None => {
                let rejected = SpeechRejected {
                    reason: "NO_VOICE".into(),
                    text: String::new(),
                };
                self.say(Some(turn), Payload::Rejected(rejected));
            }
        }
    }

    fn notify(&mut self, phase: Phase) {
        let turn = self.machine.current_turn();
        if let Some(turn) = turn
            && phase == Phase::Speaking
        {
            self.publish(turn, Fact::Speech(SpeechPayload { speaking: true }));
        }
        if let Some(listen) = &mut self.listen
            && let Err(error) = listen.playing(phase == Phase::Speaking)
        {
            self.listening_failed(&error);
        }
        self.say(
            turn,
            Payload::State(StateChanged {
                phase: convert::phase(phase).into(),
            }),
        );
    }

    fn end_turn(&mut self, summary: Summary) {
        let turn = summary.turn;
        self.reply = None;
        (self.speech, self.held) = (None, None);
        if summary.outcome != Outcome::Done {
            self.silence(turn);
        }
        let dialogue_id = self.dialogue_id();
        let stages = convert::stage_times(&summary.stages);
        let voice_to_voice_ms = summary.stages.first_audio.filter(|_| summary.by_voice);
        let notes = self.notes(turn);
        let (usage, failure_reason, spoke) = (notes.usage, notes.failure.clone(), notes.sent > 0);
        if spoke {
            self.publish(turn, Fact::Speech(SpeechPayload { speaking: false }));
        }
        self.publish(
            turn,
            Fact::Reply(ReplyPayload {
                text: summary.reply.clone(),
                r#final: true,
            }),
        );
        self.publish(
            turn,
            Fact::TurnSummary(TurnSummaryPayload {
                transcript: summary.transcript.clone(),
                reply: summary.reply.clone(),
                stages_ms: convert::stage_map(&stages),
                voice_to_voice_ms,
                failure_reason,
            }),
        );
        tracing::info!(
            parent: &self.notes(turn).span,
            outcome = ?summary.outcome,
            drafted = summary.drafted,
            draft_ms = summary.stages.draft,
            by_voice = summary.by_voice,
            endpoint_ms = summary.stages.endpoint,
            stt_ms = summary.stages.stt,
            recall_ms = summary.stages.recall,
            first_token_ms = summary.stages.first_token,
            first_sentence_ms = summary.stages.first_sentence,
            first_audio_ms = summary.stages.first_audio,
            "turn ended"
        );
        let interrupted = summary.outcome == Outcome::Interrupted;
        self.say(
            Some(turn),
            Payload::Summary(TurnSummary {
                dialogue_id,
                transcript: summary.transcript,
                reply: summary.reply,
                stages: Some(stages),
                voice_to_voice_ms,
                completion_tokens: usage.completion_tokens,
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                interrupted,
                drafted: summary.drafted,
            }),
        );
    }
}
