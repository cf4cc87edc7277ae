//! The section `[wake]`.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::convert::{MAX_KEYWORDS, MAX_REFRACTORY_MS};
use crate::engine::EngineKind;

/// The section `[wake]`; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.toml documents the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub engine: EngineKind,
    pub keywords: Vec<ConfiguredKeyword>,
    pub refractory_ms: u32,
    pub accept_noncommercial_licence: bool,
    pub max_streams: usize,
    pub tflite_library: String,
}

/// A keyword of the configuration: "hey_jarvis" or "hey_jarvis=0.95".
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct ConfiguredKeyword {
    /// Identifier.
    pub id: String,
    /// Probability from which it counts. `None`: the model's own cut-off.
    pub threshold: Option<f32>,
}

impl TryFrom<String> for ConfiguredKeyword {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (id, threshold) = match text.split_once('=') {
            None => (text.trim(), None),
            Some((id, threshold)) => {
                let value = f32::from_str(threshold.trim())
                    .ok()
                    .filter(|value| (0.0..=1.0).contains(value));
                let value = value.ok_or_else(|| format!("\"{text}\": a threshold of 0.0 to 1.0 is wanted after ="))?;
                (id.trim(), Some(value))
            }
        };
        if id.is_empty() {
            return Err(format!(
                "\"{text}\": the identifier of a keyword is wanted, for instance \"hey_jarvis\""
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            threshold,
        })
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_may_bring_its_threshold() {
        let read = |text: &str| ConfiguredKeyword::try_from(text.to_owned());
        assert_eq!(
            read("alexa"),
            Ok(ConfiguredKeyword {
                id: "alexa".into(),
                threshold: None
            })
        );
        assert_eq!(
            read("alexa = 0.9"),
            Ok(ConfiguredKeyword {
                id: "alexa".into(),
                threshold: Some(0.9)
            })
        );
        for wrong in ["", "=0.5", "alexa=", "alexa=2", "alexa=nan"] {
            assert!(read(wrong).unwrap_err().contains("wanted"), "{wrong}");
        }
    }
}
