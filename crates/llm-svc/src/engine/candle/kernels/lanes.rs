//! Sixteen numbers side by side.

use half::{bf16, f16};

/// Numbers in a [`Lanes`] register.
pub(crate) const LANES: usize = 16;

/// What a kernel may do with sixteen numbers. Integer operations are exact, float operations round as IEEE 754 says and
/// multiplications are fused with additions, so implementations cannot differ.
///
/// # Safety of all methods
/// The processor has the instructions; pointers are good for the bytes that the method names, at any alignment.
pub(crate) trait Lanes: Copy {
    /// Sixteen f32.
    type Float: Copy;
    /// Sixteen i32.
    type Int: Copy;
    /// Sixteen times four bytes.
    type Bytes: Copy;

    /// True where more rows are worked on at once: unpacking codes once for them saves more than keeping their sums costs.
    const WIDE: bool;
    /// What [`Lanes::dot_eight`] adds to each signed code.
    const EIGHT_ZERO: i32;

    unsafe fn splat(number: f32) -> Self::Float;
    /// Of 64 bytes.
    unsafe fn load(at: *const f32) -> Self::Float;
    /// To 64 bytes.
    unsafe fn store(at: *mut f32, numbers: Self::Float);
    /// Of 32 bytes: IEEE half precision.
    unsafe fn load_half(at: *const u8) -> Self::Float;
    /// Of 32 bytes: bfloat16.
    unsafe fn load_bfloat(at: *const u8) -> Self::Float;
    /// Of 16 bytes.
    unsafe fn load_unsigned(at: *const u8) -> Self::Float;
    /// Of 16 bytes.
    unsafe fn load_signed(at: *const u8) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;

    unsafe fn splat_int(number: i32) -> Self::Int;
    unsafe fn to_float(numbers: Self::Int) -> Self::Float;
    /// The low and the high halves of 64 bytes.
    unsafe fn nibbles(at: *const u8) -> (Self::Bytes, Self::Bytes);
    /// 64 bytes, each a code and 128.
    unsafe fn eights(at: *const u8) -> Self::Bytes;
    /// 64 bytes as they are.
    unsafe fn bytes(at: *const u8) -> Self::Bytes;
    /// Adds 16 times the bit of `bits` that stands at `PLACE` to each byte.
    unsafe fn add_bits<const PLACE: u32>(codes: Self::Bytes, bits: Self::Bytes) -> Self::Bytes;
    /// Adds 16 times the two bits of `pairs` that stand at `2 * PLACE` to each byte.
    unsafe fn add_pairs<const PLACE: u32>(codes: Self::Bytes, pairs: Self::Bytes) -> Self::Bytes;
    /// Adds to each lane the products of its codes (0 to 127) and signed bytes (−127 to 127), four of each for each of
    /// `codes`; the bytes stand at `x`. The codes are so small, or so few, that twice as many products as there are `codes`
    /// have a sum of 16 bits.
    unsafe fn dots(sum: Self::Int, codes: &[Self::Bytes], x: *const i32) -> Self::Int;
    /// The same of one `x` for [`Lanes::eights`]: codes of −128 to 127, each plus [`Lanes::EIGHT_ZERO`].
    unsafe fn dot_eight(sum: Self::Int, codes: Self::Bytes, x: i32) -> Self::Int;

    /// The sum of all lanes, halves first.
    #[inline(always)]
    unsafe fn total(numbers: Self::Float) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: an array of sixteen.
        unsafe { Self::store(lanes.as_mut_ptr(), numbers) };
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// [`Lanes`] for any processor.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn each<T: Copy + Default>(lane: impl Fn(usize) -> T) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    for (index, place) in lanes.iter_mut().enumerate() {
        *place = lane(index);
    }
    lanes
}

#[inline(always)]
fn each_byte(byte: impl Fn(usize) -> u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (index, place) in bytes.iter_mut().enumerate() {
        *place = byte(index);
    }
    bytes
}

impl Lanes for Portable {
    type Float = [f32; LANES];
    type Int = [i32; LANES];
    type Bytes = [u8; 64];

    const WIDE: bool = false;
    const EIGHT_ZERO: i32 = 0;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self::Float {
        [number; LANES]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::Float {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self::Float>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, numbers: Self::Float) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self::Float>().write_unaligned(numbers) }
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u8) -> Self::Float {
        // SAFETY: the caller's promise.
        let halves = unsafe { at.cast::<[u16; LANES]>().read_unaligned() };
        each(|lane| f16::from_bits(halves[lane]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bfloat(at: *const u8) -> Self::Float {
        // SAFETY: the caller's promise.
        let halves = unsafe { at.cast::<[u16; LANES]>().read_unaligned() };
        each(|lane| bf16::from_bits(halves[lane]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_unsigned(at: *const u8) -> Self::Float {
        // SAFETY: the caller's promise.
        let bytes = unsafe { at.cast::<[u8; LANES]>().read_unaligned() };
        each(|lane| f32::from(bytes[lane]))
    }
    #[inline(always)]
    unsafe fn load_signed(at: *const u8) -> Self::Float {
        // SAFETY: the caller's promise.
        let bytes = unsafe { at.cast::<[i8; LANES]>().read_unaligned() };
        each(|lane| f32::from(bytes[lane]))
    }
    #[inline(always)]
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float {
        each(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float {
        each(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        each(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
    #[inline(always)]
    unsafe fn splat_int(number: i32) -> Self::Int {
        [number; LANES]
    }
    #[inline(always)]
    unsafe fn to_float(numbers: Self::Int) -> Self::Float {
        each(|lane| numbers[lane] as f32)
    }
    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> (Self::Bytes, Self::Bytes) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { Self::bytes(at) };
        (each_byte(|byte| bytes[byte] & 0x0F), each_byte(|byte| bytes[byte] >> 4))
    }
    #[inline(always)]
    unsafe fn eights(at: *const u8) -> Self::Bytes {
        // SAFETY: the caller's promise.
        let bytes = unsafe { Self::bytes(at) };
        each_byte(|byte| bytes[byte] ^ 0x80)
    }
    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::Bytes {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self::Bytes>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn add_bits<const PLACE: u32>(codes: Self::Bytes, bits: Self::Bytes) -> Self::Bytes {
        each_byte(|byte| codes[byte] | (((bits[byte] >> PLACE) & 1) << 4))
    }
    #[inline(always)]
    unsafe fn add_pairs<const PLACE: u32>(codes: Self::Bytes, pairs: Self::Bytes) -> Self::Bytes {
        each_byte(|byte| codes[byte] | (((pairs[byte] >> (2 * PLACE)) & 3) << 4))
    }
    #[inline(always)]
    unsafe fn dots(mut sum: Self::Int, codes: &[Self::Bytes], x: *const i32) -> Self::Int {
        for (group, codes) in codes.iter().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { x.wrapping_add(group).read_unaligned() };
            let x = x.to_le_bytes().map(|byte| i32::from(byte as i8));
            let product = |lane: usize| {
                (0..4)
                    .map(|byte| i32::from(codes[4 * lane + byte]) * x[byte])
                    .sum::<i32>()
            };
            sum = each(|lane| sum[lane] + product(lane));
        }
        sum
    }
    #[inline(always)]
    unsafe fn dot_eight(sum: Self::Int, codes: Self::Bytes, x: i32) -> Self::Int {
        let x = x.to_le_bytes().map(|byte| i32::from(byte as i8));
        let product = |lane: usize| {
            (0..4)
                .map(|byte| i32::from(codes[4 * lane + byte] as i8) * x[byte])
                .sum::<i32>()
        };
        each(|lane| sum[lane] + product(lane))
    }
}
