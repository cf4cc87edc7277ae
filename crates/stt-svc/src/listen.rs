//! One live stream: audio in, voice activity and words out.
//!
//! [`session`] is the part that can be tested without waiting: samples in, steps out. This file does the waiting: for
//! audio, for the engine, for the end of the process. Audio is taken on while an utterance is decoded, and Finals leave
//! in the order in which their utterances ended.

mod pause;
mod session;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt};

use crate::Stt;
use crate::agreement::{Agreement, Partial};
use crate::decoder::{Decoder, Patience, Verdict};
use crate::endpoint;
use crate::engine::{Decoded, Request};
use crate::error::SttError;
use crate::gate::Reason;

use pause::{Judge, Rehearsal};
use session::{Mark, Session, Step, Utterance};

/// How to listen.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// ISO 639-1 code; `None`: detected for each utterance.
    pub(crate) language: Option<String>,
    /// When voice counts as speech.
    pub(crate) endpoint: endpoint::Settings,
    /// Samples between partial transcripts; `None`: there are none.
    pub(crate) partial_interval: Option<u64>,
    /// What is done in a pause; `None`: nothing before voice has ended.
    pub(crate) pause: Option<PauseSettings>,
    /// Text that sets vocabulary and style.
    pub(crate) prompt: String,
    /// True: silence finalises.
    pub(crate) auto_finalize: bool,
}

/// What is done in a pause. Lengths in samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PauseSettings {
    /// Silence after which somebody may have finished.
    pub(crate) candidate: u64,
    /// Between two judgements whether they have; `None`: nobody judges.
    pub(crate) judge_every: Option<u64>,
}

/// What comes in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// Mono samples at 16,000 Hz.
    Audio {
        /// Position of the first.
        first_sample: u64,
        /// The samples.
        samples: Vec<i16>,
    },
    /// Transcribe what was heard since the last Final.
    Finalize,
    /// Forget what was heard since the last Final.
    Reset,
    /// The assistant began (true) or stopped (false) to speak.
    Playing(bool),
}

/// What goes out. Positions are samples of the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// The service listens.
    Started,
    /// Somebody began to speak.
    VoiceStarted {
        /// First voiced sample.
        sample: u64,
        /// Samples heard by then.
        heard: u64,
    },
    /// Nobody speaks any more.
    VoiceEnded {
        /// Last voiced sample.
        sample: u64,
        /// Samples heard by then.
        heard: u64,
    },
    /// Nobody speaks; perhaps somebody goes on.
    VoicePaused {
        /// Last voiced sample.
        sample: u64,
        /// Samples heard by then.
        heard: u64,
    },
    /// Somebody went on after a pause.
    VoiceResumed {
        /// First voiced sample after the pause.
        sample: u64,
        /// Samples heard by then.
        heard: u64,
    },
    /// How likely it is that who paused has finished.
    TurnEnd {
        /// 0.0 to 1.0.
        probability: f32,
        /// Samples since the last voiced one.
        silence: u64,
        /// Samples heard by then.
        heard: u64,
    },
    /// The words of an utterance that may be over.
    Candidate {
        /// The words, all stretches together.
        decoded: Decoded,
        /// Last voiced sample.
        end_sample: u64,
        /// Time that the engine took.
        spent: Duration,
    },
    /// Words so far.
    Partial {
        /// The words.
        partial: Partial,
        /// Samples that they cover.
        end_sample: u64,
    },
    /// The words of an utterance.
    Final {
        /// The words, all stretches together.
        decoded: Decoded,
        /// First sample, pre-roll included.
        start_sample: u64,
        /// Last voiced sample.
        end_sample: u64,
        /// Time that the engine took.
        spent: Duration,
    },
    /// An utterance that is not believed.
    Rejected {
        /// Why.
        reason: Reason,
        /// What the model wrote.
        text: String,
        /// First sample.
        start_sample: u64,
        /// Last sample.
        end_sample: u64,
    },
}

/// What the loop woke up for.
enum Event {
    Final(Result<Output, SttError>),
    Rehearsed(Result<Option<Output>, SttError>),
    Judged(Result<Option<Output>, SttError>),
    Partial(Result<Option<Guess>, SttError>),
    Input(Option<Result<Input, SttError>>),
    Drain,
}

