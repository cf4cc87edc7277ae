//! memory-svc beside sentence-transformers and Chroma: one run, in turn, the same vectors and texts, the same threads; and how
//! well it finds and learns. Each part has its section in docs/benchmarks.md.

use clap::{Parser, ValueEnum};
use solo_benches::memory::corpus::corpus;
use solo_benches::memory::facts::{facts, table};
use solo_benches::memory::ingest::ingest;
use solo_benches::memory::report::{INGEST, SEARCH, SEARCH_REPORTED, Samples};
use solo_benches::memory::retrieval::retrieval;
use solo_benches::memory::search::search;
use solo_benches::{profile, publish};

/// Measures memory-svc.
#[derive(Debug, Parser)]
struct Options {
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often searches and taking in are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Numbers of vectors that are searched; each has its table.
    #[arg(long, default_values_t = [100_000, 1_000_000])]
    vectors: Vec<usize>,
    /// Megabytes of the corpus.
    #[arg(long, default_value_t = 1000)]
    corpus_mb: usize,
    /// Models that write statements out, by identifier; each must be installed.
    #[arg(long = "model", default_values_t = [String::from("qwen2.5-coder-0.5b"), String::from("qwen2.5-coder-1.5b")])]
    models: Vec<String>,
    /// Prints the tables and leaves docs/benchmarks.md as it is.
    #[arg(long)]
    dry_run: bool,
}

/// Vectors that the targets are about.
const TARGETED: usize = 100_000;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The nearest of many vectors.
    Search,
    /// Taking documents in.
    Ingest,
    /// The memory that taking a large corpus in takes.
    Corpus,
    /// Questions and the passages that answer them.
    Retrieval,
    /// What is learnt of dialogues.
    Facts,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let put = |name: &str, body: String| {
        println!("{body}");
        if !options.dry_run {
            publish(name, "cargo make bench-memory", &profile(), &body);
        }
    };
    if wanted(Part::Search) {
        let mut body = String::new();
        for count in &options.vectors {
            let mut samples = Samples::default();
            search(*count, options.rounds, &mut samples).await;
            let sheet = if *count == TARGETED { &SEARCH } else { &SEARCH_REPORTED };
            body += &format!("{count} vectors of 384 dimensions:\n\n{}\n", samples.tables(sheet));
        }
        put("memory-search", body);
    }
    if wanted(Part::Ingest) {
        let mut samples = Samples::default();
        ingest(options.rounds, &mut samples).await;
        put("memory-ingest", samples.tables(&INGEST));
    }
    if wanted(Part::Corpus) {
        put("memory-corpus", corpus(options.corpus_mb).await);
    }
    if wanted(Part::Retrieval) {
        put("memory-retrieval", retrieval().await);
    }
    if wanted(Part::Facts) {
        let told =
            tokio::task::spawn_blocking(move || options.models.iter().map(|model| facts(model)).collect::<Vec<_>>());
        put("memory-facts", table(&told.await.expect("every dialogue is told")));
    }
}
