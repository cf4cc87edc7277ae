//! Who runs in this step: continuous batching over one engine.
//!
//! Requests wait, run, and leave between any two steps. A step takes the next token of running answers and pieces of
//! prompts, as much as the [`pace`] allows, so that a long prompt never holds up others for more than one step; where answers
//! would take much of it, they are left out of every other one, and whoever waits for a first token has it sooner. Who goes
//! first: the higher priority, then the client with fewer running requests, then who came, or whose client was served,
//! longest ago (`order.rs`); and whoever was passed over for long, or overtaken often, moves up.
//! Where room runs out, the lowest priority is set back: its keys and values become ordinary cache, and it goes on from
//! what is left of them.
//!
//! Pure: no engine, no clock, no tokens chosen here. [`crate::lane`] computes what [`Scheduler::plan`] says, tells
//! [`Scheduler::computed`], and appends what was chosen with [`Scheduler::extend`].

mod order;
mod pace;

use std::collections::HashMap;
use std::time::Duration;

use solo_service::Priority;

pub use pace::Pace;

use crate::engine::{Run, Slot};
use crate::kv::{KvBooks, KvOp};

/// Names a request within its scheduler.
pub type Id = u64;

/// A request, as far as the scheduler has to know it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Its name.
    pub id: Id,
    /// Whose requests are counted together.
    pub client: String,
    /// Who goes first.
    pub priority: Priority,
    /// The prompt: at least one token, fewer than a sequence may have.
    pub prompt: Vec<u32>,
}

/// What is computed in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The pieces, one for each sequence.
    pub pieces: Vec<Piece>,
}

/// Some tokens of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The request.
    pub id: Id,
    /// Its slot.
    pub slot: Slot,
    /// Tokens computed before.
    pub position: usize,
    /// Tokens computed now.
    pub count: usize,
    /// True when nothing of it is left to compute: what follows can be chosen.
    pub scored: bool,
}

/// A request that got a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The request.
    pub id: Id,
    /// Its slot.
    pub slot: Slot,
    /// False when it had run before and was set back.
    pub first: bool,
}

/// The scheduler of one engine.
pub struct Scheduler {
    /// Sequences that run at once.
    parallel: usize,
    pace: Pace,
    kv: KvBooks,
    sequences: Vec<Sequence>,
    /// Counts events, to tell ages.
    clock: u64,
    /// Counts steps.
    steps: u64,
    /// When each client was last given a slot.
    served: HashMap<String, u64>,
}

struct Sequence {
    ask: Ask,
    /// The prompt, and what was chosen so far.
    tokens: Vec<u32>,
    slot: Option<Slot>,
    arrived: u64,
    /// When it was last in a step.
    stepped: u64,
    /// True when its next token could have been computed in the last step and was not.
    held: bool,
    /// Steps in which higher ones went on and it did not, less those that it was in, since it was last moved up.
    passed_over: u64,
    /// Later ones of its priority that got a slot before it.
    overtaken: usize,
    admitted: bool,
}

impl Scheduler {
    /// A scheduler over the slots and blocks of `kv`, where at most `parallel` sequences run.
    pub fn new(kv: KvBooks, parallel: usize, pace: Pace) -> Self {
        Self {
            parallel: parallel.max(1),
            pace,
            kv,
            sequences: Vec::new(),
            clock: 0,
            steps: 0,
            served: HashMap::new(),
        }
    }

    /// Takes a request in. How many may come in is decided where they come from.
    pub fn submit(&mut self, ask: Ask) {
        self.clock += 1;
        self.sequences.push(Sequence {
            tokens: ask.prompt.clone(),
            ask,
            slot: None,
            arrived: self.clock,
            stepped: 0,
            held: false,
            passed_over: 0,
            overtaken: 0,
            admitted: false,
        });
    }

    /// Notes how long a prompt's tokens take, before the first request.
    pub fn expect(&mut self, tokens: usize, took: Duration) {
        self.pace.expect(tokens, took);
    }

    /// The highest priority of all requests.
    pub fn priority(&self) -> Option<Priority> {
        self.sequences.iter().map(|sequence| sequence.ask.priority).max()
    }

    /// Forgets everything that nobody runs on.
    pub fn forget_all(&mut self) {
        self.kv.forget_kept();
    }

    /// Requests without a slot.
    pub fn waiting(&self) -> usize {
        self.sequences.len() - self.running()
    }

    /// Requests with a slot.
    pub fn running(&self) -> usize {
        self.sequences.iter().filter(|sequence| sequence.slot.is_some()).count()
    }

    /// True when there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The books on keys and values.
    pub fn kv(&self) -> &KvBooks {
        &self.kv
    }

    /// What the engine has to do before the next step, in order.
    pub fn take_ops(&mut self) -> Vec<KvOp> {
        self.kv.take_ops()
    }

    /// The engine knows less of a slot than the books say.
    pub fn correct(&mut self, slot: Slot, tokens: usize) {
        self.kv.correct(slot, tokens);
    }

    /// Tokens of a request that are computed already.
    pub fn computed_tokens(&self, id: Id) -> usize {
        self.find(id)
            .and_then(|index| self.sequences[index].slot)
            .map_or(0, |slot| self.kv.length(slot))
    }

