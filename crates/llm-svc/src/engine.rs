//! What an engine is: a model in memory that turns tokens into scores, one step over a batch of sequences at a time.
//!
//! Engines only compute. Prompts ([`crate::prompt`]), the choice of what runs ([`crate::scheduler`]), sampling
//! ([`crate::sampling`]), constraints ([`crate::constraint`]) and stop strings ([`crate::stop`]) are the same for all, so
//! that two engines on the same file differ in rounding only.

pub mod placement;

mod candle;
mod fastest;
mod llama_cpp;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use solo_models::fit::{self, Demand, Needs};

use crate::catalogue::ModelFile;
use crate::device::Device;
use crate::gguf::Facts;
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use candle::Candle;
pub use llama_cpp::LlamaCpp;

/// What can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// llama.cpp through llama-cpp-2, in this process.
    LlamaCpp,
    /// Our own model on candle's tensors, in this process.
    Candle,
    /// A server that speaks OpenAI's chat completions: vLLM, LM Studio, llama.cpp's own.
    OpenAi,
    /// An Ollama server.
    Ollama,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LlamaCpp, Self::Candle, Self::OpenAi, Self::Ollama];

    /// Its name in configuration and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama-cpp",
            Self::Candle => "candle",
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
        }
    }

    /// The engine of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// True when it computes in this process.
    pub fn is_local(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Candle)
    }

    /// Bytes that its KV cache needs for a token; 0 where the cache is another server's.
    pub fn kv_bytes_per_token(self, facts: &Facts, kv: KvType) -> u64 {
        let numbers = facts.kv_numbers_per_token();
        match (self, kv) {
            (Self::LlamaCpp | Self::Candle, KvType::F16) => numbers.saturating_mul(2),
            // 32 numbers of a byte, and their scale.
            (Self::LlamaCpp | Self::Candle, KvType::Q8) => numbers.saturating_mul(34) / 32,
            (Self::OpenAi | Self::Ollama, _) => 0,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What goes wrong inside an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not know the model's architecture.
    #[error("the {engine} engine does not run `{architecture}` models{advice}")]
    Architecture {
        /// The engine.
        engine: EngineKind,
        /// The model's architecture.
        architecture: String,
        /// What to do about it, after a separator.
        advice: &'static str,
    },
    /// The model needs something that the engine has not.
    #[error("the {engine} engine cannot run this model: {what}")]
    Unsupported {
        /// The engine.
        engine: EngineKind,
        /// What it cannot do.
        what: String,
    },
    /// The tokenizer cannot be made.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The caller went away while the model was loading.
    #[error("the caller went away while the model was loading")]
    Abandoned,
    /// Computing failed.
    #[error("the {engine} engine failed at {what}: {cause}")]
    Failed {
        /// The engine.
        engine: EngineKind,
        /// What it was doing.
        what: &'static str,
        /// Its own words.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Told how far loading has come, 0.0 to 1.0; answers whether to go on.
pub type Progress = Arc<dyn Fn(f32) -> bool + Send + Sync>;

/// A sequence's place in an engine: 0 to [`Capabilities::slots`] − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// Tokens whose keys and values are counted, shared and freed together.
pub const BLOCK: usize = 32;

/// What an engine can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Sequences that it knows at once, running and kept.
    pub slots: usize,
    /// Blocks of [`BLOCK`] tokens that all sequences share; at least one sequence of full length fits.
    pub blocks: usize,
    /// Most tokens of one step, over all sequences.
    pub step_tokens: usize,
    /// Scores that a step gives for each scored run.
    pub vocabulary: usize,
    /// True when the same tokens at the same positions give the same scores to the last bit, whatever else is in the
    /// step, in whatever pieces a prompt is computed, and whichever blocks hold it.
    pub batch_invariant: bool,
}

impl Capabilities {
    /// Of the same model for one sequence at a time, in steps of at most `piece` tokens.
    pub fn for_one(self, piece: usize) -> Self {
        Self {
            slots: 1,
            blocks: self.context_length.div_ceil(BLOCK),
            step_tokens: piece.min(self.step_tokens),
            ..self
        }
    }
}

/// Tokens that one step appends to one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// The sequence.
    pub slot: Slot,
    /// Tokens that it has so far.
    pub position: usize,
    /// Its next tokens, at least one.
    pub tokens: &'a [u32],
    /// True when the scores of what may follow the last of them are wanted.
    pub scored: bool,
}

/// Scores of a step: a row of [`Capabilities::vocabulary`] numbers for each scored run, in the order of the runs.
#[derive(Debug, Default)]
pub struct Logits {
    numbers: Vec<f32>,
    width: usize,
}

impl Logits {
    /// Forgets all rows; the next have `width` numbers. Engines do so at the beginning of a step.
    pub fn clear(&mut self, width: usize) {
        self.numbers.clear();
        self.width = width;
    }

    /// Adds the next row.
    ///
    /// # Panics
    /// When it has not as many numbers as [`Logits::clear`] was told: an engine that does so is wrong.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "a row has a score for each token");
        self.numbers.extend_from_slice(row);
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.numbers.len().checked_div(self.width).unwrap_or(0)
    }

    /// A row, from 0.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.numbers[index * self.width..(index + 1) * self.width]
    }
}

