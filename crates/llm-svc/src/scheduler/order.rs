//! Who goes first: into a slot, and into a step.

use std::cmp::Reverse;

use solo_service::Priority;

use super::{Scheduler, Sequence};

/// Steps of the highest priority between two that all priorities share.
const SHARED_EVERY: u64 = 16;
/// Steps that may pass a request over for higher ones, until it counts as one of the next higher priority: whatever the
/// load, everybody's turn comes. A short spoken answer has as many tokens: it moves nobody up by more than a level.
pub(super) const PATIENCE: u64 = 64;
/// Later ones of the same priority that may get a slot before a request because their clients have fewer running, or were
/// served longer ago; then it is next. Strangers come without end, and each has nothing running.
const COURTESY: usize = 32;
/// The part of a step from which on answers are left out of every other one while prompts are computed: a quarter.
const MUCH: usize = 4;
/// A prompt waits for another that is being computed where that saves at least this many tokens.
const WORTH_WAITING: usize = 16;

impl Sequence {
    /// The greater goes first.
    fn rank(&self) -> (Priority, Reverse<u64>) {
        (self.ask.priority, Reverse(self.arrived))
    }
}

impl Scheduler {
    /// Sequences of the next step, with how many tokens of each.
    pub(super) fn choose(&mut self) -> Vec<(usize, usize)> {
        let mut running: Vec<usize> = (0..self.sequences.len())
            .filter(|&index| self.sequences[index].slot.is_some())
            .collect();
        let top = running.iter().map(|&index| self.sequences[index].ask.priority).max();
        if self.steps % SHARED_EVERY != SHARED_EVERY - 1 {
            running.retain(|&index| Some(self.sequences[index].ask.priority) == top);
        }
        let (mut answers, mut prompts): (Vec<usize>, Vec<usize>) =
            running.into_iter().partition(|&index| self.pending(index) <= 1);
        // Those who waited longest since their last step go first; prompts in the order of their rank.
        answers.sort_by_key(|&index| self.sequences[index].stepped);
        prompts.sort_by_key(|&index| Reverse(self.sequences[index].rank()));
        if prompts.is_empty() {
            answers.truncate(self.pace.width(answers.len()));
            return answers.into_iter().map(|index| (index, 1)).collect();
        }
        if self.pace.is_exact() {
            // One sequence a step: nothing that happens elsewhere may show in its numbers.
            let index = prompts[0];
            let slot = self.sequences[index].slot;
            let start = slot.map_or(0, |slot| self.kv.length(slot));
            return vec![(index, self.pace.piece(start, self.pending(index)))];
        }
        let mut left = self.pace.tokens();
        let held = answers.iter().any(|&index| self.sequences[index].held);
        if !held && MUCH * answers.len() >= left {
            answers.clear();
        }
        answers.truncate(left);
        left -= answers.len();
        let mut chosen: Vec<(usize, usize)> = answers.into_iter().map(|index| (index, 1)).collect();
        left = left.max(self.pace.least());
        for index in prompts {
            if left == 0 {
                break;
            }
            let count = self.pending(index).min(left);
            chosen.push((index, count));
            left -= count;
        }
        chosen
    }

    /// Who gets the next slot.
    pub(super) fn next_waiting(&self) -> Option<usize> {
        let waiting = (0..self.sequences.len()).filter(|&index| self.sequences[index].slot.is_none());
        let worthy = waiting.filter(|&index| !self.should_wait(index));
        worthy.min_by_key(|&index| {
            let sequence = &self.sequences[index];
            let client = &sequence.ask.client;
            let theirs = self
                .sequences
                .iter()
                .filter(|other| other.slot.is_some() && other.ask.client == *client);
            (
                Reverse(sequence.ask.priority),
                sequence.overtaken < COURTESY,
                theirs.count(),
                // A client that has never been served comes in at its arrival, not before all others: in a stream of
                // strangers, nobody who has been here before would ever have his turn.
                self.served
                    .get(client)
                    .map_or(sequence.arrived, |&served| served.max(sequence.arrived)),
                sequence.arrived,
            )
        })
    }

    /// Counts whom a request overtakes that gets a slot.
    pub(super) fn overtake(&mut self, index: usize) {
        let (arrived, priority) = (self.sequences[index].arrived, self.sequences[index].ask.priority);
        for other in &mut self.sequences {
            if other.slot.is_none() && other.arrived < arrived && other.ask.priority == priority {
                other.overtaken += 1;
            }
        }
    }

    /// Whether somebody of the same or a higher priority is computing what this prompt begins with.
    fn should_wait(&self, index: usize) -> bool {
        let waiting = &self.sequences[index];
        let known = self.kv.known(&waiting.tokens);
        self.sequences.iter().any(|other| {
            let Some(slot) = other.slot.filter(|_| other.ask.priority >= waiting.ask.priority) else {
                return false;
            };
            let same = other
                .ask
                .prompt
                .iter()
                .zip(&waiting.tokens)
                .take_while(|(a, b)| a == b)
                .count();
            // What is computed already can be shared now.
            self.kv.length(slot) < same && same >= known + WORTH_WAITING
        })
    }

    pub(super) fn lowest_running(&self) -> Option<usize> {
        let running = (0..self.sequences.len()).filter(|&index| self.sequences[index].slot.is_some());
        running.min_by_key(|&index| self.sequences[index].rank())
    }

    /// Moves up who was passed over for long; comes after those in the step just computed are marked with its clock.
    pub(super) fn age(&mut self) {
        let now = self.clock;
        let taken = self.sequences.iter().filter(|sequence| sequence.stepped == now);
        let top = taken.map(|sequence| sequence.ask.priority).max();
        for sequence in &mut self.sequences {
            if sequence.stepped == now {
                sequence.passed_over = sequence.passed_over.saturating_sub(1);
            } else if Some(sequence.ask.priority) < top {
                sequence.passed_over += 1;
            }
            if sequence.passed_over >= PATIENCE {
                sequence.passed_over = 0;
                sequence.ask.priority = sequence.ask.priority.above();
            }
        }
    }
}
