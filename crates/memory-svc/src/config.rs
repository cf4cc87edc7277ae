//! The `[memory]` section, typed; `config.toml` beside `Cargo.toml` holds the commented defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::query::{MAX_HITS, Mode};
use crate::store::lance::Indexing;

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
    /// CPU threads for embeddings, and as many for reranking; 0: as many as `[global]` allows.
    pub threads: usize,
    /// Texts that may wait to be embedded, and searches that may wait to be reranked.
    pub queue: usize,
    /// Largest document, in bytes.
    pub max_document_bytes: u64,
    /// Largest exported file that is taken in, in bytes.
    pub max_import_bytes: u64,
    /// Longest passage that is shown at once, in bytes.
    pub max_passage_bytes: usize,
    /// What turns text into vectors.
    pub embedding: EmbeddingConfig,
    /// How documents are read.
    pub extract: ExtractConfig,
    /// How documents are cut.
    pub chunking: ChunkingConfig,
    /// How they are found again.
    pub search: SearchConfig,
    /// What puts them in a better order then.
    pub rerank: RerankConfig,
    /// Watched folders.
    pub watch: WatchConfig,
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
    /// BERT in int8 on ONNX Runtime.
    Onnx,
    /// BERT in f32 on candle.
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
    /// An installed model with the same vectors as a graph for ONNX Runtime.
    pub weights: String,
    /// Tokens of a text that count, the two special ones included.
    pub max_tokens: usize,
    /// Texts that are embedded in one go while a document is taken in.
    pub batch: usize,
}

/// `[memory.extract]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractConfig {
    /// Longest text of a document, in bytes.
    pub max_text_bytes: usize,
    /// Memory that reading one may take, in megabytes.
    pub memory_mb: u64,
    /// Processor time that reading one may take, in seconds.
    pub timeout_s: u64,
    /// Documents that are read at once.
    pub processes: usize,
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

/// Languages that searches by words know the endings of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Language {
    Arabic,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Greek,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Tamil,
    Turkish,
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
    /// Language whose endings are taken off words, and whose commonest words are left out, in searches by words.
    pub language: Language,
    /// Days after which a fact has lost half of what age can take; 0: age takes nothing.
    pub fact_half_life_days: u32,
    /// Memory for what searches by meaning find, in megabytes; 0: none.
    pub resident_mb: u64,
}

impl SearchConfig {
    /// Time after which a fact has lost half of what age can take; `None`: age takes nothing.
    pub fn fact_half_life(self) -> Option<Duration> {
        (self.fact_half_life_days > 0).then(|| Duration::from_secs(u64::from(self.fact_half_life_days) * 86_400))
    }
}

/// Reranking engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RerankEngine {
    /// Hits stay in the order in which they were found.
    None,
    /// A BERT cross-encoder on candle.
    Candle,
}

/// `[memory.rerank]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankConfig {
    /// The engine.
    pub engine: RerankEngine,
    /// The model's folder, by its name in the models folder or by its path.
    pub model: String,
    /// How many of the best hits are reranked; as many as a request wants, where that is more.
    pub candidates: usize,
    /// Tokens of a query and a text together that count, the three special ones included.
    pub max_tokens: usize,
}

/// `[memory.watch]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// Milliseconds that a file must not have changed for before it is read.
    pub settle_ms: u64,
    /// Seconds after which a folder is compared with the store though no change was told.
    pub rescan_s: u64,
}

impl WatchConfig {
    /// How long a file must not have changed before it is read.
    pub fn settle(self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// How often a folder is compared with the store though no change was told.
    pub fn rescan(self) -> Duration {
        Duration::from_secs(self.rescan_s)
    }
}

/// `[memory.upkeep]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpkeepConfig {
    /// Writes after which small files are joined.
    pub after_writes: u64,
    /// Pieces from which on their vectors are indexed.
    pub index_from: u64,
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

    /// How the store is indexed.
    pub fn indexing(&self) -> Indexing {
        Indexing {
            language: format!("{:?}", self.search.language),
            vectors_from: self.upkeep.index_from,
            resident_bytes: self.search.resident_mb << 20,
        }
    }

    /// CPU threads of an engine, at least 1.
    pub fn engine_threads(&self, global: &GlobalConfig) -> usize {
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
            extract,
            rerank,
            search,
            upkeep,
            watch,
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
            (1..=1 << 44).contains(&self.max_import_bytes),
            "memory.max_import_bytes",
            format!("1 to 17592186044416 is wanted, found {}", self.max_import_bytes),
        );
        check(
            (1024..=1 << 20).contains(&self.max_passage_bytes),
            "memory.max_passage_bytes",
            format!("1024 to 1048576 is wanted, found {}", self.max_passage_bytes),
        );
        check(
            (1024..=1 << 28).contains(&extract.max_text_bytes),
            "memory.extract.max_text_bytes",
            format!("1024 to 268435456 is wanted, found {}", extract.max_text_bytes),
        );
        check(
            (64..=65_536).contains(&extract.memory_mb),
            "memory.extract.memory_mb",
            format!("64 to 65536 is wanted, found {}", extract.memory_mb),
        );
        check(
            (1..=3600).contains(&extract.timeout_s),
            "memory.extract.timeout_s",
            format!("1 to 3600 is wanted, found {}", extract.timeout_s),
        );
        check(
            (1..=64).contains(&extract.processes),
            "memory.extract.processes",
            format!("1 to 64 is wanted, found {}", extract.processes),
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
            search.resident_mb <= 1 << 20,
            "memory.search.resident_mb",
            format!("0 to 1048576 is wanted, found {}", search.resident_mb),
        );
        check(
            rerank.engine == RerankEngine::None || !rerank.model.trim().is_empty(),
            "memory.rerank.model",
            "the folder of a cross-encoder is wanted, found none; engine = \"none\" needs no model".into(),
        );
        check(
            (1..=MAX_HITS).contains(&rerank.candidates),
            "memory.rerank.candidates",
            format!("1 to {MAX_HITS} is wanted, found {}", rerank.candidates),
        );
        check(
            (64..=512).contains(&rerank.max_tokens),
            "memory.rerank.max_tokens",
            format!("64 to 512 is wanted, found {}", rerank.max_tokens),
        );
        check(
            (10..=600_000).contains(&watch.settle_ms),
            "memory.watch.settle_ms",
            format!("10 to 600000 is wanted, found {}", watch.settle_ms),
        );
        check(
            (1..=86_400).contains(&watch.rescan_s),
            "memory.watch.rescan_s",
            format!("1 to 86400 is wanted, found {}", watch.rescan_s),
        );
        check(
            upkeep.after_writes >= 1,
            "memory.upkeep.after_writes",
            "at least 1 is wanted, found 0".into(),
        );
        check(
            upkeep.index_from >= 1000,
            "memory.upkeep.index_from",
            format!("at least 1000 is wanted, found {}", upkeep.index_from),
        );
        check(
            (1..=86_400).contains(&upkeep.retain_s),
            "memory.upkeep.retain_s",
            format!("1 to 86400 is wanted, found {}", upkeep.retain_s),
        );
    }
}