/// A model in memory, with the keys and values of several sequences.
///
/// Whoever drives it keeps the books: it never asks for more tokens, slots or blocks than [`Capabilities`] says. Blocks
/// are counted as [`crate::kv`] counts them: a fork shares whole blocks and copies the last one.
pub trait StepEngine: Send {
    /// Its tokenizer.
    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    /// What it can hold.
    fn capabilities(&self) -> Capabilities;

    /// Appends every run's tokens to its sequence and fills `logits` with the rows of those that are scored. Each slot
    /// occurs at most once.
    ///
    /// # Errors
    /// [`EngineError::Failed`]; the sequences of the step are then unknown and must be truncated to 0.
    fn step(&mut self, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError>;

    /// Gives `to`, which is empty, the first `tokens` tokens of `from`; returns how many it has now, which is 0 for models
    /// that can only copy a whole sequence.
    ///
    /// # Errors
    /// [`EngineError::Failed`].
    fn fork(&mut self, from: Slot, to: Slot, tokens: usize) -> Result<usize, EngineError>;

    /// Forgets a sequence beyond its first `tokens` tokens; returns how many it still has, which is fewer for models that
    /// can only forget everything.
    ///
    /// # Errors
    /// [`EngineError::Failed`].
    fn truncate(&mut self, slot: Slot, tokens: usize) -> Result<usize, EngineError>;

    /// Another engine over the same weights, for one sequence at a time and steps of at most `piece` tokens: the same
    /// steps give the same scores there, because nothing else happens in it. Asked of engines that are not batch-invariant.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when there is no room for it.
    fn exact_twin(&self, piece: usize) -> Result<Box<dyn StepEngine>, EngineError>;
}

/// Makes engines. Behind a trait so that tests can bring their own.
pub trait Engines: Send + Sync + 'static {
    /// Loads a model.
    ///
    /// # Errors
    /// [`EngineError`] says what the engine cannot do with it.
    fn load(&self, kind: EngineKind, file: &ModelFile, progress: &Progress)
    -> Result<Box<dyn StepEngine>, EngineError>;

    /// The engine of this process that answers soonest with a model, and why it is that one.
    fn fastest(&self, file: &ModelFile) -> (EngineKind, String);

