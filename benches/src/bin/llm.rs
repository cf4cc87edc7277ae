//! llm-svc beside the bare loop and llama.cpp's own server: one run, in turn, the same file, the same threads.
//!
//! A full run is written to docs/benchmarks.md; a quick or a partial one is only printed.

use std::fmt::Write as _;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use solo_benches::llm::report::Samples;
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
    /// Only these; printed, not written down.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
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
    if wanted(Part::Single)
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
    if wanted(Part::Memory) && !options.quick {
        scenarios::memory(&mut samples).await;
    }
    let mut body = String::new();
    writeln!(
        body,
        "Median (smallest–largest) of {rounds} rounds; {MODEL}, {THREADS} threads each; llama.cpp's server is release {}, \
         the one that llm-svc links, built with the same switches.\n",
        peer::release()
    )
    .expect("a string");
    body.push_str(&samples.tables());
    print!("{body}");
    if options.quick || !options.only.is_empty() {
        eprintln!("a partial run: docs/benchmarks.md stays as it is");
    } else {
        publish("llm", "cargo make bench-llm", &profile(), &body);
    }
}
