//! The scheduler with an engine that only keeps count: any order of requests ends with all answered and nothing held.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::order::PATIENCE;
use super::*;
use crate::engine::BLOCK;

mod crowd;

/// Does what it is told, and complains when that cannot be.
#[derive(Default)]
struct Counting {
    sequences: HashMap<Slot, Vec<u32>>,
}

impl Counting {
    fn follow(&mut self, scheduler: &mut Scheduler) {
        for op in scheduler.take_ops() {
            match op {
                KvOp::Truncate { slot, tokens } => self.sequences.entry(slot).or_default().truncate(tokens),
                KvOp::Fork { from, to, tokens } => {
                    let copied = self.sequences[&from][..tokens].to_vec();
                    let before = self.sequences.insert(to, copied);
                    assert!(before.is_none_or(|tokens| tokens.is_empty()));
                }
            }
        }
    }

    fn step(&mut self, scheduler: &Scheduler, step: &Step) {
        let mut seen = HashSet::new();
        for run in scheduler.runs(step) {
            assert!(seen.insert(run.slot), "a slot is in a step once");
            let known = self.sequences.entry(run.slot).or_default();
            assert_eq!(known.len(), run.position);
            assert!(!run.tokens.is_empty());
            known.extend_from_slice(run.tokens);
        }
    }
}

/// A scheduler, its engine, and how many tokens each answer still wants.
struct World {
    scheduler: Scheduler,
    engine: Counting,
    wanted: HashMap<Id, usize>,
    /// Requests in the order in which they were finished.
    finished: Vec<Id>,
    steps: Vec<Step>,
    next: u32,
}

impl World {
    fn new(parallel: usize, slots: usize, blocks: usize) -> Self {
        let kv = KvBooks::new(slots, blocks, None);
        let pace = Pace::adaptive(64, Duration::from_millis(100));
        Self {
            scheduler: Scheduler::new(kv, parallel, pace),
            engine: Counting::default(),
            wanted: HashMap::new(),
            finished: Vec::new(),
            steps: Vec::new(),
            next: 1_000_000,
        }
    }

    fn submit(&mut self, id: Id, client: &str, priority: Priority, prompt: Vec<u32>, wanted: usize) {
        self.wanted.insert(id, wanted);
        self.scheduler.submit(Ask {
            id,
            client: client.to_owned(),
            priority,
            prompt,
        });
    }

    /// One step that takes 10 ms for each token; returns what was computed.
    fn step(&mut self) -> Step {
        self.scheduler.admit();
        self.engine.follow(&mut self.scheduler);
        let step = self.scheduler.plan();
        self.engine.follow(&mut self.scheduler);
        self.engine.step(&self.scheduler, &step);
        let tokens: usize = step.pieces.iter().map(|piece| piece.count).sum();
        self.scheduler
            .computed(&step, Duration::from_millis(10 * tokens as u64));
        for piece in step.pieces.iter().filter(|piece| piece.scored) {
            let left = self.wanted.get_mut(&piece.id).unwrap();
            *left -= 1;
            if *left == 0 {
                self.scheduler.remove(piece.id);
                self.finished.push(piece.id);
            } else {
                self.next += 1;
                self.scheduler.extend(piece.id, &[self.next]);
            }
        }
        self.steps.push(step.clone());
        step
    }

    fn run(&mut self) {
        while !self.scheduler.is_idle() {
            assert!(!self.step().pieces.is_empty(), "somebody waits, and nothing is done");
        }
    }
}

/// A prompt that nobody else has.
fn own(id: Id, length: u32) -> Vec<u32> {
    (0..length).map(|index| id as u32 * 10_000 + index).collect()
}

#[test]
fn answers_go_on_while_a_long_prompt_is_computed() {
    let mut world = World::new(4, 8, 64);
    world.submit(1, "a", Priority::Normal, own(1, 5), 40);
    world.step();
    world.submit(2, "b", Priority::Normal, own(2, 600), 1);
    while world.scheduler.computed_tokens(2) < 600 && world.finished.is_empty() {
        let step = world.step();
        assert!(
            step.pieces.iter().any(|piece| piece.id == 1 && piece.count == 1),
            "{step:?}"
        );
        assert!(step.pieces.iter().map(|piece| piece.count).sum::<usize>() <= 64 + 16);
    }
    assert!(world.steps.len() > 5);
    world.run();
}

