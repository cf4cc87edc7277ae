//! Rows of activations times weights that are stored as floating-point numbers, used where the file has them.
//!
//! Each result is sixteen sums, one for each input modulo 16, added up at the end: the same sums in the same order for one
//! row and for many.

use super::activation::CHUNK;
use super::lanes::LANES;
use super::{Kernel, Lanes};

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    F16,
    Bf16,
}

/// The product of all rows with the weights of up to 16 outputs.
pub(crate) struct FloatProduct {
    pub(crate) precision: Precision,
    /// `outputs` rows of `inputs` numbers, at any alignment.
    pub(crate) weights: *const u8,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// `rows` × `inputs`.
    pub(crate) activations: *const f32,
    pub(crate) rows: usize,
    pub(crate) out: super::super::linear::Sink,
}

/// How numbers become f32.
trait Numbers {
    const BYTES: usize;
    unsafe fn load<S: Lanes>(at: *const u8) -> S::Float;
}

struct F32;
struct F16;
struct Bf16;

// SAFETY of the blocks: the kernel's promise that sixteen numbers are there.
impl Numbers for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Lanes>(at: *const u8) -> S::Float {
        unsafe { S::load(at.cast()) }
    }
}
impl Numbers for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Lanes>(at: *const u8) -> S::Float {
        unsafe { S::load_half(at) }
    }
}
impl Numbers for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Lanes>(at: *const u8) -> S::Float {
        unsafe { S::load_bfloat(at) }
    }
}

impl Kernel for FloatProduct {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        // SAFETY: the kernel's promise.
        unsafe {
            match self.precision {
                Precision::F32 => self.rows::<S, F32>(),
                Precision::F16 => self.rows::<S, F16>(),
                Precision::Bf16 => self.rows::<S, Bf16>(),
            }
        }
    }
}

impl FloatProduct {
    #[inline(always)]
    unsafe fn rows<S: Lanes, T: Numbers>(&self) {
        let mut row = 0;
        // SAFETY: rows below `self.rows`.
        unsafe {
            while self.rows - row >= 4 {
                self.some::<S, T, 4>(row);
                row += 4;
            }
            while row < self.rows {
                self.some::<S, T, 1>(row);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn some<S: Lanes, T: Numbers, const N: usize>(&self, first: usize) {
        let mut results = [[0.0_f32; LANES]; N];
        let whole = self.inputs / LANES;
        let rest = self.inputs % LANES;
        // SAFETY: the weights and the activations are as long as the kernel's fields say; what is left of a row is copied
        // to where sixteen numbers are.
        unsafe {
            for output in 0..self.outputs {
                let weights = self.weights.wrapping_add(output * self.inputs * T::BYTES);
                let x = self.activations.wrapping_add(first * self.inputs);
                let mut sums = [S::splat(0.0); N];
                for step in 0..whole {
                    let weight = T::load::<S>(weights.wrapping_add(step * LANES * T::BYTES));
                    for row in 0..N {
                        let numbers = S::load(x.wrapping_add(row * self.inputs + step * LANES));
                        sums[row] = S::fma(weight, numbers, sums[row]);
                    }
                }
                if rest > 0 {
                    let mut padded = [0_u8; 4 * LANES];
                    let at = weights.wrapping_add(whole * LANES * T::BYTES);
                    std::ptr::copy_nonoverlapping(at, padded.as_mut_ptr(), rest * T::BYTES);
                    let weight = T::load::<S>(padded.as_ptr());
                    for row in 0..N {
                        let mut padded = [0.0_f32; LANES];
                        let at = x.wrapping_add(row * self.inputs + whole * LANES);
                        std::ptr::copy_nonoverlapping(at, padded.as_mut_ptr(), rest);
                        sums[row] = S::fma(weight, S::load(padded.as_ptr()), sums[row]);
                    }
                }
                for row in 0..N {
                    results[row][output] = S::total(sums[row]);
                }
            }
            for (row, results) in results.iter().enumerate() {
                self.out.put::<S>(first + row, S::load(results.as_ptr()));
            }
        }
    }
}

// A step's activations are shared by both kinds of products.
const _: () = assert!(CHUNK.is_multiple_of(LANES));
