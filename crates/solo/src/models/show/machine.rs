//! What this machine could give a model.

use serde::Serialize;
use solo_models::fit::Budget;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Memory of this machine.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// RAM, in bytes.
    pub(super) ram_bytes: u64,
    /// Of it, what is planned with: a quarter stays for the system and the other services.
    pub(super) usable_ram_bytes: u64,
    /// Its NVIDIA GPUs, as far as the driver answers.
    pub(super) gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Gpu {
    pub(super) name: String,
    /// Its memory, in bytes.
    pub(super) bytes: u64,
    /// What is free now.
    pub(super) free_bytes: u64,
}

/// This machine.
pub(super) fn budgets() -> Machine {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let ram = System::new_with_specifics(kind).total_memory();
    let gpus = solo_service::gpu::readings().into_iter().map(|gpu| Gpu {
        name: gpu.name,
        bytes: gpu.memory_total_bytes,
        free_bytes: gpu.memory_total_bytes.saturating_sub(gpu.memory_used_bytes),
    });
    Machine {
        ram_bytes: ram,
        usable_ram_bytes: ram / 4 * 3,
        gpus: gpus.collect(),
    }
}

impl Machine {
    /// With the processor alone.
    pub(super) fn processor(&self) -> Budget {
        Budget {
            ram: self.usable_ram_bytes,
            gpus: Vec::new(),
        }
    }

    /// With what its GPUs have free; none without GPUs.
    pub(super) fn with_gpus(&self) -> Option<Budget> {
        (!self.gpus.is_empty()).then(|| Budget {
            ram: self.usable_ram_bytes,
            gpus: self.gpus.iter().map(|gpu| gpu.free_bytes).collect(),
        })
    }
}
