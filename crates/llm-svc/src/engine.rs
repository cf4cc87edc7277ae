//! What an engine is: a model in memory that turns tokens into scores, one sequence at a time.
//!
//! Engines only compute. Prompts ([`crate::prompt`]), sampling ([`crate::sampling`]), stop strings ([`crate::stop`]) and the
//! loop around them ([`crate::session`]) are the same for all, so that two engines on the same file differ in rounding
//! only. [`Engine::forward`] is a step over one sequence; a scheduler will want the same over a batch of them.

mod candle;
mod llama_cpp;

use std::fmt;
use std::sync::Arc;

use crate::catalogue::ModelFile;
use crate::config::{Config, EngineSetting};
use crate::gguf::Facts;
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use candle::Candle;
pub use llama_cpp::LlamaCpp;

/// The engines that this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// llama.cpp through llama-cpp-2.
    LlamaCpp,
    /// Our own model on candle's tensors.
    Candle,
}

impl EngineKind {
    /// Its name in configuration and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama-cpp",
            Self::Candle => "candle",
        }
    }

    /// The engine of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::LlamaCpp, Self::Candle]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Bytes of a number in its KV cache: f16 in llama.cpp's, f32 in ours.
    pub fn kv_number_bytes(self) -> u64 {
        match self {
            Self::LlamaCpp => 2,
            Self::Candle => 4,
        }
    }

    /// Bytes that its KV cache needs for a token.
    pub fn kv_bytes_per_token(self, facts: &Facts) -> u64 {
        facts.kv_numbers_per_token().saturating_mul(self.kv_number_bytes())
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

/// A model in memory, with the keys and values of one sequence.
pub trait Engine: Send {
    /// Its tokenizer.
    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    /// Tokens that a sequence may have.
    fn context_length(&self) -> usize;

    /// Tokens that [`Engine::forward`] takes at once.
    fn batch(&self) -> usize;

    /// Forgets the sequence beyond its first `tokens` tokens; returns how many it still knows, which is fewer for models
    /// that can only forget everything.
    ///
    /// # Errors
    /// [`EngineError::Failed`].
    fn truncate(&mut self, tokens: usize) -> Result<usize, EngineError>;

    /// Appends `tokens` (1 to [`Engine::batch`]) to a sequence that has `position` tokens. With `logits`, fills them with
    /// the scores of what may follow the last token, one for each token of the vocabulary.
    ///
    /// # Errors
    /// [`EngineError::Failed`]; the sequence is then unknown and must be truncated to 0.
    fn forward(&mut self, tokens: &[u32], position: usize, logits: Option<&mut Vec<f32>>) -> Result<(), EngineError>;
}

/// Makes engines. Behind a trait so that tests can bring their own.
pub trait Engines: Send + Sync + 'static {
    /// Loads a model.
    ///
    /// # Errors
    /// [`EngineError`] says what the engine cannot do with it.
    fn load(&self, kind: EngineKind, file: &ModelFile, progress: &Progress) -> Result<Box<dyn Engine>, EngineError>;

    /// A model's tokenizer, without its weights.
    ///
    /// # Errors
    /// [`EngineError`] says what the engine cannot do with it.
    fn tokenizer(&self, kind: EngineKind, file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError>;
}

/// How engines are to work.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Tokens that a sequence may have; models that were trained for fewer have fewer.
    pub context_length: usize,
    /// Tokens computed at once.
    pub batch: usize,
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
}

/// Where engines compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// A CUDA device by its number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(ordinal) => write!(formatter, "cuda:{ordinal}"),
        }
    }
}

/// The engines that this build has, as configured.
pub struct BuiltEngines(pub EngineOptions);

impl Engines for BuiltEngines {
    fn load(&self, kind: EngineKind, file: &ModelFile, progress: &Progress) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match kind {
            EngineKind::LlamaCpp => Box::new(LlamaCpp::load(file, &self.0, progress)?),
            EngineKind::Candle => Box::new(Candle::load(file, &self.0, progress)?),
        })
    }

    fn tokenizer(&self, kind: EngineKind, file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
        match kind {
            EngineKind::LlamaCpp => llama_cpp::tokenizer(file),
            EngineKind::Candle => candle::tokenizer(file),
        }
    }
}

/// Which engine runs and where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The engine of requests that name none.
    pub engine: EngineKind,
    /// Where engines compute.
    pub device: Device,
    /// Why, where `auto` chose; else empty.
    pub reason: String,
}

/// The configured device cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

impl Choice {
    /// Decides by configuration, and by what answers on this machine.
    ///
    /// # Errors
    /// [`DeviceError`] when a device is asked for by name and cannot be had.
    pub fn from_config(config: &Config) -> Result<Self, DeviceError> {
        let device = match config.device.as_str() {
            "cpu" => Ok(Device::Cpu),
            "auto" => Ok(Device::Cuda(0)).and_then(probe),
            named => cuda_ordinal(named).map(Device::Cuda).and_then(probe),
        };
        let (device, missing) = match (device, config.device.as_str()) {
            (Ok(device), _) => (device, String::new()),
            (Err(error), "auto") => (Device::Cpu, error.0),
            (Err(error), _) => return Err(error),
        };
        let (engine, reason) = match (config.engine, device) {
            (EngineSetting::LlamaCpp, _) => (EngineKind::LlamaCpp, String::new()),
            (EngineSetting::Candle, _) => (EngineKind::Candle, String::new()),
            (EngineSetting::Auto, Device::Cuda(_)) => {
                (EngineKind::Candle, format!("auto: candle, because {device} answers"))
            }
            (EngineSetting::Auto, Device::Cpu) if missing.is_empty() => (
                EngineKind::LlamaCpp,
                "auto: llama-cpp, because the device is cpu".into(),
            ),
            (EngineSetting::Auto, Device::Cpu) => (EngineKind::LlamaCpp, format!("auto: llama-cpp, because {missing}")),
        };
        Ok(Self { engine, device, reason })
    }
}

/// The number in "cuda" or "cuda:1".
pub(crate) fn cuda_ordinal(name: &str) -> Result<usize, DeviceError> {
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
        None => None,
    };
    ordinal.ok_or_else(|| DeviceError(format!("`{name}` is no device: auto, cpu, cuda or cuda:N is wanted")))
}

/// Makes sure that a device answers.
fn probe(device: Device) -> Result<Device, DeviceError> {
    let Device::Cuda(ordinal) = device else {
        return Ok(device);
    };
    if !candle_core::utils::cuda_is_available() {
        return Err(DeviceError("this build has no CUDA (cargo feature `cuda`)".into()));
    }
    match candle_core::Device::new_cuda(ordinal) {
        Ok(_) => Ok(device),
        Err(error) => Err(DeviceError(format!("{device} does not answer: {error}"))),
    }
}
