//! What happens to one token's numbers between two products: norms, rotations, gates, and rounding to eight bits.

use super::lanes::LANES;
use super::{Kernel, Lanes};

/// Numbers that share a scale once they are rounded.
pub(crate) const CHUNK: usize = 32;

/// 32 activations in eight bits. Their sums are kept because weights that are stored with a minimum, or as unsigned codes,
/// need them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Chunk {
    /// The numbers divided by `scale`, −127 to 127.
    pub(crate) codes: [i8; CHUNK],
    /// What a code is worth.
    pub(crate) scale: f32,
    /// The sum of the numbers.
    pub(crate) sum: f32,
    /// The sums of the first and the last 16 codes.
    pub(crate) halves: [i32; 2],
}

/// Rounds to the nearest integer, ties to even, where it is below 2²²: the low bits of the result hold it.
const MAGIC: f32 = 12_582_912.0;

/// Rounds a row to eight bits. The last chunk of a row that is no multiple of [`CHUNK`] is filled up with zeros.
pub(crate) struct Quantise<'a> {
    pub(crate) row: &'a [f32],
    pub(crate) chunks: &'a mut [Chunk],
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        for (numbers, chunk) in self.row.chunks(CHUNK).zip(self.chunks) {
            let mut padded = [0.0; CHUNK];
            padded[..numbers.len()].copy_from_slice(numbers);
            let mut largest = [0.0_f32; LANES];
            for lane in 0..LANES {
                let (a, b) = (padded[lane].abs(), padded[lane + LANES].abs());
                largest[lane] = if a > b { a } else { b };
            }
            let largest = largest.iter().fold(0.0_f32, |most, &number| most.max(number));
            let scale = largest / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            for (code, number) in chunk.codes.iter_mut().zip(padded) {
                *code = number.mul_add(inverse, MAGIC).to_bits() as u8 as i8;
            }
            let half = |codes: &[i8]| codes.iter().map(|&code| i32::from(code)).sum::<i32>();
            chunk.halves = [half(&chunk.codes[..CHUNK / 2]), half(&chunk.codes[CHUNK / 2..])];
            chunk.scale = scale;
            chunk.sum = scale * (chunk.halves[0] + chunk.halves[1]) as f32;
        }
    }
}

/// Divides a row by its root mean square and multiplies it by weights (Zhang and Sennrich 2019,
/// <https://arxiv.org/abs/1910.07467>). All three are of the same length.
pub(crate) struct Norm<'a> {
    pub(crate) row: &'a [f32],
    pub(crate) weights: &'a [f32],
    pub(crate) epsilon: f32,
    pub(crate) out: &'a mut [f32],
}

/// The reciprocal of a row's root mean square.
#[inline(always)]
fn reciprocal_rms(row: &[f32], epsilon: f32) -> f32 {
    let mut squares = [0.0_f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for numbers in whole {
        for (square, &number) in squares.iter_mut().zip(numbers) {
            *square = number.mul_add(number, *square);
        }
    }
    for (square, &number) in squares.iter_mut().zip(rest) {
        *square = number.mul_add(number, *square);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            squares[lane] += squares[lane + half];
        }
        half /= 2;
    }
    1.0 / (squares[0] / row.len() as f32 + epsilon).sqrt()
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let factor = reciprocal_rms(self.row, self.epsilon);
        for ((out, number), weight) in self.out.iter_mut().zip(self.row).zip(self.weights) {
            *out = number * factor * weight;
        }
    }
}

/// The same in place.
pub(crate) struct NormInPlace<'a> {
    pub(crate) row: &'a mut [f32],
    pub(crate) weights: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Kernel for NormInPlace<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let factor = reciprocal_rms(self.row, self.epsilon);
        for (number, weight) in self.row.iter_mut().zip(self.weights) {
            *number = *number * factor * weight;
        }
    }
}

/// Rotates a head's numbers by the angles of its position (Su et al. 2021, <https://arxiv.org/abs/2104.09864>).
pub(crate) struct Rotate<'a> {
    pub(crate) head: &'a mut [f32],
    /// One for each pair.
    pub(crate) cos: &'a [f32],
    pub(crate) sin: &'a [f32],
    /// True: number i rotates with the one half of the rotated numbers further on. False: neighbours rotate.
    pub(crate) halves: bool,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let pairs = self.cos.len();
        if self.halves {
            let (first, second) = self.head.split_at_mut(pairs);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(self.cos).zip(self.sin) {
                let (x, y) = (*a, *b);
                *a = x.mul_add(*cos, -(y * sin));
                *b = x.mul_add(*sin, y * cos);
            }
        } else {
            for ((pair, cos), sin) in self.head.as_chunks_mut::<2>().0.iter_mut().zip(self.cos).zip(self.sin) {
                let [x, y] = *pair;
                *pair = [x.mul_add(*cos, -(y * sin)), x.mul_add(*sin, y * cos)];
            }
        }
    }
}

/// What a gate does to its number before it is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    /// x · σ(x).
    Silu,
    /// GELU by its tanh approximation (Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>).
    Gelu,
}

/// `up` times the curve of `gate`. All three are of the same length.
pub(crate) struct Gate<'a> {
    pub(crate) gate: &'a [f32],
    pub(crate) up: &'a [f32],
    pub(crate) curve: Curve,
    pub(crate) out: &'a mut [f32],
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        match self.curve {
            Curve::Silu => {
                for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
                    *out = gate / (1.0 + exp(-gate)) * up;
                }
            }
            Curve::Gelu => {
                // tanh z = 2 σ(2 z) − 1, so ½ x (1 + tanh z) = x σ(2 z).
                const DOUBLE: f32 = 1.595_769;
                for ((out, &gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
                    let z = DOUBLE * (0.044_715 * gate * gate).mul_add(gate, gate);
                    *out = gate / (1.0 + exp(-z)) * up;
                }
            }
        }
    }
}

/// eˣ within two units in the last place, between e⁻⁸⁷ and e⁸⁸; beyond, those. Only operations that every processor does
/// alike, and that a compiler can do in many lanes.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    // x − n ln 2, in two steps.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = p.mul_add(r, term);
    }
    let p = (p * r).mul_add(r, r) + 1.0;
    let power = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}