#[test]
fn many_answers_go_on_in_every_other_step_while_a_long_prompt_is_computed() {
    let mut world = World::new(8, 8, 128);
    for id in 0..6 {
        world.submit(id, "a", Priority::Normal, own(id, 5), 200);
    }
    while (0..6).any(|id| world.scheduler.computed_tokens(id) < 8) {
        world.step();
    }
    world.submit(6, "b", Priority::Normal, own(6, 600), 1);
    let mut alone = 0;
    let mut steps = 0;
    let mut waited = [0; 6];
    while world.finished.is_empty() {
        let step = world.step();
        steps += 1;
        alone += usize::from(step.pieces.len() == 1);
        for (id, waited) in (0..).zip(&mut waited) {
            let taken = step.pieces.iter().any(|piece| piece.id == id);
            *waited = if taken { 0 } else { *waited + 1 };
            assert!(*waited <= 1, "{step:?}");
        }
    }
    assert_eq!(world.finished, [6]);
    assert!(
        alone.abs_diff(steps - alone) <= 1,
        "{alone} of {steps} steps were the prompt's alone"
    );
    world.run();
}

#[test]
fn nobody_waits_for_ever_while_higher_priorities_keep_coming() {
    let mut world = World::new(2, 4, 64);
    world.submit(0, "late", Priority::Background, own(0, 5), 3);
    let mut next = 1;
    for _ in 0..4 * PATIENCE {
        // There is always more to do than there is room for.
        while world.scheduler.waiting() < 4 {
            let priority = if next % 2 == 0 {
                Priority::Normal
            } else {
                Priority::Spoken
            };
            world.submit(next, &format!("client {}", next % 3), priority, own(next, 5), 10);
            next += 1;
        }
        world.step();
        if world.finished.contains(&0) {
            return;
        }
    }
    panic!("it waits after {} steps", world.steps.len());
}

#[test]
fn an_answer_that_runs_is_not_left_at_the_pace_of_the_lowest_priority() {
    let mut world = World::new(4, 8, 64);
    world.submit(0, "late", Priority::Background, own(0, 5), 100);
    world.step();
    let mut next = 1;
    // At one step in sixteen it would take 1,600.
    while !world.finished.contains(&0) {
        assert!(world.steps.len() < 800, "it runs after {} steps", world.steps.len());
        while world.scheduler.running() + world.scheduler.waiting() < 3 {
            world.submit(next, "early", Priority::Spoken, own(next, 5), 10);
            next += 1;
        }
        world.step();
    }
}

#[test]
fn nobody_moves_up_by_waiting_for_his_equals() {
    let mut world = World::new(1, 4, 64);
    for id in 0..3 {
        world.submit(id, "late", Priority::Normal, own(id, 5), 2 * PATIENCE as usize);
        world.step();
    }
    while world.finished.is_empty() {
        world.step();
    }
    world.submit(3, "early", Priority::Spoken, own(3, 5), 3);
    while world.finished.len() < 2 {
        world.step();
    }
    assert_eq!(world.finished, [0, 3]);
}

#[test]
fn a_higher_priority_goes_first_and_the_lower_ones_do_not_starve() {
    let mut world = World::new(4, 8, 64);
    world.submit(1, "a", Priority::Background, own(1, 40), 100);
    world.step();
    world.submit(2, "b", Priority::Spoken, own(2, 40), 60);
    world.run();
    assert_eq!(world.finished, [2, 1]);
    let until = world.steps.iter().position(|step| {
        let mut pieces = step.pieces.iter();
        pieces.any(|piece| piece.id == 2) && !step.pieces.iter().any(|piece| piece.id == 1)
    });
    let shared = world.steps[until.unwrap()..].iter();
    let shared = shared.filter(|step| step.pieces.iter().map(|piece| piece.id).collect::<HashSet<_>>().len() == 2);
    assert!((3..=6).contains(&shared.count()), "one step in sixteen is for both");
}

#[test]
fn the_lowest_priority_is_set_back_and_goes_on_from_its_cache() {
    let mut world = World::new(1, 4, 64);
    world.submit(1, "a", Priority::Background, own(1, 100), 50);
    for _ in 0..6 {
        world.step();
    }
    let known = world.scheduler.computed_tokens(1);
    assert!(known >= 100);
    world.submit(2, "b", Priority::Spoken, own(2, 20), 3);
    world.run();
    assert_eq!(world.finished, [2, 1]);
    let positions: Vec<usize> = world
        .steps
        .iter()
        .flat_map(|step| &step.pieces)
        .filter(|piece| piece.id == 1)
        .map(|piece| piece.position)
        .collect();
    assert!(positions.is_sorted(), "nothing is computed twice: {positions:?}");
}

