//! What the service's status shows of its work: sequences, keys and values, rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use solo_proto::status::v1::QueueStatus;
use solo_service::StatusBoard;
use tokio::sync::Semaphore;

use crate::lane::{Lane, Tally};

/// Writes the figures on the status board.
#[derive(Clone)]
pub struct Gauges {
    status: StatusBoard,
    totals: Arc<Totals>,
}

#[derive(Default)]
struct Totals {
    running: AtomicUsize,
    prompt_tokens: AtomicUsize,
    cached_tokens: AtomicUsize,
}

impl Gauges {
    /// Figures on this board; requests beyond `parallel` of those that hold one of `places` wait.
    pub fn new(status: StatusBoard, places: Arc<Semaphore>, parallel: usize) -> Self {
        let totals = Arc::<Totals>::default();
        let read = Arc::clone(&totals);
        let all = places.available_permits();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        status.add_queue(move || {
            let taken = all - places.available_permits();
            Some(QueueStatus {
                depth: number(taken.saturating_sub(read.running.load(Ordering::Relaxed))),
                capacity: number(all - parallel),
                oldest_ms: 0,
            })
        });
        Self { status, totals }
    }

    /// Shows where the models stand now.
    pub fn show<'a>(&self, models: usize, lanes: impl Iterator<Item = &'a Lane>) {
        let (mut running, mut waiting, mut in_use, mut kept, mut tokens, mut room) = (0, 0, 0, 0, 0, 0);
        for lane in lanes {
            let (scheduler, can) = (lane.scheduler(), lane.engine().capabilities());
            running += scheduler.running();
            waiting += scheduler.waiting();
            in_use += scheduler.kv().blocks_in_use();
            kept += scheduler.kv().blocks_kept();
            tokens += scheduler.kv().tokens();
            room += can.blocks;
        }
        self.totals.running.store(running, Ordering::Relaxed);
        let number = |name, unit, value: usize| self.status.gauge(name, unit, value as f64);
        number("models_loaded", "{model}", models);
        number("sequences_running", "{sequence}", running);
        number("sequences_waiting", "{sequence}", waiting);
        number("kv_blocks_in_use", "{block}", in_use);
        number("kv_blocks_kept", "{block}", kept);
        number("kv_cache_tokens", "{token}", tokens);
        let fill = (in_use + kept) as f64 / (room as f64).max(1.0);
        self.status.gauge("kv_cache_use", "1", fill);
    }

    /// Notes what a lane has done.
    pub fn note(&self, tally: &Tally) {
        let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-6);
        for finished in &tally.finished {
            let computed = finished.prompt_tokens - finished.cached_tokens;
            self.status
                .gauge("prefill_rate", "{token}/s", rate(computed, finished.prefill));
            if finished.completion_tokens > 0 {
                let decoded = rate(finished.completion_tokens, finished.decode);
                self.status.gauge("decode_rate", "{token}/s", decoded);
            }
            let add = |total: &AtomicUsize, count| (total.fetch_add(count, Ordering::Relaxed) + count) as f64;
            let prompt = add(&self.totals.prompt_tokens, finished.prompt_tokens);
            let cached = add(&self.totals.cached_tokens, finished.cached_tokens);
            self.status
                .gauge("prefix_cache_hit_rate", "1", cached / prompt.max(1.0));
        }
    }
}
