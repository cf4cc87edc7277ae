//! Settings that libraries read before `main` begins. A service that was started without them starts itself once more,
//! with them: so it does not matter who starts it.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: [(&str, &str); 2] = [
    // libgomp's threads spin at barriers; where several services compute on few cores, they take them from one another
    // (ADR 0007).
    ("GOMP_SPINCOUNT", "1000"),
    // The C library asks for huge pages for large blocks: weights are read from end to end for every token, and in pages
    // of 4 KiB the processor looks up addresses rather than weights (ADR 0012).
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
];

/// Returns once the settings are there. What a person has set stays as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn settle() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let missing: Vec<_> = SETTINGS
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .collect();
    if missing.is_empty() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match std::env::current_exe() {
        Ok(binary) => Command::new(binary).arg0(name).args(arguments).envs(missing).exec(),
        Err(error) => error,
    };
    // It serves as well, only slower.
    eprintln!("warning: this process cannot start itself with {SETTINGS:?} in its environment: {error}");
}

/// Elsewhere there is nothing to settle.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn settle() {}
