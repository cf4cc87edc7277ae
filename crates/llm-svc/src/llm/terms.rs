//! What the service is asked and what it answers, in its own terms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalogue::ModelFile;
use crate::chat::Message;
use crate::engine::EngineKind;
use crate::pool::Stay;
use crate::sampling::Sampling;
use crate::session::{Finished, TokenScore};

/// The text to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A dialogue, for the model's chat template.
    Chat(Vec<Message>),
    /// A prompt that is rendered already.
    Raw(String),
}

impl Input {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
            Self::Raw(text) => text.len(),
        }
    }
}

/// What to answer, and how.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The model's id; empty: the configured one.
    pub model: String,
    /// The engine; `None`: the configured one.
    pub engine: Option<EngineKind>,
    /// The text to go on from.
    pub input: Input,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
    /// At most this many tokens; 0: as configured.
    pub max_tokens: usize,
    /// Alternatives to report for each token; `None`: no log-probabilities.
    pub logprobs: Option<usize>,
    /// How long the model stays afterwards; `None`: as it would.
    pub stay: Option<Stay>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// It runs.
    Started {
        /// The model that answers.
        model: String,
        /// The engine that answers.
        engine: EngineKind,
        /// Time it waited, loading included.
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

/// A model as it is known here.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its id.
    pub id: String,
    /// Its checked file; `None` when it is not installed or damaged.
    pub file: Option<Arc<ModelFile>>,
    /// Tokens that it can hold as it is configured.
    pub context_length: usize,
    /// True when its template knows tools.
    pub supports_tools: bool,
    /// True when it is in memory, on any engine.
    pub loaded: bool,
    /// The engine that runs it or would.
    pub engine: EngineKind,
}

/// How far loading has come.
#[derive(Debug, Clone)]
pub enum Loading {
    /// Share loaded, 0.0 to 1.0.
    Progress(f32),
    /// It is in memory.
    Done(Described),
}
