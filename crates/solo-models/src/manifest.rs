//! `models/manifest.toml` as types.
//!
//! The file describes every platform; [`Manifest::for_target`] narrows it to one, so that the rest of Solo sees just the
//! files and sources that concern this machine. Faults are collected (`manifest/validate.rs`), all at once.

mod source;
mod validate;

pub use source::{Conversion, HubFile, HubSource, Member, PackageFile, PackageMember, PackageSource, Registry, Source};

use std::sync::LazyLock;

use serde::Deserialize;

use crate::locate::MissingModel;

static EMBEDDED: LazyLock<Manifest> = LazyLock::new(|| {
    Manifest::parse(include_str!("../../../models/manifest.toml"))
        .expect("the embedded manifest is valid: a test of this crate parses it")
        .for_target(&host_target())
});

/// The machine this was compiled for, as the manifest names it: `linux-x86_64`.
pub fn host_target() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// All models Solo knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// The ids that the default configuration names, with what they require: what `solo models pull` fetches where nothing else is
    /// configured.
    pub default: Vec<String>,
    /// Better chat models by the machine's memory, ascending.
    #[serde(default)]
    pub recommended_chat: Vec<ChatRecommendation>,
    /// The models, in the order people see them.
    #[serde(rename = "model")]
    pub models: Vec<Model>,
}

/// "With this much memory, that model is the better choice."
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRecommendation {
    /// The least memory of the machine, in GiB.
    pub memory_gib: u64,
    /// A model's id.
    pub model: String,
}

/// One model: what it is, what it may be used for, its files and where they come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The folder's name below the models folder, and what configuration calls it.
    pub id: String,
    /// Which service wants it.
    pub kind: ModelKind,
    /// For people.
    pub title: String,
    /// An SPDX expression, or a sentence.
    pub licence: String,
    /// Who makes it.
    pub home: String,
    /// Models that it does not work without.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The size of the installed files together, in bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// What is installed.
    #[serde(rename = "file")]
    pub files: Vec<InstalledFile>,
    /// Where it can be had, in order of preference.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// A language model.
    Llm,
    /// Speech to text.
    Stt,
    /// Text to speech.
    Tts,
    /// A wake word.
    Wake,
    /// Voice activity detection.
    Vad,
    /// The end of a turn, by meaning.
    TurnEnd,
    /// Text embeddings.
    Embedding,
    /// A shared library that models run on.
    Runtime,
}

impl ModelKind {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Stt => "stt",
            Self::Tts => "tts",
            Self::Wake => "wake",
            Self::Vad => "vad",
            Self::TurnEnd => "turn-end",
            Self::Embedding => "embedding",
            Self::Runtime => "runtime",
        }
    }
}

/// A file as it lies in the model's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// What a service asks for: "model", "config", "tokenizer", …
    pub role: String,
    /// Its name in the model's folder.
    pub name: String,
    /// Its size. Where several sha256 are accepted, that of the first source.
    pub bytes: u64,
    /// The digests that are right, in lowercase hex.
    pub sha256: Vec<String>,
    /// The machines it is for; empty: all.
    #[serde(default)]
    pub targets: Vec<String>,
}

impl Model {
    /// The file with this role.
    pub fn file(&self, role: &str) -> Option<&InstalledFile> {
        self.files.iter().find(|file| file.role == role)
    }
}

/// The manifest does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no TOML of the expected shape.
    #[error("the models manifest cannot be read")]
    Syntax(#[source] toml::de::Error),
    /// It contradicts itself.
    #[error("the models manifest is wrong:\n  {}", .0.join("\n  "))]
    Invalid(Vec<String>),
}

impl Manifest {
    /// The manifest this program was built with, narrowed to this machine.
    pub fn embedded() -> &'static Manifest {
        &EMBEDDED
    }

    /// Reads and validates a manifest, with the files and sources of all machines.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(ManifestError::Syntax)?;
        let faults = validate::faults(&manifest);
        if faults.is_empty() {
            Ok(manifest)
        } else {
            Err(ManifestError::Invalid(faults))
        }
    }

    /// Keeps what concerns one machine (see [`host_target`]). A model that does not exist for it stays, without files.
    pub fn for_target(mut self, target: &str) -> Manifest {
        let concerns = |targets: &[String]| targets.is_empty() || targets.iter().any(|t| t == target);
        for model in &mut self.models {
            model.files.retain(|file| concerns(&file.targets));
            model.sources.retain(|source| concerns(source.targets()));
            model.bytes = model.files.iter().map(|file| file.bytes).sum();
        }
        self
    }

    /// The model with this id.
    pub fn get(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.id == id)
    }

    /// True when the default configuration wants it.
    pub fn is_default(&self, id: &str) -> bool {
        self.default.iter().any(|default| default == id)
    }

    /// The model with this id, or the error that lists what there is.
    pub fn require(&self, id: &str) -> Result<&Model, MissingModel> {
        self.get(id).ok_or_else(|| MissingModel::Unknown {
            id: id.to_owned(),
            known: self.known(),
        })
    }

    /// These models and what they require, requirements first, each once.
    pub fn with_requirements<'a>(&'a self, ids: &[String]) -> Result<Vec<&'a Model>, MissingModel> {
        let mut ordered: Vec<&Model> = Vec::new();
        for id in ids {
            self.visit(id, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn visit<'a>(&'a self, id: &str, ordered: &mut Vec<&'a Model>) -> Result<(), MissingModel> {
        if ordered.iter().any(|model| model.id == id) {
            return Ok(());
        }
        let model = self.require(id)?;
        for required in &model.requires {
            self.visit(required, ordered)?;
        }
        ordered.push(model);
        Ok(())
    }

    /// The recommended chat model for a machine with this much memory, if it is a better one than the default.
    pub fn recommended_chat(&self, memory_bytes: u64) -> Option<&Model> {
        // A machine sold with 16 GiB reports a little less: round up.
        let gib = memory_bytes.div_ceil(1 << 30);
        let fits = self
            .recommended_chat
            .iter()
            .rev()
            .find(|choice| choice.memory_gib <= gib)?;
        self.get(&fits.model)
    }

    fn known(&self) -> String {
        self.models
            .iter()
            .map(|model| model.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
