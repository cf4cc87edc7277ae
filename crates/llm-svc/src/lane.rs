//! One engine at work: its scheduler, the answers that run on it, and the step that moves them all on.
//!
//! A step: drop who is not wanted any more, let in who waits, have the engine compute what the scheduler chose, and let
//! each answer whose scores are there choose its next token. Everything between two steps takes microseconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_service::{CancelToken, Priority};
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::{Answer, Finished, Interrupted, Job, Next, Sink};
use crate::engine::{EngineError, Logits, Run, Slot, StepEngine};
use crate::kv::{KvBooks, KvOp};
use crate::scheduler::{Ask, Id, Pace, Scheduler, Step};

/// What a request brings besides its job.
pub struct Request {
    /// What to answer.
    pub job: Job,
    /// Whose requests are counted together.
    pub client: String,
    /// Who goes first.
    pub priority: Priority,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// When it came in.
    pub asked: Instant,
    /// Cancelled when nobody listens any more.
    pub cancel: CancelToken,
    /// Where the answer goes.
    pub sink: Sink,
    /// Its place among the requests that the service takes at once; given back when it is done.
    pub place: Option<OwnedSemaphorePermit>,
}

/// How a lane schedules.
#[derive(Debug, Clone, Copy)]
pub struct LaneOptions {
    /// Answers at once.
    pub parallel: usize,
    /// How long a step may take.
    pub step: Duration,
    /// Set for a lane whose results do not depend on what else happens: prompts are cut in pieces of so many tokens.
    pub exact: Option<usize>,
}

/// An engine at work.
pub struct Lane {
    engine: Box<dyn StepEngine>,
    scheduler: Scheduler,
    active: HashMap<Id, Active>,
    next: Id,
    logits: Logits,
    tally: Tally,
    /// Set for a lane that takes one request at a time: how long its turn may be.
    alone: Option<Duration>,
}

struct Active {
    answer: Answer,
    deadline: Option<Instant>,
    cancel: CancelToken,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a lane has done since it was asked last.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers that are complete.
    pub finished: Vec<Finished>,
}

