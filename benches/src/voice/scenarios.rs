//! What is measured. Each scenario takes one round on the [`Stage`] and records what it saw.

mod echo;
mod load;
mod pauses;
mod streams;
mod stt;
mod tts;
mod turns;

use std::time::Duration;

use solo_tests::Stack;
use tonic::transport::{Channel, Endpoint};

pub use echo::echo;
pub use load::load;
pub use pauses::pauses;
pub use streams::streams;
pub use stt::stt;
pub(crate) use tts::TEXTS;
pub use tts::tts;
pub use turns::turns;

use super::THREADS;
use super::Who;
use super::conversation::{Failure, Turn};
use super::corpus::{self, Clip};
use super::peer::Peer;
use super::report::Samples;
use super::words::Errors;
use crate::percentile;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Spoken turns of a round.
    pub turns: usize,
    /// Texts that are spoken in a round.
    pub texts: usize,
    /// Conversations at once.
    pub conversations: usize,
    /// Streams at once.
    pub streams: usize,
    /// Sentences of a kind that are said with a pause in them.
    pub sentences: usize,
    /// How long the assistant speaks into its own microphone.
    pub echo: Duration,
    /// Most sounds of a kind that are made while it speaks.
    pub sounds: usize,
}

impl Scale {
    /// As the targets are meant.
    pub const FULL: Self = Self {
        turns: 20,
        texts: 5,
        conversations: 3,
        streams: 20,
        sentences: 10,
        echo: Duration::from_secs(600),
        sounds: usize::MAX,
    };
    /// To see that all of it works.
    pub const QUICK: Self = Self {
        turns: 2,
        texts: 1,
        conversations: 2,
        streams: 4,
        sentences: 2,
        echo: Duration::from_secs(20),
        sounds: 2,
    };

    /// Leaves as many as fit.
    fn cut<T>(self, sounds: &mut Vec<T>) {
        sounds.truncate(self.sounds);
    }
}

/// Both contenders, loaded and warm, and what is said to them.
pub struct Stage {
    stack: Stack,
    peer: Peer,
    scale: Scale,
    turns: Vec<Clip>,
}

impl Stage {
    /// Starts them, and has each answer one turn that does not count.
    ///
    /// # Panics
    /// When one does not start or does not answer, or the Python stack is not installed.
    pub async fn set(scale: Scale) -> Self {
        let mut turns = corpus::turns();
        turns.truncate(scale.turns.max(scale.streams));
        let peer = Peer::start().await;
        let stack = Stack::up_with(&format!("[global]\nthreads = {THREADS}\n"));
        let stage = Self {
            stack,
            peer,
            scale,
            turns,
        };
        for who in Who::in_turn(0) {
            let turn = turns::one(&stage, who, &stage.turns[0]).await;
            turn.unwrap_or_else(|failure| panic!("{who:?} does not answer: {failure}"));
        }
        stage
    }

    /// The spoken turns of a round.
    fn clips(&self) -> &[Clip] {
        &self.turns[..self.scale.turns.min(self.turns.len())]
    }

    /// A connection of its own to a service.
    async fn channel(&self, service: &str) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.stack.layout.port(service));
        let endpoint = Endpoint::from_shared(address).expect("a URL");
        endpoint
            .connect()
            .await
            .unwrap_or_else(|error| panic!("{service}: {error}"))
    }
}

/// What a contender's turns came to.
#[derive(Default)]
struct Tally {
    turns: Vec<Turn>,
    errors: Errors,
    failed: usize,
}

impl Tally {
    fn take(&mut self, who: Who, clip: &Clip, turn: Result<Turn, Failure>) {
        match turn {
            Ok(turn) => {
                eprintln!(
                    "{who:?} {}: {:.0} ms; heard {:?}, said {:?}",
                    clip.name, turn.first_audio, turn.transcript, turn.reply
                );
                self.errors += Errors::of(&clip.words, &turn.transcript);
                self.turns.push(turn);
            }
            Err(failure) => {
                eprintln!("{who:?} {}: {failure}", clip.name);
                self.failed += 1;
            }
        }
    }

    /// Records the percentiles under a scenario's name.
    fn record(&self, samples: &mut Samples, scenario: &str, who: Who) {
        samples.record(format!("{scenario} failed"), who, self.failed as f64);
        if self.turns.is_empty() {
            return;
        }
        let times = |of: fn(&Turn) -> f64| self.turns.iter().map(of);
        samples.record(
            format!("{scenario} p50"),
            who,
            percentile(times(|turn| turn.first_audio), 0.5),
        );
        samples.record(
            format!("{scenario} p95"),
            who,
            percentile(times(|turn| turn.first_audio), 0.95),
        );
        samples.record(
            format!("{scenario} audible p50"),
            who,
            percentile(times(|turn| turn.first_audible), 0.5),
        );
        samples.record(format!("{scenario} wer"), who, self.errors.percent());
        for stage in super::report::STAGES {
            let known: Vec<f64> = self
                .turns
                .iter()
                .filter_map(|turn| turn.stages.get(stage).copied())
                .collect();
            if !known.is_empty() {
                samples.record(format!("{scenario} {stage}"), who, percentile(known, 0.5));
            }
        }
    }
}
