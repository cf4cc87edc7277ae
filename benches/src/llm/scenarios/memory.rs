//! Whether memory grows with requests.

use super::Samples;
use crate::llm::client::{Ours, request};
use crate::llm::service::LlmSvc;
use crate::llm::{Who, prompts};

/// When it is looked at, in requests.
const MARKS: [usize; 3] = [50, 500, 1000];

/// A thousand short requests in a row, no two alike, of a service that has done nothing else. Once, not once a round.
pub async fn memory(samples: &mut Samples) {
    let service = LlmSvc::start("").await;
    let mut ours = Ours::new(service.channel().await.expect("llm-svc serves"));
    let mut seen: Vec<f64> = Vec::new();
    for number in 1..=MARKS[2] {
        let chat = prompts::cold(70_000 + number, number % 16);
        ours.ask(request(&chat, 4)).await.expect("llm-svc answers");
        if MARKS.contains(&number) {
            let status = service.status().await.expect("llm-svc answers");
            let resident = status.rss_bytes as f64 / (1024.0 * 1024.0);
            eprintln!("{resident:.1} MiB after {number} requests");
            samples.record(format!("rss {number}"), Who::Ours, resident);
            seen.push(resident);
        }
    }
    seen.sort_by(f64::total_cmp);
    samples.record("rss smallest", Who::Ours, seen[0]);
    samples.record("rss largest", Who::Ours, seen[MARKS.len() - 1]);
}
