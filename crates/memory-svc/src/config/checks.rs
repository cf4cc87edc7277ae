//! What the section must be like.

use std::net::SocketAddr;

use solo_service::{Faults, GlobalConfig, ServiceConfig};

use super::{Config, RerankEngine};
use crate::query::MAX_HITS;

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
            (1..=60_000).contains(&self.refresh_ms),
            "memory.refresh_ms",
            format!("1 to 60000 is wanted, found {}", self.refresh_ms),
        );
        let s3 = &self.s3;
        check(
            s3.endpoint.is_empty() || s3.allow_http || s3.endpoint.starts_with("https://"),
            "memory.s3.endpoint",
            format!("https://… is wanted unless allow_http = true, found {}", s3.endpoint),
        );
        check(
            s3.endpoint.is_empty() || !s3.region.is_empty(),
            "memory.s3.region",
            "a region is wanted where there is an endpoint: most servers that are not Amazon's take any, such as \"us-east-1\""
                .into(),
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
