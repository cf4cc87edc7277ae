//! Rows of activations times quantised weights.
//!
//! Weights lie in tiles of 16 outputs × 32 inputs ([`super::super::pack`] makes them), so that a register holds four
//! inputs of 16 outputs. For each tile and row the codes are multiplied exactly, in integers; the sum is then scaled and
//! added to the row's 16 results, tile by tile in the order of the inputs. That order is the only one there is, so a row's
//! result depends on nothing but the row. What is done for up to eight rows at once is the unpacking of codes.

use super::activation::Chunk;
use super::lanes::LANES;
use super::{Kernel, Lanes};

/// Bits of a code, and with them how codes lie in a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Two codes to a byte.
    Four,
    /// The same and a bit for each, eight groups' bits to a byte.
    Five,
    /// The same and two bits for each.
    Six,
    /// A byte each.
    Eight,
}

impl Width {
    /// Bytes of 16 × 32 codes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Four => 256,
            Self::Five => 256 + 64,
            Self::Six => 256 + 128,
            Self::Eight => 512,
        }
    }
}

/// Where scales stand. All numbers come in sixteens, one for each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// After a tile's codes: a scale (f16), and a minimum (f16) if `minimum`.
    Own,
    /// Before eight tiles: a scale and a scale of minima (f16); after each tile's codes: a factor (u8) and one of the minimum
    /// (u8).
    Shared,
    /// Before eight tiles: a scale (f16), and one of minima if `minimum`; after each tile's codes: a factor (i8) for the
    /// first 16 inputs and one for the last 16, then the same of the minima (u8) if `minimum`.
    Halves,
}

/// How a layer's weights lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: Width,
    pub(crate) scales: Scales,
    /// True: weight = scale · code + minimum (which [`Scales::Shared`] and [`Scales::Halves`] subtract).
    pub(crate) minimum: bool,
    /// The code of zero, where there is no minimum.
    pub(crate) zero: i32,
}

/// Tiles that share scales.
pub(crate) const GROUP: usize = 8;

impl Layout {
    /// Bytes of a tile's scales.
    pub(crate) fn scale_bytes(self) -> usize {
        let sixteens = match (self.scales, self.minimum) {
            (Scales::Own, false) => 2,
            (Scales::Own, true) => 4,
            (Scales::Shared, _) | (Scales::Halves, false) => 2,
            (Scales::Halves, true) => 4,
        };
        sixteens * LANES
    }

    /// Bytes before a group of tiles.
    pub(crate) fn group_bytes(self) -> usize {
        match (self.scales, self.minimum) {
            (Scales::Own, _) => 0,
            (Scales::Shared, _) | (Scales::Halves, true) => 4 * LANES,
            (Scales::Halves, false) => 2 * LANES,
        }
    }

    /// Bytes of the weights of 16 outputs, of `tiles` × 32 inputs each.
    pub(crate) fn strip_bytes(self, tiles: usize) -> usize {
        let groups = match self.scales {
            Scales::Own => 0,
            Scales::Shared | Scales::Halves => tiles / GROUP,
        };
        groups * self.group_bytes() + tiles * (self.width.bytes() + self.scale_bytes())
    }
}

/// The product of all rows with 16 outputs' weights.
pub(crate) struct Product {
    pub(crate) layout: Layout,
    /// [`Layout::strip_bytes`] bytes.
    pub(crate) weights: *const u8,
    /// `rows` × `tiles`.
    pub(crate) chunks: *const Chunk,
    pub(crate) rows: usize,
    pub(crate) tiles: usize,
    /// Where each row's 16 results go.
    pub(crate) out: super::super::linear::Sink,
}

/// How codes are taken out of a tile.
trait Codes {
    const WIDTH: Width;
    /// Groups of four whose products are summed at once: as many as [`Lanes::dots`] takes of such codes.
    const TOGETHER: usize;
    unsafe fn unpack<S: Lanes>(at: *const u8) -> [S::Bytes; 8];
    #[inline(always)]
    unsafe fn dots<S: Lanes>(sum: S::Int, codes: &[S::Bytes], x: *const i32) -> S::Int {
        // SAFETY: the kernel's promise.
        unsafe { S::dots(sum, codes, x) }
    }
    /// The code that stands for zero.
    #[inline(always)]
    fn zero<S: Lanes>(zero: i32) -> i32 {
        zero
    }
}

struct Four;
struct Five;
struct Six;
struct Eight;

// SAFETY of the blocks: the kernel's promise that a tile's bytes are there.
impl Codes for Four {
    const WIDTH: Width = Width::Four;
    const TOGETHER: usize = 8;
    #[inline(always)]
    unsafe fn unpack<S: Lanes>(at: *const u8) -> [S::Bytes; 8] {
        unsafe {
            let (a, e) = S::nibbles(at);
            let (b, f) = S::nibbles(at.wrapping_add(64));
            let (c, g) = S::nibbles(at.wrapping_add(128));
            let (d, h) = S::nibbles(at.wrapping_add(192));
            [a, b, c, d, e, f, g, h]
        }
    }
}

