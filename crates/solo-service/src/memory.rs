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

/// Gives back to the system what the C library keeps of freed memory. For after work that took much for a while: by itself it gives
/// back only what lies at the end of a heap, and one block that stays there keeps all before it. Takes some milliseconds a gigabyte,
/// in which threads that allocate wait.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            // malloc_trim(3): it locks each heap in turn, and wants nothing of its caller.
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of what is taken is freed, in pieces that lie between those that stay.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_was_freed_is_given_back() {
        let blocks: Vec<Vec<u8>> = (0..6400).map(|_| vec![1; 32 << 10]).collect();
        let (kept, freed): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(n, _)| n % 64 == 0);
        drop(freed);
        let before = resident_bytes().unwrap();
        give_back();
        let after = resident_bytes().unwrap();
        assert!(after + (100 << 20) < before, "{before} before, {after} after");
        assert_eq!(kept.len(), 100);
    }

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
