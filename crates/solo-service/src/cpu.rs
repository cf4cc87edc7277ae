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

/// What a program's name ends in where it was compiled for x86-64-v4: AVX-512.
const V4: &str = ".x86-64-v4";

/// Becomes the program beside this one that was compiled for this CPU's AVX-512, where there is one and the CPU has it: the
/// image of stt-svc carries two, because whisper.cpp chooses its instructions when it is compiled. Arguments, environment and
/// process stay. Returns where there is nothing better.
pub fn become_best() {
    #[cfg(all(target_arch = "x86_64", unix))]
    {
        use std::os::unix::process::CommandExt;

        let Some(better) = std::env::current_exe().ok().and_then(|own| beside(&own)) else {
            return;
        };
        if has_v4() {
            let mut arguments = std::env::args_os();
            let name = arguments.next().unwrap_or_default();
            // It returns only where it failed, and then this program does, slower.
            let error = std::process::Command::new(&better).arg0(name).args(arguments).exec();
            eprintln!(
                "warning: {} cannot be run ({error}): this one is slower here",
                better.display()
            );
        }
    }
}

/// The better program beside the one at `own`; `None` where there is none, and for the better one itself.
#[cfg(unix)]
fn beside(own: &std::path::Path) -> Option<std::path::PathBuf> {
    let name = own.file_name()?.to_str()?;
    let better = own.with_file_name(format!("{name}{V4}"));
    (!name.ends_with(V4) && better.is_file()).then_some(better)
}

/// Whether CPU and system have what x86-64-v4 has more than x86-64-v3.
#[cfg(target_arch = "x86_64")]
fn has_v4() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
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

    #[cfg(unix)]
    #[test]
    fn a_better_program_is_one_that_lies_beside() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("stt-svc");
        assert_eq!(super::beside(&own), None);
        let better = folder.path().join("stt-svc.x86-64-v4");
        std::fs::write(&better, "").unwrap();
        assert_eq!(super::beside(&own), Some(better.clone()));
        assert_eq!(super::beside(&better), None);
    }

    #[test]
    fn the_machine_that_runs_the_tests_can_run_them() {
        assert_eq!(super::missing_features(), Vec::<&str>::new());
    }
}
