//! What the section must be like.

use std::net::SocketAddr;

use solo_service::{Faults, GlobalConfig, ServiceConfig};

use super::{Config, EmbeddingConfig, EngineKind, Precision, RerankEngine};
use crate::embedding::device::DeviceSetting;
use crate::query::MAX_HITS;

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
        faults.range("memory.refresh_ms", self.refresh_ms, 1, 60_000);
        let s3 = &self.s3;
        if !(s3.endpoint.is_empty() || s3.allow_http || s3.endpoint.starts_with("https://")) {
            let problem = format!("https://… is wanted unless allow_http = true, found {}", s3.endpoint);
            faults.add("memory.s3.endpoint", problem);
        }
        if !s3.endpoint.is_empty() && s3.region.is_empty() {
            let problem = "a region is wanted where there is an endpoint; most servers that are not Amazon's take any: \"us-east-1\"";
            faults.add("memory.s3.region", problem);
        }
        faults.range("memory.max_document_bytes", self.max_document_bytes, 1, 1 << 30);
        faults.range("memory.max_import_bytes", self.max_import_bytes, 1, 1 << 44);
        faults.range("memory.max_passage_bytes", self.max_passage_bytes, 1024, 1 << 20);
        faults.range("memory.extract.max_text_bytes", extract.max_text_bytes, 1024, 1 << 28);
        faults.range("memory.extract.memory_mb", extract.memory_mb, 64, 65_536);
        faults.range("memory.extract.timeout_s", extract.timeout_s, 1, 3600);
        faults.range("memory.extract.processes", extract.processes, 1, 64);
        faults.range("memory.embedding.max_tokens", embedding.max_tokens, 66, 512);
        faults.range("memory.embedding.batch", embedding.batch, 0, 256);
        if embedding.engine == EngineKind::Onnx {
            check_onnx(embedding, faults);
        }
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
        faults.range("memory.search.cache_mb", search.cache_mb, 16, 1 << 20);
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

/// The engine "onnx" knows the processor and int8.
fn check_onnx(embedding: &EmbeddingConfig, faults: &mut Faults) {
    if let DeviceSetting::Gpu(_) = embedding.device {
        let problem = format!(
            "the engine \"onnx\" computes on the processor: \"auto\" or \"cpu\" is wanted, found \"{}\"; engine = \"candle\" \
             computes on GPUs",
            embedding.device
        );
        faults.add("memory.embedding.device", problem);
    }
    if embedding.precision != Precision::F32 {
        let problem = "the engine \"onnx\" computes in what its graph is made of, int8: \"f32\", the default, is wanted; engine = \
                       \"candle\" computes in \"f16\", too";
        faults.add("memory.embedding.precision", problem);
    }
}
