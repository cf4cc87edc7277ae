//! The `[llm]` section. `config.toml` beside the crate holds the commented defaults.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::backend::settings::{OllamaConfig, OpenAiConfig};
use crate::device::{self, Device, DeviceError, DeviceSetting};
use crate::engine::{EngineKind, KvType, Weights};

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
    /// Where to compute: "auto", "cpu", "cuda", "cuda:N", "cuda:N,M".
    pub device: String,
    /// How weights come into memory.
    pub weights: Weights,
    /// How often GPUs are asked whether they answer.
    pub gpu_watch_ms: u64,
    /// Threads; 0: from `[global]`.
    pub threads: usize,
    /// Tokens that prompt and answer may have together.
    pub context_length: usize,
    /// Most tokens of one step.
    pub batch: usize,
    /// How long a step should take, in milliseconds.
    pub step_ms: u64,
    /// Answers at once.
    pub parallel: usize,
    /// Memory for each model's keys and values.
    pub kv_cache_mib: u64,
    /// How they are stored.
    pub kv_type: KvType,
    /// Models in memory at once.
    pub max_loaded_models: usize,
    /// Memory for all models; 0: three quarters of the machine's.
    pub memory_mib: u64,
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
    /// The server behind the engine `openai`.
    pub openai: OpenAiConfig,
    /// The server behind the engine `ollama`.
    pub ollama: OllamaConfig,
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
    /// The faster one of this process, for each model.
    Auto,
    /// llama.cpp.
    LlamaCpp,
    /// candle.
    Candle,
    /// A server that speaks OpenAI's chat completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// An Ollama server.
    Ollama,
}

impl EngineSetting {
    /// The engine that it names; none where each model has its own.
    pub fn named(self) -> Option<EngineKind> {
        match self {
            Self::Auto => None,
            Self::LlamaCpp => Some(EngineKind::LlamaCpp),
            Self::Candle => Some(EngineKind::Candle),
            Self::OpenAi => Some(EngineKind::OpenAi),
            Self::Ollama => Some(EngineKind::Ollama),
        }
    }

    /// The server that it names; none where this process computes.
    pub fn remote(self) -> Option<EngineKind> {
        self.named().filter(|engine| !engine.is_local())
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
        } else if self.engine.remote().is_none()
            && self.model_file().is_none()
            && self.model.contains(std::path::MAIN_SEPARATOR)
        {
            let found = &self.model;
            faults.add(
                "llm.model",
                format!("an id or the path of a .gguf file is wanted, found `{found}`"),
            );
        }
        if let Err(error) = DeviceSetting::parse(&self.device) {
            faults.add("llm.device", error.to_string());
        }
        faults.range("llm.gpu_watch_ms", self.gpu_watch_ms, 100, 3_600_000);
        faults.range("llm.context_length", self.context_length, 64, 1 << 20);
        faults.range("llm.batch", self.batch, 1, 4096);
        faults.range("llm.step_ms", self.step_ms, 1, 10_000);
        faults.range("llm.parallel", self.parallel, 1, 64);
        faults.range("llm.kv_cache_mib", self.kv_cache_mib, 0, 1 << 20);
        faults.range("llm.memory_mib", self.memory_mib, 0, 1 << 24);
        faults.range("llm.max_loaded_models", self.max_loaded_models, 1, 64);
        faults.range("llm.keep_alive_s", self.keep_alive_s, -1, 365 * 24 * 3600);
        faults.range("llm.queue", self.queue, 1, 10_000);
        faults.range("llm.max_prompt_bytes", self.max_prompt_bytes, 1, 1 << 28);
        faults.range("llm.max_tokens", self.max_tokens, 1, 1 << 20);
        faults.range("llm.sampling.temperature", self.sampling.temperature, 0.0, 2.0);
        faults.range("llm.sampling.top_k", self.sampling.top_k, 0, 1 << 20);
        faults.range("llm.sampling.top_p", self.sampling.top_p, 0.0, 1.0);
        let openai = self.openai.enabled || self.engine == EngineSetting::OpenAi;
        self.openai.validate(self.sampling.top_k, openai, faults);
        self.ollama.validate(faults);
    }
}

impl Config {
    /// Tokens of the pieces in which the prompts of requests with a seed are computed: fixed, because another cut gives
    /// other roundings and so, now and then, another text.
    pub const EXACT_PIECE: usize = 64;

    /// Sequences that engines know at once: those that answer, and three times as many prefixes.
    pub fn slots(&self) -> usize {
        // llama.cpp knows at most 256.
        (4 * self.parallel).min(256)
    }

    /// Memory for all models where they are computed, in bytes.
    ///
    /// # Errors
    /// When a GPU does not answer.
    pub fn memory_bytes(&self, device: &Device) -> Result<u64, DeviceError> {
        match (self.memory_mib, device) {
            (0, Device::Cpu) => Ok(solo_service::memory::total_bytes() / 4 * 3),
            (0, Device::Cuda(ordinals)) => ordinals.iter().map(|&ordinal| device::free_bytes(ordinal)).sum(),
            (mib, _) => Ok(mib << 20),
        }
    }

    /// The configured model's file, where it is a path.
    pub fn model_file(&self) -> Option<&Path> {
        let path = Path::new(&self.model);
        (path.extension().is_some_and(|extension| extension == "gguf")).then_some(path)
    }
}
