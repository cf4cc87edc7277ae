//! One answer after another on one model: prefill, decode, sample, show; and the prefix that the last one left.
//!
//! The keys and values of the last sequence stay. The next prompt is computed from where it differs, which in a dialogue
//! is at its end. A request with a seed wants the same text every time, and the same token computed in another batch is
//! not the same to the last bit; so it takes over only what was computed in whole batches from the beginning, the way it
//! would have been computed without a prefix ([`Session::reusable`]).

use std::time::{Duration, Instant};

use solo_service::CancelToken;

use crate::engine::{Engine, EngineError};
use crate::sampling::{NoScores, Sampler, Sampling, Scored, logprobs};
use crate::stop::{Shown, TextStream};
use crate::tokenizer::Tokenizer;

/// What to answer.
#[derive(Debug, Clone)]
pub struct Job {
    /// The prompt's tokens: at least one, fewer than the context holds.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
    /// At most this many tokens.
    pub max_tokens: usize,
    /// Alternatives to report for each token; `None`: no log-probabilities.
    pub logprobs: Option<usize>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
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
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model was done, or a stop string was reached.
    Stop,
    /// The tokens or the context are used up.
    Length,
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
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// Nobody listens any more.
    #[error("the caller went away")]
    Cancelled,
    /// The caller's time is up.
    #[error("the deadline passed")]
    Deadline,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model gave no scores.
    #[error(transparent)]
    NoScores(#[from] NoScores),
}

/// A model in memory and the sequence that it knows.
pub struct Session {
    engine: Box<dyn Engine>,
    /// Tokens whose keys and values the engine has.
    known: Vec<u32>,
    /// Of these, tokens at the beginning that were computed in whole batches, one after the other.
    whole: usize,
}

/// Where an answer goes; an error means that nobody listens.
pub type Show<'a> = &'a mut dyn FnMut(Event) -> Result<(), solo_service::Cancelled>;

impl Session {
    /// A session on a model that knows no sequence yet.
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Self {
            engine,
            known: Vec::new(),
            whole: 0,
        }
    }

    /// The model.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Share of the context that keys and values fill.
    pub fn fill(&self) -> f64 {
        self.known.len() as f64 / self.engine.context_length() as f64
    }

    /// Tokens whose keys and values are kept.
    pub fn known_tokens(&self) -> usize {
        self.known.len()
    }

    /// Computes a little of everything once: the first passes prepare weights and buffers.
    ///
    /// # Errors
    /// Whatever the engine says.
    pub fn warm_up(&mut self) -> Result<(), EngineError> {
        let mut logits = Vec::new();
        let count = self.engine.batch().min(8).min(self.engine.context_length() - 1);
        self.engine.forward(&vec![0; count], 0, None)?;
        self.engine.forward(&[0], count, Some(&mut logits))?;
        self.forget(0).map(drop)
    }

    /// Answers.
    ///
    /// # Errors
    /// [`Interrupted`] says what ended the answer early; what was shown before stays shown.
    pub fn answer(&mut self, job: &Job, show: Show<'_>, cancel: &CancelToken) -> Result<Finished, Interrupted> {
        let tokenizer = self.engine.tokenizer();
        let wanted = Wanted {
            cancel,
            deadline: job.deadline,
        };
        wanted.check()?;
        let cached = self.reuse(job)?;
        let (prompt_tokens, mut logits) = (job.prompt.len(), Vec::new());
        show(Event::Started {
            prompt_tokens,
            cached_tokens: cached,
        })
        .map_err(|_| Interrupted::Cancelled)?;
        let begun = Instant::now();
        self.prefill(&job.prompt, &mut logits, &wanted)?;
        let prefilled = Instant::now();
        let room = self.engine.context_length() - prompt_tokens;
        let mut answer = Answer::new(job, tokenizer.as_ref(), show);
        let reason = loop {
            if answer.made == job.max_tokens.min(room) {
                break Reason::Length;
            }
            let Some(token) = answer.next(&mut logits)? else {
                break Reason::Stop;
            };
            if answer.made == job.max_tokens.min(room) {
                break Reason::Length;
            }
            wanted.check()?;
            self.compute(&[token], Some(&mut logits))?;
        };
        answer.finish()?;
        Ok(Finished {
            reason,
            prompt_tokens,
            cached_tokens: cached,
            completion_tokens: answer.made,
            prefill: prefilled - begun,
            decode: prefilled.elapsed(),
        })
    }

