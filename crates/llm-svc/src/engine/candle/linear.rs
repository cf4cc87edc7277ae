//! Linear layers on the processor: which kernel multiplies, and which thread does which part.

use super::kernels::activation::Chunk;
use super::kernels::floats::{FloatProduct, Precision};
use super::kernels::product::Product;
use super::kernels::{Isa, Lanes};
use super::pack::{Packed, STRIP, layout};
use super::threads::Threads;
use super::weights::{Stored, Weights};
use super::{EngineError, unsupported};
use candle_core::quantized::GgmlDType;

/// Pieces that each thread's part is cut into, so that a thread that starts late takes less.
const PIECES: usize = 6;

/// A linear layer.
pub(super) struct Linear {
    weights: Matrix,
    bias: Option<Vec<f32>>,
    outputs: usize,
}

enum Matrix {
    Packed(Packed),
    /// As the file has them.
    Floats(Precision, Stored),
}

/// What a layer is applied to: the same rows rounded to eight bits and as they are.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// Rows one after the other.
    pub(super) chunks: &'a [Chunk],
    pub(super) floats: &'a [f32],
    pub(super) rows: usize,
}

/// A layer, and where its results go.
pub(super) struct Task<'a> {
    pub(super) linear: &'a Linear,
    /// The first output of the first row.
    pub(super) out: &'a Rows,
    /// Where in a row of `out` the layer's outputs begin.
    pub(super) column: usize,
    /// True: results are added to what is there.
    pub(super) add: bool,
}

impl Linear {
    /// The layer `name`, with a bias where the file has one.
    pub(super) fn load(
        weights: &Weights<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
        threads: &mut Threads,
    ) -> Result<Self, EngineError> {
        let stored = weights.required(&format!("{name}.weight"), outputs, inputs)?;
        let bias = weights.vector(&format!("{name}.bias"), outputs)?;
        Self::new(stored, bias, threads)
    }

    /// A layer of stored weights.
    pub(super) fn new(stored: Stored, bias: Option<Vec<f32>>, threads: &mut Threads) -> Result<Self, EngineError> {
        let outputs = stored.rows;
        let weights = match (layout(stored.dtype), stored.dtype) {
            (Some(layout), _) => Matrix::Packed(Packed::new(&stored, layout, threads)?),
            (None, GgmlDType::F32) => Matrix::Floats(Precision::F32, stored),
            (None, GgmlDType::F16) => Matrix::Floats(Precision::F16, stored),
            (None, GgmlDType::BF16) => Matrix::Floats(Precision::Bf16, stored),
            (None, other) => return Err(unsupported(format!("weights are stored as {other:?}: use llama-cpp"))),
        };
        Ok(Self { weights, bias, outputs })
    }

    fn strips(&self) -> usize {
        self.outputs.div_ceil(STRIP)
    }

    /// Multiplies all rows with the weights of the outputs of one strip.
    ///
    /// # Safety
    /// Nobody else uses these outputs of `out` meanwhile, and `isa` is available.
    unsafe fn multiply(&self, strip: usize, input: Input<'_>, task: &Task<'_>, isa: Isa) {
        let first = strip * STRIP;
        let valid = STRIP.min(self.outputs - first);
        let sink = Sink {
            out: task.out.at(0, task.column + first),
            stride: task.out.width,
            valid,
            bias: self
                .bias
                .as_ref()
                .map_or(std::ptr::null(), |bias| bias[first..].as_ptr()),
            add: task.add,
        };
        // SAFETY: the caller's promise; lengths were checked by `run`.
        unsafe {
            match &self.weights {
                Matrix::Packed(packed) => isa.run(Product {
                    layout: packed.layout,
                    weights: packed.strip(strip).as_ptr(),
                    chunks: input.chunks.as_ptr(),
                    rows: input.rows,
                    tiles: packed.tiles,
                    out: sink,
                }),
                Matrix::Floats(precision, stored) => isa.run(FloatProduct {
                    precision: *precision,
                    weights: stored.bytes()[first * stored.row_bytes()..][..valid * stored.row_bytes()].as_ptr(),
                    outputs: valid,
                    inputs: stored.columns,
                    activations: input.floats.as_ptr(),
                    rows: input.rows,
                    out: sink,
                }),
            }
        }
    }

