//! One answer while it is made: scores in, tokens out, text shown.
//!
//! The scheduler decides when, this decides what: constraint, sampler, stop strings, limits. What it shows goes into a
//! channel that is large enough for the whole answer, so that a client that reads slowly never holds up a step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::constraint::{Constraint, ConstraintError};
use crate::engine::EngineError;
use crate::sampling::{NoScores, Sampler, Sampling, Scored, logprobs};
use crate::stop::{Shown, TextStream};
use crate::tokenizer::Tokenizer;

/// What to answer.
#[derive(Clone)]
pub struct Job {
    /// The prompt's tokens: at least one, fewer than the context holds.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What may be chosen; `None`: anything.
    pub constraint: Option<Constraint>,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
    /// At most this many tokens, at least one.
    pub max_tokens: usize,
    /// Alternatives to report for each token; `None`: no log-probabilities.
    pub logprobs: Option<usize>,
}

/// A token of the answer, for those who asked for log-probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub chosen: Scored,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens with their bytes, likeliest first.
    pub alternatives: Vec<(Scored, Vec<u8>)>,
}

/// Something that an answer shows as it comes to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The prompt is about to be computed.
    Started {
        /// Time that it waited.
        queued: Duration,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Of these, tokens whose keys and values were there already.
        cached_tokens: usize,
    },
    /// More text: whole characters.
    Text {
        /// The text; empty when tokens end without showing any.
        text: String,
        /// The tokens that ended in it; empty unless asked for.
        tokens: Vec<TokenScore>,
    },
    /// It is complete.
    Finished(Finished),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model was done, or a stop string was reached.
    Stop,
    /// The tokens or the context are used up.
    Length,
    /// The model called tools.
    ToolCalls,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: Reason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were there already.
    pub cached_tokens: usize,
    /// Tokens made, without the one that ends the turn.
    pub completion_tokens: usize,
    /// Time for the prompt.
    pub prefill: Duration,
    /// Time for the answer.
    pub decode: Duration,
}

/// Why an answer is not complete.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Interrupted {
    /// Nobody listens any more.
    #[error("the caller went away")]
    Cancelled,
    /// The caller's time is up.
    #[error("the deadline passed")]
    Deadline,
    /// The engine failed; everybody in the step hears the same.
    #[error(transparent)]
    Engine(Arc<EngineError>),
    /// The model gave no scores.
    #[error(transparent)]
    NoScores(#[from] NoScores),
    /// The constraint came to no end.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The model was let go before the answer was complete.
    #[error("the model was unloaded")]
    Unloaded,
    /// The scheduler came to a halt: a fault of ours.
    #[error("no sequence has room for its next token")]
    Stuck,
}

/// What follows the scores of a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These tokens come next; the last one's scores are wanted.
    Tokens(Vec<u32>),
    /// The answer is complete.
    Done(Reason),
}

/// Where an answer goes.
pub type Sink = mpsc::UnboundedSender<Result<Event, Interrupted>>;

/// An answer as far as it has come.
pub struct Answer {
    tokenizer: Arc<dyn Tokenizer>,
    sampler: Sampler,
    constraint: Option<Constraint>,
    text: TextStream<Option<TokenScore>>,
    logprobs: Option<usize>,
    /// Tokens made.
    made: usize,
    most: usize,
    prompt_tokens: usize,
    cached_tokens: usize,
    asked: Instant,
    started: Option<Instant>,
    prefilled: Option<Instant>,
    sink: Sink,
}

impl Answer {
    /// An answer to `job`, at most `room` tokens long.
    pub fn new(job: Job, tokenizer: Arc<dyn Tokenizer>, room: usize, asked: Instant, sink: Sink) -> Self {
        Self {
            tokenizer,
            sampler: Sampler::new(job.sampling, &job.prompt),
            constraint: job.constraint,
            text: TextStream::new(&job.stop),
            logprobs: job.logprobs,
            made: 0,
            most: job.max_tokens.min(room),
            prompt_tokens: job.prompt.len(),
            cached_tokens: 0,
            asked,
            started: None,
            prefilled: None,
            sink,
        }
    }

    /// It runs: `cached` tokens of its prompt are known. Later calls, when it was set back and goes on, change nothing.
    pub fn start(&mut self, cached: usize) {
        if self.started.is_none() {
            let now = Instant::now();
            self.started = Some(now);
            self.cached_tokens = cached;
            self.send(Ok(Event::Started {
                queued: now - self.asked,
                prompt_tokens: self.prompt_tokens,
                cached_tokens: cached,
            }));
        }
    }

