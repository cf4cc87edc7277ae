//! The `[memory]` section, typed; `config.toml` beside `Cargo.toml` holds the commented defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::query::{MAX_HITS, Mode};

/// The section as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address that the service listens on.
    pub listen: SocketAddr,
    /// What stores.
    pub store: StoreKind,
    /// The store's folder; empty: `memory` in the data folder.
    pub path: String,
    /// CPU threads for embeddings; 0: as many as `[global]` allows.
    pub threads: usize,
    /// Texts that may wait to be embedded.
    pub queue: usize,
    /// Largest document, in bytes.
    pub max_document_bytes: usize,
    /// Longest passage that is shown at once, in bytes.
    pub max_passage_bytes: usize,
    /// What turns text into vectors.
    pub embedding: EmbeddingConfig,
    /// How documents are cut.
    pub chunking: ChunkingConfig,
    /// How they are found again.
    pub search: SearchConfig,
    /// Keeping the store small and fast.
    pub upkeep: UpkeepConfig,
}

/// Kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// LanceDB in a folder.
    Lance,
}

/// Embedding engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// BERT on candle.
    Candle,
}

/// `[memory.embedding]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// The engine.
    pub engine: EngineKind,
    /// An installed model.
    pub model: String,
    /// Tokens of a text that count, the two special ones included.
    pub max_tokens: usize,
    /// Texts that are embedded in one go while a document is taken in.
    pub batch: usize,
}

/// `[memory.chunking]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkingConfig {
    /// Longest piece, in tokens.
    pub tokens: usize,
    /// Tokens that the next piece repeats.
    pub overlap: usize,
}

/// `[memory.search]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// Mode where a request names none.
    pub mode: Mode,
    /// Hits where a request names no number.
    pub limit: usize,
    /// Least cosine similarity where a request names none.
    pub min_score: f32,
    /// Longest query, in characters.
    pub max_query_chars: usize,
}

/// `[memory.upkeep]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpkeepConfig {
    /// Writes after which small files are joined.
    pub after_writes: u64,
    /// Seconds that the files of older states stay.
    pub retain_s: u64,
}

impl UpkeepConfig {
    /// How long the files of older states stay.
    pub fn retain(self) -> Duration {
        Duration::from_secs(self.retain_s)
    }
}

impl Config {
    /// The store's folder.
    pub fn folder(&self, global: &GlobalConfig) -> PathBuf {
        solo_service::config::path_or(&self.path, || global.data_dir.join("memory"))
    }

    /// CPU threads for embeddings, at least 1.
    pub fn embedding_threads(&self, global: &GlobalConfig) -> usize {
        if self.threads == 0 {
            global.threads
        } else {
            self.threads
        }
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        let mut check = |ok: bool, key: &str, problem: String| {
            if !ok {
                faults.add(key, problem);
            }
        };
        let Self {
            chunking,
            embedding,
            search,
            upkeep,
            ..
        } = self;
        let room = embedding.max_tokens.saturating_sub(2);
        check(
            (1..=4096).contains(&self.queue),
            "memory.queue",
            format!("1 to 4096 is wanted, found {}", self.queue),
        );
        check(
            (1..=1 << 30).contains(&self.max_document_bytes),
            "memory.max_document_bytes",
            format!("1 to 1073741824 is wanted, found {}", self.max_document_bytes),
        );
        check(
            (1024..=1 << 20).contains(&self.max_passage_bytes),
            "memory.max_passage_bytes",
            format!("1024 to 1048576 is wanted, found {}", self.max_passage_bytes),
        );
        check(
            (66..=512).contains(&embedding.max_tokens),
            "memory.embedding.max_tokens",
            format!("66 to 512 is wanted, found {}", embedding.max_tokens),
        );
        check(
            (1..=256).contains(&embedding.batch),
            "memory.embedding.batch",
            format!("1 to 256 is wanted, found {}", embedding.batch),
        );
        check(
            chunking.tokens >= 64 && chunking.tokens <= room,
            "memory.chunking.tokens",
            format!(
                "64 to {room} (embedding.max_tokens - 2) is wanted, found {}",
                chunking.tokens
            ),
        );
        check(
            chunking.overlap <= chunking.tokens / 2,
            "memory.chunking.overlap",
            format!(
                "0 to {} (half of tokens) is wanted, found {}",
                chunking.tokens / 2,
                chunking.overlap
            ),
        );
        check(
            (1..=MAX_HITS).contains(&search.limit),
            "memory.search.limit",
            format!("1 to {MAX_HITS} is wanted, found {}", search.limit),
        );
        check(
            (-1.0..=1.0).contains(&search.min_score),
            "memory.search.min_score",
            format!("-1.0 to 1.0 is wanted, found {}", search.min_score),
        );
        check(
            (1..=1_000_000).contains(&search.max_query_chars),
            "memory.search.max_query_chars",
            format!("1 to 1000000 is wanted, found {}", search.max_query_chars),
        );
        check(
            upkeep.after_writes >= 1,
            "memory.upkeep.after_writes",
            "at least 1 is wanted, found 0".into(),
        );
        check(
            (1..=86_400).contains(&upkeep.retain_s),
            "memory.upkeep.retain_s",
            format!("1 to 86400 is wanted, found {}", upkeep.retain_s),
        );
    }
}
