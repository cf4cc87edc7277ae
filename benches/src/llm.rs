//! llm-svc under measurement and under fire: what `cargo make bench-llm` and `cargo make chaos-llm` are made of.
//!
//! [`service`] runs llm-svc by itself; [`client`], [`bare`] and [`peer`] ask the three contenders the same things and take
//! the same times; [`prompts`] makes what is asked; [`scenarios`] measure, and [`report`] holds the samples against the
//! targets. [`chaos`] is a crowd of clients that misbehave, [`kill`] a service that is killed.

pub mod bare;
pub mod chaos;
pub mod client;
pub mod kill;
pub mod peer;
pub mod prompts;
pub mod report;
pub mod scenarios;
pub mod service;

use std::time::Duration;

/// The model of every measurement.
pub const MODEL: &str = "qwen2.5-coder-0.5b";
/// CPU threads of every contender.
pub const THREADS: usize = 2;
/// Tokens that one sequence can hold, in every contender that lets one choose.
pub const CONTEXT: usize = 4096;

/// An answer and how long it took, by the asker's clock.
#[derive(Debug, Clone)]
pub struct Timed {
    /// From the request to the first text.
    pub ttft: Duration,
    /// From the request to the end.
    pub total: Duration,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that were in a prefix cache.
    pub cached_tokens: u32,
    /// Time for the prompt by the answerer's clock, in ms; 0 where it does not say.
    pub prefill_ms: u32,
    /// The answer.
    pub text: String,
}

impl Timed {
    /// Tokens a second between the first token and the last.
    pub fn decode_rate(&self) -> f64 {
        f64::from(self.tokens.saturating_sub(1)) / (self.total - self.ttft).as_secs_f64()
    }

    /// Tokens a second over the whole request.
    pub fn whole_rate(&self) -> f64 {
        f64::from(self.tokens) / self.total.as_secs_f64()
    }

    /// Time to the first text, in ms.
    pub fn ttft_ms(&self) -> f64 {
        self.ttft.as_secs_f64() * 1000.0
    }
}

/// One of two or more contenders that are measured in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// llm-svc, through gRPC.
    Ours,
    /// llama.cpp and a loop.
    Bare,
    /// llama.cpp's own server, through HTTP.
    Peer,
}

impl Who {
    /// All three, beginning with another one each round: whoever goes first finds the caches cold and the cores cool.
    pub fn in_turn(round: usize) -> [Self; 3] {
        let mut all = [Self::Ours, Self::Bare, Self::Peer];
        all.rotate_left(round % 3);
        all
    }
}
