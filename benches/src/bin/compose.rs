//! Solo in containers beside `solo up`, with the binaries that stand beside this one. Their images are those of SOLO_VERSION.

use clap::Parser;
use solo_benches::compose::{SHEET, Samples, compose};
use solo_benches::{profile, publish};

/// Measures the containers.
#[derive(Debug, Parser)]
struct Options {
    /// How often both are started.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Prints the tables and leaves docs/benchmarks.md as it is.
    #[arg(long)]
    dry_run: bool,
}

fn main() {
    let options = Options::parse();
    let mut samples = Samples::default();
    compose(options.rounds, &mut samples);
    let body = samples.tables(&SHEET);
    println!("{body}");
    if !options.dry_run {
        publish("compose", "cargo make bench-compose", &profile(), &body);
    }
}
