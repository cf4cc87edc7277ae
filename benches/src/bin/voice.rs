//! Solo by voice beside a Python stack of the same models: one run, in turn, the same samples at the same pace.
//!
//! Each scenario has its section in docs/benchmarks.md; what is measured in full is written there. A quick run is only
//! printed.

use std::time::Instant;

use clap::{Parser, ValueEnum};
use solo_benches::report::Sheet;
use solo_benches::voice::report::{ECHO, LOAD, PAUSES, STREAMS, STT_SHEET, Samples, TTS, TURNS};
use solo_benches::voice::scenarios::{self, Scale, Stage};
use solo_benches::voice::{LLM, THREADS, Who};
use solo_benches::{profile, publish};

/// Measures Solo by voice beside a Python stack of the same models.
#[derive(Debug, Parser)]
struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// One round of little, to see that it works; printed, not written down.
    #[arg(long)]
    quick: bool,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Spoken turns, one at a time.
    Turns,
    /// Speech to text.
    Stt,
    /// Text to speech.
    Tts,
    /// Everything at once.
    Load,
    /// Many listening streams.
    Streams,
    /// Pauses in the middle of sentences.
    Pauses,
    /// A loudspeaker in front of the microphone: about 17 minutes a round.
    Echo,
}

impl Part {
    fn sheet(self) -> Sheet<Who> {
        match self {
            Self::Turns => TURNS,
            Self::Stt => STT_SHEET,
            Self::Tts => TTS,
            Self::Load => LOAD,
            Self::Streams => STREAMS,
            Self::Pauses => PAUSES,
            Self::Echo => ECHO,
        }
    }

    async fn measure(self, stage: &Stage, samples: &mut Samples, round: usize) {
        match self {
            Self::Turns => scenarios::turns(stage, samples, round).await,
            Self::Stt => scenarios::stt(stage, samples, round).await,
            Self::Tts => scenarios::tts(stage, samples, round).await,
            Self::Load => scenarios::load(stage, samples, round).await,
            Self::Streams => scenarios::streams(stage, samples, round).await,
            Self::Pauses => scenarios::pauses(stage, samples, round).await,
            Self::Echo => scenarios::echo(stage, samples, round).await,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::parse();
    let (scale, rounds) = match options.quick {
        true => (Scale::QUICK, 1),
        // At most twenty.
        false => (Scale::FULL, options.rounds as usize),
    };
    let stage = Stage::set(scale).await;
    for &part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(&part) {
            continue;
        }
        let name = part
            .to_possible_value()
            .expect("no part is hidden")
            .get_name()
            .to_owned();
        let mut samples = Samples::default();
        for round in 0..rounds {
            let start = Instant::now();
            part.measure(&stage, &mut samples, round).await;
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("{name}, round {} of {rounds}: {seconds:.0} s", round + 1);
        }
        let body = format!(
            "Median (smallest–largest) of {rounds} rounds; {LLM}, whisper-base, piper-en-us-joe, {THREADS} threads each.\n\n{}",
            samples.tables(&part.sheet())
        );
        print!("{name}\n\n{body}\n");
        if options.quick {
            eprintln!("a quick run: docs/benchmarks.md stays as it is");
        } else {
            let command = format!("cargo make bench-voice --only {name} --rounds {rounds}");
            publish(&format!("voice-{name}"), &command, &profile(), &body);
        }
    }
}
