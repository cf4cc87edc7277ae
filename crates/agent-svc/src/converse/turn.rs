//! The turn that runs: what its steps mean to the client and to the database.

use std::time::Instant;

use super::{Done, End, Said, Session, Stage, Times};
use crate::cleaner::has_sentence;
use crate::dialogue::{Finish, Source, TurnState, Usage};
use crate::error::Error;
use crate::facts::learner::Lesson;
use crate::gauges::Inside;
use crate::reply::{Preparation, Step, Taken};
use crate::store::Outcome;
use crate::wishes;

/// A committed turn that runs.
pub(super) struct Turn {
    pub(super) id: String,
    pub(super) preparation: Preparation,
    text: String,
    max_tokens: u32,
    committed: Instant,
    deadline: Instant,
    reply: String,
    /// Bytes of the reply that the model wrote.
    written: usize,
    sources: Vec<Source>,
    model: String,
    times: Times,
    retried: bool,
    _running: Inside,
}

impl Turn {
    pub(super) fn new(
        id: String,
        text: String,
        max_tokens: u32,
        deadline: Instant,
        preparation: Preparation,
        running: Inside,
    ) -> Self {
        Self {
            id,
            preparation,
            text,
            max_tokens,
            committed: Instant::now(),
            deadline,
            reply: String::new(),
            written: 0,
            sources: Vec::new(),
            model: String::new(),
            times: Times::default(),
            retried: false,
            _running: running,
        }
    }

    /// Time from the commit to `at`, in ms; 0 for what a draft had done before.
    fn since(&self, at: Instant) -> u32 {
        u32::try_from(at.saturating_duration_since(self.committed).as_millis()).unwrap_or(u32::MAX)
    }

    fn outcome(self, state: TurnState) -> Outcome {
        Outcome {
            state,
            reply: self.reply,
            written: self.written,
            sources: self.sources,
            failure: String::new(),
            model: self.model,
            finish: None,
            usage: Usage::default(),
        }
    }
}

impl Session {
    /// A step of the running turn was taken.
    pub(super) async fn step(&mut self, taken: Option<Taken>) -> Result<(), End> {
        // Steps come from the turn that runs, so there is one.
        let Some(turn) = &mut self.turn else { return Ok(()) };
        let Some(Taken { at, step }) = taken else {
            return self.fail(Error::BrokenOff).await;
        };
        let milliseconds = turn.since(at);
        let said = match step {
            Ok(Step::Recalling) => Said::Doing {
                stage: Stage::Recalling,
                milliseconds,
            },
            Ok(Step::Recalled) => {
                turn.times.recalled_ms = Some(milliseconds);
                Said::Doing {
                    stage: Stage::Recalled,
                    milliseconds,
                }
            }
            Ok(Step::Thinking) => Said::Doing {
                stage: Stage::Thinking,
                milliseconds,
            },
            Ok(Step::Started { model }) => {
                turn.model = model;
                return Ok(());
            }
            Ok(Step::Text(text)) => {
                turn.times.first_token_ms.get_or_insert(milliseconds);
                turn.reply.push_str(&text);
                turn.written = turn.reply.len();
                if turn.times.first_sentence_ms.is_none() && has_sentence(&turn.reply) {
                    turn.times.first_sentence_ms = Some(milliseconds);
                }
                Said::Text(text)
            }
            Ok(Step::Added(text)) => {
                turn.reply.push_str(&text);
                Said::Text(text)
            }
            Ok(Step::Citation(source)) => {
                turn.sources.push(source.clone());
                Said::Citation(source)
            }
            Ok(Step::Done { finish, usage }) => return self.finish(milliseconds, finish, usage).await,
            Err(error) => return self.fail(error).await,
        };
        let id = turn.id.clone();
        self.tell(&id, said).await
    }

    /// The reply is complete: it is written down, then the client is told.
    async fn finish(&mut self, done_ms: u32, finish: Finish, usage: Usage) -> Result<(), End> {
        let Some(mut turn) = self.turn.take() else {
            return Ok(());
        };
        turn.times.done_ms = done_ms;
        turn.times.first_sentence_ms.get_or_insert(done_ms);
        let (id, times, said) = (turn.id.clone(), turn.times, turn.text.clone());
        let outcome = Outcome {
            finish: Some(finish),
            usage,
            ..turn.outcome(TurnState::Unconfirmed)
        };
        self.mind.store.end_turn(&self.key, &id, &outcome).await?;
        tracing::info!(
            dialogue = self.key.dialogue,
            turn = id,
            model = outcome.model,
            sources = outcome.sources.len(),
            completion_tokens = usage.completion_tokens,
            first_token_ms = times.first_token_ms,
            done_ms,
            "turn done"
        );
        if self.settings.recalls && self.mind.config.learn_facts && wishes::wish(&said).is_none() {
            let (key, turn) = (self.key.clone(), id.clone());
            self.mind.learner.read(Lesson { key, turn, said });
        }
        let Outcome { reply, model, .. } = outcome;
        self.tell(
            &id,
            Said::Done(Done {
                reply,
                usage,
                finish,
                model,
                times,
            }),
        )
        .await?;
        self.draft_what_waits();
        Ok(())
    }

    /// The reply failed. When llm-svc went away before the client had any of its words, the turn is tried once more: the
    /// call waits for it to serve again, bounded by the turn's deadline.
    async fn fail(&mut self, error: Error) -> Result<(), End> {
        let Some(mut turn) = self.turn.take() else {
            return Ok(());
        };
        if error.is_llm_gone() && turn.reply.is_empty() && !turn.retried && Instant::now() < turn.deadline {
            tracing::info!(turn = turn.id, error = %error, "the reply is tried once more");
            turn.retried = true;
            turn.preparation = self.prepare(&turn.text, turn.max_tokens, turn.deadline);
            self.turn = Some(turn);
            return Ok(());
        }
        let id = turn.id.clone();
        let outcome = Outcome {
            failure: error.to_string(),
            ..turn.outcome(TurnState::Failed)
        };
        self.mind.store.end_turn(&self.key, &id, &outcome).await?;
        self.tell(&id, Said::Failed(error)).await?;
        self.draft_what_waits();
        Ok(())
    }

    /// Cancels the turn that runs and writes down what was said of its reply; its identifier, if there was one.
    pub(super) async fn interrupt(&mut self) -> Result<Option<String>, Error> {
        let Some(turn) = self.turn.take() else { return Ok(None) };
        let id = turn.id.clone();
        tracing::info!(dialogue = self.key.dialogue, turn = id, "turn interrupted");
        let outcome = turn.outcome(TurnState::Interrupted);
        self.mind.store.end_turn(&self.key, &id, &outcome).await?;
        Ok(Some(id))
    }
}
