//! Room for the numbers of a step, which grows to the largest step and stays.

use super::attention::Row;
use super::kernels::Isa;
use super::kernels::activation::{CHUNK, Chunk, Norm, NormInPlace, Quantise};
use super::linear::{self, Input, Linear, Rows, Task};
use super::memory::padded;
use super::rope::Rope;
use super::spec::Spec;
use super::threads::Threads;

/// Rows of a piece of work that goes row by row.
pub(super) const ROWS: usize = 4;

/// The numbers of a step, a row for each token.
#[derive(Default)]
pub(super) struct Buffers {
    /// The residual stream.
    pub(super) stream: Vec<f32>,
    /// What goes into a product, as it is and rounded.
    pub(super) floats: Vec<f32>,
    pub(super) chunks: Vec<Chunk>,
    /// Queries, keys and values as they come out of their products.
    pub(super) mixed: Vec<f32>,
    /// Queries, heads filled up to a multiple of 16 numbers.
    pub(super) queries: Vec<f32>,
    /// What attention gives, heads filled up likewise.
    pub(super) attended: Vec<f32>,
    /// Gate and up.
    pub(super) gates: Vec<f32>,
    /// What a layer adds, where that is normed first.
    added: Vec<f32>,
    /// Scores of all tokens.
    pub(super) scores: Vec<f32>,
    /// Cosines and sines of each token's position: of the model, and of layers that see a window.
    pub(super) angles: [(Vec<f32>, Vec<f32>); 2],
}

impl Buffers {
    /// Makes room for `count` tokens.
    pub(super) fn resize(&mut self, spec: &Spec, count: usize) {
        let fit = |buffer: &mut Vec<f32>, width: usize| buffer.resize(width * count, 0.0);
        let (queries, kv) = (spec.heads * spec.head, spec.kv_heads * spec.head);
        let widest = spec.width.max(spec.inner).max(queries);
        fit(&mut self.stream, spec.width);
        fit(&mut self.floats, widest);
        fit(&mut self.mixed, queries + 2 * kv);
        fit(&mut self.queries, spec.heads * padded(spec.head));
        fit(&mut self.attended, spec.heads * padded(spec.head));
        fit(&mut self.gates, 2 * spec.inner);
        if spec.post_norms {
            fit(&mut self.added, spec.width);
        }
        self.chunks.resize(widest.div_ceil(CHUNK) * count, Chunk::default());
    }

    /// Tabulates the rotations of all tokens.
    pub(super) fn turn(&mut self, ropes: [Option<&Rope>; 2], rows: &[Row]) {
        for ((cos, sin), rope) in self.angles.iter_mut().zip(ropes) {
            cos.clear();
            sin.clear();
            if let Some(rope) = rope {
                rows.iter().for_each(|row| rope.at(row.position, cos, sin));
            }
        }
    }

    /// Keeps the stream and the queries of rows that are scored; returns these.
    pub(super) fn keep_scored(&mut self, spec: &Spec, rows: &[Row]) -> Vec<Row> {
        let (width, queries) = (spec.width, spec.heads * padded(spec.head));
        let mut kept = Vec::new();
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.scored) {
            let to = kept.len();
            self.stream.copy_within(index * width..(index + 1) * width, to * width);
            self.queries
                .copy_within(index * queries..(index + 1) * queries, to * queries);
            kept.push(*row);
        }
        kept
    }

    /// What [`Buffers::norm`] and its like made, as input of layers.
    pub(super) fn input(&self, rows: usize) -> Input<'_> {
        Input {
            chunks: &self.chunks,
            floats: &self.floats,
            rows,
        }
    }

    /// Norms the stream into what goes into a product.
    pub(super) fn norm(&mut self, weights: &[f32], spec: &Spec, count: usize, threads: &mut Threads, isa: Isa) {
        let stream = Rows::of(&mut self.stream, spec.width, count);
        let floats = Rows::of(&mut self.floats, spec.width, count);
        let chunks = Chunks::of(&mut self.chunks, spec.width, count);
        let epsilon = spec.epsilon;
        each_row(count, threads, &|index| {
            // SAFETY: a row is one piece's; the buffers live until this returns; `isa` is available.
            unsafe {
                let (row, out) = (stream.row(index), floats.row(index));
                isa.run(Norm {
                    row,
                    weights,
                    epsilon,
                    out,
                });
                chunks.quantise(index, out, isa);
            }
        });
    }

    /// Adds what a layer makes of its input to the stream, normed where there is a norm for it.
    pub(super) fn add(
        &mut self,
        linear: &Linear,
        norm: Option<&[f32]>,
        spec: &Spec,
        count: usize,
        threads: &mut Threads,
        isa: Isa,
    ) {
        let stream = Rows::of(&mut self.stream, spec.width, count);
        let input = Input {
            chunks: &self.chunks,
            floats: &self.floats,
            rows: count,
        };
        let task = |out, add| Task {
            linear,
            out,
            column: 0,
            add,
        };
        let Some(weights) = norm else {
            linear::run(&[task(&stream, true)], input, threads, isa);
            return;
        };
        let added = Rows::of(&mut self.added, spec.width, count);
        linear::run(&[task(&added, false)], input, threads, isa);
        let epsilon = spec.epsilon;
        each_row(count, threads, &|index| {
            // SAFETY: as above.
            unsafe {
                let row = &mut *added.row(index);
                isa.run(NormInPlace { row, weights, epsilon });
                for (sum, number) in stream.row(index).iter_mut().zip(added.row(index)) {
                    *sum += *number;
                }
            }
        });
    }
}

/// Calls `work` for each row, some rows at a time.
pub(super) fn each_row(count: usize, threads: &mut Threads, work: &(dyn Fn(usize) + Sync)) {
    threads.run(count.div_ceil(ROWS), &|piece| {
        (piece * ROWS..((piece + 1) * ROWS).min(count)).for_each(work);
    });
}

/// Rows of rounded numbers that threads work on, each on its own.
pub(super) struct Chunks {
    start: *mut Chunk,
    width: usize,
}

// SAFETY: a pointer; who dereferences it says why it may.
unsafe impl Sync for Chunks {}

impl Chunks {
    /// Rows of `width` numbers in a buffer that outlives their use.
    ///
    /// # Panics
    /// When the buffer is shorter: the model is wrong.
    pub(super) fn of(buffer: &mut [Chunk], width: usize, count: usize) -> Self {
        let width = width.div_ceil(CHUNK);
        assert!(buffer.len() >= width * count, "a buffer is too short");
        Self {
            start: buffer.as_mut_ptr(),
            width,
        }
    }

    /// Rounds a row's numbers into it.
    ///
    /// # Safety
    /// The buffer is alive and has the row, nobody else uses the row meanwhile, and `isa` is available.
    pub(super) unsafe fn quantise(&self, index: usize, row: &[f32], isa: Isa) {
        // SAFETY: the caller's promise.
        unsafe {
            let chunks = std::slice::from_raw_parts_mut(self.start.wrapping_add(index * self.width), self.width);
            isa.run(Quantise { row, chunks });
        }
    }
}
