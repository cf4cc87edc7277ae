//! Attention of a step's tokens, each over its own sequence.

use super::kernels::Isa;
use super::kernels::attention::{Attend, Kept, Query};
use super::kv::Tables;
use super::linear::Rows;
use super::memory::{Memory, padded};
use super::spec::Spec;
use super::threads::Threads;

/// Tokens of a sequence whose queries make one piece of work.
const TOGETHER: usize = 8;

/// A token of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Its sequence.
    pub(super) slot: usize,
    /// Tokens before it.
    pub(super) position: usize,
    /// The block that holds its keys and values.
    pub(super) block: u32,
    /// True when the scores of what may follow it are wanted.
    pub(super) scored: bool,
}

/// What attention works on.
pub(super) struct Attention<'a, T> {
    pub(super) spec: &'a Spec,
    pub(super) memory: &'a Memory<T>,
    pub(super) tables: &'a Tables,
    pub(super) layer: usize,
    pub(super) rows: &'a [Row],
    /// Heads filled up to a multiple of 16 numbers, in both.
    pub(super) queries: &'a mut [f32],
    pub(super) out: &'a mut [f32],
}

impl<T: Kept> Attention<'_, T> {
    /// Computes it.
    pub(super) fn run(self, threads: &mut Threads, isa: Isa) {
        let (spec, rows) = (self.spec, self.rows);
        let head = padded(spec.head);
        let group = spec.heads / spec.kv_heads;
        let queries = Rows::of(self.queries, spec.heads * head, rows.len());
        let out = Rows::of(self.out, spec.heads * head, rows.len());
        // Neighbouring rows of one sequence share its blocks.
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in 1..=rows.len() {
            let goes_on = end < rows.len() && rows[end].slot == rows[start].slot && end - start < TOGETHER;
            if !goes_on {
                pieces.push(start..end);
                start = end;
            }
        }
        let (memory, tables, layer) = (self.memory, self.tables, self.layer);
        threads.run(pieces.len() * spec.kv_heads, &|piece| {
            let (range, kv_head) = (&pieces[piece / spec.kv_heads], piece % spec.kv_heads);
            let blocks = tables.of(rows[range.start].slot).iter();
            let blocks: Vec<*const T> = blocks.map(|&block| memory.at(block, layer, kv_head)).collect();
            let queries: Vec<Query> = range
                .clone()
                .flat_map(|row| (kv_head * group..(kv_head + 1) * group).map(move |index| (row, index)))
                .map(|(row, index)| Query {
                    numbers: queries.at(row, index * head).cast_const(),
                    out: out.at(row, index * head),
                    first: spec.first_seen(layer, rows[row].position),
                    last: rows[row].position,
                })
                .collect();
            // SAFETY: `isa` is available; queries and results of a piece's rows and heads are its own; every block of the
            // table was taken before the step, and was written up to the last row's token.
            unsafe {
                isa.run(Attend {
                    queries: &queries,
                    head,
                    blocks: &blocks,
                });
            }
        });
    }
}
