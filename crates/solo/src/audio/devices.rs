//! Which microphone and loudspeaker there are, and which of them a person means.
//!
//! A device is named by its identifier (`hw:CARD=0,DEV=0`) or by any part of its name that no other has. On Linux, ALSA
//! lists converters and servers that cannot be opened beside real devices; those are left out, and what ALSA has to say
//! about them is kept off the terminal.

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, DeviceId, SupportedStreamConfig};
use serde::Serialize;
use solo_audio::SampleRate;

use crate::failure::{Exit, Failure};

/// Which way sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into this machine.
    Input,
    /// Out of it.
    Output,
}

impl Direction {
    /// "microphone" or "loudspeaker".
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "microphone",
            Self::Output => "loudspeaker",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Input => "--input-device",
            Self::Output => "--output-device",
        }
    }

    fn config(self, device: &Device) -> Result<SupportedStreamConfig, cpal::Error> {
        match self {
            Self::Input => device.default_input_config(),
            Self::Output => device.default_output_config(),
        }
    }
}

/// A device as `solo talk --list-devices` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What `--input-device` and `--output-device` take.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its rate as a microphone in Hz, null: it is none.
    pub input_hz: Option<u32>,
    /// Its rate as a loudspeaker in Hz, null: it is none.
    pub output_hz: Option<u32>,
    /// Taken as microphone when none is named.
    pub default_input: bool,
    /// Taken as loudspeaker when none is named.
    pub default_output: bool,
}

/// A device that can be opened.
pub struct Chosen {
    /// What people call it.
    pub name: String,
    /// The device.
    pub device: Device,
    /// Its format.
    pub config: SupportedStreamConfig,
    /// Its rate, checked.
    pub rate: SampleRate,
}

/// All devices that can be opened.
pub fn list() -> Result<Vec<Listed>, Failure> {
    let host = host();
    let default = |device: Option<Device>| device.and_then(|device| device.id().ok());
    let (input, output) = (
        default(host.default_input_device()),
        default(host.default_output_device()),
    );
    let devices = host
        .devices()
        .map_err(|e| Failure::failed(format!("the sound devices cannot be listed: {e}")))?;
    let listed = devices.filter_map(|device| {
        let id = device.id().ok()?;
        // ALSA's null device opens always, and is neither heard nor seen.
        if id.id() == "null" {
            return None;
        }
        let hz = |direction: Direction| direction.config(&device).ok().map(|config| config.sample_rate());
        let listed = Listed {
            name: name_of(&device),
            input_hz: hz(Direction::Input),
            output_hz: hz(Direction::Output),
            default_input: input.as_ref() == Some(&id),
            default_output: output.as_ref() == Some(&id),
            id: id.id().to_owned(),
        };
        (listed.input_hz.is_some() || listed.output_hz.is_some()).then_some(listed)
    });
    Ok(listed.collect())
}

/// The device that is meant; none named: the system's default.
pub fn choose(direction: Direction, wanted: Option<&str>) -> Result<Chosen, Failure> {
    let host = host();
    let Some(wanted) = wanted else {
        let device = match direction {
            Direction::Input => host.default_input_device(),
            Direction::Output => host.default_output_device(),
        };
        // ALSA names a default even where nothing is behind it.
        let usable = device.and_then(|device| direction.config(&device).ok().map(|config| (device, config)));
        let (device, config) = usable.ok_or_else(|| missing(direction))?;
        return chosen(direction, device, config);
    };
    let named = host.device_by_id(&DeviceId::new(host.id(), wanted));
    if let Some(device) = named
        && let Ok(config) = direction.config(&device)
    {
        return chosen(direction, device, config);
    }
    let listed = list()?;
    let one = meant(direction, wanted, &listed)?;
    let device = host.device_by_id(&DeviceId::new(host.id(), &one.id));
    let opened = device.and_then(|device| direction.config(&device).ok().map(|config| (device, config)));
    let (device, config) = opened.ok_or_else(|| unknown(direction, wanted, &listed))?;
    chosen(direction, device, config)
}

fn chosen(direction: Direction, device: Device, config: SupportedStreamConfig) -> Result<Chosen, Failure> {
    let name = name_of(&device);
    let rate = SampleRate::new(config.sample_rate())
        .map_err(|e| Failure::failed(format!("{} {name}: {e}", direction.name())))?;
    Ok(Chosen {
        name,
        device,
        config,
        rate,
    })
}

