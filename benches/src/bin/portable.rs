//! What images hold, compiled for any machine of a kind and for size, beside what stands beside this program, compiled for this
//! machine alone.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use solo_benches::portable::{MEMORY, Samples, THREADS, VOICE, memory, voice};
use solo_benches::publish;

/// Measures what compiling for any machine of a kind costs.
#[derive(Debug, Parser)]
struct Options {
    /// Folder with all programs of the images, side by side; by default TARGET/x86-64-v3/release, where docker/binaries.sh
    /// leaves them
    #[arg(long)]
    images: Option<PathBuf>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Prints the tables and leaves docs/benchmarks.md as it is.
    #[arg(long)]
    dry_run: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// stt-svc, tts-svc and llm-svc.
    Voice,
    /// memory-svc.
    Memory,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    // TARGET/native/release
    let target = solo_tests::built().join("../..");
    let images = options.images.unwrap_or_else(|| target.join("x86-64-v3/release"));
    let images = images
        .canonicalize()
        .unwrap_or_else(|error| panic!("{}: {error}; docker/binaries.sh makes them", images.display()));
    for &part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(&part) {
            continue;
        }
        let mut samples = Samples::default();
        let (name, sheet) = match part {
            Part::Voice => {
                voice(&images, options.rounds, &mut samples).await;
                ("voice", VOICE)
            }
            Part::Memory => {
                memory(&images, options.rounds, &mut samples).await;
                ("memory", MEMORY)
            }
        };
        let body = format!(
            "Median (smallest–largest) of {} rounds; {THREADS} threads each.\n\n{}",
            options.rounds,
            samples.tables(&sheet)
        );
        println!("{body}");
        if !options.dry_run {
            let command = format!("cargo make bench-portable --only {name} --rounds {}", options.rounds);
            publish(&format!("portable-{name}"), &command, "release", &body);
        }
    }
}
