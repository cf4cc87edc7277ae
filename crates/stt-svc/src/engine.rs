//! What an engine is: synchronous, on its own thread, one stretch of speech in, its words out.
//!
//! The cut into stretches of at most 28 s, the times of segments, and the question whether the words are to be believed
//! are not the engine's: they are the same for all engines and stand outside.

mod whisper;

use solo_models::Manifest;
use solo_service::{CancelToken, GlobalConfig, StartupError};

use crate::config::{Config, EngineKind};

/// Longest stretch that an engine is given, in samples: 28 s of Whisper's window of 30 s.
pub(crate) const MAX_WINDOW: u64 = 28 * 16_000;

/// Turns speech into text.
pub trait SpeechToText {
    /// What it is and can.
    fn info(&self) -> EngineInfo;

    /// Transcribes one stretch of speech. `cancel` is looked at inside, at least between decoding steps.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] after a cancel, anything else when the engine fails.
    fn transcribe(&mut self, request: &Request, cancel: &CancelToken) -> Result<Decoded, EngineError>;

    /// A second one on the same weights, for work that may wait; `None`: there can be only one.
    ///
    /// # Errors
    /// When there is no room for it.
    fn another(&self) -> Result<Option<Box<dyn SpeechToText + Send>>, EngineError> {
        Ok(None)
    }
}

/// What an engine is and can.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// Name of the engine: "whisper".
    pub engine: &'static str,
    /// Identifier of the model.
    pub model: String,
    /// Languages that it knows, as ISO 639-1 codes; ["en"] when English is all.
    pub languages: Vec<String>,
}

impl EngineInfo {
    /// True when it can tell languages apart, and translate.
    pub fn multilingual(&self) -> bool {
        self.languages.len() > 1
    }
}

/// What to do with the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// Write them down in their language.
    #[default]
    Transcribe,
    /// Write them down in English.
    Translate,
}

/// A stretch of speech and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// Mono at 16,000 Hz, at most 28 s.
    pub samples: Vec<i16>,
    /// ISO 639-1 code of a language that the engine knows; `None`: to be detected.
    pub language: Option<String>,
    /// What to do with the words.
    pub task: Task,
    /// Text that sets vocabulary and style; may be empty.
    pub prompt: String,
    /// True: words carry their own times.
    pub word_times: bool,
    /// True: look at the whole window of the model rather than at one fitted to the audio; slower, and less prone to
    /// repeat itself.
    pub full_window: bool,
    /// Tokens of text after which it may stop: they would not be believed. `None`: it goes on to its own limit.
    pub max_tokens: Option<usize>,
}

/// What was said in a stretch of speech.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The words, trimmed.
    pub text: String,
    /// Words with times; empty unless asked for.
    pub words: Vec<Word>,
    /// Language, as an ISO 639-1 code.
    pub language: String,
    /// Tokens of text.
    pub tokens: usize,
    /// Mean log-probability of the tokens, at most 0.
    pub avg_logprob: f32,
    /// Mean probability of the tokens, 0.0 to 1.0.
    pub confidence: f32,
    /// Probability that nothing was said, 0.0 to 1.0, as the model puts it.
    pub no_speech_prob: f32,
}

/// A word and when it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The word as written, with its punctuation.
    pub text: String,
    /// Start, in ms from the first sample of the stretch.
    pub start_ms: u64,
    /// End, in ms from the first sample of the stretch.
    pub end_ms: u64,
    /// Probability, 0.0 to 1.0.
    pub probability: f32,
}

/// Why an engine gave no text.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller does not want it any more.
    #[error("cancelled")]
    Cancelled,
    /// whisper.cpp said no.
    #[error("whisper.cpp failed: {0}")]
    Whisper(#[from] whisper_rs::WhisperError),
}

/// Makes the loader of the configured engine; it is run on the engine's thread.
pub(crate) fn from_config(
    config: &Config,
    global: &GlobalConfig,
) -> Result<impl FnOnce() -> Result<Box<dyn SpeechToText>, StartupError> + Send + 'static, StartupError> {
    let threads = if config.threads == 0 {
        global.threads
    } else {
        config.threads
    };
    match config.engine {
        EngineKind::Whisper => {
            check_kind(&config.model)?;
            let path = solo_models::locate(&global.models_dir, &config.model, "model").map_err(|missing| {
                StartupError::MissingModel {
                    message: missing.to_string(),
                }
            })?;
            let config = config.clone();
            Ok(move || Ok(Box::new(whisper::Whisper::load(&config, &path, threads)?) as Box<dyn SpeechToText>))
        }
    }
}

fn check_kind(id: &str) -> Result<(), StartupError> {
    let manifest = Manifest::embedded();
    match manifest.get(id) {
        Some(model) if model.kind != solo_models::ModelKind::Stt => {
            let known: Vec<&str> = stt_models().map(|model| model.id.as_str()).collect();
            Err(StartupError::Config(format!(
                "stt.model: \"{id}\" is a model for {}: one for speech to text is wanted ({})",
                model.kind.as_str(),
                known.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// The speech models that Solo knows.
pub(crate) fn stt_models() -> impl Iterator<Item = &'static solo_models::Model> {
    Manifest::embedded()
        .models
        .iter()
        .filter(|model| model.kind == solo_models::ModelKind::Stt)
}
