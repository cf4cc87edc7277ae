//! The loops that do the arithmetic on the processor, written once and compiled for several kinds of it.
//!
//! A kernel is written over [`Lanes`]: sixteen numbers side by side, whatever registers hold them. [`Isa::run`] compiles
//! it for AVX-512 with VNNI, AVX2 with VNNI, plain AVX2, and for any processor, and chooses when it runs. Every lane sees
//! the same operations in the same order in all of them, and products are fused everywhere, so all give the same bits;
//! so does a row alone and a row among others, because no sum ever runs over rows.

// Loops count registers: the same index means a row in several arrays, and what is not unrolled would not stay in registers.
#![allow(clippy::needless_range_loop)]

pub(super) mod activation;
pub(super) mod attention;
pub(super) mod floats;
mod lanes;
pub(super) mod product;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use lanes::Lanes;

/// A loop that can be compiled for any [`Lanes`].
pub(super) trait Kernel {
    /// What it computes.
    type Output;

    /// Computes it. Implementations are `#[inline(always)]`, so that they take on the instructions of the caller.
    ///
    /// # Safety
    /// The processor has the instructions of `S`, and what the kernel points to is as it says.
    unsafe fn run<S: Lanes>(self) -> Self::Output;
}

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// Whatever the binary was compiled for.
    Any,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same with the 256-bit dot products of bytes.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 with dot products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Those that this processor has, the best last.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn available() -> Vec<Self> {
        use std::arch::is_x86_feature_detected as has;
        let mut found = vec![Self::Any];
        if has!("avx2") && has!("fma") && has!("f16c") {
            found.push(Self::Avx2);
            if has!("avxvnni") {
                found.push(Self::AvxVnni);
            }
            if has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("avx512vnni") {
                found.push(Self::Avx512);
            }
        }
        found
    }

    /// Those that this processor has, the best last.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn available() -> Vec<Self> {
        vec![Self::Any]
    }

    /// The best that this processor has.
    pub(super) fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Any)
    }

    /// Runs a kernel with these instructions.
    ///
    /// # Safety
    /// `self` is one of [`Isa::available`], and what the kernel points to is as it says.
    pub(super) unsafe fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Any => kernel.run::<lanes::Portable>(),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => x86::avx2(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::AvxVnni => x86::avx_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => x86::avx512(kernel),
            }
        }
    }
}