impl Codes for Five {
    const WIDTH: Width = Width::Five;
    const TOGETHER: usize = 4;
    #[inline(always)]
    unsafe fn unpack<S: Lanes>(at: *const u8) -> [S::Bytes; 8] {
        unsafe {
            let bits = S::bytes(at.wrapping_add(256));
            let [a, b, c, d, e, f, g, h] = Four::unpack::<S>(at);
            [
                S::add_bits::<0>(a, bits),
                S::add_bits::<1>(b, bits),
                S::add_bits::<2>(c, bits),
                S::add_bits::<3>(d, bits),
                S::add_bits::<4>(e, bits),
                S::add_bits::<5>(f, bits),
                S::add_bits::<6>(g, bits),
                S::add_bits::<7>(h, bits),
            ]
        }
    }
}

impl Codes for Six {
    const WIDTH: Width = Width::Six;
    const TOGETHER: usize = 2;
    #[inline(always)]
    unsafe fn unpack<S: Lanes>(at: *const u8) -> [S::Bytes; 8] {
        unsafe {
            let [a, b, c, d, e, f, g, h] = Four::unpack::<S>(at);
            let (low, high) = (S::bytes(at.wrapping_add(256)), S::bytes(at.wrapping_add(320)));
            [
                S::add_pairs::<0>(a, low),
                S::add_pairs::<1>(b, low),
                S::add_pairs::<2>(c, low),
                S::add_pairs::<3>(d, low),
                S::add_pairs::<0>(e, high),
                S::add_pairs::<1>(f, high),
                S::add_pairs::<2>(g, high),
                S::add_pairs::<3>(h, high),
            ]
        }
    }
}

