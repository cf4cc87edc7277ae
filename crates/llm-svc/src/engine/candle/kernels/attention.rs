//! Attention of one token's query heads over the blocks of a sequence.
//!
//! Keys of a block stand dimension by dimension (`[head][32 tokens]`) and values token by token (`[32 tokens][head]`), so
//! that scores are made for sixteen tokens at once, and sums of values for sixteen dimensions. The softmax is taken up
//! block by block (Milakov and Gimelshein 2018, <https://arxiv.org/abs/1805.02867>). Blocks begin at multiples of 32
//! tokens, so a query's result depends on its sequence alone, not on which queries it is computed with.

use super::activation::exp;
use super::lanes::LANES;
use super::{Kernel, Lanes};
use crate::engine::BLOCK;

/// How keys and values are kept.
pub(crate) trait Kept: Copy + Send + Sync + 'static {
    /// Rounds a number.
    fn of(number: f32) -> Self;
    /// Sixteen of them.
    ///
    /// # Safety
    /// As [`Lanes`] says; sixteen numbers are there.
    unsafe fn load<S: Lanes>(at: *const Self) -> S::Float;
}

impl Kept for f32 {
    fn of(number: f32) -> Self {
        number
    }
    #[inline(always)]
    unsafe fn load<S: Lanes>(at: *const Self) -> S::Float {
        // SAFETY: the caller's promise.
        unsafe { S::load(at) }
    }
}

impl Kept for half::f16 {
    fn of(number: f32) -> Self {
        Self::from_f32(number)
    }
    #[inline(always)]
    unsafe fn load<S: Lanes>(at: *const Self) -> S::Float {
        // SAFETY: the caller's promise.
        unsafe { S::load_half(at.cast()) }
    }
}

/// Queries of one group of heads, that is, of heads that share keys and values.
pub(crate) struct Attend<'a, T> {
    /// Each `head` numbers, scaled.
    pub(crate) queries: &'a [Query],
    /// Numbers in a head, a multiple of 16.
    pub(crate) head: usize,
    /// Where each block of the sequence keeps this group's keys; its values follow them.
    pub(crate) blocks: &'a [*const T],
}

/// A query and where its result goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    /// `head` numbers.
    pub(crate) numbers: *const f32,
    /// Room for `head` numbers.
    pub(crate) out: *mut f32,
    /// The first token that it sees.
    pub(crate) first: usize,
    /// The last token that it sees: its own.
    pub(crate) last: usize,
}

impl<T: Kept> Kernel for Attend<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let mut rest = self.queries;
        // SAFETY: the kernel's promise.
        unsafe {
            while S::WIDE && rest.len() >= 8 {
                self.some::<S, 8>(&rest[..8]);
                rest = &rest[8..];
            }
            while S::WIDE && rest.len() >= 4 {
                self.some::<S, 4>(&rest[..4]);
                rest = &rest[4..];
            }
            while rest.len() >= 2 {
                self.some::<S, 2>(&rest[..2]);
                rest = &rest[2..];
            }
            if !rest.is_empty() {
                self.some::<S, 1>(rest);
            }
        }
    }
}