#[test]
fn clients_take_turns() {
    let mut world = World::new(1, 2, 64);
    for id in 0..4 {
        world.submit(id, "greedy", Priority::Normal, own(id, 4), 2);
    }
    world.submit(10, "modest", Priority::Normal, own(10, 4), 2);
    world.submit(11, "modest", Priority::Normal, own(11, 4), 2);
    world.run();
    assert_eq!(world.finished, [0, 10, 1, 11, 2, 3]);
}

#[test]
fn a_common_beginning_is_computed_once() {
    let mut world = World::new(8, 16, 128);
    let system = own(7, 200);
    for id in 0..8 {
        world.submit(
            id,
            "a",
            Priority::Normal,
            [system.clone(), own(100 + id, 10)].concat(),
            2,
        );
    }
    world.run();
    let prompts: usize = world
        .steps
        .iter()
        .flat_map(|step| &step.pieces)
        .map(|piece| piece.count)
        .sum();
    assert!(prompts < 210 + 8 * (10 + 16 + 2), "{prompts} tokens were computed");
}

#[test]
fn when_room_runs_out_somebody_waits_and_everybody_ends() {
    // Four sequences of 8 blocks each in 16 blocks.
    let mut world = World::new(4, 8, 16);
    for id in 0..4 {
        world.submit(id, "a", Priority::Normal, own(id, 60), 8 * BLOCK - 60);
    }
    world.run();
    assert_eq!(world.finished.len(), 4);
    assert_eq!(world.finished[0], 0, "the oldest is never set back");
}

/// What a test does.
#[derive(Debug, Clone)]
enum Act {
    Submit {
        client: u8,
        priority: u8,
        family: u32,
        shared: u32,
        own: u32,
        wanted: usize,
    },
    Cancel(usize),
    Fail(usize),
    Step(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let submit = (0_u8..3, 0_u8..3, 0_u32..2, 0_u32..120, 1_u32..60, 1_usize..40).prop_map(
        |(client, priority, family, shared, own, wanted)| Act::Submit {
            client,
            priority,
            family,
            shared,
            own,
            wanted,
        },
    );
    let act = prop_oneof![
        4 => submit,
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Fail),
        6 => (1_u8..8).prop_map(Act::Step),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn everybody_is_answered_and_nothing_is_held(acts in acts(), parallel in 1_usize..6, extra in 0_usize..4, blocks in 8_usize..40) {
        let mut world = World::new(parallel, parallel + extra, blocks);
        let mut next = 1;
        let mut gone = HashSet::new();
        for act in acts {
            match act {
                Act::Submit { client, priority, family, shared, own: length, wanted } => {
                    let priority = [Priority::Background, Priority::Normal, Priority::Spoken][priority as usize];
                    let prompt = [own(900 + Id::from(family), shared), own(next, length)].concat();
                    world.submit(next, &client.to_string(), priority, prompt, wanted);
                    next += 1;
                }
                Act::Cancel(which) | Act::Fail(which) if !world.wanted.is_empty() => {
                    let id = which as u64 % next;
                    if !world.finished.contains(&id) && world.wanted.contains_key(&id) {
                        gone.insert(id);
                    }
                    if matches!(act, Act::Fail(_)) { world.scheduler.fail(id) } else { world.scheduler.remove(id) }
                }
                Act::Step(count) => {
                    for _ in 0..count {
                        let step = world.step();
                        prop_assert!(world.scheduler.is_idle() || !step.pieces.is_empty() || !world.finished.is_empty());
                    }
                }
                _ => {}
            }
            prop_assert!(world.scheduler.running() <= parallel);
            prop_assert!(world.scheduler.kv().blocks_in_use() <= blocks);
        }
        let mut left = 20_000;
        while !world.scheduler.is_idle() {
            world.step();
            left -= 1;
            prop_assert!(left > 0, "somebody is never answered");
        }
        prop_assert_eq!(world.finished.len() + gone.len(), next as usize - 1);
        prop_assert_eq!(world.scheduler.kv().blocks_in_use(), 0);
        prop_assert_eq!((world.scheduler.running(), world.scheduler.waiting()), (0, 0));
    }
}
