//! How the benchmarks run other programs, and where what they compare Solo with is installed.

use std::path::PathBuf;
use std::process::Command;

/// The environment in which the C library asks for huge pages. llm-svc sees to it itself; the others are given it, too, so
/// that the comparison is of what they do, not of where their weights lie.
pub(crate) const HUGE_PAGES: [(&str, &str); 1] = [("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")];

/// Has a program die with this one, however this one ends. To be spawned from the main thread: it is the thread that the
/// kernel watches.
pub(crate) fn tied(command: &mut Command) -> &mut Command {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let tie = || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(std::io::Error::from)
        };
        // SAFETY: prctl is async-signal-safe, and nothing is allocated between fork and exec.
        unsafe { command.pre_exec(tie) };
    }
    command
}

/// The folder that `benches/peers/setup.sh` installs into; `None` where the machine names no cache folder.
pub fn peers() -> Option<PathBuf> {
    match std::env::var_os("SOLO_PEERS_DIR") {
        Some(folder) if !folder.is_empty() => Some(PathBuf::from(folder)),
        _ => Some(dirs::cache_dir()?.join("solo/peers")),
    }
}

/// The most memory that a process ever had resident, in MiB.
///
/// # Panics
/// When there is no such process, or no `/proc`.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    status_mib(pid, "VmHWM:")
}

/// The memory that a process has resident now, in MiB.
///
/// # Panics
/// When there is no such process, or no `/proc`.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: f64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("Linux says how much");
    kib / 1024.0
}
