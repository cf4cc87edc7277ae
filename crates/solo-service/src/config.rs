//! Configuration: one file, a `[global]` section and a section for each service.
//!
//! Later layers win: embedded defaults, the file, the environment (`SOLO_STT__VAD__THRESHOLD`), flags (`--set
//! stt.vad.threshold=0.6`). A service reads `[global]` and its own section and ignores the others'. Every key stands in
//! the embedded defaults, so an unknown one is known to be a mistake; all mistakes are reported at once, each with where
//! it was made. The layering is ours rather than a crate's because none reports every fault with its origin.

mod faults;
mod global;
mod layers;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use faults::{Fault, Faults};
pub use global::{Endpoints, Exposure, GlobalConfig, LogFormat, TlsFiles};

use layers::Section;

/// The sections that a file may have.
pub const SECTIONS: [&str; 8] = ["global", "gateway", "stt", "tts", "llm", "memory", "agent", "wake"];

/// The embedded defaults of `[global]`, with their comments.
pub const GLOBAL_DEFAULTS: &str = include_str!("../global.toml");

/// A service's own section.
pub trait ServiceConfig: DeserializeOwned + Send + 'static {
    /// Address that the service listens on.
    fn listen(&self) -> SocketAddr;

    /// Adds what is wrong beyond types: ranges, combinations. Paths are as in the file ("stt.vad.threshold").
    fn validate(&self, global: &GlobalConfig, faults: &mut Faults) {
        let _ = (global, faults);
    }
}

/// What configuration is made from. The process's own surroundings are read once, in [`Inputs::from_process`], so that
/// tests can bring theirs.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file. `None`: [`default_file`], if it is there.
    pub file: Option<PathBuf>,
    /// The file's text itself, in place of a file.
    pub inline: Option<String>,
    /// The environment, `.env` included.
    pub environment: HashMap<String, String>,
    /// `section.key=value` from the command line, in order.
    pub flags: Vec<(String, String)>,
}

impl Inputs {
    /// The environment of this process over what `.env` in the working folder says.
    pub fn from_process() -> Self {
        let mut environment: HashMap<String, String> = HashMap::new();
        match dotenvy::from_path_iter(".env") {
            Ok(lines) => {
                for line in lines {
                    match line {
                        Ok((key, value)) => drop(environment.insert(key, value)),
                        Err(error) => eprintln!("warning: .env: {error}; the line is ignored"),
                    }
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => eprintln!("warning: .env cannot be read: {error}"),
        }
        environment.extend(
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
        );
        Self {
            file: environment.get("SOLO_CONFIG").map(PathBuf::from),
            inline: None,
            environment,
            flags: Vec::new(),
        }
    }

    /// The file that is read: the one named, or the default one if it is there.
    pub fn resolved_file(&self) -> Option<PathBuf> {
        self.file
            .clone()
            .or_else(|| Some(default_file()).filter(|file| file.exists()))
    }
}

/// Where the configuration file is looked for when none is named: `solo/solo.toml` in the platform's config folder.
pub fn default_file() -> PathBuf {
    dirs::config_dir()
        .unwrap_or_else(|| PathBuf::from("."))
        .join("solo")
        .join("solo.toml")
}

/// Reads, merges and checks `[global]` and one service's section.
///
/// # Errors
/// All faults at once.
pub fn load<C: ServiceConfig>(section: &str, defaults: &str, inputs: &Inputs) -> Result<(GlobalConfig, C), Faults> {
    let mut faults = Faults::default();
    let file = layers::read_file(inputs, &mut faults);
    let global = load_global_section(file.as_ref(), inputs, &mut faults);
    let service: Option<C> =
        Section::merge(section, defaults, file.as_ref(), inputs, &mut faults).deserialize(&mut faults);
    if let Some((global, service)) = global.as_ref().zip(service.as_ref()) {
        global.check_listen(section, service.listen(), &mut faults);
        service.validate(global, &mut faults);
    }
    match (global, service, faults.is_empty()) {
        (Some(global), Some(service), true) => Ok((global, service)),
        _ => Err(faults),
    }
}

/// Reads, merges and checks `[global]` alone: what the command line needs.
///
/// # Errors
/// All faults at once.
pub fn load_global(inputs: &Inputs) -> Result<GlobalConfig, Faults> {
    let mut faults = Faults::default();
    let file = layers::read_file(inputs, &mut faults);
    let global = load_global_section(file.as_ref(), inputs, &mut faults);
    match global {
        Some(global) if faults.is_empty() => Ok(global),
        _ => Err(faults),
    }
}

fn load_global_section(file: Option<&layers::File>, inputs: &Inputs, faults: &mut Faults) -> Option<GlobalConfig> {
    let raw: global::Raw = Section::merge("global", GLOBAL_DEFAULTS, file, inputs, faults).deserialize(faults)?;
    Some(raw.resolve(inputs, faults))
}

/// The platform's folder for Solo's data.
pub(crate) fn default_data_dir() -> PathBuf {
    dirs::data_dir().unwrap_or_else(|| PathBuf::from(".")).join("solo")
}

/// The platform's folder for installed models.
pub(crate) fn default_models_dir() -> PathBuf {
    dirs::cache_dir()
        .unwrap_or_else(|| PathBuf::from("."))
        .join("solo")
        .join("models")
}

/// A path from configuration; empty means `default`, and a leading `~/` the home folder.
pub fn path_or(text: &str, default: impl FnOnce() -> PathBuf) -> PathBuf {
    match text.strip_prefix("~/") {
        _ if text.is_empty() => default(),
        Some(rest) => dirs::home_dir().unwrap_or_default().join(rest),
        None => Path::new(text).to_owned(),
    }
}

#[cfg(test)]
mod tests;
