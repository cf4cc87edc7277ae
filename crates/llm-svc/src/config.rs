//! The `[llm]` section. `config.toml` beside the crate holds the commented defaults.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::engine::{EngineKind, cuda_ordinal};

/// The `[llm]` section, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address that the service listens on.
    pub listen: SocketAddr,
    /// The engine of requests that name none.
    pub engine: EngineSetting,
    /// The model of requests that name none: an id, or the path of a GGUF file.
    pub model: String,
    /// Where to compute: "auto", "cpu", "cuda", "cuda:N".
    pub device: String,
    /// Threads; 0: from `[global]`.
    pub threads: usize,
    /// Tokens that prompt and answer may have together.
    pub context_length: usize,
    /// Tokens of a prompt computed at once.
    pub batch: usize,
    /// Models in memory at once.
    pub max_loaded_models: usize,
    /// Seconds that a model stays in memory unused; negative: for good.
    pub keep_alive_s: i64,
    /// Requests that may wait.
    pub queue: usize,
    /// Largest prompt, in bytes of its messages.
    pub max_prompt_bytes: usize,
    /// Most tokens of an answer where a request does not say.
    pub max_tokens: usize,
    /// How tokens are chosen where a request does not say.
    pub sampling: SamplingDefaults,
}

/// How tokens are chosen where a request does not say.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingDefaults {
    /// 0.0 to 2.0.
    pub temperature: f32,
    /// 0: all.
    pub top_k: usize,
    /// 0.0 to 1.0.
    pub top_p: f32,
}

/// The configured engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineSetting {
    /// candle on CUDA, llama-cpp otherwise.
    Auto,
    /// llama.cpp.
    LlamaCpp,
    /// candle.
    Candle,
}

impl From<EngineKind> for EngineSetting {
    fn from(kind: EngineKind) -> Self {
        match kind {
            EngineKind::LlamaCpp => Self::LlamaCpp,
            EngineKind::Candle => Self::Candle,
        }
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        if self.model.is_empty() {
            faults.add(
                "llm.model",
                "an id or the path of a .gguf file is wanted, found nothing",
            );
        } else if self.model_file().is_none() && self.model.contains(std::path::MAIN_SEPARATOR) {
            let found = &self.model;
            faults.add(
                "llm.model",
                format!("an id or the path of a .gguf file is wanted, found `{found}`"),
            );
        }
        if !matches!(self.device.as_str(), "auto" | "cpu")
            && let Err(error) = cuda_ordinal(&self.device)
        {
            faults.add("llm.device", error.to_string());
        }
        faults.range("llm.context_length", self.context_length, 64, 1 << 20);
        faults.range("llm.batch", self.batch, 1, 512);
        faults.range("llm.max_loaded_models", self.max_loaded_models, 1, 64);
        faults.range("llm.keep_alive_s", self.keep_alive_s, -1, 365 * 24 * 3600);
        faults.range("llm.queue", self.queue, 1, 10_000);
        faults.range("llm.max_prompt_bytes", self.max_prompt_bytes, 1, 1 << 28);
        faults.range("llm.max_tokens", self.max_tokens, 1, 1 << 20);
        faults.range("llm.sampling.temperature", self.sampling.temperature, 0.0, 2.0);
        faults.range("llm.sampling.top_k", self.sampling.top_k, 0, 1 << 20);
        faults.range("llm.sampling.top_p", self.sampling.top_p, 0.0, 1.0);
    }
}

impl Config {
    /// The configured model's file, where it is a path.
    pub fn model_file(&self) -> Option<&Path> {
        let path = Path::new(&self.model);
        (path.extension().is_some_and(|extension| extension == "gguf")).then_some(path)
    }
}
