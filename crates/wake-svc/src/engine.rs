//! What finds keywords in audio: the traits, and the choice by configuration.
//!
//! A [`KeywordEngine`] holds what streams share, a [`KeywordDetector`] what one stream needs for itself. Detectors report
//! every score; what counts is decided by the [`crate::watch`], the same way for every engine.

mod micro_wake_word;
mod open_wake_word;
mod porcupine;
mod speeds;

use std::path::PathBuf;

use serde::Deserialize;
use solo_service::{GlobalConfig, StartupError};

use crate::config::Config;
use crate::convert::MAX_TRIGGERS;
use crate::watch::Rule;
use micro_wake_word::MicroWakeWord;
use open_wake_word::OpenWakeWord;
use porcupine::Porcupine;
pub use porcupine::Refusal as PorcupineRefusal;
use speeds::AtSpeeds;
pub use speeds::Speed;

/// The engines that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// microWakeWord's models through TensorFlow Lite.
    MicroWakeWord,
    /// openWakeWord's models through ONNX Runtime; its keywords are not for commercial use.
    OpenWakeWord,
    /// Picovoice's Porcupine, a library that the person brings, with an AccessKey of theirs.
    Porcupine,
}

impl EngineKind {
    /// Its name in configuration and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::MicroWakeWord => "micro-wake-word",
            Self::OpenWakeWord => "open-wake-word",
            Self::Porcupine => "porcupine",
        }
    }

    /// The trigger counts that it can be asked for: 1 to this.
    pub fn max_triggers(self) -> u32 {
        match self {
            Self::MicroWakeWord | Self::OpenWakeWord => MAX_TRIGGERS,
            // It says once that a keyword was spoken, having decided by itself.
            Self::Porcupine => 1,
        }
    }

    /// The speeds at which it hears a stream when the configuration names none.
    pub fn speeds(self) -> &'static [Speed] {
        match self {
            Self::MicroWakeWord => &const { [Speed::SPOKEN, Speed::percent(85), Speed::percent(110)] },
            // Each speed takes as much of a core as microWakeWord's three do.
            Self::OpenWakeWord => &const { [Speed::SPOKEN, Speed::percent(85)] },
            // It knows better, and each of its detectors counts for Picovoice.
            Self::Porcupine => &const { [Speed::SPOKEN] },
        }
    }

    /// How the manifest begins the identifiers of its keywords' models. `None`: they are not Solo's to offer.
    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::MicroWakeWord => Some("micro-"),
            Self::OpenWakeWord => Some("oww-"),
            Self::Porcupine => None,
        }
    }

    /// The model of a keyword in the manifest: "hey_jarvis" → "micro-hey-jarvis". `None` where the manifest has none.
    pub fn model_id(self, keyword: &str) -> Option<String> {
        Some(format!("{}{}", self.prefix()?, keyword.replace('_', "-")))
    }

    /// The keyword of a model: "micro-hey-jarvis" → "hey_jarvis"; `None` when it is not one of this engine's.
    pub fn keyword_of(self, model: &str) -> Option<String> {
        Some(model.strip_prefix(self.prefix()?)?.replace('-', "_"))
    }
}

/// About how long a wake phrase lasts when it is spoken at an easy pace, in samples: the models say no beginning.
const PHRASE: u64 = 16_000;

/// What is known of a keyword that a detector listens for.
#[derive(Debug, Clone, PartialEq)]
pub struct KeywordModel {
    /// Identifier.
    pub id: String,
    /// The probability from which its maker counts it.
    pub cutoff: f32,
    /// About how long the phrase lasts, in samples: where it began is its end less this.
    pub window: u64,
}

/// How probable it is that a keyword has just been spoken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Index of the keyword, in the order of [`KeywordDetector::keywords`].
    pub keyword: usize,
    /// Probability, 0.0 to 1.0.
    pub probability: f32,
    /// Position of the stream at which it was known: one past the last sample that was looked at.
    pub end_sample: u64,
}

/// Opens detectors. Lives on the worker's thread.
pub trait KeywordEngine: Send {
    /// A detector for one stream that listens for the keywords of these rules, in their order. Thresholds are applied by the
    /// watch; they are told for engines that decide by themselves.
    ///
    /// # Errors
    /// When one of them is not installed or damaged, or the engine refuses to listen.
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError>;
}

/// Listens to one stream of 16 kHz mono audio.
pub trait KeywordDetector: Send {
    /// What it listens for, in the order in which it was asked to.
    fn keywords(&self) -> &[KeywordModel];

    /// Takes samples of any number; `first_sample` is the position of the first. A position beyond the end of the last
    /// samples says that some were lost. Scores are emitted in order of their positions.
    ///
    /// # Errors
    /// When the model cannot be run.
    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError>;
}

/// Why an engine cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file is not there; the message says which and how to get it.
    #[error("{message}")]
    NotInstalled {
        /// What is missing, where it was looked for, what to run.
        message: String,
    },
    /// A file is there but cannot be used.
    #[error("{} cannot be used ({problem}): {remedy}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Porcupine does not listen: library, files, key.
    #[error(transparent)]
    Porcupine(#[from] PorcupineRefusal),
    /// The model failed while it listened.
    #[error("the keyword model could not be run")]
    Run(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<EngineError> for StartupError {
    fn from(error: EngineError) -> Self {
        match error {
            // Both are for a person to mend: starting again would change nothing.
            EngineError::NotInstalled { .. } | EngineError::Unusable { .. } => Self::MissingModel {
                message: error.to_string(),
            },
            EngineError::Porcupine(refusal) => refusal.into(),
            EngineError::Run(_) => Self::other(error),
        }
    }
}

/// The configured engine.
pub fn from_config(config: &Config, global: &GlobalConfig) -> Box<dyn KeywordEngine> {
    let speeds = match config.speeds.as_slice() {
        [] => config.engine.speeds(),
        named => named,
    }
    .to_vec();
    match config.engine {
        EngineKind::MicroWakeWord => Box::new(AtSpeeds {
            engine: MicroWakeWord::new(&global.models_dir, &config.tflite_library),
            speeds,
        }),
        EngineKind::OpenWakeWord => Box::new(AtSpeeds {
            engine: OpenWakeWord::new(&global.models_dir),
            speeds,
        }),
        EngineKind::Porcupine => Box::new(Porcupine::new(config.porcupine.clone(), |variable| {
            std::env::var(variable).ok()
        })),
    }
}

/// The manifest's model of a keyword, for engines whose keywords are all there.
fn model_of(engine: EngineKind, keyword: &str) -> Result<String, EngineError> {
    engine.model_id(keyword).ok_or_else(|| EngineError::NotInstalled {
        message: format!(
            "{} has no model of \"{keyword}\" that Solo could install",
            engine.name()
        ),
    })
}
