//! Where the candle engine computes: on the processor, or on one GPU by its CUDA number.

use std::fmt;

use candle_core::Device;
use serde::Deserialize;
use solo_service::StartupError;

/// What configuration says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DeviceSetting {
    /// "auto": the first GPU if it answers, else the processor.
    Auto,
    /// "cpu".
    Cpu,
    /// "cuda:1", and "cuda" for the first.
    Gpu(usize),
}

impl fmt::Display for DeviceSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Gpu(ordinal) => write!(formatter, "cuda:{ordinal}"),
        }
    }
}

impl TryFrom<String> for DeviceSetting {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        let setting = match text.as_str() {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Gpu(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Gpu),
        };
        setting.ok_or_else(|| DeviceError(format!("`{text}` is no device: auto, cpu, cuda or cuda:N is wanted")))
    }
}

/// The configured device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

/// A device that answers.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) device: Device,
    /// As the status shows it.
    pub(super) name: String,
    /// Why "auto" is the processor; else empty.
    pub(super) why_cpu: String,
}

impl DeviceSetting {
    /// Decides by configuration, and by what answers on this machine.
    ///
    /// # Errors
    /// A GPU that is asked for by name and cannot be had.
    pub(super) fn choose(self) -> Result<Chosen, StartupError> {
        self.among(open).map_err(|error| {
            StartupError::Config(format!(
                "memory.embedding.device: {error}; \"cpu\" is the processor, and \"auto\" takes it where no GPU answers"
            ))
        })
    }

    fn among(self, open: impl Fn(usize) -> Result<Device, DeviceError>) -> Result<Chosen, DeviceError> {
        let gpu = |ordinal| -> Result<Chosen, DeviceError> {
            Ok(Chosen {
                device: open(ordinal)?,
                name: Self::Gpu(ordinal).to_string(),
                why_cpu: String::new(),
            })
        };
        let processor = |why_cpu| Chosen {
            device: Device::Cpu,
            name: Self::Cpu.to_string(),
            why_cpu,
        };
        match self {
            Self::Cpu => Ok(processor(String::new())),
            Self::Gpu(ordinal) => gpu(ordinal),
            Self::Auto => gpu(0).or_else(|DeviceError(why)| Ok(processor(why))),
        }
    }
}

/// Opens a GPU and waits until it has done what it was told.
#[cfg(feature = "cuda")]
fn open(ordinal: usize) -> Result<Device, DeviceError> {
    let device = Device::new_cuda(ordinal)
        .and_then(|device| device.synchronize().map(|()| device))
        .map_err(|error| DeviceError(format!("cuda:{ordinal} does not answer: {error}")))?;
    if let Device::Cuda(cuda) = &device {
        // SAFETY: events would order streams, of which each thread has one. All tensors of a model are made, used and dropped
        // by one thread, the engine's. Without this each tensor makes two events.
        unsafe { cuda.disable_event_tracking() };
    }
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn open(_: usize) -> Result<Device, DeviceError> {
    Err(DeviceError(
        "this memory-svc was built without CUDA: GPUs need a build with `--features cuda`".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<DeviceSetting, DeviceError> {
        text.to_owned().try_into()
    }

    /// The name of what is chosen where one GPU answers, and why it is the processor. The GPU is played by the processor.
    fn chosen(text: &str, answering: usize) -> Result<(String, String), DeviceError> {
        let open = |ordinal| {
            if ordinal == answering {
                Ok(Device::Cpu)
            } else {
                Err(DeviceError(format!("cuda:{ordinal} does not answer")))
            }
        };
        parsed(text)?.among(open).map(|chosen| (chosen.name, chosen.why_cpu))
    }

    #[test]
    fn auto_takes_the_first_gpu_and_says_why_it_is_the_processor() {
        let said = |name: &str, why: &str| Ok((name.to_owned(), why.to_owned()));
        assert_eq!(chosen("auto", 0), said("cuda:0", ""));
        assert_eq!(chosen("auto", 1), said("cpu", "cuda:0 does not answer"));
        assert_eq!(chosen("cpu", 0), said("cpu", ""));
    }

    #[test]
    fn a_gpu_that_is_asked_for_is_that_one_or_an_error_and_never_the_processor() {
        assert_eq!(chosen("cuda", 0).unwrap().0, "cuda:0");
        assert_eq!(chosen("cuda:1", 1).unwrap().0, "cuda:1");
        for (text, answering) in [("cuda", 1), ("cuda:1", 0)] {
            let error = chosen(text, answering).unwrap_err().to_string();
            assert!(error.contains("does not answer"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_device_hears_what_is() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,1", "CPU"] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains("cuda:N is wanted"), "{text}: {error}");
        }
        for text in ["auto", "cpu", "cuda:0", "cuda:7"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
    }
}