impl Codes for Eight {
    const WIDTH: Width = Width::Eight;
    const TOGETHER: usize = 1;
    #[inline(always)]
    unsafe fn unpack<S: Lanes>(at: *const u8) -> [S::Bytes; 8] {
        unsafe {
            [
                S::eights(at),
                S::eights(at.wrapping_add(64)),
                S::eights(at.wrapping_add(128)),
                S::eights(at.wrapping_add(192)),
                S::eights(at.wrapping_add(256)),
                S::eights(at.wrapping_add(320)),
                S::eights(at.wrapping_add(384)),
                S::eights(at.wrapping_add(448)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn dots<S: Lanes>(mut sum: S::Int, codes: &[S::Bytes], x: *const i32) -> S::Int {
        for (group, &codes) in codes.iter().enumerate() {
            sum = unsafe { S::dot_eight(sum, codes, x.wrapping_add(group).read_unaligned()) };
        }
        sum
    }
    #[inline(always)]
    fn zero<S: Lanes>(_: i32) -> i32 {
        S::EIGHT_ZERO
    }
}

impl Kernel for Product {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Layout {
            width, scales, minimum, ..
        } = self.layout;
        // SAFETY: the kernel's promise.
        unsafe {
            match (width, scales, minimum) {
                (Width::Four, Scales::Own, false) => self.rows::<S, Four, OWN, false>(),
                (Width::Four, Scales::Own, true) => self.rows::<S, Four, OWN, true>(),
                (Width::Four, Scales::Shared, _) => self.rows::<S, Four, SHARED, true>(),
                (Width::Four, Scales::Halves, false) => self.rows::<S, Four, HALVES, false>(),
                (Width::Four, Scales::Halves, true) => self.rows::<S, Four, HALVES, true>(),
                (Width::Five, Scales::Own, false) => self.rows::<S, Five, OWN, false>(),
                (Width::Five, Scales::Own, true) => self.rows::<S, Five, OWN, true>(),
                (Width::Five, ..) => self.rows::<S, Five, SHARED, true>(),
                (Width::Six, ..) => self.rows::<S, Six, HALVES, false>(),
                (Width::Eight, ..) => self.rows::<S, Eight, OWN, false>(),
            }
        }
    }
}

const OWN: u8 = 0;
const SHARED: u8 = 1;
const HALVES: u8 = 2;

impl Product {
    /// All rows, several at once.
    #[inline(always)]
    unsafe fn rows<S: Lanes, C: Codes, const SCALES: u8, const MINIMUM: bool>(&self) {
        let mut row = 0;
        // SAFETY: rows below `self.rows`.
        unsafe {
            while S::WIDE && self.rows - row >= 8 {
                self.some::<S, C, SCALES, MINIMUM, 8>(row);
                row += 8;
            }
            while self.rows - row >= 4 {
                self.some::<S, C, SCALES, MINIMUM, 4>(row);
                row += 4;
            }
            while self.rows - row >= 2 {
                self.some::<S, C, SCALES, MINIMUM, 2>(row);
                row += 2;
            }
            if self.rows > row {
                self.some::<S, C, SCALES, MINIMUM, 1>(row);
            }
        }
    }

    /// `N` rows from `first`.
    #[inline(always)]
    unsafe fn some<S: Lanes, C: Codes, const SCALES: u8, const MINIMUM: bool, const N: usize>(&self, first: usize) {
        let layout = self.layout;
        let mut at = self.weights;
        let mut chunks = self.chunks.wrapping_add(first * self.tiles);
        let zero = C::zero::<S>(layout.zero);
        let codes_bytes = C::WIDTH.bytes();
        // SAFETY: the weights and the chunks are as long as the kernel's fields say.
        unsafe {
            let mut sums = [S::splat(0.0); N];
            let (mut scale, mut floor) = (S::splat(0.0), S::splat(0.0));
            for tile in 0..self.tiles {
                if SCALES != OWN && tile % GROUP == 0 {
                    scale = S::load_half(at);
                    at = at.wrapping_add(2 * LANES);
                    if MINIMUM {
                        // Minima are subtracted.
                        floor = S::mul(S::load_half(at), S::splat(-1.0));
                        at = at.wrapping_add(2 * LANES);
                    }
                }
                let codes = C::unpack::<S>(at);
                at = at.wrapping_add(codes_bytes);
                let chunk = |row: usize| &*chunks.wrapping_add(row * self.tiles);
                match SCALES {
                    OWN => {
                        let weight = S::load_half(at);
                        at = at.wrapping_add(2 * LANES);
                        let minimum = if MINIMUM { S::load_half(at) } else { weight };
                        for row in 0..N {
                            let x = chunk(row);
                            let start = if MINIMUM {
                                0
                            } else {
                                -zero * (x.halves[0] + x.halves[1])
                            };
                            let sum = dots::<S, C>(S::splat_int(start), &codes, 0, 8, x);
                            let factor = S::mul(weight, S::splat(x.scale));
                            sums[row] = S::fma(factor, S::to_float(sum), sums[row]);
                            if MINIMUM {
                                sums[row] = S::fma(minimum, S::splat(x.sum), sums[row]);
                            }
                        }
                        if MINIMUM {
                            at = at.wrapping_add(2 * LANES);
                        }
                    }
                    SHARED => {
                        let weight = S::mul(scale, S::load_unsigned(at));
                        let minimum = S::mul(floor, S::load_unsigned(at.wrapping_add(LANES)));
                        at = at.wrapping_add(2 * LANES);
                        for row in 0..N {
                            let x = chunk(row);
                            let sum = dots::<S, C>(S::splat_int(0), &codes, 0, 8, x);
                            let factor = S::mul(weight, S::splat(x.scale));
                            sums[row] = S::fma(factor, S::to_float(sum), sums[row]);
                            sums[row] = S::fma(minimum, S::splat(x.sum), sums[row]);
                        }
                    }
                    _ => {
                        for half in 0..2 {
                            let weight = S::mul(scale, S::load_signed(at.wrapping_add(half * LANES)));
                            let minimum = if MINIMUM {
                                S::mul(floor, S::load_unsigned(at.wrapping_add((2 + half) * LANES)))
                            } else {
                                weight
                            };
                            for row in 0..N {
                                let x = chunk(row);
                                let start = if MINIMUM { 0 } else { -zero * x.halves[half] };
                                let sum = dots::<S, C>(S::splat_int(start), &codes, 4 * half, 4 * half + 4, x);
                                let factor = S::mul(weight, S::splat(x.scale));
                                sums[row] = S::fma(factor, S::to_float(sum), sums[row]);
                                if MINIMUM {
                                    let total = x.scale * x.halves[half] as f32;
                                    sums[row] = S::fma(minimum, S::splat(total), sums[row]);
                                }
                            }
                        }
                        at = at.wrapping_add(if MINIMUM { 4 * LANES } else { 2 * LANES });
                    }
                }
                chunks = chunks.wrapping_add(1);
            }
            for (row, sum) in sums.into_iter().enumerate() {
                self.out.put::<S>(first + row, sum);
            }
        }
    }
}

/// Adds the products of a tile's codes and a row's, of the groups of four inputs from `from` to `to`.
#[inline(always)]
unsafe fn dots<S: Lanes, C: Codes>(
    mut sum: S::Int,
    codes: &[S::Bytes; 8],
    from: usize,
    to: usize,
    x: &Chunk,
) -> S::Int {
    let fours = x.codes.as_ptr().cast::<i32>();
    for group in (from..to).step_by(C::TOGETHER) {
        // SAFETY: eight groups of four codes.
        sum = unsafe {
            let codes = &codes[group..to.min(group + C::TOGETHER)];
            C::dots::<S>(sum, codes, fours.wrapping_add(group))
        };
    }
    sum
}
