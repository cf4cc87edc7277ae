//! A full house, at all times: who is overtaken, and how often.

use super::*;

/// Lets a crowd fill the house at all times: requests at random of any priority, client and length, half of them under one
/// system prompt, the next as soon as one is answered. With `strangers`, most clients come once and never again. For each
/// that was answered: its priority, and how many that came later began before it.
fn crowd(mut world: World, house: usize, strangers: bool, seed: u64) -> Vec<(Priority, usize)> {
    let mut dice = seed;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 20) % sides
    };
    let (mut next, mut asked, mut begun) = (0, HashMap::new(), HashSet::new());
    let mut overtaken: HashMap<Id, usize> = HashMap::new();
    let mut seen = Vec::new();
    while seen.len() < 20 * house {
        while asked.len() < house {
            let priority = [Priority::Background, Priority::Normal, Priority::Spoken][roll(3) as usize];
            let client = match strangers && roll(4) > 0 {
                true => format!("stranger {next}"),
                false => format!("client {}", roll(7)),
            };
            let system = own(90_000, 100 * roll(2) as u32);
            let prompt = [system, own(next, 20 + roll(300) as u32)].concat();
            world.submit(next, &client, priority, prompt, 1 + roll(60) as usize);
            asked.insert(next, priority);
            next += 1;
        }
        let done = world.finished.len();
        for piece in world.step().pieces {
            if begun.insert(piece.id) {
                let earlier = asked.keys().filter(|&&id| id < piece.id && !begun.contains(&id));
                earlier.for_each(|&id| *overtaken.entry(id).or_default() += 1);
            }
        }
        for id in &world.finished[done..] {
            seen.push((asked.remove(id).unwrap(), overtaken.remove(id).unwrap_or(0)));
        }
    }
    seen
}

#[test]
fn in_a_full_house_nobody_is_overtaken_without_end() {
    let exact = || World {
        scheduler: Scheduler::new(KvBooks::new(1, 64, Some(64)), 1, Pace::exact(64)),
        ..World::new(1, 1, 64)
    };
    for seed in [1, 2, 3, 0x2545_F491_4F6C_DD1D] {
        let worlds = || [(World::new(8, 32, 682), 40), (exact(), 10), (exact(), 40)];
        let crowds = [false, true]
            .into_iter()
            .flat_map(|strangers| worlds().map(|world| (strangers, world)));
        for (strangers, (world, house)) in crowds {
            let mut seen = crowd(world, house, strangers, seed);
            seen.sort_by_key(|&(_, overtaken)| overtaken);
            let (priority, worst) = seen[seen.len() - 1];
            // Whoever's client has asked for twice its share is overtaken that often for each of them.
            assert!(
                worst <= 3 * house,
                "{priority:?} was overtaken by {worst} of {house} inside, strangers: {strangers}"
            );
        }
    }
}
