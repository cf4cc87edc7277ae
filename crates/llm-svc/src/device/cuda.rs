//! The CUDA driver, as far as choosing and watching devices needs it. A build without the feature `cuda` has none.

use super::{DeviceError, Gpus};

/// This machine's driver.
pub(super) struct Driver;

impl Gpus for Driver {
    fn count(&self) -> Result<usize, DeviceError> {
        driver::count()
    }

    fn check(&self, ordinal: usize) -> Result<(), DeviceError> {
        driver::check(ordinal)
    }
}

pub(super) use driver::{check, free_bytes, tensors, uuid};

#[cfg(feature = "cuda")]
mod driver {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError};

    use super::DeviceError;

    pub(in super::super) fn count() -> Result<usize, DeviceError> {
        let count =
            CudaContext::device_count().map_err(|error| DeviceError(format!("CUDA does not start: {error}")))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Opens a device and waits until it has done what it was told.
    pub(in super::super) fn check(ordinal: usize) -> Result<(), DeviceError> {
        on(ordinal, |context| context.synchronize())
    }

    pub(in super::super) fn free_bytes(ordinal: usize) -> Result<u64, DeviceError> {
        on(ordinal, |context| context.mem_get_info()).map(|(free, _)| free as u64)
    }

    /// As NVML writes it: "GPU-" and five groups of hexadecimal digits.
    pub(in super::super) fn uuid(ordinal: usize) -> Result<String, DeviceError> {
        let bytes = on(ordinal, |context| context.uuid())?.bytes;
        let mut text = "GPU-".to_owned();
        for (index, byte) in bytes.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // The driver's bytes are C's `char`, whose sign means nothing here.
            write!(text, "{:02x}", byte as u8).map_err(|error| DeviceError(error.to_string()))?;
        }
        Ok(text)
    }

    /// A device for candle's tensors.
    pub(in super::super) fn tensors(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
        let device = candle_core::Device::new_cuda(ordinal)
            .map_err(|error| DeviceError(format!("cuda:{ordinal} does not open: {error}")))?;
        if let candle_core::Device::Cuda(cuda) = &device {
            // SAFETY: events would order streams, of which each thread has one. A model's tensors are used by one thread at
            // a time, and whoever loads them waits until they are there. Without this each tensor makes two events, and
            // a step thousands.
            unsafe { cuda.disable_event_tracking() };
        }
        Ok(device)
    }

    fn on<T>(ordinal: usize, ask: impl FnOnce(&Arc<CudaContext>) -> Result<T, DriverError>) -> Result<T, DeviceError> {
        CudaContext::new(ordinal)
            .and_then(|context| {
                context.bind_to_thread()?;
                ask(&context)
            })
            .map_err(|error| DeviceError(format!("cuda:{ordinal} does not answer: {error}")))
    }
}

#[cfg(not(feature = "cuda"))]
mod driver {
    use super::DeviceError;

    pub(in super::super) fn count() -> Result<usize, DeviceError> {
        Err(absent())
    }

    pub(in super::super) fn check(_: usize) -> Result<(), DeviceError> {
        Err(absent())
    }

    pub(in super::super) fn free_bytes(_: usize) -> Result<u64, DeviceError> {
        Err(absent())
    }

    pub(in super::super) fn uuid(_: usize) -> Result<String, DeviceError> {
        Err(absent())
    }

    pub(in super::super) fn tensors(_: usize) -> Result<candle_core::Device, DeviceError> {
        Err(absent())
    }

    fn absent() -> DeviceError {
        DeviceError("this build has no CUDA (cargo feature `cuda`)".to_owned())
    }
}
