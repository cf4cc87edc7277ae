//! The GPUs that models lie on, as the watch asks them.

use solo_service::gpu::{Sensor, Watched};

use super::{Device, DeviceError, cuda};

/// GPUs in use.
pub struct WatchedGpus {
    device: Device,
    /// Each one's number and what NVML calls it.
    gpus: Vec<(usize, String)>,
    sensor: Sensor,
}

impl WatchedGpus {
    /// The GPUs of a device; `None` for the processor.
    ///
    /// # Errors
    /// When one does not answer.
    pub fn of(device: &Device) -> Result<Option<Self>, DeviceError> {
        let Device::Cuda(ordinals) = device else {
            return Ok(None);
        };
        let gpus: Result<Vec<_>, DeviceError> = ordinals
            .iter()
            .map(|&ordinal| Ok((ordinal, cuda::uuid(ordinal)?)))
            .collect();
        Ok(Some(Self {
            device: device.clone(),
            gpus: gpus?,
            sensor: Sensor::default(),
        }))
    }
}

impl Watched for WatchedGpus {
    fn device(&self) -> String {
        self.device.to_string()
    }

    fn check(&mut self) -> Result<(), String> {
        for (ordinal, uuid) in &self.gpus {
            // NVML first: it answers of a lost GPU where CUDA may hang.
            self.sensor
                .read(uuid)
                .map_err(|error| format!("cuda:{ordinal} ({uuid}): {error}"))?;
            cuda::check(*ordinal).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
