//! What a client sends, turned into events. What makes no sense is answered with an error; the conversation goes on.

use solo_audio::Clean;
use solo_proto::agent::v1::ActionDecision;
use solo_proto::gateway::v1::converse_request::Payload;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{ConverseRequest, TextInput};
use solo_turn::Event;

use super::Session;
use crate::error::Error;

/// Longest piece of audio, in seconds. (The contract says 100 ms; a client that sends more is not lectured.)
const MAX_PIECE_SECONDS: usize = 2;

impl Session {
    /// Takes a message of the client.
    pub(super) fn on_message(&mut self, message: ConverseRequest) {
        let result = match message.payload {
            Some(Payload::Audio(chunk)) => self.on_audio(&chunk.data, &message.words_data),
            Some(Payload::Text(text)) => self.on_text(text),
            Some(Payload::Control(control)) => match control.control {
                Some(control) => self.on_control(control),
                None => Err(Error::invalid(
                    "EMPTY_CONTROL",
                    "control: one of its fields must be set",
                )),
            },
            Some(Payload::Decision(decision)) => self.on_decision(decision),
            Some(Payload::Open(_)) => Err(Error::NotNow {
                reason: "ALREADY_OPEN",
                problem: "the conversation is open; begin another one for other settings",
            }),
            None => Err(Error::invalid(
                "EMPTY_MESSAGE",
                "one of open, audio, text, control, decision must be set",
            )),
        };
        if let Err(error) = result {
            self.complain(None, &error);
        }
    }

    fn on_audio(&mut self, bytes: &[u8], words: &[u8]) -> Result<(), Error> {
        let Some(ears) = &mut self.ears else {
            return Err(Error::NotNow {
                reason: "NO_AUDIO_IN",
                problem: "audio was not announced: open.audio_in must say what it looks like",
            });
        };
        let limit = self.manner.audio_in.map_or(0, |(rate, channels)| {
            rate.hz() as usize * usize::from(channels) * 2 * MAX_PIECE_SECONDS
        });
        if bytes.len() > limit {
            let problem = format!(
                "a piece of audio of {} bytes; at most {limit} ({MAX_PIECE_SECONDS} s) are taken, 100 ms are usual",
                bytes.len()
            );
            return Err(Error::field("AUDIO_PIECE_TOO_LONG", "audio.data", problem));
        }
        if !words.is_empty() && !ears.takes_words(bytes, words) {
            return Err(Error::field(
                "BAD_WORDS_DATA",
                "words_data",
                "words_data: as many bytes as audio.data has are wanted, of 16,000 Hz and one channel, from a client that says \
                 echo_cancelled",
            ));
        }
        if self.muted {
            return Ok(());
        }
        let first = ears.end();
        let samples = ears.push(bytes, words);
        self.hear(first, &samples);
        Ok(())
    }

    /// Hands 16 kHz samples to whoever listens.
    fn hear(&mut self, first: u64, samples: &Clean) {
        if samples.strict.is_empty() {
            return;
        }
        self.machine
            .audio_arrived(first + samples.strict.len() as u64, self.begun.elapsed());
        if let Some(wake) = &self.wake {
            wake.hear(first, &samples.strict);
        }
        if let Some(listen) = &self.listen
            && let Err(error) = listen.hear(samples)
        {
            self.listening_failed(&error);
        }
    }

    /// Gets the last milliseconds out of the resampler: after them comes a pause.
    pub(super) fn flush_ears(&mut self) {
        if let Some(ears) = &mut self.ears {
            let first = ears.end();
            let samples = ears.flush();
            self.hear(first, &samples);
        }
    }

    fn on_text(&mut self, input: TextInput) -> Result<(), Error> {
        if input.text.trim().is_empty() {
            return Err(Error::field(
                "EMPTY_TEXT",
                "text.text",
                "text.text: at least one word is wanted",
            ));
        }
        if input.speak && self.manner.audio_out.is_none() {
            let problem = "speak: the reply cannot be spoken, because open.audio_out was not set";
            self.complain(None, &Error::field("NO_AUDIO_OUT", "text.speak", problem));
        }
        if self.draining {
            return Err(Error::Draining);
        }
        self.feed(Event::TextInput {
            text: input.text,
            speak: input.speak,
        });
        Ok(())
    }

    fn on_control(&mut self, control: Control) -> Result<(), Error> {
        match control {
            Control::Listen(_) if self.ears.is_none() => {
                return Err(Error::NotNow {
                    reason: "NO_AUDIO_IN",
                    problem: "nothing can be heard: open.audio_in must say what the audio looks like",
                });
            }
            Control::Listen(_) if self.muted => {
                return Err(Error::NotNow {
                    reason: "MUTED",
                    problem: "the microphone is muted; unmute it first",
                });
            }
            Control::Listen(_) if self.draining => return Err(Error::Draining),
            Control::Listen(_) => self.feed(Event::PushToTalk),
            Control::EndOfSpeech(_) => self.feed(Event::EndOfSpeech),
            Control::Interrupt(_) => self.feed(Event::Interrupt),
            Control::Mute(mute) => {
                self.muted = mute.muted;
                self.feed(Event::Mute(mute.muted));
            }
            Control::Played(played) => self.feed(Event::Played {
                samples: played.samples,
            }),
        }
        Ok(())
    }

    fn on_decision(&mut self, decision: ActionDecision) -> Result<(), Error> {
        match &self.reply {
            Some(reply) => {
                reply.decide(decision);
                Ok(())
            }
            None => Err(Error::NotNow {
                reason: "NO_ACTION",
                problem: "no action waits for a decision",
            }),
        }
    }

    /// The client will send no more: what was said so far is all there is.
    pub(super) fn on_input_end(&mut self) {
        self.flush_ears();
        match &mut self.wake {
            // A keyword may still be found in what was sent.
            Some(wake) => wake.end(),
            None => self.feed(Event::InputEnded),
        }
    }
}
