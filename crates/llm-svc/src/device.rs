//! Where engines compute: the processor, or GPUs by their CUDA numbers.

mod cuda;
mod watched;

use std::fmt;

pub use watched::WatchedGpus;

/// Where engines compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// CUDA devices by their numbers, at least one. A model goes on the first that it fits on, or over all of them.
    Cuda(Vec<usize>),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(ordinals) => {
                let ordinals: Vec<String> = ordinals.iter().map(usize::to_string).collect();
                write!(formatter, "cuda:{}", ordinals.join(","))
            }
        }
    }
}

/// What configuration says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSetting {
    /// "auto": all GPUs that answer, else the processor.
    Auto,
    /// "cpu".
    Cpu,
    /// "cuda": all GPUs.
    AllGpus,
    /// "cuda:1", "cuda:0,1": these.
    Gpus(Vec<usize>),
}

impl DeviceSetting {
    /// Reads it.
    ///
    /// # Errors
    /// [`DeviceError`] says what is wanted.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let setting = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::AllGpus),
            _ => text.strip_prefix("cuda:").and_then(|list| {
                let ordinals: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
                ordinals.ok().filter(|ordinals| distinct(ordinals)).map(Self::Gpus)
            }),
        };
        setting.ok_or_else(|| {
            DeviceError(format!(
                "`{text}` is no device: auto, cpu, cuda, cuda:N or cuda:N,M is wanted"
            ))
        })
    }
}

fn distinct(ordinals: &[usize]) -> bool {
    (1..ordinals.len()).all(|index| !ordinals[..index].contains(&ordinals[index]))
}

/// The configured device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

/// The GPUs of this machine, as far as this build can use them.
trait Gpus {
    /// How many there are.
    fn count(&self) -> Result<usize, DeviceError>;

    /// Makes sure that one answers.
    fn check(&self, ordinal: usize) -> Result<(), DeviceError>;
}

impl Device {
    /// Decides by configuration, and by what answers on this machine. The second value says why it is the processor; it
    /// is empty where it is not.
    ///
    /// # Errors
    /// [`DeviceError`] when a device is asked for by name and cannot be had.
    pub fn choose(setting: &DeviceSetting) -> Result<(Self, String), DeviceError> {
        Self::among(setting, &cuda::Driver)
    }

    fn among(setting: &DeviceSetting, gpus: &impl Gpus) -> Result<(Self, String), DeviceError> {
        Ok(match setting {
            DeviceSetting::Cpu => (Self::Cpu, "the device is cpu".to_owned()),
            DeviceSetting::Gpus(ordinals) => {
                ordinals.iter().try_for_each(|&ordinal| gpus.check(ordinal))?;
                (Self::Cuda(ordinals.clone()), String::new())
            }
            DeviceSetting::AllGpus => (Self::Cuda(all(gpus)?), String::new()),
            DeviceSetting::Auto => match all(gpus) {
                Ok(ordinals) => (Self::Cuda(ordinals), String::new()),
                Err(error) => (Self::Cpu, error.0),
            },
        })
    }
}

/// All GPUs, when every one answers.
fn all(gpus: &impl Gpus) -> Result<Vec<usize>, DeviceError> {
    let count = gpus.count()?;
    if count == 0 {
        return Err(DeviceError("no CUDA device is visible".to_owned()));
    }
    (0..count)
        .map(|ordinal| gpus.check(ordinal).map(|()| ordinal))
        .collect()
}

/// Bytes that are free on a GPU now.
///
/// # Errors
/// The driver's own words.
pub(crate) fn free_bytes(ordinal: usize) -> Result<u64, DeviceError> {
    cuda::free_bytes(ordinal)
}

/// A GPU for candle's tensors.
///
/// # Errors
/// The driver's own words.
pub(crate) fn tensors(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
    cuda::tensors(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some GPUs, of which one may be broken.
    struct Machine {
        gpus: usize,
        broken: Option<usize>,
    }

    impl Gpus for Machine {
        fn count(&self) -> Result<usize, DeviceError> {
            Ok(self.gpus)
        }

        fn check(&self, ordinal: usize) -> Result<(), DeviceError> {
            if ordinal < self.gpus && self.broken != Some(ordinal) {
                Ok(())
            } else {
                Err(DeviceError(format!("cuda:{ordinal} does not answer")))
            }
        }
    }

    fn chosen(device: &str, machine: &Machine) -> Result<(String, String), String> {
        let setting = DeviceSetting::parse(device).map_err(|error| error.to_string())?;
        let (device, reason) = Device::among(&setting, machine).map_err(|error| error.to_string())?;
        Ok((device.to_string(), reason))
    }

    #[test]
    fn auto_takes_what_answers_and_says_why_it_is_the_processor() {
        let (none, two) = (Machine { gpus: 0, broken: None }, Machine { gpus: 2, broken: None });
        let said = |device: &str, reason: &str| Ok((device.to_owned(), reason.to_owned()));
        assert_eq!(chosen("auto", &none), said("cpu", "no CUDA device is visible"));
        assert_eq!(chosen("auto", &two), said("cuda:0,1", ""));
        assert_eq!(chosen("cpu", &two), said("cpu", "the device is cpu"));
    }

    #[test]
    fn a_gpu_that_is_asked_for_and_does_not_answer_is_an_error_and_never_the_processor() {
        let broken = Machine {
            gpus: 2,
            broken: Some(1),
        };
        for device in ["cuda", "cuda:1", "cuda:0,1", "cuda:2"] {
            let error = chosen(device, &broken).unwrap_err();
            assert!(error.contains("does not answer"), "{device}: {error}");
        }
        let (device, _) = chosen("cuda:0", &broken).unwrap();
        assert_eq!(device, "cuda:0");
    }

    #[test]
    fn what_is_no_device_hears_what_is() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,0", "cuda:0,", "CPU"] {
            let error = DeviceSetting::parse(text).unwrap_err().to_string();
            assert!(error.contains("cuda:N,M is wanted"), "{text}: {error}");
        }
    }
}