impl<T: Kept> Attend<'_, T> {
    #[inline(always)]
    unsafe fn some<S: Lanes, const N: usize>(&self, queries: &[Query]) {
        let head = self.head;
        let first = queries.iter().map(|query| query.first).min().unwrap_or(0);
        let last = queries.iter().map(|query| query.last).max().unwrap_or(0);
        let mut largest = [f32::NEG_INFINITY; N];
        let mut total = [0.0_f32; N];
        // SAFETY: queries and blocks are as the fields say; blocks reach to the last token that a query sees.
        unsafe {
            for query in queries {
                for at in (0..head).step_by(LANES) {
                    S::store(query.out.wrapping_add(at), S::splat(0.0));
                }
            }
            for block in first / BLOCK..=last / BLOCK {
                let keys = self.blocks[block];
                let values = keys.wrapping_add(head * BLOCK);
                let mut weights = self.scores::<S, N>(queries, keys);
                let mut shrink = [1.0_f32; N];
                let from = block * BLOCK;
                for index in 0..N {
                    let query = &queries[index];
                    // Tokens of this block that the query sees.
                    let (low, high) = (query.first.saturating_sub(from), (query.last + 1).saturating_sub(from));
                    weigh(
                        &mut weights[index],
                        low.min(BLOCK),
                        high.min(BLOCK),
                        &mut largest[index],
                        &mut total[index],
                        &mut shrink[index],
                    );
                }
                let seen = (last + 1 - from).min(BLOCK);
                for at in (0..head).step_by(LANES) {
                    let mut sums = [S::splat(0.0); N];
                    for index in 0..N {
                        let out = queries[index].out.wrapping_add(at);
                        sums[index] = S::mul(S::load(out), S::splat(shrink[index]));
                    }
                    for token in 0..seen {
                        let value = T::load::<S>(values.wrapping_add(token * head + at));
                        for index in 0..N {
                            sums[index] = S::fma(S::splat(weights[index][token]), value, sums[index]);
                        }
                    }
                    for index in 0..N {
                        S::store(queries[index].out.wrapping_add(at), sums[index]);
                    }
                }
            }
            for (query, total) in queries.iter().zip(total) {
                let share = S::splat(1.0 / total);
                for at in (0..head).step_by(LANES) {
                    let out = query.out.wrapping_add(at);
                    S::store(out, S::mul(S::load(out), share));
                }
            }
        }
    }

    /// The products of queries and a block's keys.
    #[inline(always)]
    unsafe fn scores<S: Lanes, const N: usize>(&self, queries: &[Query], keys: *const T) -> [[f32; BLOCK]; N] {
        // SAFETY: as the caller's.
        unsafe {
            let mut sums = [[S::splat(0.0); BLOCK / LANES]; N];
            for dimension in 0..self.head {
                let at = keys.wrapping_add(dimension * BLOCK);
                let (a, b) = (T::load::<S>(at), T::load::<S>(at.wrapping_add(LANES)));
                for index in 0..N {
                    let number = S::splat(*queries[index].numbers.wrapping_add(dimension));
                    sums[index][0] = S::fma(number, a, sums[index][0]);
                    sums[index][1] = S::fma(number, b, sums[index][1]);
                }
            }
            let mut scores = [[0.0; BLOCK]; N];
            for index in 0..N {
                S::store(scores[index].as_mut_ptr(), sums[index][0]);
                S::store(scores[index].as_mut_ptr().wrapping_add(LANES), sums[index][1]);
            }
            scores
        }
    }
}

/// Turns a block's scores into weights relative to the largest score so far. Tokens outside `low..high` weigh nothing.
#[inline(always)]
fn weigh(scores: &mut [f32; BLOCK], low: usize, high: usize, largest: &mut f32, total: &mut f32, shrink: &mut f32) {
    if low >= high {
        *scores = [0.0; BLOCK];
        return;
    }
    for (token, score) in scores.iter_mut().enumerate() {
        *score = if token >= low && token < high {
            *score
        } else {
            f32::NEG_INFINITY
        };
    }
    let mut most = [0.0_f32; LANES];
    for (lane, most) in most.iter_mut().enumerate() {
        let (a, b) = (scores[lane], scores[lane + LANES]);
        *most = if a > b { a } else { b };
    }
    let most = most
        .iter()
        .fold(*largest, |most, &score| if score > most { score } else { most });
    *shrink = if *largest == f32::NEG_INFINITY {
        0.0
    } else {
        exp(*largest - most)
    };
    *largest = most;
    let mut sums = [0.0_f32; LANES];
    for score in scores.iter_mut() {
        *score = exp(*score - most);
    }
    for (token, score) in scores.iter_mut().enumerate() {
        *score = if token >= low && token < high { *score } else { 0.0 };
    }
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum = scores[lane] + scores[lane + LANES];
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    *total = total.mul_add(*shrink, sums[0]);
}
