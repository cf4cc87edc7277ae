//! What the service says about itself in figures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use solo_service::StatusBoard;

use crate::store::Statistics;

/// Weight of the newest value in a running mean.
const NEWEST: f64 = 0.1;

/// Writes figures to the status board. Cheap to clone.
#[derive(Clone)]
pub struct Figures {
    status: StatusBoard,
    search_mean_ms: Arc<Mutex<Option<f64>>>,
}

impl Figures {
    /// Figures on a board.
    pub fn new(status: StatusBoard) -> Self {
        Self {
            status,
            search_mean_ms: Arc::default(),
        }
    }

    /// How much the store holds.
    pub fn counts(&self, statistics: Statistics) {
        self.status
            .gauge("documents", "{document}", statistics.documents as f64);
        self.status.gauge("chunks", "{chunk}", statistics.chunks as f64);
        self.status.gauge("facts", "{fact}", statistics.facts as f64);
    }

    /// A search took so long, embedding its text and reranking included.
    pub fn searched(&self, took: Duration) {
        let last = took.as_secs_f64() * 1e3;
        let mut mean = self.search_mean_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let new = mean.map_or(last, |mean| mean + NEWEST * (last - mean));
        *mean = Some(new);
        self.status.gauge("search_latency", "ms", last);
        self.status.gauge("search_latency_mean", "ms", new);
    }

    /// A query's text took so long to embed.
    pub fn embedded_query(&self, took: Duration) {
        self.status.gauge("query_embedding", "ms", took.as_secs_f64() * 1e3);
    }

    /// The hits of a search took so long to rerank.
    pub fn reranked(&self, took: Duration) {
        self.status.gauge("reranking", "ms", took.as_secs_f64() * 1e3);
    }

    /// So many chunks were embedded in so long.
    pub fn embedded_chunks(&self, chunks: usize, took: Duration) {
        if !took.is_zero() {
            self.status
                .gauge("embedding_rate", "{chunk}/s", chunks as f64 / took.as_secs_f64());
        }
    }
}
