//! candle beside llama.cpp, both in llm-svc, on the same file.

use super::{Samples, Stage};
use crate::llm::client::request;
use crate::llm::{Who, prompts};

/// About 400 tokens in, 64 out, on each engine; the first round loads the other one before it is timed.
pub async fn engines(stage: &mut Stage, samples: &mut Samples, round: usize) {
    let mut engines = ["llama-cpp", "candle"];
    engines.rotate_left(round % 2);
    for (index, engine) in engines.into_iter().enumerate() {
        let mut warm = request(&prompts::cold(50_000 + round * 2 + index, 4), 2);
        engine.clone_into(&mut warm.engine);
        if let Err(status) = stage.ours.ask(warm).await {
            samples.note(format!("Engine {engine} was not measured: {}.", status.message()));
            continue;
        }
        let mut asked = request(&prompts::cold(60_000 + round, 360), 64);
        engine.clone_into(&mut asked.engine);
        let answer = stage.ours.ask(asked).await.expect("llm-svc answers");
        let computed = f64::from(answer.prompt_tokens - answer.cached_tokens);
        let seconds = f64::from(answer.prefill_ms) / 1000.0;
        samples.record(format!("{engine} prefill"), Who::Ours, computed / seconds);
        samples.record(format!("{engine} decode"), Who::Ours, answer.decode_rate());
    }
}
