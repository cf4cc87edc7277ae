//! The section `[tts]`.

use std::net::SocketAddr;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::convert::SPEED;
use crate::engine::EngineKind;

/// Which engine speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "config.toml documents them")]
pub enum EngineChoice {
    Auto,
    Piper,
    Kokoro,
}

impl EngineChoice {
    /// Whether the configured voice may be one of this engine.
    pub fn takes(self, engine: EngineKind) -> bool {
        match self {
            Self::Auto => true,
            Self::Piper => engine == EngineKind::Piper,
            Self::Kokoro => engine == EngineKind::Kokoro,
        }
    }
}

/// The section `[tts]`; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.toml documents the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub engine: EngineChoice,
    pub voice: String,
    pub speed: f32,
    pub pause_ms: u32,
    pub first_unit_words: usize,
    pub first_unit_before: Vec<String>,
    pub threads: usize,
    pub max_text_chars: usize,
    pub queue: usize,
    pub espeak_data: String,
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        if self.voice.is_empty() {
            faults.add(
                "tts.voice",
                "the identifier of a voice is wanted, for instance \"piper-en-us-joe\"",
            );
        }
        faults.range("tts.speed", self.speed, *SPEED.start(), *SPEED.end());
        faults.range("tts.pause_ms", self.pause_ms, 0, 2000);
        faults.range("tts.first_unit_words", self.first_unit_words, 1, 1000);
        faults.range("tts.threads", self.threads, 0, 256);
        faults.range("tts.max_text_chars", self.max_text_chars, 1, 10_000_000);
        faults.range("tts.queue", self.queue, 1, 10_000);
    }
}
