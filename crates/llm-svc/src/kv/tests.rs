//! The books under any order of requests: they balance, and an engine that follows the operations agrees with them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn text(from: u32, count: u32) -> Vec<u32> {
    (from..from + count).collect()
}

/// Computes the rest of a prompt.
fn fill(books: &mut KvBooks, slot: Slot, prompt: &[u32]) {
    let known = books.length(slot);
    books.reserve(slot, prompt.len() - known).unwrap();
    books.append(slot, &prompt[known..]);
}

#[test]
fn the_next_turn_of_a_dialogue_takes_over_its_slot() {
    let mut books = KvBooks::new(4, 64, None);
    let first = text(0, 200);
    let slot = books.claim(&first).unwrap();
    fill(&mut books, slot, &first);
    books.keep(slot);
    let second = [&first[..190], &text(900, 30)].concat();
    assert_eq!(books.known(&second), 190);
    let again = books.claim(&second).unwrap();
    assert_eq!((again, books.length(again)), (slot, 190));
    assert_eq!(books.take_ops(), [KvOp::Truncate { slot, tokens: 190 }]);
}

#[test]
fn a_shared_beginning_is_forked_and_its_blocks_are_counted_once() {
    let mut books = KvBooks::new(4, 64, None);
    let system = text(0, 100);
    let prompt = |question| [&system[..], &text(question, 300)].concat();
    let one = books.claim(&prompt(1000)).unwrap();
    fill(&mut books, one, &prompt(1000));
    let two = books.claim(&prompt(2000)).unwrap();
    assert_eq!(books.length(two), 100);
    let fork = KvOp::Fork {
        from: one,
        to: two,
        tokens: 100,
    };
    assert_eq!(books.take_ops(), [fork]);
    fill(&mut books, two, &prompt(2000));
    // 13 blocks each, of which 3 are the same.
    assert_eq!((books.blocks_in_use(), books.blocks_kept()), (23, 0));
    books.keep(one);
    assert_eq!((books.blocks_in_use(), books.blocks_kept()), (13, 10));
    books.forget(two);
    assert_eq!((books.blocks_in_use(), books.blocks_kept()), (0, 13));
}

#[test]
fn the_last_token_of_a_known_prompt_is_computed_again() {
    let mut books = KvBooks::new(2, 8, None);
    let prompt = text(0, 40);
    let slot = books.claim(&prompt).unwrap();
    fill(&mut books, slot, &prompt);
    books.keep(slot);
    assert_eq!(books.known(&prompt), 39);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let mut books = KvBooks::new(2, 8, None);
    let prompts = [text(0, 60), text(100, 60), text(200, 60)];
    for prompt in &prompts[..2] {
        let slot = books.claim(prompt).unwrap();
        fill(&mut books, slot, prompt);
        books.keep(slot);
    }
    let slot = books.claim(&prompts[2]).unwrap();
    fill(&mut books, slot, &prompts[2]);
    assert_eq!(books.known(&prompts[0]), 0);
    assert_eq!(books.known(&prompts[1]), 59);
}

#[test]
fn running_sequences_are_never_evicted() {
    let mut books = KvBooks::new(2, 4, None);
    let slot = books.claim(&text(0, 100)).unwrap();
    fill(&mut books, slot, &text(0, 100));
    let other = books.claim(&text(500, 40)).unwrap();
    assert_eq!(books.reserve(other, 40), Err(NoRoom));
    assert_eq!(books.claim(&text(900, 10)), Err(NoRoom));
}

#[test]
fn exact_prefixes_are_whole_pieces_computed_as_such() {
    let mut books = KvBooks::new(1, 8, Some(16));
    let prompt = text(0, 50);
    let slot = books.claim(&prompt).unwrap();
    for piece in prompt.chunks(16) {
        books.reserve(slot, piece.len()).unwrap();
        books.append(slot, piece);
    }
    books.append(slot, &[7]);
    books.keep(slot);
    assert_eq!(books.known(&prompt), 48);
    assert_eq!(books.known(&prompt[..48]), 32, "the last token is computed as it was");
}

