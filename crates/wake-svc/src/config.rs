//! The section `[wake]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::convert::{MAX_KEYWORDS, MAX_REFRACTORY_MS, MAX_TRIGGERS};
use crate::engine::{EngineKind, Speed};
use crate::watch::Rule;

/// Speeds at which a stream may be heard; each costs as much as a stream.
const MAX_SPEEDS: usize = 8;

/// The section `[wake]`; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.toml documents the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub engine: EngineKind,
    pub keywords: Vec<ConfiguredKeyword>,
    pub refractory_ms: u32,
    pub trigger_count: u32,
    pub speeds: Vec<Speed>,
    pub accept_noncommercial_licence: bool,
    pub max_streams: usize,
    pub tflite_library: String,
    pub porcupine: PorcupineConfig,
}

impl Config {
    /// What is listened for when a request names nothing.
    pub fn rules(&self) -> Vec<Rule> {
        let rule = |keyword: &ConfiguredKeyword| Rule {
            keyword: keyword.id.clone(),
            threshold: keyword.threshold,
            refractory_ms: self.refractory_ms,
            trigger_count: keyword.trigger_count.unwrap_or(self.trigger_count),
        };
        self.keywords.iter().map(rule).collect()
    }
}

/// The section `[wake.porcupine]`; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.toml documents the keys")]
pub struct PorcupineConfig {
    pub access_key_env: String,
    pub library: PathBuf,
    pub parameters: PathBuf,
    pub keyword_files: Vec<KeywordFile>,
    pub device: String,
}

/// A keyword of the configuration: "hey_jarvis", "hey_jarvis=0.95", "hey_jarvis=x3" or "hey_jarvis=0.95x3".
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct ConfiguredKeyword {
    /// Identifier.
    pub id: String,
    /// Probability from which it counts. `None`: the model's own cut-off.
    pub threshold: Option<f32>,
    /// Scores at or above the threshold that it takes. `None`: `wake.trigger_count`.
    pub trigger_count: Option<u32>,
}

impl TryFrom<String> for ConfiguredKeyword {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (id, wish) = match text.split_once('=') {
            None => (text.trim(), None),
            Some((id, wish)) => (id.trim(), Some(wish.trim())),
        };
        if id.is_empty() {
            return Err(format!(
                "\"{text}\": the identifier of a keyword is wanted, for instance \"hey_jarvis\""
            ));
        }
        // "x3" leaves the threshold open, "0.95" the count.
        let (threshold, count) = match wish.map(|wish| wish.split_once('x').ok_or(wish)) {
            None => (None, None),
            Some(Err(threshold)) => (Some(threshold), None),
            Some(Ok((threshold, count))) => (
                Some(threshold.trim()).filter(|threshold| !threshold.is_empty()),
                Some(count.trim()),
            ),
        };
        let threshold = threshold.map(|threshold| {
            let value = f32::from_str(threshold).ok();
            value
                .filter(|value| (0.0..=1.0).contains(value))
                .ok_or_else(|| format!("\"{text}\": a threshold of 0.0 to 1.0 is wanted after ="))
        });
        let count = count.map(|count| {
            let value = u32::from_str(count).ok();
            value
                .filter(|value| (1..=MAX_TRIGGERS).contains(value))
                .ok_or_else(|| format!("\"{text}\": a count of 1 to {MAX_TRIGGERS} is wanted after x"))
        });
        Ok(Self {
            id: id.to_owned(),
            threshold: threshold.transpose()?,
            trigger_count: count.transpose()?,
        })
    }
}

/// A keyword file of Porcupine and the identifier that it is to have: "jarvis=/home/me/jarvis_linux.ppn".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeywordFile {
    /// Identifier.
    pub id: String,
    /// The .ppn file.
    pub path: PathBuf,
}

