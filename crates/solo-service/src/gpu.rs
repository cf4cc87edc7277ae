//! GPUs, as NVML sees them: readings for the status, and a watch over those that an engine lives on.

mod watch;

use std::sync::LazyLock;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use solo_proto::status::v1::GpuStatus;

pub use watch::{Watched, watch};

static NVML: LazyLock<Option<Nvml>> = LazyLock::new(|| {
    Nvml::init()
        .inspect_err(|error| tracing::debug!(%error, "no NVML: GPU readings are absent"))
        .ok()
});

/// Readings of all GPUs; empty without a driver: that is an answer, not an error. A GPU that fails to answer is left out
/// and logged.
pub fn readings() -> Vec<GpuStatus> {
    let Some(nvml) = NVML.as_ref() else { return Vec::new() };
    (0..nvml.device_count().unwrap_or(0))
        .filter_map(|index| {
            nvml.device_by_index(index)
                .and_then(|device| reading(&device))
                .inspect_err(|error| tracing::warn!(index, %error, "GPU does not answer"))
                .ok()
        })
        .collect()
}

fn reading(device: &Device<'_>) -> Result<GpuStatus, NvmlError> {
    let memory = device.memory_info()?;
    Ok(GpuStatus {
        index: device.index()?,
        name: device.name()?,
        memory_used_bytes: memory.used,
        memory_total_bytes: memory.total,
        utilization_percent: device.utilization_rates()?.gpu,
        temperature_celsius: device.temperature(TemperatureSensor::Gpu)?,
    })
}

/// Asks NVML for one GPU, by its UUID: NVML and CUDA count GPUs in different orders. Opens NVML anew after a failure,
/// because one that was open when a GPU was lost does not see it come back.
#[derive(Default)]
pub struct Sensor(Option<Nvml>);

impl Sensor {
    /// Reads a GPU ("GPU-8f6c…").
    ///
    /// # Errors
    /// NVML's own words.
    pub fn read(&mut self, uuid: &str) -> Result<GpuStatus, String> {
        let nvml = match self.0.take() {
            Some(nvml) => nvml,
            None => Nvml::init().map_err(|error| format!("NVML does not start: {error}"))?,
        };
        let read = nvml.device_by_uuid(uuid).and_then(|device| reading(&device));
        let read = read.map_err(|error| format!("NVML: {error}"))?;
        self.0 = Some(nvml);
        Ok(read)
    }
}
