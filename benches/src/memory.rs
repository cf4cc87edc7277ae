//! memory-svc, measured: what it learns, how fast it finds and takes in beside Chroma, and how well it finds.

pub mod corpus;
pub mod facts;
pub mod ingest;
mod peer;
pub mod report;
pub mod retrieval;
pub mod search;
pub(crate) mod service;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// memory-svc over gRPC.
    Ours,
    /// Its store without the service.
    Store,
    /// LanceDB's own index on the disk.
    Lance,
    /// Chroma over HTTP, filled with vectors of sentence-transformers where texts are taken in.
    Chroma,
}

/// The embedding model of both.
const MODEL: &str = "minilm-l6-v2";
/// Components of its vectors.
const DIMENSION: usize = 384;
/// Threads of both.
const THREADS: usize = 2;
