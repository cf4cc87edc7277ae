//! One live stream: audio in, voice activity and words out.
//!
//! [`session`] is the part that can be tested without waiting: samples in, steps out. This file does the waiting: for
//! audio, for the engine, for the end of the process. Audio is taken on while an utterance is decoded, and Finals leave
//! in the order in which their utterances ended.

mod pause;
mod session;
mod words;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt};

use crate::Stt;
use crate::agreement::Partial;
use crate::endpoint;
use crate::engine::{Decoded, Request};
use crate::error::SttError;
use crate::gate::Reason;

use pause::{Judge, Rehearsal};
use session::{Session, Step};
use words::{Guess, Words, finish, guess};

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
        /// The samples in which voice is looked for.
        samples: Vec<i16>,
        /// The samples from which words are read, as many; `None`: from the same.
        words: Option<Vec<i16>>,
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
                done = rehearsal.next(!session.foresees()) => Event::Rehearsed(done),
                done = wait_for(&mut partial) => Event::Partial(done),
                () = stt.context.shutdown.cancelled(), if !draining => Event::Drain,
                input = inputs.next(), if open => Event::Input(input),
            };
            let steps = match event {
                Event::Final(output) => {
                    yield output?;
                    Vec::new()
                }
                Event::Rehearsed(said) => {
                    judge.ask_at_last();
                    said?.map(Step::Say).into_iter().collect()
                }
                Event::Judged(said) => said?.map(Step::Say).into_iter().collect(),
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
                    Step::Judge(pause) => judge.ask(pause, rehearsal.runs()),
                    Step::Foresee(utterance) | Step::Rehearse(utterance) if rehearsal.covers(utterance.end_sample) => {}
                    Step::Foresee(_) if partial.is_some() || !stt.decoder.is_idle() => {}
                    Step::Foresee(utterance) | Step::Rehearse(utterance) => {
                        // A partial would only be in the way: this one covers all that was said.
                        partial = None;
                        rehearsal.begin(utterance.end_sample, finish(stt.decoder.clone(), template.clone(), utterance));
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