impl Lane {
    /// A lane on a model that knows no sequence yet.
    pub fn new(engine: Box<dyn StepEngine>, options: &LaneOptions) -> Self {
        let can = engine.capabilities();
        let kv = KvBooks::new(can.slots, can.blocks, options.exact);
        let (parallel, pace) = match options.exact {
            Some(piece) => (1, Pace::exact(piece.min(can.step_tokens))),
            None => (
                options.parallel.min(can.slots),
                Pace::adaptive(can.step_tokens, options.step),
            ),
        };
        Self {
            engine,
            scheduler: Scheduler::new(kv, parallel, pace),
            active: HashMap::new(),
            next: 0,
            logits: Logits::default(),
            tally: Tally::default(),
            alone: options.exact.map(|_| options.step),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &dyn StepEngine {
        self.engine.as_ref()
    }

    /// The scheduler, for its figures.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// What was done since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// True when nobody waits and nobody runs.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Computes a little of everything: the first pass prepares weights and buffers, the second tells how long a prompt's
    /// tokens take here.
    ///
    /// # Errors
    /// Whatever the engine says.
    pub fn warm_up(&mut self) -> Result<(), EngineError> {
        let can = self.engine.capabilities();
        let count = can.step_tokens.min(Pace::LEAST).min(can.context_length - 1);
        let tokens = vec![0; count];
        let run = |position, tokens| Run {
            slot: Slot(0),
            position,
            tokens,
            scored: true,
        };
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            self.engine.truncate(Slot(0), 0)?;
            let begun = Instant::now();
            self.engine.step(&[run(0, &tokens)], &mut self.logits)?;
            took = begun.elapsed();
        }
        self.scheduler.expect(count, took);
        self.engine.step(&[run(count, &[0])], &mut self.logits)?;
        self.engine.truncate(Slot(0), 0).map(drop)
    }

    /// Takes a request in.
    pub fn submit(&mut self, request: Request) {
        let id = self.next;
        self.next += 1;
        self.scheduler.submit(Ask {
            id,
            client: request.client,
            priority: request.priority,
            prompt: request.job.prompt.clone(),
        });
        let room = self.engine.capabilities().context_length - request.job.prompt.len();
        let active = Active {
            answer: Answer::new(request.job, self.engine.tokenizer(), room, request.asked, request.sink),
            deadline: request.deadline,
            cancel: request.cancel,
            _place: request.place,
        };
        self.active.insert(id, active);
    }

    /// Drops who is not wanted any more and lets in who waits, as far as there is room: comes before each step. True when
    /// somebody came in.
    pub fn admit(&mut self) -> bool {
        self.drop_unwanted();
        let admitted = self.scheduler.admit();
        if let Err(error) = self.follow() {
            self.fail_all(&Interrupted::Engine(Arc::new(error)));
            return false;
        }
        let came = !admitted.is_empty();
        for admitted in admitted {
            let cached = self.scheduler.computed_tokens(admitted.id);
            if let Some(active) = self.active.get_mut(&admitted.id).filter(|_| admitted.first) {
                active.answer.start(cached);
            }
        }
        came
    }

    /// Computes what is due before others have their turn: a step, or, where requests share none, one for each of them as
    /// long as a step may take. So requests with a seed get on about as fast as those without. False when there was
    /// nothing to compute.
    pub fn turn(&mut self) -> bool {
        let begun = Instant::now();
        let mut more = self.step();
        if let Some(time) = self.alone {
            for _ in 1..self.active.len() {
                if begun.elapsed() >= time {
                    break;
                }
                self.admit();
                more = self.step();
            }
        }
        more
    }

    /// Computes one step; false when there was nothing to compute.
    pub fn step(&mut self) -> bool {
        let step = self.scheduler.plan();
        if let Err(error) = self.follow() {
            self.fail_all(&Interrupted::Engine(Arc::new(error)));
            return true;
        }
        if step.pieces.is_empty() {
            if !self.active.is_empty() {
                // The books let one whole sequence run in any case; so this is a fault of ours, and nobody shall hang.
                self.fail_all(&Interrupted::Stuck);
            }
            return false;
        }
        let begun = Instant::now();
        match self.engine.step(&self.scheduler.runs(&step), &mut self.logits) {
            Ok(()) => {
                self.scheduler.computed(&step, begun.elapsed());
                self.choose(&step);
            }
            Err(error) => {
                let error = Arc::new(error);
                for piece in &step.pieces {
                    self.interrupt(piece.id, Interrupted::Engine(Arc::clone(&error)));
                }
            }
        }
        true
    }

    /// Ends everything, because the model goes.
    pub fn close(&mut self) {
        for id in self.active.keys().copied().collect::<Vec<_>>() {
            self.interrupt(id, Interrupted::Unloaded);
        }
    }

    /// Lets every answer whose scores are there choose what follows.
    fn choose(&mut self, step: &Step) {
        let scored = step.pieces.iter().filter(|piece| piece.scored);
        for (row, piece) in scored.enumerate() {
            let Some(active) = self.active.get_mut(&piece.id) else {
                continue;
            };
            match active.answer.next(self.logits.row_mut(row)) {
                Ok(Next::Tokens(tokens)) => self.scheduler.extend(piece.id, &tokens),
                Ok(Next::Done(reason)) => {
                    self.scheduler.remove(piece.id);
                    if let Some(active) = self.active.remove(&piece.id) {
                        self.tally.finished.push(active.answer.finish(reason));
                    }
                }
                Err(why) => self.interrupt(piece.id, why),
            }
        }
    }

    /// Requests whose callers are gone, and those whose time is up, leave before the step.
    fn drop_unwanted(&mut self) {
        let now = Instant::now();
        let unwanted: Vec<(Id, Interrupted)> = self
            .active
            .iter()
            .filter_map(|(&id, active)| {
                if active.cancel.is_cancelled() {
                    Some((id, Interrupted::Cancelled))
                } else if active.deadline.is_some_and(|deadline| deadline <= now) {
                    Some((id, Interrupted::Deadline))
                } else {
                    None
                }
            })
            .collect();
        for (id, why) in unwanted {
            self.interrupt(id, why);
        }
    }

    fn interrupt(&mut self, id: Id, why: Interrupted) {
        match why {
            // What the engine computed is sound: it stays as cache.
            Interrupted::Cancelled | Interrupted::Deadline | Interrupted::Constraint(_) => self.scheduler.remove(id),
            Interrupted::Engine(_) | Interrupted::NoScores(_) | Interrupted::Unloaded | Interrupted::Stuck => {
                self.scheduler.fail(id)
            }
        }
        if let Some(active) = self.active.remove(&id) {
            active.answer.interrupt(why);
        }
    }

    /// Has the engine do what the books say.
    fn follow(&mut self) -> Result<(), EngineError> {
        for op in self.scheduler.take_ops() {
            let (slot, wanted, kept) = match op {
                KvOp::Truncate { slot, tokens } => (slot, tokens, self.engine.truncate(slot, tokens)?),
                KvOp::Fork { from, to, tokens } => (to, tokens, self.engine.fork(from, to, tokens)?),
            };
            if kept < wanted {
                self.scheduler.correct(slot, kept);
            }
        }
        Ok(())
    }

    /// The engine cannot follow the books: everybody hears why, and all is forgotten.
    fn fail_all(&mut self, why: &Interrupted) {
        for id in self.active.keys().copied().collect::<Vec<_>>() {
            self.interrupt(id, why.clone());
        }
        self.scheduler.forget_all();
    }
}
