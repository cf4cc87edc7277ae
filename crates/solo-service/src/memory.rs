//! Memory: of this process, and of the machine as far as this process may use it.

use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// Resident memory of this process, in bytes; none where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let only_memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, only_memory);
    Some(system.process(pid)?.memory())
}

/// Memory of the machine, or of the control group that this process lives in where that is less, in bytes. 0 where the
/// system does not tell.
pub fn total_bytes() -> u64 {
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let total = system.total_memory();
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => limits.total_memory.min(total),
        _ => total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_smaller_than_its_machine() {
        let resident = resident_bytes().unwrap();
        assert!(
            resident > 1 << 20 && resident < total_bytes(),
            "{resident} of {}",
            total_bytes()
        );
    }
}