/// What a test does to the books.
#[derive(Debug, Clone)]
enum Act {
    Claim { family: u32, shared: u32, own: u32 },
    Grow { which: usize, count: u32 },
    Keep { which: usize },
    Forget { which: usize },
    Lose { which: usize, tokens: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0_u32..3, 0_u32..150, 1_u32..60).prop_map(|(family, shared, own)| Act::Claim { family, shared, own }),
        (any::<usize>(), 1_u32..50).prop_map(|(which, count)| Act::Grow { which, count }),
        any::<usize>().prop_map(|which| Act::Keep { which }),
        any::<usize>().prop_map(|which| Act::Forget { which }),
        (any::<usize>(), 0_usize..80).prop_map(|(which, tokens)| Act::Lose { which, tokens }),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn the_books_balance_and_the_engine_agrees(acts in acts(), exact in prop_oneof![Just(None), Just(Some(16))]) {
        let (slots, blocks) = (5, 24);
        let mut books = KvBooks::new(slots, blocks, exact);
        // An engine that does what it is told, and the sequences that run.
        let mut engine: HashMap<Slot, Vec<u32>> = HashMap::new();
        let mut running: Vec<Slot> = Vec::new();
        let mut next = 10_000;
        for act in acts {
            match act {
                Act::Claim { family, shared, own } => {
                    let prompt = [text(family * 1000, shared), text(next, own)].concat();
                    next += own;
                    let known = books.known(&prompt);
                    if let Ok(slot) = books.claim(&prompt) {
                        prop_assert!(!running.contains(&slot));
                        prop_assert!(books.length(slot) <= known);
                        running.push(slot);
                    } else {
                        prop_assert_eq!(running.len(), slots);
                    }
                }
                Act::Grow { which, count } if !running.is_empty() => {
                    let slot = running[which % running.len()];
                    if books.reserve(slot, count as usize).is_ok() {
                        follow(&mut books, &mut engine);
                        let tokens = text(next, count);
                        next += count;
                        books.append(slot, &tokens);
                        engine.entry(slot).or_default().extend(tokens);
                    }
                }
                Act::Keep { which } if !running.is_empty() => books.keep(running.swap_remove(which % running.len())),
                Act::Forget { which } if !running.is_empty() => books.forget(running.swap_remove(which % running.len())),
                Act::Lose { which, tokens } if !running.is_empty() => {
                    let slot = running[which % running.len()];
                    follow(&mut books, &mut engine);
                    let tokens = tokens.min(books.length(slot));
                    books.correct(slot, tokens);
                    engine.entry(slot).or_default().truncate(tokens);
                }
                _ => {}
            }
            follow(&mut books, &mut engine);
            for (index, entry) in books.slots.iter().enumerate() {
                let known = engine.get(&Slot(index)).cloned().unwrap_or_default();
                prop_assert_eq!(entry.as_ref().map_or(&[][..], |entry| &entry.tokens), &known[..]);
                if let Some(entry) = entry {
                    prop_assert!(entry.blocks.len() >= entry.tokens.len().div_ceil(BLOCK));
                    prop_assert!(entry.whole <= entry.tokens.len());
                }
            }
            let mut holders = vec![0; blocks];
            for block in books.slots.iter().flatten().flat_map(|entry| &entry.blocks) {
                holders[*block] += 1;
            }
            prop_assert_eq!(&holders, &books.holders);
            let unheld = holders.iter().filter(|&&count| count == 0).count();
            prop_assert_eq!(books.free.len(), unheld);
        }
        for slot in running {
            books.keep(slot);
        }
        prop_assert_eq!(books.blocks_in_use(), 0);
    }
}

fn follow(books: &mut KvBooks, engine: &mut HashMap<Slot, Vec<u32>>) {
    for op in books.take_ops() {
        match op {
            KvOp::Truncate { slot, tokens } => engine.entry(slot).or_default().truncate(tokens),
            KvOp::Fork { from, to, tokens } => {
                let copied = engine[&from][..tokens].to_vec();
                let before = engine.insert(to, copied);
                assert!(before.is_none_or(|tokens| tokens.is_empty()), "a fork's slot is empty");
            }
        }
    }
}
