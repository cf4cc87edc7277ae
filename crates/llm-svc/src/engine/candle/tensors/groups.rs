//! Which runs of a step attention computes together, and what they see.

use candle_core::{Device, Result as CandleResult, Tensor};

use super::place;
use crate::engine::Run;
use crate::engine::candle::kv::Tables;

/// Runs that attention computes together, one below the other in the step.
pub(super) struct Group {
    /// Its first row in the step.
    pub(super) first: usize,
    /// How many runs.
    pub(super) sequences: usize,
    /// Rows of each.
    pub(super) rows: usize,
    /// Tokens that each sees: those of the longest.
    pub(super) length: usize,
    /// Where they lie, `[sequences × length]`; shorter sequences see their first token again, behind the mask.
    pub(super) places: Tensor,
    /// `[1, sequences, 1, rows, length]`: 0 where a token may look, −∞ elsewhere; of layers that see everything, and of those
    /// that do not. None where all see all.
    pub(super) masks: [Option<Tensor>; 2],
}

/// The order in which a step computes its runs, and how many of them, in this order, are a group: first those of one token
/// by their lengths, so that a group's longest sequence is at most twice its shortest, then each of the others alone.
pub(super) fn order(runs: &[Run<'_>]) -> (Vec<usize>, Vec<usize>) {
    let mut sorted: Vec<usize> = (0..runs.len()).collect();
    let single = |index: usize| runs[index].tokens.len() == 1;
    sorted.sort_by_key(|&index| {
        if single(index) {
            runs[index].position
        } else {
            usize::MAX
        }
    });
    let mut groups: Vec<usize> = Vec::new();
    let mut shortest = None;
    for &index in &sorted {
        let length = runs[index].position + 1;
        match (shortest, groups.last_mut()) {
            (Some(shortest), Some(group)) if single(index) && length <= 2 * shortest => *group += 1,
            _ => {
                shortest = single(index).then_some(length);
                groups.push(1);
            }
        }
    }
    (sorted, groups)
}

impl Group {
    /// Of runs with as many tokens each. `window` is how many tokens the layers see that do not see everything.
    pub(super) fn of(
        tables: &Tables,
        runs: &[&Run<'_>],
        first: usize,
        window: Option<usize>,
        device: &Device,
    ) -> CandleResult<Self> {
        let rows = runs.first().map_or(0, |run| run.tokens.len());
        let length = runs.iter().map(|run| run.position + rows).max().unwrap_or(0);
        let place_of = |run: &&Run<'_>, token: usize| {
            let there = token < run.position + rows;
            place(tables, run, if there { token } else { 0 })
        };
        let places: Vec<u32> = runs
            .iter()
            .flat_map(|run| (0..length).map(move |token| place_of(run, token)))
            .collect();
        let mask = |window: Option<usize>| {
            let visible = |position: usize, token: usize| {
                token <= position && window.is_none_or(|window| token + window > position)
            };
            let mut numbers = Vec::with_capacity(runs.len() * rows * length);
            for position in runs.iter().flat_map(|run| run.position..run.position + rows) {
                numbers.extend((0..length).map(|token| {
                    if visible(position, token) {
                        0.0
                    } else {
                        f32::NEG_INFINITY
                    }
                }));
            }
            if numbers.iter().all(|&number| number == 0.0) {
                return Ok(None);
            }
            Tensor::from_vec(numbers, (1, runs.len(), 1, rows, length), device).map(Some)
        };
        Ok(Self {
            first,
            sequences: runs.len(),
            rows,
            length,
            places: Tensor::new(places, device)?,
            masks: [
                mask(None)?,
                window.map(|window| mask(Some(window))).transpose()?.flatten(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::engine::{Run, Slot};

    #[test]
    fn single_tokens_come_first_by_length_and_everything_else_stays_alone() {
        let run = |slot, position, tokens| Run {
            slot: Slot(slot),
            position,
            tokens,
            scored: true,
        };
        let runs = [
            run(0, 0, &[1, 2, 3]),
            run(1, 99, &[1]),
            run(2, 400, &[1]),
            run(3, 5, &[1, 2]),
            run(4, 199, &[1]),
            run(5, 100, &[1]),
        ];
        assert_eq!(order(&runs), (vec![1, 5, 4, 2, 0, 3], vec![3, 1, 1, 1]));
        assert_eq!(order(&[]), (vec![], vec![]));
    }
}