    /// Forgets what the prompt does not share; returns what is left. The prompt's last token is always computed: its
    /// scores are where the answer begins.
    fn reuse(&mut self, job: &Job) -> Result<usize, EngineError> {
        let keep = self.reusable(&job.prompt, job.sampling.seed.is_some());
        self.forget(keep)
    }

    fn reusable(&self, prompt: &[u32], exact: bool) -> usize {
        let shared = prompt.iter().zip(&self.known).take_while(|(a, b)| a == b).count();
        let shared = shared.min(prompt.len().saturating_sub(1));
        if !exact {
            return shared;
        }
        let shared = shared.min(self.whole);
        shared - shared % self.engine.batch()
    }

    fn forget(&mut self, keep: usize) -> Result<usize, EngineError> {
        let kept = self.engine.truncate(keep);
        let kept = kept.inspect_err(|_| {
            self.known.clear();
            self.whole = 0;
        })?;
        self.known.truncate(kept);
        self.whole = self.whole.min(kept);
        Ok(kept)
    }

    /// Computes the rest of the prompt in batches that end at multiples of the batch size.
    fn prefill(&mut self, prompt: &[u32], logits: &mut Vec<f32>, wanted: &Wanted<'_>) -> Result<(), Interrupted> {
        let batch = self.engine.batch();
        while self.known.len() < prompt.len() {
            wanted.check()?;
            let start = self.known.len();
            let end = (start - start % batch + batch).min(prompt.len());
            let scored = (end == prompt.len()).then_some(&mut *logits);
            self.compute(&prompt[start..end], scored)?;
            if self.whole == start && end - start == batch {
                self.whole = end;
            }
        }
        Ok(())
    }

    fn compute(&mut self, tokens: &[u32], logits: Option<&mut Vec<f32>>) -> Result<(), EngineError> {
        let position = self.known.len();
        match self.engine.forward(tokens, position, logits) {
            Ok(()) => {
                self.known.extend_from_slice(tokens);
                Ok(())
            }
            Err(error) => {
                self.forget(0)?;
                Err(error)
            }
        }
    }
}

/// Whether the answer is still wanted.
struct Wanted<'a> {
    cancel: &'a CancelToken,
    deadline: Option<Instant>,
}

impl Wanted<'_> {
    fn check(&self) -> Result<(), Interrupted> {
        if self.cancel.is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Interrupted::Deadline),
            _ => Ok(()),
        }
    }
}

/// The answer as far as it has come.
struct Answer<'a> {
    tokenizer: &'a dyn Tokenizer,
    sampler: Sampler,
    text: TextStream<Option<TokenScore>>,
    logprobs: Option<usize>,
    made: usize,
    show: Show<'a>,
}

impl<'a> Answer<'a> {
    fn new(job: &Job, tokenizer: &'a dyn Tokenizer, show: Show<'a>) -> Self {
        Self {
            tokenizer,
            sampler: Sampler::new(job.sampling.clone(), &job.prompt),
            text: TextStream::new(&job.stop),
            logprobs: job.logprobs,
            made: 0,
            show,
        }
    }

    /// Chooses and shows the next token; `None` when the answer is complete.
    fn next(&mut self, logits: &mut [f32]) -> Result<Option<u32>, Interrupted> {
        let model = self.logprobs.map(|count| (count, logits.to_vec()));
        let token = self.sampler.choose(logits)?;
        if self.tokenizer.is_end(token) {
            return Ok(None);
        }
        self.made += 1;
        let bytes = self.tokenizer.piece(token);
        let score = model.map(|(count, model)| self.score(token, &bytes, &model, count));
        let shown = self.text.push(&bytes, score);
        let stopped = shown.stopped;
        self.show(shown)?;
        Ok((!stopped).then_some(token))
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

    /// Shows what was held back.
    fn finish(&mut self) -> Result<(), Interrupted> {
        let shown = self.text.finish();
        self.show(shown)
    }

    fn show(&mut self, shown: Shown<Option<TokenScore>>) -> Result<(), Interrupted> {
        let tokens: Vec<TokenScore> = shown.tokens.into_iter().flatten().collect();
        if shown.text.is_empty() && tokens.is_empty() {
            return Ok(());
        }
        (self.show)(Event::Text {
            text: shown.text,
            tokens,
        })
        .map_err(|_| Interrupted::Cancelled)
    }
}