impl TryFrom<String> for KeywordFile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('=').map(|(id, path)| (id.trim(), path.trim())) {
            Some((id, path)) if !id.is_empty() && !path.is_empty() => Ok(Self {
                id: id.to_owned(),
                path: path.into(),
            }),
            _ => Err(format!(
                "\"{text}\": an identifier and a file are wanted, for instance \"jarvis=/home/me/jarvis_linux.ppn\""
            )),
        }
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        if self.keywords.is_empty() || self.keywords.len() > MAX_KEYWORDS {
            faults.add(
                "wake.keywords",
                format!("1 to {MAX_KEYWORDS} keywords are wanted, found {}", self.keywords.len()),
            );
        }
        for (index, keyword) in self.keywords.iter().enumerate() {
            if self.keywords[..index].iter().any(|other| other.id == keyword.id) {
                faults.add("wake.keywords", format!("\"{}\" is named twice", keyword.id));
            }
        }
        if self.engine == EngineKind::OpenWakeWord && !self.accept_noncommercial_licence {
            faults.add(
                "wake.accept_noncommercial_licence",
                "openWakeWord's keywords are under CC BY-NC-SA 4.0, which forbids commercial use; set this to true if you \
                 accept that, or use engine = \"micro-wake-word\"",
            );
        }
        faults.range("wake.refractory_ms", self.refractory_ms, 0, MAX_REFRACTORY_MS);
        faults.range("wake.max_streams", self.max_streams, 1, 10_000);
        let most = self.engine.max_triggers();
        faults.range("wake.trigger_count", self.trigger_count, 1, most);
        for keyword in &self.keywords {
            if let Some(count) = keyword.trigger_count.filter(|count| *count > most) {
                let engine = self.engine.name();
                faults.add(
                    "wake.keywords",
                    format!(
                        "\"{}\": {engine} decides by itself and speaks once: a count of {count} never comes",
                        keyword.id
                    ),
                );
            }
        }
        if self.speeds.len() > MAX_SPEEDS {
            faults.add(
                "wake.speeds",
                format!("at most {MAX_SPEEDS} speeds are wanted, found {}", self.speeds.len()),
            );
        }
        if self.engine == EngineKind::Porcupine {
            if !self.speeds.is_empty() {
                faults.add("wake.speeds", "porcupine hears a stream as it is: leave this empty");
            }
            self.porcupine.validate(faults);
        }
    }
}

impl PorcupineConfig {
    /// Asked only where Porcupine is to listen: until then its section may be empty.
    fn validate(&self, faults: &mut Faults) {
        let name = &self.access_key_env;
        if name.is_empty() || name.chars().any(|c| !(c.is_ascii_alphanumeric() || c == '_')) {
            // Whoever wrote the key itself here must not find it in a log.
            faults.add(
                "wake.porcupine.access_key_env",
                "the name of an environment variable is wanted, not the key itself: A-Z, 0-9 and _",
            );
        }
        for (key, path, example) in [
            ("library", &self.library, "libpv_porcupine.so"),
            ("parameters", &self.parameters, "porcupine_params.pv"),
        ] {
            if path.as_os_str().is_empty() {
                faults.add(
                    format!("wake.porcupine.{key}"),
                    format!("the path of Picovoice's {example} is wanted; Solo brings none, {WHERE}"),
                );
            }
        }
        if self.keyword_files.is_empty() {
            faults.add(
                "wake.porcupine.keyword_files",
                "at least one is wanted, for instance [\"jarvis=/home/me/jarvis_linux.ppn\"]; wake.keywords names them",
            );
        }
        for (index, file) in self.keyword_files.iter().enumerate() {
            if self.keyword_files[..index].iter().any(|other| other.id == file.id) {
                faults.add(
                    "wake.porcupine.keyword_files",
                    format!("\"{}\" is named twice", file.id),
                );
            }
        }
    }
}

/// Where a person gets what Solo must not bring.
pub const WHERE: &str = "the Python package pvporcupine 4.0 and https://github.com/Picovoice/porcupine have it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_may_bring_its_threshold_and_count() {
        let read = |text: &str| ConfiguredKeyword::try_from(text.to_owned());
        let keyword = |threshold, trigger_count| {
            Ok(ConfiguredKeyword {
                id: "alexa".into(),
                threshold,
                trigger_count,
            })
        };
        assert_eq!(read("alexa"), keyword(None, None));
        assert_eq!(read("alexa = 0.9"), keyword(Some(0.9), None));
        assert_eq!(read("alexa=0.9x3"), keyword(Some(0.9), Some(3)));
        assert_eq!(read("alexa = x20"), keyword(None, Some(20)));
        for wrong in [
            "",
            "=0.5",
            "alexa=",
            "alexa=2",
            "alexa=nan",
            "alexa=x",
            "alexa=x0",
            "alexa=0.9x",
            "alexa=0.9x21",
            "alexa=3x2",
        ] {
            assert!(read(wrong).unwrap_err().contains("wanted"), "{wrong}");
        }
    }

    #[test]
    fn a_keyword_file_has_an_identifier() {
        let file = KeywordFile::try_from("jarvis = /a/b=c.ppn".to_owned()).unwrap();
        assert_eq!((file.id.as_str(), file.path), ("jarvis", PathBuf::from("/a/b=c.ppn")));
        for wrong in ["", "jarvis", "=/a", "jarvis="] {
            assert!(
                KeywordFile::try_from(wrong.to_owned()).unwrap_err().contains("wanted"),
                "{wrong}"
            );
        }
    }
}