    fn check(&self, input: Input<'_>) {
        match &self.weights {
            Matrix::Packed(packed) => assert!(input.chunks.len() >= input.rows * packed.tiles, "rows are missing"),
            Matrix::Floats(_, stored) => {
                assert!(input.floats.len() >= input.rows * stored.columns, "rows are missing");
            }
        }
    }
}

/// Applies layers to the same rows.
///
/// # Panics
/// When the input or a result has fewer rows than it says: the model is wrong.
pub(super) fn run(tasks: &[Task<'_>], input: Input<'_>, threads: &mut Threads, isa: Isa) {
    for task in tasks {
        task.linear.check(input);
        assert!(
            task.out.count >= input.rows && task.column + task.linear.outputs <= task.out.width,
            "results do not fit"
        );
    }
    let strips: usize = tasks.iter().map(|task| task.linear.strips()).sum();
    let size = strips.div_ceil(threads.count() * PIECES).max(1);
    threads.run(strips.div_ceil(size), &|piece| {
        let (mut from, to) = (piece * size, ((piece + 1) * size).min(strips));
        let mut before = 0;
        for task in tasks {
            let end = before + task.linear.strips();
            while from < end.min(to) {
                // SAFETY: each strip of each task is computed by one piece, and strips are different columns.
                unsafe { task.linear.multiply(from - before, input, task, isa) };
                from += 1;
            }
            before = end;
        }
    });
}

/// Rows of numbers that threads work on, each on its own part.
pub(super) struct Rows {
    start: *mut f32,
    pub(super) width: usize,
    pub(super) count: usize,
}

// SAFETY: a pointer; who dereferences it says why it may.
unsafe impl Sync for Rows {}

impl Rows {
    /// The rows of a buffer that outlives their use, `width` numbers each.
    ///
    /// # Panics
    /// When the buffer is shorter: the model is wrong.
    pub(super) fn of(buffer: &mut [f32], width: usize, count: usize) -> Self {
        assert!(buffer.len() >= width * count, "a buffer is too short");
        Self {
            start: buffer.as_mut_ptr(),
            width,
            count,
        }
    }

    pub(super) fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.width + column)
    }

    /// A row.
    ///
    /// # Safety
    /// The buffer is alive, and nobody else uses the row meanwhile.
    #[allow(clippy::mut_from_ref)] // That is the point: threads share the whole and own a row.
    pub(super) unsafe fn row(&self, row: usize) -> &mut [f32] {
        debug_assert!(row < self.count);
        // SAFETY: the caller's promise; `of` checked the length.
        unsafe { std::slice::from_raw_parts_mut(self.at(row, 0), self.width) }
    }
}

/// Where a kernel puts the results of 16 outputs.
#[derive(Clone, Copy)]
pub(super) struct Sink {
    /// The first row's.
    out: *mut f32,
    /// Numbers from one row to the next.
    stride: usize,
    /// Outputs that there are.
    valid: usize,
    /// As many numbers; null where there is none.
    bias: *const f32,
    add: bool,
}

impl Sink {
    /// Puts a row's results.
    ///
    /// # Safety
    /// As [`Lanes`] says; the row is there.
    #[inline(always)]
    pub(super) unsafe fn put<S: Lanes>(&self, row: usize, results: S::Float) {
        let out = self.out.wrapping_add(row * self.stride);
        // SAFETY: the caller's promise.
        unsafe {
            if self.valid == STRIP {
                let mut results = results;
                if !self.bias.is_null() {
                    results = S::add(results, S::load(self.bias));
                }
                if self.add {
                    results = S::add(S::load(out), results);
                }
                S::store(out, results);
                return;
            }
            let mut numbers = [0.0_f32; STRIP];
            S::store(numbers.as_mut_ptr(), results);
            for (index, &number) in numbers.iter().enumerate().take(self.valid) {
                let place = out.wrapping_add(index);
                let bias = self.bias.wrapping_add(index);
                let number = if self.bias.is_null() { number } else { number + *bias };
                *place = if self.add { *place + number } else { number };
            }
        }
    }
}