/// The one device whose name says what was asked for.
fn meant<'a>(direction: Direction, wanted: &str, listed: &'a [Listed]) -> Result<&'a Listed, Failure> {
    let lower = wanted.to_lowercase();
    let usable = |device: &&Listed| hz(direction, device).is_some();
    if let Some(exact) = listed
        .iter()
        .filter(usable)
        .find(|device| device.id == wanted || device.name == wanted)
    {
        return Ok(exact);
    }
    let like: Vec<&Listed> = listed
        .iter()
        .filter(usable)
        .filter(|device| device.name.to_lowercase().contains(&lower) || device.id.to_lowercase().contains(&lower))
        .collect();
    match like[..] {
        [] => Err(unknown(direction, wanted, listed)),
        [one] => Ok(one),
        _ => {
            let names: Vec<&str> = like.iter().map(|device| device.id.as_str()).collect();
            Err(Failure::new(
                Exit::Usage,
                format!("{} “{wanted}” may be any of: {}", direction.flag(), names.join(", ")),
            )
            .help("name one of them in full"))
        }
    }
}

fn hz(direction: Direction, device: &Listed) -> Option<u32> {
    match direction {
        Direction::Input => device.input_hz,
        Direction::Output => device.output_hz,
    }
}

fn unknown(direction: Direction, wanted: &str, listed: &[Listed]) -> Failure {
    let names: Vec<&str> = listed
        .iter()
        .filter(|device| hz(direction, device).is_some())
        .map(|device| device.id.as_str())
        .collect();
    let there = if names.is_empty() {
        format!("this machine has no {}", direction.name())
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::failed(format!(
        "{} “{wanted}”: there is no such {}",
        direction.flag(),
        direction.name()
    ))
    .help(format!("{there}\n`solo talk --list-devices` says more"))
}

fn missing(direction: Direction) -> Failure {
    let (what, file) = match direction {
        Direction::Input => ("no microphone was found", "--in FILE"),
        Direction::Output => ("no loudspeaker was found", "--out FILE"),
    };
    let instead = match direction {
        Direction::Input => format!("`solo talk {file}` takes a recording instead"),
        Direction::Output => format!("`solo talk --in FILE {file}` writes the reply into a file instead"),
    };
    let system = if cfg!(target_os = "linux") {
        "may this user use sound? `id` should list the group audio, `aplay -l` and `arecord -l` the devices; in a container, pass /dev/snd through"
    } else {
        "the system's settings must allow this terminal to use the microphone"
    };
    Failure::failed(what).help(format!(
        "plug one in, or choose one: `solo talk --list-devices` lists what there is\n{system}\n{instead}"
    ))
}

fn name_of(device: &Device) -> String {
    device.description().map_or_else(
        |_| device.to_string(),
        // ALSA's descriptions have a line for the card and one for the device.
        |description| description.name().split('\n').collect::<Vec<_>>().join(", "),
    )
}

/// The system's sound.
pub(super) fn host() -> cpal::Host {
    quiet();
    cpal::default_host()
}

/// ALSA writes to standard error what it finds odd about each device that it looks at, across whatever stands there.
/// What matters comes as an error too. The setting is the calling thread's own.
#[cfg(target_os = "linux")]
pub(super) fn quiet() {
    // Without it ALSA is merely loud.
    let _ = alsa::Output::local_error_handler();
}

#[cfg(not(target_os = "linux"))]
pub(super) fn quiet() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str, input: bool, output: bool) -> Listed {
        Listed {
            id: id.into(),
            name: name.into(),
            input_hz: input.then_some(48_000),
            output_hz: output.then_some(44_100),
            default_input: false,
            default_output: false,
        }
    }

    #[test]
    fn a_part_of_a_name_is_enough_when_it_means_one_device() {
        let listed = [
            device("hw:0", "Built-in Audio", true, true),
            device("hw:1", "USB Microphone", true, false),
            device("hw:2", "USB Headset", true, true),
        ];
        let id = |direction, wanted| meant(direction, wanted, &listed).map(|device| device.id.as_str());
        assert_eq!(id(Direction::Input, "microphone"), Ok("hw:1"));
        assert_eq!(id(Direction::Input, "hw:2"), Ok("hw:2"));
        // Two are called USB, but only one of them is a loudspeaker.
        assert_eq!(id(Direction::Output, "usb"), Ok("hw:2"));
        let ambiguous = id(Direction::Input, "usb").unwrap_err();
        assert_eq!(ambiguous.exit, Exit::Usage);
        assert!(ambiguous.message.contains("hw:1, hw:2"), "{}", ambiguous.message);
        let unknown = id(Direction::Output, "microphone").unwrap_err();
        assert!(
            unknown.help.as_ref().unwrap().contains("there are: hw:0, hw:2"),
            "{unknown:?}"
        );
    }

    #[test]
    fn where_there_is_nothing_the_remedy_is_told() {
        let failure = missing(Direction::Input);
        assert_eq!(failure.message, "no microphone was found");
        assert!(failure.help.unwrap().contains("solo talk --in FILE"));
        let failure = unknown(Direction::Input, "usb", &[]);
        assert!(failure.help.unwrap().contains("this machine has no microphone"));
    }
}
