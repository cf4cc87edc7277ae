//! How fast documents are taken in, embedding included: memory-svc beside sentence-transformers and Chroma, in turn.

use std::fmt::Write as _;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;

use super::Who;
use super::peer::Python;
use super::report::Samples;
use super::retrieval::passages;
use super::service::MemorySvc;

/// Documents of a round.
const DOCUMENTS: usize = 100;
/// Passages of each: some 1,300 words.
const PASSAGES: usize = 12;
/// Documents on their way to memory-svc at once.
const AT_ONCE: usize = 4;

/// Measures `rounds` times, with new documents each.
///
/// # Panics
/// When a contender does not answer.
pub async fn ingest(rounds: u32, samples: &mut Samples) {
    let mut random = StdRng::seed_from_u64(11);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = MemorySvc::start(None).await;
    let mut python = Python::start();
    for round in 0..rounds {
        let documents = documents(&mut random, round, DOCUMENTS);
        let started = Instant::now();
        let pieces = take_in(&service, &documents).await;
        let kilobytes = documents.iter().map(|(_, text)| text.len()).sum::<usize>() as f64 / 1e3;
        let (ours, seconds) = (f64::from(pieces), started.elapsed().as_secs_f64());
        samples.record("ingest", Who::Ours, kilobytes / seconds);
        samples.record("pieces", Who::Ours, ours / seconds);

        let lines: String = documents
            .iter()
            .map(|(uri, text)| format!("{}\n", json!({ "uri": uri, "text": text })))
            .collect();
        let (input, store) = (
            folder.path().join("documents.jsonl"),
            folder.path().join(format!("chroma-{round}")),
        );
        std::fs::write(&input, lines).expect("a file of documents");
        let (pieces, seconds, peak) = python.ingest(&input, &store);
        assert!(
            (0.6..1.7).contains(&(ours / pieces)),
            "both cut the same texts into much the same pieces: {ours} and {pieces}"
        );
        samples.record("ingest", Who::Chroma, kilobytes / seconds);
        samples.record("pieces", Who::Chroma, pieces / seconds);
        samples.record("ingest peak", Who::Chroma, peak);
        samples.record("ingest peak", Who::Ours, service.peak_mib());
    }
}

/// New documents, by their URIs. No document is like another: what is known already would not be embedded again.
pub(crate) fn documents(random: &mut StdRng, round: u32, count: usize) -> Vec<(String, String)> {
    let mut passages = passages();
    let document = |index| {
        passages.shuffle(random);
        let mut text = String::new();
        for passage in &passages[..PASSAGES] {
            writeln!(text, "{}\n\n{}\n", passage.source, passage.text).expect("a string");
        }
        (format!("file:///{round}/{index}.txt"), text)
    };
    (0..count).map(document).collect()
}

/// Has memory-svc take documents in; how many pieces they are.
pub(crate) async fn take_in(service: &MemorySvc, documents: &[(String, String)]) -> u32 {
    let mut waiting = documents.iter().cloned();
    let mut running = tokio::task::JoinSet::new();
    let mut pieces = 0;
    loop {
        while running.len() < AT_ONCE
            && let Some((uri, text)) = waiting.next()
        {
            let mut client = service.client().await;
            running.spawn(async move { client.put(&uri, &text).await });
        }
        let Some(done) = running.join_next().await else {
            return pieces;
        };
        pieces += done.expect("it is taken in").document.expect("a document").chunks;
    }
}
