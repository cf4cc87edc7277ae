//! What was measured, and what it is held against.
//!
//! Samples are kept by metric and contender, one a round; a ratio is taken within each round, so that what the machine
//! does to both at once cancels out. The rows and the targets are data: those of the issue that llm-svc was built for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Who;
use crate::Spread;

/// What stands together in docs/benchmarks.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// llm-svc beside the others.
    Comparison,
    /// What llm-svc keeps resident.
    Memory,
}

impl Section {
    fn of(metric: &str) -> Self {
        match metric.starts_with("rss") {
            true => Self::Memory,
            false => Self::Comparison,
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Samples {
    values: BTreeMap<(String, Who), Vec<f64>>,
    notes: Vec<String>,
}

impl Samples {
    /// Keeps a measurement.
    pub fn record(&mut self, metric: impl Into<String>, who: Who, value: f64) {
        self.values.entry((metric.into(), who)).or_default().push(value);
    }

    /// Keeps a sentence that belongs under the table; once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            eprintln!("note: {note}");
            self.notes.push(note);
        }
    }

    /// Middle and range of a metric; `None` where it was not measured.
    pub fn spread(&self, metric: &str, who: Who) -> Option<Spread> {
        let values = self.values.get(&(metric.to_owned(), who))?;
        Some(Spread::of(values.iter().copied()))
    }

    /// One metric over another, round by round; `None` where a round lacks one of them.
    pub fn ratio(&self, (metric, who): (&str, Who), (other, whose): (&str, Who)) -> Option<Spread> {
        let above = self.values.get(&(metric.to_owned(), who))?;
        let below = self.values.get(&(other.to_owned(), whose))?;
        let paired = above.len() == below.len();
        paired.then(|| Spread::of(above.iter().zip(below).map(|(above, below)| above / below)))
    }

    /// A section's tables, in Markdown.
    pub fn tables(&self, section: Section) -> String {
        let mut text = String::from("| | llm-svc | bare loop | llama.cpp's server |\n|---|---:|---:|---:|\n");
        for row in ROWS.iter().filter(|row| Section::of(row.metric) == section) {
            let cell = |who| {
                self.spread(row.metric, who)
                    .map_or_else(String::new, |spread| format!("{spread:.*}", row.decimals))
            };
            let cells = [cell(Who::Ours), cell(Who::Bare), cell(Who::Peer)];
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let tokens = row.tokens.and_then(|metric| self.spread(metric, Who::Ours));
            let tokens = tokens.map_or_else(|| "?".into(), |spread| format!("{:.0}", spread.median));
            let label = row.label.replace("{}", &tokens);
            writeln!(text, "| {label} | {} |", cells.join(" | ")).expect("a string");
        }
        text.push_str("\n| target | measured | holds |\n|---|---:|---|\n");
        for target in TARGETS.iter().filter(|target| Section::of(target.of.0) == section) {
            let Some(ratio) = self.ratio(target.of, target.to) else {
                writeln!(text, "| {} | not measured | |", target.label).expect("a string");
                continue;
            };
            let holds = match target.limit {
                Limit::AtLeast(limit) => yes_no(ratio.median >= limit),
                Limit::AtMost(limit) => yes_no(ratio.median <= limit),
                Limit::None => "",
            };
            writeln!(text, "| {} | {ratio:.3} | {holds} |", target.label).expect("a string");
        }
        for note in &self.notes {
            write!(text, "\n{note}\n").expect("a string");
        }
        text
    }
}

fn yes_no(holds: bool) -> &'static str {
    if holds { "yes" } else { "**no**" }
}

/// A row of the first table.
struct Row {
    metric: &'static str,
    /// `{}` stands for the median of `tokens`.
    label: &'static str,
    tokens: Option<&'static str>,
    decimals: usize,
}

const fn row(metric: &'static str, label: &'static str, decimals: usize) -> Row {
    Row {
        metric,
        label,
        tokens: None,
        decimals,
    }
}

const fn row_of(metric: &'static str, label: &'static str, decimals: usize, tokens: &'static str) -> Row {
    Row {
        metric,
        label,
        tokens: Some(tokens),
        decimals,
    }
}

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
    row("rss 50", "resident after 50 requests, MiB", 1),
    row("rss 500", "resident after 500 requests, MiB", 1),
    row("rss 1000", "resident after 1,000 requests, MiB", 1),
];

/// What a ratio is held against.
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// Reported, not judged.
    None,
}

/// A row of the second table: `of` over `to`.
struct Target {
    label: &'static str,
    of: (&'static str, Who),
    to: (&'static str, Who),
    limit: Limit,
}

const fn target(label: &'static str, of: (&'static str, Who), to: (&'static str, Who), limit: Limit) -> Target {
    Target { label, of, to, limit }
}

const TARGETS: &[Target] = &[
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
        "resident memory, largest over smallest of the three: ≤ 1.02",
        ("rss largest", Who::Ours),
        ("rss smallest", Who::Ours),
        Limit::AtMost(1.02),
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
    fn a_ratio_is_taken_within_each_round() {
        let mut samples = Samples::default();
        for (ours, bare) in [(60.0, 60.0), (30.0, 40.0), (50.0, 50.0)] {
            samples.record("single decode", Who::Ours, ours);
            samples.record("single decode", Who::Bare, bare);
        }
        let ratio = samples
            .ratio(("single decode", Who::Ours), ("single decode", Who::Bare))
            .unwrap();
        assert_eq!((ratio.median, ratio.min), (1.0, 0.75));
        let tables = samples.tables(Section::Comparison);
        assert!(
            tables.contains("| one stream of 128 tokens, decode, tok/s | 50.0 (30.0–60.0) | 50.0 (40.0–60.0) |  |"),
            "{tables}"
        );
        assert!(
            tables.contains("the bare loop | 1.000 (0.750–1.000) | yes |"),
            "{tables}"
        );
        assert!(tables.contains("1 client | not measured | |"), "{tables}");
    }

    #[test]
    fn a_missed_target_is_said_to_be_missed() {
        let mut samples = Samples::default();
        samples.record("turn 2", Who::Ours, 16.0);
        samples.record("turn 1", Who::Ours, 100.0);
        assert!(
            samples
                .tables(Section::Comparison)
                .contains("0.160 (0.160–0.160) | **no** |")
        );
    }

    #[test]
    fn a_section_shows_what_is_its_own() {
        let mut samples = Samples::default();
        samples.record("rss 1000", Who::Ours, 101.0);
        samples.record("rss largest", Who::Ours, 101.0);
        samples.record("rss smallest", Who::Ours, 100.0);
        samples.record("8 total", Who::Ours, 100.0);
        let (memory, comparison) = (samples.tables(Section::Memory), samples.tables(Section::Comparison));
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
    fn a_round_without_a_partner_gives_no_ratio() {
        let mut samples = Samples::default();
        samples.record("2 total", Who::Ours, 1.0);
        samples.record("2 total", Who::Ours, 1.0);
        samples.record("1 total", Who::Ours, 1.0);
        assert!(samples.ratio(("2 total", Who::Ours), ("1 total", Who::Ours)).is_none());
    }
}
