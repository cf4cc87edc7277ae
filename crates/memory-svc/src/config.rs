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
    /// What leaves by itself.
    pub retention: RetentionConfig,
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// `[memory.retention]`: days, and 0 for ever.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long a fact stays that is not told again.
    pub facts_days: u32,
    /// How long versions of facts stay that do not hold any more.
    pub past_facts_days: u32,
    /// How long notes stay that do not change.
    pub notes_days: u32,
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
        faults.range("memory.queue", self.queue, 1, 4096);
        faults.range("memory.max_document_bytes", self.max_document_bytes, 1, 1 << 30);
        faults.range("memory.max_import_bytes", self.max_import_bytes, 1, 1 << 44);
        faults.range("memory.max_passage_bytes", self.max_passage_bytes, 1024, 1 << 20);
        faults.range("memory.extract.max_text_bytes", extract.max_text_bytes, 1024, 1 << 28);
        faults.range("memory.extract.memory_mb", extract.memory_mb, 64, 65_536);
        faults.range("memory.extract.timeout_s", extract.timeout_s, 1, 3600);
        faults.range("memory.extract.processes", extract.processes, 1, 64);
        faults.range("memory.embedding.max_tokens", embedding.max_tokens, 66, 512);
        faults.range("memory.embedding.batch", embedding.batch, 1, 256);
        let room = embedding.max_tokens.saturating_sub(2);
        if !(64..=room).contains(&chunking.tokens) {
            let tokens = chunking.tokens;
            let problem = format!("64 to {room} (embedding.max_tokens - 2) is wanted, found {tokens}");
            faults.add("memory.chunking.tokens", problem);
        }
        let half = chunking.tokens / 2;
        if chunking.overlap > half {
            let problem = format!("0 to {half} (half of tokens) is wanted, found {}", chunking.overlap);
            faults.add("memory.chunking.overlap", problem);
        }
        faults.range("memory.search.limit", search.limit, 1, MAX_HITS);
        faults.range("memory.search.min_score", search.min_score, -1.0, 1.0);
        faults.range("memory.search.max_query_chars", search.max_query_chars, 1, 1_000_000);
        faults.range("memory.search.resident_mb", search.resident_mb, 0, 1 << 20);
        if rerank.engine != RerankEngine::None && rerank.model.trim().is_empty() {
            let problem = "the folder of a cross-encoder is wanted, found none; engine = \"none\" needs no model";
            faults.add("memory.rerank.model", problem);
        }
        faults.range("memory.rerank.candidates", rerank.candidates, 1, MAX_HITS);
        faults.range("memory.rerank.max_tokens", rerank.max_tokens, 64, 512);
        faults.range("memory.watch.settle_ms", watch.settle_ms, 10, 600_000);
        faults.range("memory.watch.rescan_s", watch.rescan_s, 1, 86_400);
        faults.range("memory.upkeep.after_writes", upkeep.after_writes, 1, 1 << 20);
        faults.range("memory.upkeep.index_from", upkeep.index_from, 1000, 1 << 40);
        faults.range("memory.upkeep.retain_s", upkeep.retain_s, 1, 86_400);
    }
}
