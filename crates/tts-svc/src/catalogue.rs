//! The voices that there are: those of the models' manifest, and which of them are installed.

use std::path::{Path, PathBuf};

use solo_models::{InstalledFile, Manifest, Model, ModelKind};
use solo_service::StartupError;

use crate::SpeechError;
use crate::engine::{EngineKind, kokoro, piper};

/// A voice that is known, installed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVoice {
    /// Identifier of its model.
    pub id: String,
    /// Language, BCP 47.
    pub language: String,
    /// Engine that speaks it.
    pub engine: EngineKind,
    /// Licence, as an SPDX expression or a sentence.
    pub licence: String,
    /// Files that must be there.
    files: Vec<PathBuf>,
    /// Where its own sample rate is said.
    rate: Rate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rate {
    Known(u32),
    /// In the voice's JSON.
    File(PathBuf),
}

impl KnownVoice {
    /// A voice that needs no files and has this sample rate.
    pub fn built_in(id: &str, language: &str, engine: EngineKind, licence: &str, sample_rate_hz: u32) -> Self {
        Self {
            id: id.into(),
            language: language.into(),
            engine,
            licence: licence.into(),
            files: Vec::new(),
            rate: Rate::Known(sample_rate_hz),
        }
    }

    /// `None` for a model that is no voice.
    fn of_model(manifest: &Manifest, model: &Model, models_dir: &Path) -> Option<Self> {
        let path = |model: &Model, file: &InstalledFile| models_dir.join(&model.id).join(&file.name);
        let own = model.files.iter().map(|file| path(model, file));
        let (engine, language, shared) = if let Some(name) = model.id.strip_prefix("piper-") {
            (EngineKind::Piper, language_of(name)?, None)
        } else {
            let language = kokoro::language_of(&model.id)?;
            (EngineKind::Kokoro, language, Some(manifest.get(kokoro::MODEL)?))
        };
        let shared = shared
            .iter()
            .flat_map(|shared| shared.files.iter().map(move |file| path(shared, file)));
        let rate = match engine {
            EngineKind::Piper => Rate::File(model.file("config").map(|file| path(model, file))?),
            EngineKind::Kokoro => Rate::Known(kokoro::SAMPLE_RATE_HZ),
        };
        Some(Self {
            id: model.id.clone(),
            language,
            engine,
            licence: model.licence.clone(),
            files: own.chain(shared).collect(),
            rate,
        })
    }

    /// Its own sample rate, in Hz, where it can be known: an installed voice says it in its JSON.
    pub fn sample_rate_hz(&self) -> Option<u32> {
        match &self.rate {
            Rate::Known(rate) => Some(*rate),
            Rate::File(file) => piper::sample_rate_of(file),
        }
    }

    /// True when its files are there now; a voice may be pulled while the service runs.
    pub fn installed(&self) -> bool {
        self.files.iter().all(|file| file.is_file())
    }
}

/// All voices, in the manifest's order.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<KnownVoice>);

impl Catalogue {
    /// These voices.
    pub fn new(voices: Vec<KnownVoice>) -> Self {
        Self(voices)
    }

    /// The voices of the manifest that this version can speak with.
    ///
    /// # Errors
    /// When the embedded manifest is broken.
    pub fn of_manifest(models_dir: &Path) -> Result<Self, StartupError> {
        let manifest = Manifest::embedded();
        let voices = manifest.models.iter().filter(|model| model.kind == ModelKind::Tts);
        Ok(Self(
            voices
                .filter_map(|model| KnownVoice::of_model(manifest, model, models_dir))
                .collect(),
        ))
    }

    /// A voice by its identifier.
    ///
    /// # Errors
    /// When there is none; the message lists those that there are.
    pub fn find(&self, id: &str) -> Result<&KnownVoice, SpeechError> {
        self.0
            .iter()
            .find(|voice| voice.id == id)
            .ok_or_else(|| SpeechError::UnknownVoice {
                voice: id.to_owned(),
                known: self
                    .0
                    .iter()
                    .map(|voice| voice.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Voices of a language ("en" takes all of English, empty takes all), `first` before the others.
    pub fn of_language(&self, language: &str, first: &str) -> Vec<&KnownVoice> {
        let mut voices: Vec<_> = self
            .0
            .iter()
            .filter(|voice| speaks(&voice.language, language))
            .collect();
        voices.sort_by_key(|voice| voice.id != first);
        voices
    }
}

/// Whether a voice of language `have` answers to `wanted`, a prefix of subtags in any case.
fn speaks(have: &str, wanted: &str) -> bool {
    let mut subtags = have.split('-');
    wanted.is_empty()
        || wanted
            .split('-')
            .all(|part| subtags.next().is_some_and(|have| have.eq_ignore_ascii_case(part)))
}

/// "en-us-joe" → "en-US".
fn language_of(name: &str) -> Option<String> {
    let mut parts = name.split('-');
    let (language, region) = (parts.next()?, parts.next()?);
    Some(format!("{language}-{}", region.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_match_by_subtags() {
        assert!(speaks("en-US", "") && speaks("en-US", "en") && speaks("en-US", "EN-us"));
        assert!(!speaks("en-US", "e") && !speaks("en-US", "en-GB") && !speaks("en", "en-US"));
    }

    #[test]
    fn the_manifest_has_the_default_voice() {
        let catalogue = Catalogue::of_manifest(Path::new("/nowhere")).unwrap();
        let voice = catalogue.find("piper-en-us-joe").unwrap();
        assert_eq!((voice.language.as_str(), voice.installed()), ("en-US", false));
        assert_eq!((voice.engine, voice.sample_rate_hz()), (EngineKind::Piper, None));
        let voice = catalogue.find("kokoro-en-gb-emma").unwrap();
        assert_eq!((voice.language.as_str(), voice.installed()), ("en-GB", false));
        assert_eq!(
            (voice.engine, voice.sample_rate_hz()),
            (EngineKind::Kokoro, Some(24_000))
        );
        assert_eq!(voice.files.len(), 3, "its own table, the model and the vocabulary");
        assert!(catalogue.find("kokoro-82m").is_err(), "the model is no voice");
        let error = catalogue.find("nobody").unwrap_err().to_string();
        assert!(
            error.contains("\"nobody\"") && error.contains("piper-en-us-joe"),
            "{error}"
        );
    }
}