/// What a partial decode gave.
struct Guess {
    mark: Mark,
    end_sample: u64,
    text: String,
}

type PartialJob = Pin<Box<dyn Future<Output = Result<Option<Guess>, SttError>> + Send>>;
/// Decoding that ends in a Final, or in a Rejected.
type FinalJob = Pin<Box<dyn Future<Output = Result<Output, SttError>> + Send>>;

/// Listens until `inputs` ends or the process drains. Dropping the stream cancels all decodes.
pub(crate) fn run(
    stt: Stt,
    settings: Settings,
    mut inputs: impl Stream<Item = Result<Input, SttError>> + Send + Unpin,
) -> impl Stream<Item = Result<Output, SttError>> + Send {
    async_stream::try_stream! {
        let mut session = Session::new(&settings, stt.live_voice.detector(), u64::from(stt.config.max_utterance_s) * 16_000);
        let template = Request {
            language: settings.language.clone(),
            prompt: settings.prompt.clone(),
            ..Request::default()
        };
        let mut finals = FuturesOrdered::new();
        let mut partial: Option<PartialJob> = None;
        let mut words = Words::default();
        let mut rehearsal = Rehearsal::default();
        let mut judge = Judge::new(stt.turn_model.clone());
        let (mut open, mut draining) = (true, false);
        yield Output::Started;
        while open || !finals.is_empty() {
            if draining && session.is_idle() && finals.is_empty() {
                Err(SttError::Draining)?;
            }
            let event = tokio::select! {
                biased;
                Some(done) = finals.next(), if !finals.is_empty() => Event::Final(done),
                done = judge.next() => Event::Judged(done),
                done = rehearsal.next() => Event::Rehearsed(done),
                done = wait_for(&mut partial) => Event::Partial(done),
                () = stt.context.shutdown.cancelled(), if !draining => Event::Drain,
                input = inputs.next(), if open => Event::Input(input),
            };
            let steps = match event {
                Event::Final(output) => {
                    yield output?;
                    Vec::new()
                }
                Event::Rehearsed(said) | Event::Judged(said) => said?.map(Step::Say).into_iter().collect(),
                Event::Partial(done) => {
                    partial = None;
                    words.update(done?, session.mark()).map(Step::Say).into_iter().collect()
                }
                Event::Drain => {
                    draining = true;
                    Vec::new()
                }
                Event::Input(Some(input)) => session.take(input?)?,
                Event::Input(None) => {
                    open = false;
                    session.close()
                }
            };
            for step in steps {
                match step {
                    Step::Say(output) => {
                        if matches!(output, Output::VoiceResumed { .. } | Output::VoiceEnded { .. }) {
                            judge.dismiss();
                        }
                        if matches!(output, Output::VoiceResumed { .. }) {
                            rehearsal.drop_words();
                        }
                        yield output;
                    }
                    Step::Judge(pause) => judge.ask(pause),
                    Step::Rehearse(utterance) => {
                        // A partial would only be in the way: this one covers all that was said.
                        partial = None;
                        let end_sample = utterance.end_sample;
                        rehearsal.begin(end_sample, finish(stt.decoder.clone(), template.clone(), utterance));
                    }
                    Step::Decode(utterance) => {
                        partial = None;
                        let rehearsed = rehearsal.take(utterance.end_sample);
                        let decoding = rehearsed
                            .unwrap_or_else(|| Box::pin(finish(stt.decoder.clone(), template.clone(), utterance)));
                        finals.push_back(decoding);
                    }
                    Step::Forget => rehearsal.drop_words(),
                }
            }
            // Asked at every turn, so that a partial which found the engine busy is dropped and not made late.
            let due = session.partial_due().filter(|_| partial.is_none() && stt.decoder.is_idle());
            if let Some((mark, end_sample, samples)) = due {
                let request = Request { samples, ..template.clone() };
                partial = Some(Box::pin(guess(stt.decoder.clone(), request, mark, end_sample)));
            }
        }
    }
}

