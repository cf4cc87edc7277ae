//! What the engine's thread is told to say, and what it gives.

use std::time::{Duration, Instant};

use futures::StreamExt;
use solo_service::{JobStream, WorkerError};
use tokio::sync::mpsc::Sender;

use super::Speech;
use super::out::Step;
use super::part::Part;
use crate::SpeechError;
use crate::convert::SPEED;
use crate::engine::{Made, SynthesisError, Utterance};
use crate::normalise::{self, Word};

/// More than an engine makes of one unit: it never waits for a listener, others wait for it.
const RUNS_OF_A_UNIT: usize = 1024;

/// What the engine is told to say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    text: String,
    speed: f32,
    soon: bool,
}

/// Made before it was sure that it comes next; held until then.
pub(super) struct Ahead {
    pub(super) said: Said,
    pub(super) runs: Runs,
}

/// What it gives. Dropping them ends its work.
pub(super) type Runs = JobStream<Result<Run, SpeechError>>;

/// What the engine's thread says of a unit.
pub(super) enum Run {
    Made(Made),
    /// All of it is made; the time that took.
    Done(Duration),
}

impl Speech {
    /// How a part is said.
    pub(super) fn say(&self, part: &Part, words: &[Word], soon: bool) -> Said {
        let rate = part.passage.as_ref().map_or(1.0, |(passage, _)| passage.rate);
        Said {
            text: normalise::joined(words),
            speed: (self.manner.speed * rate).clamp(*SPEED.start(), *SPEED.end()),
            soon,
        }
    }

    /// Has words made into samples on the engine's thread.
    pub(super) fn make(&self, said: &Said) -> Result<Runs, SpeechError> {
        let (engine, voice) = (self.engine, self.manner.voice.clone());
        let Said { text, speed, soon } = said.clone();
        let runs = self
            .speaker
            .worker
            .stream(RUNS_OF_A_UNIT, move |voices, emit, cancel| {
                let started = Instant::now();
                let utterance = Utterance {
                    text: &text,
                    speed,
                    soon,
                };
                let result = voices
                    .open(engine, &voice)
                    .map_err(SpeechError::from)
                    .and_then(|voice| {
                        let mut pass_on = |made| emit.send(Ok(Run::Made(made))).map_err(|_| SynthesisError::Cancelled);
                        voice.synthesize(&utterance, cancel, &mut pass_on)?;
                        Ok(Run::Done(started.elapsed()))
                    });
                // Whoever does not listen any more needs no result.
                let _ = emit.send(result);
            })?;
        Ok(runs)
    }

    /// Hands on what is made; how long it took to make, or `None` when nobody listens any more.
    pub(super) async fn pass_on(&self, mut runs: Runs, made: &Sender<Step>) -> Result<Option<Duration>, SpeechError> {
        while let Some(run) = runs.next().await {
            match run? {
                Run::Made(run) => {
                    if made.send(Step::Made(run)).await.is_err() {
                        return Ok(None);
                    }
                }
                Run::Done(took) => return Ok(Some(took)),
            }
        }
        Err(SpeechError::Worker(WorkerError::Panicked {
            worker: self.engine.name(),
        }))
    }
}
