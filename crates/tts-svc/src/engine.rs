//! What makes samples of words: the trait, the voices that are loaded, and the choice by configuration.
//!
//! Engines are synchronous and live on one thread ([`solo_service::Worker`]); they push what they make through `emit` as
//! soon as it is there, and look at the cancel token while they work. The configured voice is loaded when the service
//! starts; another installed one, of whichever engine, when it is first asked for.

pub mod espeak;
pub mod kokoro;
mod level;
mod onnx;
pub mod piper;
mod text;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::{CancelToken, GlobalConfig, StartupError};

use crate::config::Config;
use kokoro::Kokoro;
use piper::Piper;

/// The engines that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// VITS voices of Piper through ONNX Runtime, phonemes by espeak-ng.
    Piper,
    /// Kokoro-82M (StyleTTS 2) through ONNX Runtime, phonemes by espeak-ng.
    Kokoro,
}

impl EngineKind {
    /// Its name in configuration and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Piper => "piper",
            Self::Kokoro => "kokoro",
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

/// Words to be spoken in one go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Utterance<'a> {
    /// Plain words and punctuation, one space between words.
    pub text: &'a str,
    /// Rate of speech, 0.5 to 2.0; 1.0 is the voice's own.
    pub speed: f32,
    /// Somebody waits for the first sample: it is worth some work more to have it soon.
    pub soon: bool,
}

/// What an engine makes of an utterance, in this order: its length once, then its samples in runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// How long it will be.
    Length {
        /// Samples of all runs together.
        samples: usize,
        /// Where each white-space separated word of the text begins, in samples, ascending. Empty when the engine does not
        /// know how long it speaks at each phoneme.
        words: Vec<usize>,
    },
    /// The next mono samples, −1.0 to 1.0, at the voice's rate.
    Samples(Vec<f32>),
}

/// Where an engine puts what it makes.
pub type Emit<'a> = dyn FnMut(Made) -> Result<(), SynthesisError> + 'a;

/// A voice that is loaded.
pub trait Synthesizer: Send {
    /// Who speaks.
    fn facts(&self) -> &VoiceFacts;

    /// Speaks an utterance. Nothing is emitted for one that has no sound.
    ///
    /// # Errors
    /// [`SynthesisError::Cancelled`] soon after `cancel` was; what `emit` says; otherwise what the engine says.
    fn synthesize(
        &mut self,
        utterance: &Utterance<'_>,
        cancel: &CancelToken,
        emit: &mut Emit<'_>,
    ) -> Result<(), SynthesisError>;
}

/// Speaks an utterance and gives all its samples at once.
///
/// # Errors
/// As [`Synthesizer::synthesize`].
pub fn collect(
    voice: &mut dyn Synthesizer,
    utterance: &Utterance<'_>,
    cancel: &CancelToken,
) -> Result<Vec<f32>, SynthesisError> {
    let mut all = Vec::new();
    voice.synthesize(utterance, cancel, &mut |made| {
        if let Made::Samples(samples) = made {
            all.extend(samples);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Why words could not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum SynthesisError {
    /// Nobody listens any more.
    #[error("the speech was cancelled")]
    Cancelled,
    /// The phonemiser failed.
    #[error("espeak-ng gave no phonemes")]
    Phonemes(#[from] espeak::EspeakError),
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
    Espeak(#[from] espeak::EspeakError),
    /// It loaded, but did not speak when it was tried.
    #[error("voice \"{voice}\" was loaded but cannot speak")]
    Mute {
        /// Its identifier.
        voice: String,
        /// What the engine says.
        #[source]
        source: SynthesisError,
    },
}

impl From<solo_models::MissingModel> for EngineError {
    fn from(missing: solo_models::MissingModel) -> Self {
        Self::NotInstalled {
            message: missing.to_string(),
        }
    }
}

impl From<EngineError> for StartupError {
    fn from(error: EngineError) -> Self {
        // All of them are for a person to mend: starting again would change nothing.
        Self::MissingModel {
            message: error.to_string(),
        }
    }
}

/// Loads a voice of an engine by its identifier.
pub type Loader = Box<dyn FnMut(EngineKind, &str) -> Result<Box<dyn Synthesizer>, EngineError> + Send>;

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
    pub fn open(&mut self, engine: EngineKind, id: &str) -> Result<&mut dyn Synthesizer, EngineError> {
        if !self.open.contains_key(id) {
            let voice = (self.loader)(engine, id)?;
            self.open.insert(id.to_owned(), voice);
        }
        Ok(self.open.get_mut(id).expect("it was inserted above").as_mut())
    }
}

/// How engines load voices, as configured.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Loader {
    let models_dir = global.models_dir.clone();
    let espeak_data = config.espeak_data.clone();
    let threads = if config.threads == 0 {
        global.threads
    } else {
        config.threads
    };
    Box::new(move |engine, id| {
        Ok(match engine {
            EngineKind::Piper => Box::new(Piper::load(&models_dir, id, &espeak_data, threads)?),
            EngineKind::Kokoro => Box::new(Kokoro::load(&models_dir, id, &espeak_data, threads)?),
        })
    })
}
