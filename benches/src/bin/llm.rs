//! llm-svc beside the bare loop and llama.cpp's own server: one run, in turn, the same file, the same threads.
//!
//! What is measured in full is written to docs/benchmarks.md: the comparison and the thousand requests each have their
//! section. A quick or a partial comparison is only printed.

use std::fmt::Write as _;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use solo_benches::llm::report::{COMPARISON, MEMORY, Samples};
use solo_benches::llm::scenarios::{self, Stage};
use solo_benches::llm::{MODEL, THREADS, peer};
use solo_benches::{profile, publish};

/// Measures llm-svc beside the bare llama.cpp loop and llama.cpp's server.
#[derive(Debug, Parser)]
struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Two rounds, without the thousand requests; printed, not written down.
    #[arg(long)]
    quick: bool,
    /// Only these; printed, and written down where that is all of a section.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// The comparison alone.
    #[arg(long, conflicts_with = "only")]
    without_memory: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One stream.
    Single,
    /// 1, 2, 4 and 8 clients.
    Concurrent,
    /// A prompt of 1,000 tokens.
    Prefill,
    /// The second turn of a dialogue.
    Dialogue,
    /// Structured output.
    Constrained,
    /// candle beside llama.cpp.
    Engines,
    /// llama.cpp's server as it comes.
    Mapped,
    /// A thousand requests.
    Memory,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::parse();
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let rounds = if options.quick {
        2
    } else {
        // At most twenty.
        options.rounds as usize
    };
    let model = solo_testkit::fixtures::require_model(MODEL, "model.gguf");
    let mut samples = Samples::default();
    if options.only.is_empty()
        || options
            .only
            .iter()
            .any(|&part| !matches!(part, Part::Memory | Part::Mapped))
    {
        let mut stage = Stage::set(&model, &mut samples).await;
        // The first round is not counted: it reads the model from disk.
        let mut warm_up = Samples::default();
        scenarios::single(&mut stage, &mut warm_up, rounds).await;
        for round in 0..rounds {
            let start = Instant::now();
            let (stage, samples) = (&mut stage, &mut samples);
            if wanted(Part::Single) {
                scenarios::single(stage, samples, round).await;
            }
            if wanted(Part::Concurrent) {
                scenarios::concurrent(stage, samples, round).await;
            }
            if wanted(Part::Prefill) {
                scenarios::prefill(stage, samples, round).await;
            }
            if wanted(Part::Dialogue) {
                scenarios::dialogue(stage, samples, round).await;
            }
            if wanted(Part::Constrained) {
                scenarios::constrained(stage, samples, round).await;
            }
            if wanted(Part::Engines) {
                scenarios::engines(stage, samples, round).await;
            }
            eprintln!(
                "round {} of {rounds}: {:.0} s",
                round + 1,
                start.elapsed().as_secs_f64()
            );
        }
    }
    if wanted(Part::Mapped) {
        scenarios::mapped(&mut samples, &model).await;
    }
    if !options.only.is_empty() && options.only.iter().all(|&part| part == Part::Memory) {
        eprintln!("the comparison was not asked for");
    } else {
        let mut body = String::new();
        writeln!(
            body,
            "Median (smallest–largest) of {rounds} rounds; {MODEL}, {THREADS} threads each; llama.cpp's server is release \
             {}, the one that llm-svc links, built with the same switches.\n",
            peer::release()
        )
        .expect("a string");
        body.push_str(&samples.tables(&COMPARISON));
        print!("{body}");
        if options.quick || !options.only.is_empty() {
            eprintln!("a partial comparison: docs/benchmarks.md stays as it is");
        } else {
            publish("llm", &command("--without-memory"), &profile(), &body);
        }
    }
    if wanted(Part::Memory) && !options.quick && !options.without_memory {
        let mut samples = Samples::default();
        scenarios::memory(&mut samples).await;
        let body = format!("{MODEL}, {THREADS} threads.\n\n{}", samples.tables(&MEMORY));
        print!("{body}");
        publish("llm-memory", &command("--only memory"), &profile(), &body);
    }
}

/// What a person types for a section.
fn command(arguments: &str) -> String {
    format!("cargo make bench-llm {arguments}")
}
