//! What Solo remembers: which facts it learns of what it is told, written to docs/benchmarks.md.

use clap::Parser;
use solo_benches::memory::{facts, table};
use solo_benches::{profile, publish};

/// Measures what Solo remembers.
#[derive(Debug, Parser)]
struct Options {
    /// Models that write statements out, by identifier; each must be installed.
    #[arg(long = "model", default_values_t = [String::from("qwen2.5-coder-0.5b")])]
    models: Vec<String>,
    /// Prints the tables and leaves docs/benchmarks.md as it is.
    #[arg(long)]
    dry_run: bool,
}

fn main() {
    let options = Options::parse();
    let learnt: Vec<_> = options.models.iter().map(|model| facts(model)).collect();
    let body = table(&learnt);
    print!("{body}");
    if !options.dry_run {
        publish("memory-facts", "cargo make bench-memory", &profile(), &body);
    }
}
