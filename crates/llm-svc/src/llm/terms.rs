//! What the service is asked and what it answers, in its own terms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_service::Priority;

use crate::answer::{Finished, TokenScore};
use crate::catalogue::ModelFile;
use crate::chat::{Message, Tool, ToolChoice};
use crate::engine::EngineKind;
use crate::pool::Stay;
use crate::sampling::Sampling;
use crate::tools;

/// The text to go on from.
#[derive(Debug, Clone, PartialEq)]
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

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// A JSON value that satisfies this schema.
    JsonSchema(serde_json::Value),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// Text of this grammar, in llguidance's Lark.
    Lark(String),
    /// Text of this grammar, in llama.cpp's GBNF.
    Gbnf(String),
}

/// Who asks and how urgently: what the scheduler goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose requests are counted together when turns are given out fairly.
    pub client: String,
    /// Who goes first.
    pub priority: Priority,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
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
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it calls them.
    pub tool_choice: ToolChoice,
    /// True: several calls may be made at once.
    pub parallel_tools: bool,
    /// What the answer must look like; `None`: free text.
    pub format: Option<Format>,
    /// How many answers are wanted, at least 1.
    pub count: usize,
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
    /// Who asks.
    pub caller: Caller,
}

impl Generation {
    /// The tools that the model is shown: none where none may be called.
    pub fn visible_tools(&self) -> &[Tool] {
        tools::offered(&self.tools, &self.tool_choice)
    }
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
        /// The answer that it belongs to, from 0.
        index: usize,
        /// The text; empty when tokens end without showing any.
        text: String,
        /// The tokens that ended in it; empty unless asked for.
        tokens: Vec<TokenScore>,
    },
    /// More of a tool call.
    ToolCall {
        /// The answer that it belongs to, from 0.
        index: usize,
        /// Number of the call within the answer, from 0.
        call: usize,
        /// Identifier and name of the tool; in the first piece of a call only.
        begins: Option<(String, String)>,
        /// The next piece of the arguments' JSON.
        arguments: String,
    },
    /// An answer is complete; the stream ends after as many as were wanted.
    Finished {
        /// The answer, from 0.
        index: usize,
        /// What it took.
        finished: Finished,
    },
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
    /// Bytes that keys and values of a token take.
    pub kv_bytes_per_token: u64,
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
