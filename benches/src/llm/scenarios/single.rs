//! One stream at a time: decode, TTFT, and a long prompt.

use super::{Samples, Stage};
use crate::llm::bare::Job;
use crate::llm::client::{Chat, request};
use crate::llm::prompts;
use crate::llm::{Timed, Who};

/// One stream of 128 tokens after a prompt of about 90 that no cache has seen.
pub async fn single(stage: &mut Stage, samples: &mut Samples, round: usize) {
    let chat = prompts::cold(10_000 + round, 36);
    for who in Who::in_turn(round) {
        let Some(times) = one(stage, who, &chat, 128).await else {
            continue;
        };
        samples.record("single decode", who, times.decode_rate);
        samples.record("single ttft", who, times.ttft_ms);
        samples.record("single tokens", who, times.prompt_tokens);
    }
}

/// A prompt of about 1,000 tokens that no cache has seen, and one token of answer.
pub async fn prefill(stage: &mut Stage, samples: &mut Samples, round: usize) {
    let chat = prompts::cold(20_000 + round, 950);
    for who in Who::in_turn(round) {
        let Some(times) = one(stage, who, &chat, 1).await else {
            continue;
        };
        samples.record("prefill", who, times.prompt_tokens / times.ttft_ms * 1000.0);
        samples.record("prefill tokens", who, times.prompt_tokens);
    }
}

struct Times {
    decode_rate: f64,
    ttft_ms: f64,
    prompt_tokens: f64,
}

impl From<Timed> for Times {
    fn from(timed: Timed) -> Self {
        Self {
            decode_rate: timed.decode_rate(),
            ttft_ms: timed.ttft_ms(),
            prompt_tokens: timed.prompt_tokens.into(),
        }
    }
}

/// One request of one contender; `None` where it is not there.
async fn one(stage: &mut Stage, who: Who, chat: &Chat, max_tokens: u32) -> Option<Times> {
    Some(match who {
        Who::Ours => {
            let answer = stage.ours.ask(request(chat, max_tokens)).await;
            answer.expect("llm-svc answers").into()
        }
        Who::Peer => {
            let answer = stage.peer()?.ask(chat, max_tokens).await;
            answer.expect("llama-server answers").into()
        }
        Who::Bare => {
            let prompt = stage.ours.tokens(chat).await.expect("llm-svc renders");
            let prompt_tokens = prompt.len() as f64;
            let outcome = stage.bare.run(&Job::cold(prompt, max_tokens));
            Times {
                decode_rate: outcome.decode_rate(),
                ttft_ms: outcome.ttft_ms[0],
                prompt_tokens,
            }
        }
    })
}
