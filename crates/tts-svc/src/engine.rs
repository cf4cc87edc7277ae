//! What makes samples of words: the trait, the voices that are loaded, and the choice by configuration.
//!
//! Engines are synchronous and live on one thread ([`solo_service::Worker`]); they look at the cancel token while they
//! work. The configured voice is loaded when the service starts; another installed one when it is first asked for.

pub mod piper;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::{CancelToken, GlobalConfig, StartupError};

use crate::config::Config;
use piper::Piper;

/// The engines that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// VITS voices of Piper through ONNX Runtime, phonemes by espeak-ng.
    Piper,
}

impl EngineKind {
    /// Its name in configuration and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Piper => "piper",
        }
    }
}

/// What is known of a loaded voice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceFacts {
    /// Identifier of its model.
    pub id: String,
    /// Language, BCP 47.
    pub language: String,
    /// Rate of its samples.
    pub sample_rate: SampleRate,
}

/// A voice that is loaded.
pub trait Synthesizer: Send {
    /// Who speaks.
    fn facts(&self) -> &VoiceFacts;

    /// Speaks plain words: mono samples, −1.0 to 1.0, at the voice's rate. `speed` is 0.5 to 2.0.
    ///
    /// # Errors
    /// [`SynthesisError::Cancelled`] soon after `cancel` was; otherwise what the engine says.
    fn synthesize(&mut self, text: &str, speed: f32, cancel: &CancelToken) -> Result<Vec<f32>, SynthesisError>;
}

/// Why words could not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum SynthesisError {
    /// Nobody listens any more.
    #[error("the speech was cancelled")]
    Cancelled,
    /// The phonemiser failed.
    #[error("espeak-ng gave no phonemes")]
    Phonemes(#[from] piper::espeak::EspeakError),
    /// The engine failed.
    #[error("the voice could not be run")]
    Run(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a voice could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file is not there; the message says which and how to get it.
    #[error("{message}")]
    NotInstalled {
        /// What is missing, where it was looked for, what to run.
        message: String,
    },
    /// A file is there but cannot be used.
    #[error("{} of model \"{model}\" is damaged or of the wrong kind ({problem}): run `solo models verify {model}`, then `solo models pull {model}`", path.display())]
    Damaged {
        /// The model.
        model: String,
        /// The file.
        path: PathBuf,
        /// What the reader of the file says.
        problem: String,
    },
    /// espeak-ng cannot work.
    #[error(transparent)]
    Espeak(#[from] piper::espeak::EspeakError),
}

impl From<EngineError> for StartupError {
    fn from(error: EngineError) -> Self {
        // All of them are for a person to mend: starting again would change nothing.
        Self::MissingModel {
            message: error.to_string(),
        }
    }
}

/// Loads a voice by its identifier.
pub type Loader = Box<dyn FnMut(&str) -> Result<Box<dyn Synthesizer>, EngineError> + Send>;

/// The voices that are loaded, and how to load more.
pub struct Voices {
    loader: Loader,
    open: HashMap<String, Box<dyn Synthesizer>>,
}

impl Voices {
    /// None loaded yet.
    pub fn new(loader: Loader) -> Self {
        Self {
            loader,
            open: HashMap::new(),
        }
    }

    /// A voice, loaded now if it was not.
    ///
    /// # Errors
    /// When it is not installed or damaged.
    pub fn open(&mut self, id: &str) -> Result<&mut dyn Synthesizer, EngineError> {
        if !self.open.contains_key(id) {
            let voice = (self.loader)(id)?;
            self.open.insert(id.to_owned(), voice);
        }
        Ok(self.open.get_mut(id).expect("it was inserted above").as_mut())
    }
}

/// How the configured engine loads voices.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Loader {
    match config.engine {
        EngineKind::Piper => {
            let models_dir = global.models_dir.clone();
            let espeak_data = config.espeak_data.clone();
            let threads = if config.threads == 0 {
                global.threads
            } else {
                config.threads
            };
            Box::new(move |id| Ok(Box::new(Piper::load(&models_dir, id, &espeak_data, threads)?)))
        }
    }
}
