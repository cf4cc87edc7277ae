//! The `[memory]` section, typed; `config.toml` beside `Cargo.toml` holds the commented defaults.

mod checks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use solo_service::{GlobalConfig, StartupError};

use crate::embedding::device::DeviceSetting;
use crate::query::Mode;
use crate::store::lance::{Indexing, KEPT, Sharing};

/// How the URL of a store in a bucket begins.
const BUCKET: &str = "s3://";

/// The section as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address that the service listens on.
    pub listen: SocketAddr,
    /// What stores.
    pub store: StoreKind,
    /// The store's folder, or its place in a bucket; empty: `memory` in the data folder.
    pub path: String,
    /// Whether other processes have the store open, too.
    pub shared: bool,
    /// What others wrote to a shared store is seen after so many milliseconds at the latest.
    pub refresh_ms: u64,
    /// The bucket that the store is in.
    pub s3: S3Config,
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

/// `[memory.s3]`: all but the credentials.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The server's URL; empty: Amazon's.
    pub endpoint: String,
    /// The bucket's region; empty: what the environment says.
    pub region: String,
    /// Whether the endpoint may be spoken to without TLS.
    pub allow_http: bool,
}

/// Embedding engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// BERT in int8 on ONNX Runtime.
    Onnx,
    /// BERT in f32 or f16 on candle.
    Candle,
}

/// The numbers that candle computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits: for GPUs.
    F16,
}

/// `[memory.embedding]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// The engine.
    pub engine: EngineKind,
    /// Where candle computes.
    pub device: DeviceSetting,
    /// In what numbers.
    pub precision: Precision,
    /// An installed model.
    pub model: String,
    /// An installed model with the same vectors as a graph for ONNX Runtime.
    pub weights: String,
    /// Tokens of a text that count, the two special ones included.
    pub max_tokens: usize,
    /// Texts that are embedded in one go while a document is taken in; 0: as many as suit the engine and its device.
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
    /// Memory for what searches on the disk read again and again, in megabytes.
    pub cache_mb: u64,
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
    /// Whether this process, of those that share a store, is the one that keeps watched folders.
    pub keeper: bool,
}

impl S3Config {
    /// As the database names them. What is left out comes from the environment, as do the credentials.
    fn options(&self) -> Vec<(String, String)> {
        let given = [("aws_endpoint", &self.endpoint), ("aws_region", &self.region)];
        let given = given.into_iter().filter(|(_, value)| !value.is_empty());
        let given = given.map(|(key, value)| (key.to_owned(), value.clone()));
        given
            .chain([("allow_http".to_owned(), self.allow_http.to_string())])
            .collect()
    }
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
    /// The store's folder, or its URL in a bucket.
    pub fn folder(&self, global: &GlobalConfig) -> PathBuf {
        solo_service::config::path_or(&self.path, || global.data_dir.join("memory"))
    }

    /// Where documents wait until they are read: a folder of this machine.
    pub fn spool(&self, global: &GlobalConfig) -> PathBuf {
        if self.is_in_bucket() {
            global.data_dir.join("memory")
        } else {
            self.folder(global)
        }
    }

    /// True: other processes may have the store open, too.
    pub fn is_shared(&self) -> bool {
        self.shared || self.is_in_bucket()
    }

    fn is_in_bucket(&self) -> bool {
        self.path.starts_with(BUCKET)
    }

    /// Whether this process keeps watched folders: of those that share a store one does.
    pub fn keeps_watches(&self) -> bool {
        self.watch.keeper || !self.is_shared()
    }

    /// How the store is shared; `None`: it is not.
    ///
    /// # Errors
    /// A place in a bucket, in a build that cannot reach any.
    pub fn sharing(&self) -> Result<Option<Sharing>, StartupError> {
        if self.is_in_bucket() && !cfg!(feature = "s3") {
            return Err(StartupError::Config(format!(
                "memory.path is {}, and this memory-svc was built without buckets: build it with `--features s3`, or set \
                 memory.path to a folder",
                self.path
            )));
        }
        Ok(self.is_shared().then(|| Sharing {
            refresh: Duration::from_millis(self.refresh_ms),
            bucket: self.is_in_bucket().then(|| self.s3.options()),
        }))
    }

    /// Looking after the store: where several processes have it, the files of older states stay for as long as any write takes.
    pub fn upkeep(&self) -> UpkeepConfig {
        let mut upkeep = self.upkeep;
        if self.is_shared() {
            upkeep.retain_s = upkeep.retain_s.max(KEPT.as_secs());
        }
        upkeep
    }

    /// How the store is indexed.
    pub fn indexing(&self) -> Indexing {
        Indexing {
            language: format!("{:?}", self.search.language),
            vectors_from: self.upkeep.index_from,
            resident_bytes: self.search.resident_mb << 20,
            cache_bytes: self.search.cache_mb << 20,
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