/// Waits for the partial transcript that is being made; for ever where none is.
async fn wait_for(partial: &mut Option<PartialJob>) -> Result<Option<Guess>, SttError> {
    match partial {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}

/// Decodes what was said so far.
async fn guess(decoder: Decoder, request: Request, mark: Mark, end_sample: u64) -> Result<Option<Guess>, SttError> {
    let text = decoder.guess(request).await?;
    Ok(text.map(|text| Guess { mark, end_sample, text }))
}

/// Decodes a whole utterance, stretch by stretch.
async fn finish(decoder: Decoder, template: Request, utterance: Utterance) -> Result<Output, SttError> {
    let (start_sample, end_sample) = (utterance.start_sample, utterance.end_sample);
    let mut heard: Vec<Decoded> = Vec::new();
    let mut rejected = (Reason::NoSpeech, String::new());
    let mut total = Duration::ZERO;
    for samples in utterance.stretches {
        match decoder
            .decode(
                Request {
                    samples,
                    ..template.clone()
                },
                Patience::Wait,
            )
            .await?
        {
            Verdict::Heard { decoded, spent } => {
                heard.push(decoded);
                total += spent;
            }
            Verdict::Rejected { reason, text, spent } => {
                tracing::debug!(?reason, text, "a stretch of an utterance was not believed");
                rejected = (reason, text);
                total += spent;
            }
        }
    }
    let Some(decoded) = joined(heard) else {
        let (reason, text) = rejected;
        return Ok(Output::Rejected {
            reason,
            text,
            start_sample,
            end_sample,
        });
    };
    Ok(Output::Final {
        decoded,
        start_sample,
        end_sample,
        spent: total,
    })
}

/// The words of several stretches as those of one; means are weighted by tokens.
fn joined(heard: Vec<Decoded>) -> Option<Decoded> {
    heard.into_iter().reduce(|mut all, next| {
        let tokens = (all.tokens + next.tokens).max(1) as f32;
        let mean = |a: f32, b: f32| (a * all.tokens as f32 + b * next.tokens as f32) / tokens;
        all.avg_logprob = mean(all.avg_logprob, next.avg_logprob);
        all.confidence = mean(all.confidence, next.confidence);
        all.no_speech_prob = all.no_speech_prob.max(next.no_speech_prob);
        all.text = format!("{} {}", all.text, next.text);
        all.tokens += next.tokens;
        all
    })
}

/// The partial words of the utterance that runs.
#[derive(Default)]
struct Words {
    agreement: Agreement,
    mark: Mark,
}

impl Words {
    /// Takes a guess; `None` where there is none, or the stream has moved on to another stretch since.
    fn update(&mut self, guess: Option<Guess>, now: Mark) -> Option<Output> {
        let Guess { mark, end_sample, text } = guess.filter(|guess| guess.mark == now)?;
        if self.mark.utterance != mark.utterance {
            self.agreement = Agreement::default();
        } else if self.mark.stretch != mark.stretch {
            self.agreement.next_stretch();
        }
        self.mark = mark;
        Some(Output::Partial {
            partial: self.agreement.update(&text),
            end_sample,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_joined_by_their_weight() {
        let part = |text: &str, tokens, confidence| Decoded {
            text: text.into(),
            tokens,
            confidence,
            ..Decoded::default()
        };
        let all = joined(vec![part("one two", 3, 0.9), part("three", 1, 0.5)]).unwrap();
        assert_eq!((all.text.as_str(), all.tokens), ("one two three", 4));
        assert!((all.confidence - 0.8).abs() < 1e-6);
        assert_eq!(joined(vec![]), None);
    }

    #[test]
    fn partials_of_an_earlier_stretch_are_dropped() {
        let mark = |utterance, stretch| Mark { utterance, stretch };
        let mut words = Words::default();
        let mut say = |made: Mark, now: Mark, text: &str| match words.update(
            Some(Guess {
                mark: made,
                end_sample: 7,
                text: text.into(),
            }),
            now,
        ) {
            Some(Output::Partial { partial, end_sample: 7 }) => Some((partial.stable, partial.unstable)),
            _ => None,
        };
        let pair = |stable: &str, unstable: &str| Some((stable.to_owned(), unstable.to_owned()));
        assert_eq!(say(mark(1, 0), mark(2, 0), "late"), None);
        assert_eq!(say(mark(2, 0), mark(2, 0), "one two"), pair("", "one two"));
        assert_eq!(say(mark(2, 1), mark(2, 1), "three"), pair("one two", "three"));
        assert_eq!(say(mark(3, 0), mark(3, 0), "new"), pair("", "new"));
    }
}