    /// Lets a request go, whether it is answered or not wanted any more: its slot is free at once, its keys and values
    /// are cache.
    pub fn remove(&mut self, id: Id) {
        let Some(index) = self.find(id) else { return };
        if let Some(slot) = self.sequences.remove(index).slot {
            self.kv.keep(slot);
        }
        if self.sequences.is_empty() {
            self.served.clear();
        }
    }

    /// The engine failed on a request: what it knows of it is worth nothing.
    pub fn fail(&mut self, id: Id) {
        let Some(index) = self.find(id) else { return };
        if let Some(slot) = self.sequences.remove(index).slot {
            self.kv.forget(slot);
        }
    }

    /// Appends tokens to an answer: they are computed in the next steps.
    pub fn extend(&mut self, id: Id, tokens: &[u32]) {
        if let Some(index) = self.find(id) {
            self.sequences[index].tokens.extend_from_slice(tokens);
        }
    }

    /// Gives slots to those who wait, as far as there is room; sets lower priorities back for higher ones.
    pub fn admit(&mut self) -> Vec<Admitted> {
        let mut admitted = Vec::new();
        while let Some(index) = self.next_waiting() {
            if self.running() >= self.parallel && !self.set_back_below(self.sequences[index].ask.priority) {
                break;
            }
            let sequence = &self.sequences[index];
            let wanted = sequence.tokens.len() + 1;
            let known = self.kv.known(&sequence.tokens);
            // Those who run need a block each, soon.
            let room = self.kv.available().saturating_sub(self.running());
            if self.running() > 0 && (wanted - known).div_ceil(crate::engine::BLOCK) > room {
                break;
            }
            let Ok(slot) = self.kv.claim(&sequence.tokens) else {
                break;
            };
            self.clock += 1;
            let clock = self.clock;
            self.overtake(index);
            let sequence = &mut self.sequences[index];
            sequence.slot = Some(slot);
            admitted.push(Admitted {
                id: sequence.ask.id,
                slot,
                first: !std::mem::replace(&mut sequence.admitted, true),
            });
            self.served.insert(sequence.ask.client.clone(), clock);
        }
        admitted
    }

    /// Chooses what is computed next. Empty when nothing can be.
    pub fn plan(&mut self) -> Step {
        loop {
            let mut step = Step::default();
            let mut starved = None;
            for (index, count) in self.choose() {
                let sequence = &self.sequences[index];
                let Some(slot) = sequence.slot else { continue };
                if self.kv.reserve(slot, count).is_err() {
                    starved = Some(index);
                    continue;
                }
                let position = self.kv.length(slot);
                step.pieces.push(Piece {
                    id: sequence.ask.id,
                    slot,
                    position,
                    count,
                    scored: position + count == sequence.tokens.len(),
                });
            }
            match (starved, self.lowest_running()) {
                // Whoever is worth least makes room, even if it is the one that lacks it.
                (Some(_), Some(lowest)) if self.running() > 1 => self.set_back(lowest),
                _ => return step,
            }
        }
    }

    /// The step's tokens, for the engine.
    pub fn runs<'a>(&'a self, step: &Step) -> Vec<Run<'a>> {
        let pieces = step.pieces.iter().filter_map(|piece| {
            let tokens = &self.sequences[self.find(piece.id)?].tokens;
            Some(Run {
                slot: piece.slot,
                position: piece.position,
                tokens: &tokens[piece.position..piece.position + piece.count],
                scored: piece.scored,
            })
        });
        pieces.collect()
    }

    /// Notes that a step is computed, and how long it took.
    pub fn computed(&mut self, step: &Step, took: Duration) {
        self.clock += 1;
        self.steps += 1;
        let counts: Vec<usize> = step.pieces.iter().map(|piece| piece.count).collect();
        self.pace.learn(&counts, took);
        for piece in &step.pieces {
            let Some(index) = self.find(piece.id) else { continue };
            let sequence = &mut self.sequences[index];
            sequence.stepped = self.clock;
            self.kv.append(
                piece.slot,
                &sequence.tokens[piece.position..piece.position + piece.count],
            );
        }
        for index in 0..self.sequences.len() {
            let sequence = &self.sequences[index];
            let ready = sequence.slot.is_some() && self.pending(index) == 1;
            self.sequences[index].held = ready && sequence.stepped != self.clock;
        }
        self.age();
    }

    /// Tokens of a running sequence that are not computed.
    fn pending(&self, index: usize) -> usize {
        let sequence = &self.sequences[index];
        sequence.tokens.len() - sequence.slot.map_or(0, |slot| self.kv.length(slot))
    }

    /// Sets the lowest-ranked running sequence back if its priority is below `priority`.
    fn set_back_below(&mut self, priority: Priority) -> bool {
        match self.lowest_running() {
            Some(index) if self.sequences[index].ask.priority < priority => {
                self.set_back(index);
                true
            }
            _ => false,
        }
    }

    fn set_back(&mut self, index: usize) {
        if let Some(slot) = self.sequences[index].slot.take() {
            self.kv.keep(slot);
        }
    }

    fn find(&self, id: Id) -> Option<usize> {
        self.sequences.iter().position(|sequence| sequence.ask.id == id)
    }
}

#[cfg(test)]
mod tests;
