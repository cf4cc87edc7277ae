//! GPU readings by NVML. A machine without the driver has none: that is an answer, not an error.

use std::sync::LazyLock;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use solo_proto::status::v1::GpuStatus;

static NVML: LazyLock<Option<Nvml>> = LazyLock::new(|| {
    Nvml::init()
        .inspect_err(|error| tracing::debug!(%error, "no NVML: GPU readings are absent"))
        .ok()
});

/// Readings of all GPUs; empty without a driver. A GPU that fails to answer is left out and logged.
pub fn readings() -> Vec<GpuStatus> {
    let Some(nvml) = NVML.as_ref() else { return Vec::new() };
    (0..nvml.device_count().unwrap_or(0))
        .filter_map(|index| {
            reading(nvml, index)
                .inspect_err(|error| tracing::warn!(index, %error, "GPU does not answer"))
                .ok()
        })
        .collect()
}

fn reading(nvml: &Nvml, index: u32) -> Result<GpuStatus, nvml_wrapper::error::NvmlError> {
    let device = nvml.device_by_index(index)?;
    let memory = device.memory_info()?;
    Ok(GpuStatus {
        index,
        name: device.name()?,
        memory_used_bytes: memory.used,
        memory_total_bytes: memory.total,
        utilization_percent: device.utilization_rates()?.gpu,
        temperature_celsius: device.temperature(TemperatureSensor::Gpu)?,
    })
}
