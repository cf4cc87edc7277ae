//! The least that llama.cpp needs to answer: the floor that `cargo make bench-llm` measures llm-svc against.
//!
//! No service, no text, no sampler but "the likeliest", no queue: tokens in, batches through `llama_decode`, counts out.
//! Whatever llm-svc is slower than this is llm-svc's own doing. It stands here because llama.cpp is linked in this crate
//! alone; the release, the threads and the build flags are llm-svc's.
//!
//!     bare_llama MODEL.gguf THREADS
//!
//! One job a line on standard input, one result a line on standard output, both JSON:
//!
//!     {"shared": [1, 2], "prompts": [[3, 4], [5]], "max_tokens": 96}
//!     {"wall_ms": …, "ttft_ms": [… each], "decode_ms": …, "tokens": [… each]}
//!
//! The shared prefix is computed once and forked before the clock starts, as a warm prefix cache has it. Then all prompts
//! are computed together, and all sequences take a token a step until they end or have `max_tokens`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::num::NonZeroU32;
use std::time::Instant;

use llama_cpp_2::LogOptions;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

/// Tokens that one sequence can hold.
const CONTEXT: u32 = 2048;
/// Most tokens of a batch: llama.cpp's default.
const BATCH: usize = 2048;

/// What to compute.
#[derive(serde::Deserialize)]
struct Job {
    /// What all prompts begin with.
    shared: Vec<i32>,
    /// What each goes on with; at least one token each.
    prompts: Vec<Vec<i32>>,
    /// Tokens that each sequence makes at most.
    max_tokens: usize,
}

/// What it took.
#[derive(serde::Serialize)]
struct Outcome {
    /// From the first prompt's first token to the last sequence's last.
    wall_ms: f64,
    /// From the same moment to each sequence's first token.
    ttft_ms: Vec<f64>,
    /// From the moment when all sequences had their first token to the end.
    decode_ms: f64,
    /// Tokens that each sequence made.
    tokens: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, threads] = arguments.as_slice() else {
        return Err("usage: bare_llama MODEL.gguf THREADS".into());
    };
    let threads: i32 = threads.parse()?;
    llama_cpp_2::send_logs_to_tracing(LogOptions::default().with_logs_enabled(false));
    let backend = LlamaBackend::init()?;
    // Not mapped, as llm-svc has them.
    let parameters = LlamaModelParams::default().with_n_gpu_layers(0).with_use_mmap(false);
    let model = LlamaModel::load_from_file(&backend, file, &parameters)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let sequences = u32::try_from(job.prompts.len())?;
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(CONTEXT * sequences.max(1)))
            .with_n_seq_max(sequences.max(1))
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        let mut context = model.new_context(&backend, parameters)?;
        let outcome = run(&model, &mut context, &job)?;
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
        out.flush()?;
    }
    Ok(())
}

/// A sequence that still makes tokens.
struct Running {
    sequence: usize,
    position: i32,
    last: LlamaToken,
}

fn run(model: &LlamaModel, context: &mut LlamaContext<'_>, job: &Job) -> Result<Outcome, Box<dyn Error>> {
    let count = job.prompts.len();
    let mut batch = LlamaBatch::new(BATCH, 1);
    warm_up(context, &mut batch, &job.shared)?;
    for sequence in 1..count {
        if !job.shared.is_empty() {
            context.copy_kv_cache_seq(0, i32::try_from(sequence)?, None, None)?;
        }
    }

    let start = Instant::now();
    let since = || start.elapsed().as_secs_f64() * 1000.0;
    let (mut ttft_ms, mut tokens) = (vec![0.0; count], vec![0; count]);
    let mut running = Vec::with_capacity(count);
    // Prompts go in whole or, where the batch is full, in pieces.
    let mut asked: Vec<(i32, usize)> = Vec::new();
    batch.clear();
    for (sequence, prompt) in job.prompts.iter().enumerate() {
        for (index, &token) in prompt.iter().enumerate() {
            if batch.n_tokens() == i32::try_from(BATCH)? {
                context.decode(&mut batch)?;
                first_tokens(context, job, &mut asked, &mut running, &mut ttft_ms, &since)?;
                batch.clear();
            }
            let last = index + 1 == prompt.len();
            if last {
                asked.push((batch.n_tokens(), sequence));
            }
            let position = i32::try_from(job.shared.len() + index)?;
            batch.add(LlamaToken(token), position, &[i32::try_from(sequence)?], last)?;
        }
    }
    context.decode(&mut batch)?;
    first_tokens(context, job, &mut asked, &mut running, &mut ttft_ms, &since)?;
    let prefilled = since();

    let vocabulary = model.vocab();
    loop {
        running.retain(|one| {
            tokens[one.sequence] += 1;
            tokens[one.sequence] < job.max_tokens && !vocabulary.is_eog(one.last)
        });
        if running.is_empty() {
            break;
        }
        batch.clear();
        for one in &running {
            batch.add(one.last, one.position, &[i32::try_from(one.sequence)?], true)?;
        }
        context.decode(&mut batch)?;
        for (index, one) in running.iter_mut().enumerate() {
            one.last = likeliest(context.get_logits_ith(i32::try_from(index)?));
            one.position += 1;
        }
    }
    let wall_ms = since();
    Ok(Outcome {
        wall_ms,
        ttft_ms,
        decode_ms: wall_ms - prefilled,
        tokens,
    })
}

/// Computes what all sequences share, and wakes the threads; leaves sequence 0 holding just the shared tokens.
fn warm_up(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>, shared: &[i32]) -> Result<(), Box<dyn Error>> {
    batch.clear();
    batch.add(LlamaToken(0), 0, &[0], true)?;
    context.decode(batch)?;
    context.clear_kv_cache();
    if shared.is_empty() {
        return Ok(());
    }
    batch.clear();
    for (position, &token) in shared.iter().enumerate() {
        batch.add(LlamaToken(token), i32::try_from(position)?, &[0], false)?;
    }
    context.decode(batch)?;
    Ok(())
}

/// Takes the first token of each sequence whose prompt ended in the batch just computed.
fn first_tokens(
    context: &LlamaContext<'_>,
    job: &Job,
    asked: &mut Vec<(i32, usize)>,
    running: &mut Vec<Running>,
    ttft_ms: &mut [f64],
    since: &impl Fn() -> f64,
) -> Result<(), Box<dyn Error>> {
    for (index, sequence) in asked.drain(..) {
        running.push(Running {
            sequence,
            position: i32::try_from(job.shared.len() + job.prompts[sequence].len())?,
            last: likeliest(context.get_logits_ith(index)),
        });
        ttft_ms[sequence] = since();
    }
    Ok(())
}

fn likeliest(logits: &[f32]) -> LlamaToken {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (index, logit);
        }
    }
    LlamaToken(best.0 as i32)
}
