//! What llm-svc is held against: the rows and targets of the issue that it was built for.

use super::Who;
use crate::report::{Limit, Row, Sheet, Target, row, row_of, target};

/// What was measured of the contenders.
pub type Samples = crate::report::Samples<Who>;

const COLUMNS: &[(Who, &str)] = &[
    (Who::Ours, "llm-svc"),
    (Who::Bare, "bare loop"),
    (Who::Peer, "llama.cpp's server"),
];

/// llm-svc beside the others.
pub const COMPARISON: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: ROWS,
    targets: TARGETS,
};

/// What llm-svc keeps resident.
pub const MEMORY: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row("rss 50", "resident after 50 requests, MiB", 1),
        row("rss 500", "resident after 500 requests, MiB", 1),
        row("rss 1000", "resident after 1,000 requests, MiB", 1),
    ],
    targets: &[target(
        "resident memory, largest over smallest of the three: ≤ 1.02",
        ("rss largest", Who::Ours),
        ("rss smallest", Who::Ours),
        Limit::AtMost(1.02),
    )],
};

const ROWS: &[Row] = &[
    row("single decode", "one stream of 128 tokens, decode, tok/s", 1),
    row_of("single ttft", "its TTFT, {} tokens of prompt, ms", 0, "single tokens"),
    row("1 total", "1 client, 96 tokens, total tok/s", 1),
    row("2 total", "2 clients, total tok/s", 1),
    row("4 total", "4 clients, total tok/s", 1),
    row("8 total", "8 clients, total tok/s", 1),
    row("8 decode", "8 sequences, decode alone, tok/s", 1),
    row("1 p50", "1 client, TTFT, ms", 0),
    row("2 p50", "2 clients, TTFT p50, ms", 0),
    row("2 p95", "2 clients, TTFT p95, ms", 0),
    row("4 p50", "4 clients, TTFT p50, ms", 0),
    row("4 p95", "4 clients, TTFT p95, ms", 0),
    row("8 p50", "8 clients, TTFT p50, ms", 0),
    row("8 p95", "8 clients, TTFT p95, ms", 0),
    row_of("prefill", "prefill of {} tokens, tok/s", 0, "prefill tokens"),
    row_of("turn 1", "first turn, {} tokens, TTFT, ms", 0, "turn 1 tokens"),
    row_of("turn 2", "second turn, {} tokens, TTFT, ms", 0, "turn 2 tokens"),
    row("string free", "text, unconstrained, tok/s of the whole request", 1),
    row("string schema", "text in a JSON string, nothing forced, tok/s", 1),
    row("record free", "records, unconstrained, tok/s of the whole request", 1),
    row("record schema", "records by schema, forced tokens counted, tok/s", 1),
    row("llama-cpp prefill", "engine llama-cpp, prefill, tok/s", 0),
    row("candle prefill", "engine candle, prefill, tok/s", 0),
    row("llama-cpp decode", "engine llama-cpp, decode, tok/s", 1),
    row("candle decode", "engine candle, decode, tok/s", 1),
];

const TARGETS: &[Target<Who>] = &[
    target(
        "one stream, decode: ≥ 0.97 × the bare loop",
        ("single decode", Who::Ours),
        ("single decode", Who::Bare),
        Limit::AtLeast(0.97),
    ),
    target(
        "one stream, decode: ≥ 1.0 × llama.cpp's server",
        ("single decode", Who::Ours),
        ("single decode", Who::Peer),
        Limit::AtLeast(1.0),
    ),
    target(
        "8 clients, total: ≥ 0.97 × the bare batch of 8",
        ("8 total", Who::Ours),
        ("8 total", Who::Bare),
        Limit::AtLeast(0.97),
    ),
    target(
        "2 clients, total: ≥ 1.0 × 1 client",
        ("2 total", Who::Ours),
        ("1 total", Who::Ours),
        Limit::AtLeast(1.0),
    ),
    target(
        "8 clients, total: ≥ 1.5 × llama.cpp's server",
        ("8 total", Who::Ours),
        ("8 total", Who::Peer),
        Limit::AtLeast(1.5),
    ),
    target(
        "8 clients, TTFT p95: ≤ 0.5 × llama.cpp's server",
        ("8 p95", Who::Ours),
        ("8 p95", Who::Peer),
        Limit::AtMost(0.5),
    ),
    target(
        "second turn, TTFT: ≤ 0.15 × the first turn's",
        ("turn 2", Who::Ours),
        ("turn 1", Who::Ours),
        Limit::AtMost(0.15),
    ),
    target(
        "a JSON string by schema: ≥ 0.95 × unconstrained",
        ("string schema", Who::Ours),
        ("string free", Who::Ours),
        Limit::AtLeast(0.95),
    ),
    target(
        "records by schema: ≥ 0.95 × unconstrained",
        ("record schema", Who::Ours),
        ("record free", Who::Ours),
        Limit::AtLeast(0.95),
    ),
    target(
        "candle over llama-cpp, prefill (began at 0.24)",
        ("candle prefill", Who::Ours),
        ("llama-cpp prefill", Who::Ours),
        Limit::None,
    ),
    target(
        "candle over llama-cpp, decode (began at 0.5)",
        ("candle decode", Who::Ours),
        ("llama-cpp decode", Who::Ours),
        Limit::None,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_shows_what_is_its_own() {
        let mut samples = Samples::default();
        samples.record("rss 1000", Who::Ours, 101.0);
        samples.record("rss largest", Who::Ours, 101.0);
        samples.record("rss smallest", Who::Ours, 100.0);
        samples.record("8 total", Who::Ours, 100.0);
        let (memory, comparison) = (samples.tables(&MEMORY), samples.tables(&COMPARISON));
        assert!(
            memory.contains("resident after 1,000 requests") && !memory.contains("8 clients"),
            "{memory}"
        );
        assert!(
            !comparison.contains("resident") && comparison.contains("8 clients, total tok/s"),
            "{comparison}"
        );
        assert!(memory.contains("1.010 (1.010–1.010) | yes |"), "{memory}");
    }

    #[test]
    fn a_missed_target_is_said_to_be_missed() {
        let mut samples = Samples::default();
        samples.record("turn 2", Who::Ours, 16.0);
        samples.record("turn 1", Who::Ours, 100.0);
        assert!(samples.tables(&COMPARISON).contains("0.160 (0.160–0.160) | **no** |"));
    }
}
