//! [`Lanes`] in the registers of x86-64: one of 512 bits, or two of 256.

use std::arch::x86_64::*;

use super::{Kernel, Lanes};

/// # Safety
/// As [`Kernel::run`]; the processor has what the attribute names.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Two<false>>() }
}

/// # Safety
/// As [`Kernel::run`]; the processor has what the attribute names.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn avx_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Two<true>>() }
}

/// # Safety
/// As [`Kernel::run`]; the processor has what the attribute names.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<One>() }
}

/// One register of 512 bits.
#[derive(Clone, Copy)]
pub(super) struct One;

// SAFETY of all blocks below: the trait's own promise, which callers keep.
impl Lanes for One {
    type Float = __m512;
    type Int = __m512i;
    type Bytes = __m512i;

    const WIDE: bool = true;
    const EIGHT_ZERO: i32 = 128;

    #[inline(always)]
    unsafe fn splat(number: f32) -> __m512 {
        unsafe { _mm512_set1_ps(number) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, numbers: __m512) {
        unsafe { _mm512_storeu_ps(at, numbers) }
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bfloat(at: *const u8) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_unsigned(at: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_signed(at: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn splat_int(number: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(number) }
    }
    #[inline(always)]
    unsafe fn to_float(numbers: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(numbers) }
    }
    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> (__m512i, __m512i) {
        unsafe {
            let (bytes, low) = (Self::bytes(at), _mm512_set1_epi8(0x0F));
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
            (_mm512_and_si512(bytes, low), high)
        }
    }
    #[inline(always)]
    unsafe fn eights(at: *const u8) -> __m512i {
        // As they are: the dot product takes them as unsigned.
        unsafe { Self::bytes(at) }
    }
    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn add_bits<const PLACE: u32>(codes: __m512i, bits: __m512i) -> __m512i {
        unsafe {
            let placed = match PLACE {
                0 => _mm512_slli_epi16::<4>(bits),
                1 => _mm512_slli_epi16::<3>(bits),
                2 => _mm512_slli_epi16::<2>(bits),
                3 => _mm512_slli_epi16::<1>(bits),
                4 => bits,
                5 => _mm512_srli_epi16::<1>(bits),
                6 => _mm512_srli_epi16::<2>(bits),
                _ => _mm512_srli_epi16::<3>(bits),
            };
            _mm512_or_si512(codes, _mm512_and_si512(placed, _mm512_set1_epi8(0x10)))
        }
    }
    #[inline(always)]
    unsafe fn add_pairs<const PLACE: u32>(codes: __m512i, pairs: __m512i) -> __m512i {
        unsafe {
            let placed = match PLACE {
                0 => _mm512_slli_epi16::<4>(pairs),
                1 => _mm512_slli_epi16::<2>(pairs),
                2 => pairs,
                _ => _mm512_srli_epi16::<2>(pairs),
            };
            _mm512_or_si512(codes, _mm512_and_si512(placed, _mm512_set1_epi8(0x30)))
        }
    }
    #[inline(always)]
    unsafe fn dots(mut sum: __m512i, codes: &[__m512i], x: *const i32) -> __m512i {
        for (group, &codes) in codes.iter().enumerate() {
            sum = unsafe {
                let x = x.wrapping_add(group).read_unaligned();
                _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(x))
            };
        }
        sum
    }
    #[inline(always)]
    unsafe fn dot_eight(sum: __m512i, codes: __m512i, x: i32) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(x)) }
    }
}

/// Two registers of 256 bits, with dot products of bytes or without.
#[derive(Clone, Copy)]
pub(super) struct Two<const VNNI: bool>;

type Pair<T> = [T; 2];

impl<const VNNI: bool> Two<VNNI> {
    /// The products of unsigned `codes` up to 127 and the signed bytes `x`, four to a lane.
    #[inline(always)]
    unsafe fn products(sum: __m256i, codes: __m256i, x: __m256i) -> __m256i {
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sum, codes, x);
            }
            // Two products of at most 128 · 127 fit 16 bits.
            let pairs = _mm256_maddubs_epi16(codes, x);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}

impl<const VNNI: bool> Lanes for Two<VNNI> {
    type Float = Pair<__m256>;
    type Int = Pair<__m256i>;
    type Bytes = Pair<__m256i>;

