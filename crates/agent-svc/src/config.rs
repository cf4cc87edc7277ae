//! The `[agent]` section. `config.toml` beside `Cargo.toml` holds the defaults and says what each key means.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use solo_service::config::path_or;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

/// The section as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml says what each key means")]
pub struct Config {
    pub listen: SocketAddr,
    pub database: String,
    pub system_prompt: String,
    pub voice_style: String,
    pub text_style: String,
    pub name_sources: bool,
    pub max_text_chars: usize,
    pub max_tokens: u32,
    pub temperature: f32,
    pub max_recalled: u32,
    pub min_recall_score: f32,
    pub learn_facts: bool,
    pub max_history_turns: u32,
    pub keep_dialogues_days: u32,
    pub turn_deadline_ms: u64,
    pub recall_deadline_ms: u64,
    pub llm_wait_ms: u64,
    pub idle_timeout_ms: u64,
}

impl Config {
    /// File of the database.
    pub fn database(&self, global: &GlobalConfig) -> PathBuf {
        path_or(&self.database, || global.data_dir.join("agent").join("agent.db"))
    }

    /// How long a dialogue stays after its last turn; `None`: for ever.
    pub fn keep_dialogues(&self) -> Option<Duration> {
        let days = u64::from(self.keep_dialogues_days);
        (days > 0).then(|| Duration::from_secs(days * 86_400))
    }

    /// Longest time from commit to the end of the reply.
    pub fn turn_deadline(&self) -> Duration {
        Duration::from_millis(self.turn_deadline_ms)
    }

    /// Longest time that memory-svc may take.
    pub fn recall_deadline(&self) -> Duration {
        Duration::from_millis(self.recall_deadline_ms)
    }

    /// Longest wait for llm-svc to serve.
    pub fn llm_wait(&self) -> Duration {
        Duration::from_millis(self.llm_wait_ms)
    }

    /// Longest silence within a reply.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        if self.system_prompt.trim().is_empty() {
            faults.add("agent.system_prompt", "a text is wanted, found none");
        }
        faults.range("agent.max_text_chars", self.max_text_chars, 1, 1_000_000);
        faults.range("agent.max_tokens", self.max_tokens, 1, 32_768);
        faults.range("agent.temperature", self.temperature, 0.0, 2.0);
        faults.range("agent.max_recalled", self.max_recalled, 0, 100);
        faults.range("agent.min_recall_score", self.min_recall_score, -1.0, 1.0);
        faults.range("agent.max_history_turns", self.max_history_turns, 0, 10_000);
        faults.range("agent.turn_deadline_ms", self.turn_deadline_ms, 100, 3_600_000);
        faults.range("agent.recall_deadline_ms", self.recall_deadline_ms, 10, 600_000);
        faults.range("agent.llm_wait_ms", self.llm_wait_ms, 10, 600_000);
        faults.range("agent.idle_timeout_ms", self.idle_timeout_ms, 10, 3_600_000);
    }
}
