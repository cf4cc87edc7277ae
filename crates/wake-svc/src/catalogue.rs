//! The keywords that there are: those of the models' manifest, and which of them are installed.

use std::path::{Path, PathBuf};

use solo_models::{Manifest, Model, ModelKind};

use crate::WakeError;
use crate::config::{Config, KeywordFile};
use crate::engine::EngineKind;

/// A keyword that is known, installed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKeyword {
    /// Identifier: "hey_jarvis".
    pub id: String,
    /// What a person says: "Hey Jarvis".
    pub phrase: String,
    /// Engine that knows it.
    pub engine: EngineKind,
    /// Licence of its model, as an SPDX expression.
    pub licence: String,
    /// Files that must be there.
    files: Vec<PathBuf>,
}

impl KnownKeyword {
    /// A keyword that is installed when all `files` are there.
    pub fn new(id: &str, engine: EngineKind, licence: &str, files: Vec<PathBuf>) -> Self {
        Self {
            id: id.into(),
            phrase: phrase(id),
            engine,
            licence: licence.into(),
            files,
        }
    }

    /// True when its files are there now; a keyword may be pulled while the service runs.
    pub fn installed(&self) -> bool {
        self.files.iter().all(|file| file.is_file())
    }
}

/// All keywords, in the manifest's order.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<KnownKeyword>);

impl Catalogue {
    /// These keywords.
    pub fn new(keywords: Vec<KnownKeyword>) -> Self {
        Self(keywords)
    }

    /// The keywords of the manifest that an engine can listen for.
    pub fn of_manifest(models_dir: &Path, engine: EngineKind) -> Self {
        let manifest = Manifest::embedded();
        let models = manifest.models.iter().filter(|model| model.kind == ModelKind::Wake);
        let known = models.filter_map(|model| {
            // What keywords share has no model of its own.
            model.file("model")?;
            let id = engine.keyword_of(&model.id)?;
            // The manifest was checked as a whole: whatever a model requires is in it.
            let parts = manifest
                .with_requirements(std::slice::from_ref(&model.id))
                .unwrap_or_default();
            let paths = |part: &'static Model| part.files.iter().map(|file| models_dir.join(&part.id).join(&file.name));
            Some(KnownKeyword::new(
                &id,
                engine,
                &model.licence,
                parts.into_iter().flat_map(paths).collect(),
            ))
        });
        Self(known.collect())
    }

    /// The keywords that an engine can listen for: the manifest's, or those whose files a person named.
    pub fn of_config(config: &Config, models_dir: &Path) -> Self {
        match config.engine {
            EngineKind::MicroWakeWord | EngineKind::OpenWakeWord => Self::of_manifest(models_dir, config.engine),
            EngineKind::Porcupine => {
                let keyword = |file: &KeywordFile| {
                    let files = vec![file.path.clone()];
                    // Picovoice's own terms; SPDX's way to say "none of the listed".
                    KnownKeyword::new(&file.id, EngineKind::Porcupine, "LicenseRef-Picovoice", files)
                };
                Self(config.porcupine.keyword_files.iter().map(keyword).collect())
            }
        }
    }

    /// A keyword by its identifier.
    ///
    /// # Errors
    /// When there is none; the message lists those that there are.
    pub fn find(&self, id: &str) -> Result<&KnownKeyword, WakeError> {
        self.0
            .iter()
            .find(|keyword| keyword.id == id)
            .ok_or_else(|| WakeError::UnknownKeyword {
                keyword: id.to_owned(),
                known: self
                    .0
                    .iter()
                    .map(|keyword| keyword.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// All keywords, those for which `first` holds before the others.
    pub fn all(&self, first: impl Fn(&KnownKeyword) -> bool) -> Vec<&KnownKeyword> {
        let mut keywords: Vec<_> = self.0.iter().collect();
        keywords.sort_by_key(|keyword| !first(keyword));
        keywords
    }
}

/// "hey_jarvis" → "Hey Jarvis".
fn phrase(id: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    id.split('_').map(capital).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_each_engines_keywords() {
        for engine in [EngineKind::MicroWakeWord, EngineKind::OpenWakeWord] {
            let catalogue = Catalogue::of_manifest(Path::new("/nowhere"), engine);
            let keyword = catalogue.find("hey_jarvis").unwrap();
            assert_eq!((keyword.phrase.as_str(), keyword.installed()), ("Hey Jarvis", false));
            assert!(
                Manifest::embedded()
                    .get(&engine.model_id("hey_jarvis").unwrap())
                    .is_some()
            );
            for nothing in ["hey_nobody", "features"] {
                let error = catalogue.find(nothing).unwrap_err().to_string();
                assert!(error.contains(nothing) && error.contains("hey_jarvis"), "{error}");
            }
        }
    }
}