    const WIDE: bool = true;
    const EIGHT_ZERO: i32 = 0;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self::Float {
        unsafe { [_mm256_set1_ps(number); 2] }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::Float {
        unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.wrapping_add(8))] }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, numbers: Self::Float) {
        unsafe {
            _mm256_storeu_ps(at, numbers[0]);
            _mm256_storeu_ps(at.wrapping_add(8), numbers[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u8) -> Self::Float {
        unsafe {
            let load = |at: *const u8| _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
            [load(at), load(at.wrapping_add(16))]
        }
    }
    #[inline(always)]
    unsafe fn load_bfloat(at: *const u8) -> Self::Float {
        unsafe {
            let load = |at: *const u8| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            [load(at), load(at.wrapping_add(16))]
        }
    }
    #[inline(always)]
    unsafe fn load_unsigned(at: *const u8) -> Self::Float {
        unsafe {
            let load = |at: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())));
            [load(at), load(at.wrapping_add(8))]
        }
    }
    #[inline(always)]
    unsafe fn load_signed(at: *const u8) -> Self::Float {
        unsafe {
            let load = |at: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())));
            [load(at), load(at.wrapping_add(8))]
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    unsafe fn splat_int(number: i32) -> Self::Int {
        unsafe { [_mm256_set1_epi32(number); 2] }
    }
    #[inline(always)]
    unsafe fn to_float(numbers: Self::Int) -> Self::Float {
        unsafe { [_mm256_cvtepi32_ps(numbers[0]), _mm256_cvtepi32_ps(numbers[1])] }
    }
    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> (Self::Bytes, Self::Bytes) {
        unsafe {
            let (bytes, low) = (Self::bytes(at), _mm256_set1_epi8(0x0F));
            let high = |bytes| _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
            (
                [_mm256_and_si256(bytes[0], low), _mm256_and_si256(bytes[1], low)],
                [high(bytes[0]), high(bytes[1])],
            )
        }
    }
    #[inline(always)]
    unsafe fn eights(at: *const u8) -> Self::Bytes {
        unsafe {
            let (bytes, sign) = (Self::bytes(at), _mm256_set1_epi8(-128));
            [_mm256_xor_si256(bytes[0], sign), _mm256_xor_si256(bytes[1], sign)]
        }
    }
    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::Bytes {
        unsafe {
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.wrapping_add(32).cast()),
            ]
        }
    }
    #[inline(always)]
    unsafe fn add_bits<const PLACE: u32>(codes: Self::Bytes, bits: Self::Bytes) -> Self::Bytes {
        unsafe {
            let add = |codes, bits| {
                let placed = match PLACE {
                    0 => _mm256_slli_epi16::<4>(bits),
                    1 => _mm256_slli_epi16::<3>(bits),
                    2 => _mm256_slli_epi16::<2>(bits),
                    3 => _mm256_slli_epi16::<1>(bits),
                    4 => bits,
                    5 => _mm256_srli_epi16::<1>(bits),
                    6 => _mm256_srli_epi16::<2>(bits),
                    _ => _mm256_srli_epi16::<3>(bits),
                };
                _mm256_or_si256(codes, _mm256_and_si256(placed, _mm256_set1_epi8(0x10)))
            };
            [add(codes[0], bits[0]), add(codes[1], bits[1])]
        }
    }
    #[inline(always)]
    unsafe fn add_pairs<const PLACE: u32>(codes: Self::Bytes, pairs: Self::Bytes) -> Self::Bytes {
        unsafe {
            let add = |codes, pairs| {
                let placed = match PLACE {
                    0 => _mm256_slli_epi16::<4>(pairs),
                    1 => _mm256_slli_epi16::<2>(pairs),
                    2 => pairs,
                    _ => _mm256_srli_epi16::<2>(pairs),
                };
                _mm256_or_si256(codes, _mm256_and_si256(placed, _mm256_set1_epi8(0x30)))
            };
            [add(codes[0], pairs[0]), add(codes[1], pairs[1])]
        }
    }
    #[inline(always)]
    unsafe fn dots(mut sum: Self::Int, codes: &[Self::Bytes], x: *const i32) -> Self::Int {
        unsafe {
            let splat = |group| _mm256_set1_epi32(x.wrapping_add(group).read_unaligned());
            if VNNI {
                for (group, codes) in codes.iter().enumerate() {
                    let x = splat(group);
                    sum = [Self::products(sum[0], codes[0], x), Self::products(sum[1], codes[1], x)];
                }
                return sum;
            }
            // Products are summed in 16 bits, where they fit, and are widened once.
            let mut pairs = [_mm256_setzero_si256(); 2];
            for (group, codes) in codes.iter().enumerate() {
                let x = splat(group);
                for half in 0..2 {
                    pairs[half] = _mm256_add_epi16(pairs[half], _mm256_maddubs_epi16(codes[half], x));
                }
            }
            let widened = |pairs| _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            [
                _mm256_add_epi32(sum[0], widened(pairs[0])),
                _mm256_add_epi32(sum[1], widened(pairs[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn dot_eight(sum: Self::Int, codes: Self::Bytes, x: i32) -> Self::Int {
        unsafe {
            // |code| · (x with the code's sign): the instruction wants one side unsigned.
            let x = _mm256_set1_epi32(x);
            let products = |sum, codes| Self::products(sum, _mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
            [products(sum[0], codes[0]), products(sum[1], codes[1])]
        }
    }
}