    /// Chooses and shows what follows. `logits`, one for each token of the vocabulary, are changed on the way.
    ///
    /// # Errors
    /// [`Interrupted::NoScores`], [`Interrupted::Constraint`].
    pub fn next(&mut self, logits: &mut [f32]) -> Result<Next, Interrupted> {
        self.prefilled.get_or_insert_with(Instant::now);
        let left = self.most - self.made;
        if left == 0 {
            return Ok(Next::Done(Reason::Length));
        }
        let model = self.logprobs.map(|count| (count, logits.to_vec()));
        if let Some(constraint) = &mut self.constraint {
            constraint.restrict(logits, left)?;
        }
        let mut token = self.sampler.choose(logits)?;
        if let Some(constraint) = &mut self.constraint {
            token = constraint.accept(token, left)?;
        }
        self.sampler.note(token);
        if self.tokenizer.is_end(token) {
            return Ok(Next::Done(Reason::Stop));
        }
        let bytes = self.tokenizer.piece(token);
        let score = model.map(|(count, model)| self.score(token, &bytes, &model, count));
        if let Some(reason) = self.take(&bytes, score) {
            return Ok(Next::Done(reason));
        }
        self.go_on(token)
    }

    /// What follows a chosen token: what the constraint forces is taken without asking the model.
    fn go_on(&mut self, token: u32) -> Result<Next, Interrupted> {
        let mut tokens = vec![token];
        while let Some(constraint) = &mut self.constraint {
            if constraint.is_complete() {
                return Ok(Next::Done(Reason::Stop));
            }
            let forced = constraint.forced(self.most - self.made);
            if forced.is_empty() {
                break;
            }
            for wanted in forced {
                let token = match &mut self.constraint {
                    Some(constraint) => constraint.accept(wanted, self.most - self.made)?,
                    None => wanted,
                };
                if self.tokenizer.is_end(token) {
                    return Ok(Next::Done(Reason::Stop));
                }
                self.sampler.note(token);
                let bytes = self.tokenizer.piece(token);
                let score = self.logprobs.map(|_| TokenScore {
                    // Nothing else could have come.
                    chosen: Scored { token, logprob: 0.0 },
                    bytes: bytes.clone(),
                    alternatives: Vec::new(),
                });
                if let Some(reason) = self.take(&bytes, score) {
                    return Ok(Next::Done(reason));
                }
                tokens.push(token);
                if token != wanted {
                    // The answer comes to its end another way.
                    break;
                }
            }
        }
        Ok(Next::Tokens(tokens))
    }

    /// Counts and shows a token; says whether the answer ends with it.
    fn take(&mut self, bytes: &[u8], score: Option<TokenScore>) -> Option<Reason> {
        self.made += 1;
        let shown = self.text.push(bytes, score);
        let stopped = shown.stopped;
        self.show(shown);
        if stopped {
            Some(Reason::Stop)
        } else if self.made == self.most && !self.constraint.as_ref().is_some_and(Constraint::is_complete) {
            Some(Reason::Length)
        } else {
            None
        }
    }

    /// The answer is complete: shows what was held back, and what it took.
    pub fn finish(mut self, reason: Reason) -> Finished {
        let shown = self.text.finish();
        self.show(shown);
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let prefilled = self.prefilled.unwrap_or(now);
        let finished = Finished {
            reason,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.made,
            prefill: prefilled - started,
            decode: now - prefilled,
        };
        self.send(Ok(Event::Finished(finished)));
        finished
    }

    /// The answer ends here, unfinished.
    pub fn interrupt(self, why: Interrupted) {
        self.send(Err(why));
    }

    fn score(&self, token: u32, bytes: &[u8], logits: &[f32], count: usize) -> TokenScore {
        let (logprob, likely) = logprobs(logits, token, count);
        let alternatives = likely
            .into_iter()
            .map(|scored| (scored, self.tokenizer.piece(scored.token)))
            .collect();
        TokenScore {
            chosen: Scored { token, logprob },
            bytes: bytes.to_vec(),
            alternatives,
        }
    }

    fn show(&self, shown: Shown<Option<TokenScore>>) {
        let tokens: Vec<TokenScore> = shown.tokens.into_iter().flatten().collect();
        if !shown.text.is_empty() || !tokens.is_empty() {
            self.send(Ok(Event::Text {
                text: shown.text,
                tokens,
            }));
        }
    }

    fn send(&self, item: Result<Event, Interrupted>) {
        // A caller that went away meanwhile wants to hear nothing; its request is dropped before the next step.
        let _ = self.sink.send(item);
    }
}
