//! Both engines on the same file, in turns: tokens per second of a prompt and of decoding.
//!
//! `cargo run -p llm-svc --example engine_speed -- MODEL.gguf [THREADS] [ROUNDS] [DEVICE]`, DEVICE being cpu or cuda:N. Other
//! work on the machine slows both, so they take turns and the best round of each counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use llm_svc::catalogue::ModelFile;
use llm_svc::device::{Device, DeviceSetting};
use llm_svc::engine::{Candle, EngineOptions, KvType, LlamaCpp, Logits, Run, Slot, StepEngine, Weights};
use solo_service::memory::resident_bytes;

type Failure = Box<dyn std::error::Error>;

/// What is measured.
const ROWS: [&str; 6] = [
    "prompt of 128",
    "prompt of 512",
    "128 in pieces of 32",
    "128 in pieces of 16",
    "decode, 1 sequence",
    "decode, 8 sequences",
];
/// Tokens of a decode.
const DECODED: usize = 32;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which .gguf file?")?);
    let threads = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let rounds = arguments.next().map_or(Ok(5), |n| n.parse())?;
    let device = match DeviceSetting::parse(&arguments.next().unwrap_or_else(|| "cpu".to_owned()))? {
        DeviceSetting::Gpus(ordinals) => Device::Cuda(ordinals),
        DeviceSetting::Cpu => Device::Cpu,
        DeviceSetting::Auto | DeviceSetting::AllGpus => return Err("name one device: cpu or cuda:N".into()),
    };
    println!("on {device}");
    let file = ModelFile::open("speed", &path)?;
    let options = EngineOptions {
        context_length: 1024,
        batch: 512,
        slots: 8,
        kv_cache_bytes: 1 << 30,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads,
        device,
    };
    let mut ours = timed("candle", || Candle::load(&file, &options, &(Arc::new(|_| true) as _)))?;
    let mut theirs = timed("llama-cpp", || {
        LlamaCpp::load(&file, &options, &(Arc::new(|_| true) as _))
    })?;
    // The best seconds per token of each row; theirs, then ours.
    let mut best = [[f64::INFINITY; 2]; ROWS.len()];
    let mut keep = |row: usize, engine: usize, seconds: f64, tokens: usize| {
        best[row][engine] = best[row][engine].min(seconds / tokens as f64);
    };
    for _ in 0..rounds {
        for (row, (length, piece)) in [(128, 128), (512, 512), (128, 32), (128, 16)].into_iter().enumerate() {
            let tokens: Vec<u32> = (0..length).map(|index| 100 + (index * 37 % 1000) as u32).collect();
            keep(row, 0, prompt(&mut theirs, &tokens, piece)?, length);
            keep(row, 1, prompt(&mut ours, &tokens, piece)?, length);
        }
        for (row, sequences) in [(4, 1), (5, 8)] {
            keep(row, 0, decode(&mut theirs, sequences)?, DECODED * sequences);
            keep(row, 1, decode(&mut ours, sequences)?, DECODED * sequences);
        }
    }
    println!("{:<22} {:>10} {:>10} {:>7}", "tokens/s", "llama-cpp", "candle", "ratio");
    for (name, [theirs, ours]) in ROWS.into_iter().zip(best) {
        println!(
            "{name:<22} {:>10.1} {:>10.1} {:>7.2}",
            1.0 / theirs,
            1.0 / ours,
            theirs / ours
        );
    }
    Ok(())
}

/// Loads an engine, and says how long that takes and what it leaves in memory.
fn timed<E, X>(name: &str, load: impl FnOnce() -> Result<E, X>) -> Result<E, X> {
    let (before, begun) = (resident_bytes().unwrap_or(0), Instant::now());
    let loaded = load()?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), resident_bytes().unwrap_or(0));
    let mib = after.saturating_sub(before) >> 20;
    println!("{name} is loaded after {seconds:.2} s, in {mib} MiB more");
    Ok(loaded)
}

/// Seconds that a prompt takes, computed `piece` tokens at a time.
fn prompt(engine: &mut dyn StepEngine, tokens: &[u32], piece: usize) -> Result<f64, Failure> {
    engine.truncate(Slot(0), 0)?;
    let mut logits = Logits::default();
    let begun = Instant::now();
    for (index, tokens) in tokens.chunks(piece).enumerate() {
        let run = Run {
            slot: Slot(0),
            position: index * piece,
            tokens,
            scored: true,
        };
        engine.step(&[run], &mut logits)?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn decode(engine: &mut dyn StepEngine, sequences: usize) -> Result<f64, Failure> {
    let mut logits = Logits::default();
    let step = |engine: &mut dyn StepEngine, logits: &mut Logits, position: usize, tokens: &[u32]| {
        let run = |slot| Run {
            slot: Slot(slot),
            position,
            tokens,
            scored: true,
        };
        engine.step(&(0..sequences).map(run).collect::<Vec<_>>(), logits)
    };
    for slot in 0..sequences {
        engine.truncate(Slot(slot), 0)?;
    }
    step(engine, &mut logits, 0, &[1; 32])?;
    let begun = Instant::now();
    for index in 0..DECODED {
        step(engine, &mut logits, 32 + index, &[200 + index as u32])?;
    }
    Ok(begun.elapsed().as_secs_f64())
}
