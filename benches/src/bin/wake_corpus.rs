//! Wake words: makes a corpus with Solo's own voices, measures each engine on it with `solo wake bench`, and writes the
//! tables to docs/benchmarks.md.

use std::path::{Path, PathBuf};

use clap::Parser;
use solo_benches::wake::corpus;
use solo_benches::wake::service::Running;
use solo_benches::wake::speech::Studio;
use solo_benches::wake::table::{self, Outcome};
use solo_benches::{profile, publish};

/// Makes the corpus of wake words and measures wake-svc on it.
#[derive(Debug, Parser)]
struct Options {
    /// Where the corpus is [default: solo/wake-corpus in your cache folder].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// What the corpus follows from, beside the voices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Makes the corpus and measures nothing.
    #[arg(long)]
    only_corpus: bool,
    /// Prints the tables and leaves docs/benchmarks.md as it is.
    #[arg(long)]
    dry_run: bool,
}

const MICRO: &str = "keywords = [\"hey_jarvis\", \"okay_nabu\", \"alexa\", \"hey_mycroft\"]";
const MICRO_ONCE: &str = "keywords = [\"hey_jarvis\", \"okay_nabu\", \"alexa\", \"hey_mycroft\"]\nspeeds = [1.0]";
const OPEN: &str = "engine = \"open-wake-word\"\naccept_noncommercial_licence = true";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::parse();
    let folder = options.folder.unwrap_or_else(|| {
        dirs::cache_dir()
            .expect("a cache folder; or --folder names one")
            .join("solo/wake-corpus")
    });
    {
        let tts = Running::start("tts-svc", "").await;
        let mut studio = Studio::open(tts.channel().await, &folder.join("takes")).await;
        corpus::make(&folder, &mut studio, options.seed).await;
        eprintln!(
            "corpus in {}: voices {}, {} new takes",
            folder.display(),
            studio.voices.join(", "),
            studio.made
        );
    }
    if options.only_corpus {
        return;
    }
    let configurations = [
        ("microWakeWord", MICRO, &[][..]),
        ("microWakeWord, one speed", MICRO_ONCE, &[]),
        ("microWakeWord, twice", MICRO, &["--triggers", "2"]),
        ("openWakeWord", OPEN, &[]),
        ("openWakeWord, twice", OPEN, &["--triggers", "2"]),
    ];
    let mut outcomes = Vec::new();
    for (title, configuration, flags) in configurations {
        outcomes.push(Outcome {
            title: title.to_owned(),
            report: measure(configuration, flags, &folder).await,
        });
    }
    let body = table::tables(&outcomes);
    print!("{body}");
    if !options.dry_run {
        publish("wake", "cargo make bench-wake", &profile(), &body);
    }
}

/// `solo wake bench`, as a person types it, against a service of its own.
async fn measure(configuration: &str, flags: &[&str], folder: &Path) -> serde_json::Value {
    let wake = Running::start("wake-svc", &format!("[wake]\n{configuration}\n")).await;
    let folder = folder.to_str().expect("a folder whose name is text");
    let output = wake
        .layout
        .solo(&[&["wake", "bench", folder, "--json"], flags].concat());
    assert!(
        output.status.success(),
        "solo wake bench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}
