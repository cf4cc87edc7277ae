//! Porcupine (<https://github.com/Picovoice/porcupine>), version 4: a library that a person brings, with an AccessKey of
//! theirs. Solo neither links it nor ships anything of it.
//!
//! It takes frames of 512 samples and says for each which keyword ended in it, if any: a decision, not a probability. So a
//! threshold is handed to it as sensitivity (1.0 less the threshold), and every score it emits is 1.0. What can go wrong
//! before it listens is told apart in [`refusal`]; the C interface stays in [`library`].

mod library;
mod refusal;

use std::path::Path;
use std::sync::Arc;

use solo_audio::Framer;

use super::{EngineError, KeywordDetector, KeywordEngine, KeywordModel, PHRASE, Rule, Score};
use crate::config::{KeywordFile, PorcupineConfig};
use library::{Handle, Keyword, Library};
pub use refusal::Refusal;
use refusal::Setting;

/// Picovoice's own default for sensitivity, and so the threshold where none is named.
const THRESHOLD: f32 = 0.5;

/// Opens Porcupine for each stream; the library is loaded once.
pub(super) struct Porcupine {
    config: PorcupineConfig,
    key: Option<String>,
    library: Option<Arc<Library>>,
}

impl Porcupine {
    /// `environment` gives the value of a variable.
    pub(super) fn new(config: PorcupineConfig, environment: impl Fn(&str) -> Option<String>) -> Self {
        let key = environment(&config.access_key_env);
        Self {
            key: key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()),
            config,
            library: None,
        }
    }

    fn library(&mut self) -> Result<Arc<Library>, Refusal> {
        if let Some(library) = &self.library {
            return Ok(Arc::clone(library));
        }
        present(Setting::Library, &self.config.library)?;
        let library = Arc::new(Library::load(&self.config.library)?);
        Ok(Arc::clone(self.library.insert(library)))
    }

    fn file(&self, keyword: &str) -> Result<&KeywordFile, Refusal> {
        let files = &self.config.keyword_files;
        let file = files.iter().find(|file| file.id == keyword);
        let file = file.ok_or_else(|| Refusal::NoFile {
            keyword: keyword.to_owned(),
        })?;
        present(Setting::Keyword, &file.path)?;
        Ok(file)
    }
}

/// The library's own answer to a missing file does not name it.
fn present(setting: Setting, path: &Path) -> Result<(), Refusal> {
    if path.is_file() {
        return Ok(());
    }
    Err(Refusal::Missing {
        setting,
        path: path.to_owned(),
    })
}

impl KeywordEngine for Porcupine {
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
        // The cheapest remedy first: whoever has no key yet need not look for files.
        let key = self.key.clone().ok_or_else(|| Refusal::NoKey {
            variable: self.config.access_key_env.clone(),
        })?;
        let library = self.library()?;
        present(Setting::Parameters, &self.config.parameters)?;
        let keyword = |rule: &Rule| {
            Ok(Keyword {
                path: self.file(&rule.keyword)?.path.clone(),
                sensitivity: 1.0 - rule.threshold.unwrap_or(THRESHOLD),
            })
        };
        let keywords: Result<Vec<_>, Refusal> = rules.iter().map(keyword).collect();
        let keywords = keywords?;
        let handle = library
            .open(&key, &self.config.parameters, &self.config.device, &keywords)
            .map_err(|failure| refusal::from_failure(failure, &key, &self.config, &keywords, library.version()))?;
        let model = |rule: &Rule| KeywordModel {
            id: rule.keyword.clone(),
            cutoff: THRESHOLD,
            window: PHRASE,
        };
        Ok(Box::new(Stream {
            models: rules.iter().map(model).collect(),
            framer: Framer::new(library.frame_length()),
            handle,
        }))
    }
}

/// One stream.
struct Stream {
    models: Vec<KeywordModel>,
    handle: Handle,
    framer: Framer<i16>,
}

impl KeywordDetector for Stream {
    fn keywords(&self) -> &[KeywordModel] {
        &self.models
    }

    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        if first_sample != self.framer.position() {
            self.framer.skip_to(first_sample);
        }
        self.framer.push(samples);
        while let Some(frame) = self.framer.next_frame() {
            let heard = self
                .handle
                .process(&frame.samples)
                .map_err(|failure| EngineError::Run(failure.into()))?;
            if let Some(keyword) = heard.filter(|keyword| *keyword < self.models.len()) {
                emit(Score {
                    keyword,
                    probability: 1.0,
                    end_sample: frame.first_sample + frame.samples.len() as u64,
                });
            }
        }
        Ok(())
    }
}