    /// A model's tokenizer, without its weights.
    ///
    /// # Errors
    /// [`EngineError`] says what the engine cannot do with it.
    fn tokenizer(&self, kind: EngineKind, file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError>;
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvType {
    /// 16-bit floating point.
    F16,
    /// Blocks of 32 8-bit integers with a common scale: half the memory, a little less exact.
    #[serde(rename = "q8_0")]
    Q8,
}

/// How weights come into memory, where an engine uses them as the file stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Copied where the model takes no more than half of the memory, else mapped.
    Auto,
    /// Into memory of their own, in huge pages where the system has them.
    Copied,
    /// From the file, page by page, as they are needed.
    Mapped,
}

/// How engines are to work.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Tokens that a sequence may have; models that were trained for fewer have fewer.
    pub context_length: usize,
    /// Most tokens of one step, over all sequences.
    pub batch: usize,
    /// Sequences known at once, running and kept.
    pub slots: usize,
    /// Memory for keys and values of each model, in bytes; one whole sequence fits in any case.
    pub kv_cache_bytes: u64,
    /// How they are stored.
    pub kv_type: KvType,
    /// How weights come into memory.
    pub weights: Weights,
    /// Threads to compute with.
    pub threads: usize,
    /// Where to compute.
    pub device: Device,
}

impl EngineOptions {
    /// Tokens that a sequence of this model may have.
    pub fn context_for(&self, facts: &Facts) -> usize {
        self.context_length.min(facts.trained_context as usize)
    }

    /// What this model is wanted for, in the planner's terms.
    pub fn demand(&self, engine: EngineKind, facts: &Facts) -> Demand {
        Demand {
            context: (self.kv_blocks(engine, facts) * BLOCK) as u64,
            kv: match self.kv_type {
                KvType::F16 => fit::KvType::F16,
                KvType::Q8 => fit::KvType::Q8_0,
            },
            batch: self.batch as u64,
        }
    }

    /// True where the weights of this model are mapped.
    pub fn maps_weights(&self, engine: EngineKind, file: &ModelFile) -> bool {
        match (self.weights, &self.device) {
            (Weights::Mapped, _) | (Weights::Auto, Device::Cuda(_)) => true,
            (Weights::Copied, _) => false,
            (Weights::Auto, Device::Cpu) => {
                let needs = Needs::of(&file.header, &file.facts, &self.demand(engine, &file.facts));
                needs.total() > solo_service::memory::total_bytes() / 2
            }
        }
    }

    /// Blocks of keys and values that an engine has for this model.
    pub fn kv_blocks(&self, engine: EngineKind, facts: &Facts) -> usize {
        let context = self.context_for(facts);
        let token = engine.kv_bytes_per_token(facts, self.kv_type).max(1);
        let tokens = usize::try_from(self.kv_cache_bytes / token).unwrap_or(usize::MAX);
        tokens
            .clamp(context, context.saturating_mul(self.slots))
            .div_ceil(BLOCK)
    }
}

/// The engines that this build has, as configured.
pub struct BuiltEngines(pub EngineOptions);

impl Engines for BuiltEngines {
    fn load(
        &self,
        kind: EngineKind,
        file: &ModelFile,
        progress: &Progress,
    ) -> Result<Box<dyn StepEngine>, EngineError> {
        Ok(match kind {
            EngineKind::LlamaCpp => Box::new(LlamaCpp::load(file, &self.0, progress)?),
            EngineKind::Candle => Box::new(Candle::load(file, &self.0, progress)?),
            EngineKind::OpenAi | EngineKind::Ollama => return Err(elsewhere(kind)),
        })
    }

    fn fastest(&self, file: &ModelFile) -> (EngineKind, String) {
        fastest::of(file, &self.0)
    }

    fn tokenizer(&self, kind: EngineKind, file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
        match kind {
            EngineKind::LlamaCpp => llama_cpp::tokenizer(file),
            EngineKind::Candle => candle::tokenizer(file),
            EngineKind::OpenAi | EngineKind::Ollama => Err(elsewhere(kind)),
        }
    }
}

/// A remote engine keeps its models to itself.
fn elsewhere(engine: EngineKind) -> EngineError {
    let what = "its models live in another server".to_owned();
    EngineError::Unsupported { engine, what }
}
