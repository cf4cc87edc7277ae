//! What a process has to know of its processors: whether they can run it at all, and who goes first where there are too few.

/// By how much work that may wait steps back, in steps of `nice`: against one thread that does not, it gets a tenth of the time.
const STEPS_BACK: i32 = 10;

/// Lets all other work go first: lowers the priority of the calling thread and of the threads that it will start.
///
/// Priorities of single threads are Linux's; elsewhere nothing changes. They cannot be raised again without privileges, so
/// this is for threads that never do anything else.
pub fn let_others_go_first() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, STEPS_BACK) {
        tracing::warn!(%error, "work that may wait competes with work that may not");
    }
}

/// What the CPU lacks of what this binary was compiled for; empty: nothing. A sentence is better than dying of an illegal
/// instruction.
///
/// Asks the CPU itself: `is_x86_feature_detected!` answers from the compile-time features where they are set.
#[cfg(target_arch = "x86_64")]
pub fn missing_features() -> Vec<&'static str> {
    use std::arch::x86_64::__cpuid_count;

    let highest = __cpuid_count(0, 0).eax;
    let basic = __cpuid_count(1, 0);
    let extended = if highest >= 7 {
        __cpuid_count(7, 0)
    } else {
        __cpuid_count(highest + 1, 0)
    };
    let extended_ebx = if highest >= 7 { extended.ebx } else { 0 };
    [
        ("AVX", cfg!(target_feature = "avx"), basic.ecx >> 28),
        ("FMA", cfg!(target_feature = "fma"), basic.ecx >> 12),
        ("F16C", cfg!(target_feature = "f16c"), basic.ecx >> 29),
        ("BMI1", cfg!(target_feature = "bmi1"), extended_ebx >> 3),
        ("AVX2", cfg!(target_feature = "avx2"), extended_ebx >> 5),
        ("BMI2", cfg!(target_feature = "bmi2"), extended_ebx >> 8),
        ("AVX-512F", cfg!(target_feature = "avx512f"), extended_ebx >> 16),
    ]
    .into_iter()
    .filter(|(_, compiled_in, bits)| *compiled_in && bits & 1 == 0)
    .map(|(name, ..)| name)
    .collect()
}

/// Other architectures are compiled for their baseline.
#[cfg(not(target_arch = "x86_64"))]
pub fn missing_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn who_lets_others_go_first_does_so_alone() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let (own, started) = std::thread::spawn(move || {
            super::let_others_go_first();
            (priority(), std::thread::spawn(priority).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((own, started), (super::STEPS_BACK, super::STEPS_BACK));
        assert_eq!(priority(), before);
    }

    #[test]
    fn the_machine_that_runs_the_tests_can_run_them() {
        assert_eq!(super::missing_features(), Vec::<&str>::new());
    }
}
