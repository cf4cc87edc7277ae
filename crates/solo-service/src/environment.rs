//! Settings that libraries read from the environment, some before `main` begins. A service that was started without them starts
//! itself once more, with them: so it does not matter who starts it.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: [(&str, &str); 2] = [
    // libgomp's threads spin at barriers; where several services compute on few cores, they take them from one another
    // (ADR 0007).
    ("GOMP_SPINCOUNT", "1000"),
    // The C library asks for huge pages for large blocks: weights are read from end to end for every token, and in pages
    // of 4 KiB the processor looks up addresses rather than weights (ADR 0012).
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
];

/// Says of a process that it has started itself once more: its number. What is still missing then will not stay, whatever is done: the
/// C library drops its tunables where a program has capabilities of its file.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTLED: &str = "SOLO_SETTLED";

/// Returns once the settings are there, `own` ones of the service before those of all. What a person has set stays as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn settle(own: &[(&str, &str)]) {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let of_all = SETTINGS
        .into_iter()
        .filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    let missing: Vec<_> = of_all
        .chain(own.iter().copied())
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .collect();
    let process = std::process::id().to_string();
    if missing.is_empty() || std::env::var(SETTLED).is_ok_and(|settled| settled == process) {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match std::env::current_exe() {
        Ok(binary) => Command::new(binary)
            .arg0(name)
            .args(arguments)
            .envs(missing.iter().copied())
            .env(SETTLED, process)
            .exec(),
        Err(error) => error,
    };
    // It serves as well, only slower, or in more memory.
    eprintln!("warning: this process cannot start itself with {missing:?} in its environment: {error}");
}

/// Elsewhere there is nothing to settle.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn settle(_: &[(&str, &str)]) {}
