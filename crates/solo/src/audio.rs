//! The sound devices of this machine: a microphone that is heard as speech at 16,000 Hz, a loudspeaker that says how far
//! it has come, and no echo of one in the other.
//!
//! A tour: [`devices`] lists and chooses; [`microphone`] and [`speaker`] hold one stream each, whose callbacks do nothing
//! but move samples; [`queue`] is what waits to be played; [`ears`] makes speech of what was captured, with the echo taken
//! out; [`pair`] is all of that together. Devices have rates, channels and sample formats of their own; all of that ends here.

pub mod devices;
pub mod ears;
mod faltering;
pub mod microphone;
pub mod pair;
pub mod queue;
pub mod speaker;

/// What a device's own threads tell.
#[derive(Debug)]
pub enum Heard {
    /// The microphone captured these, one channel at its rate, −1.0 to 1.0.
    Captured(Vec<f32>),
    /// The loudspeaker took these to be played next, one channel at its rate.
    Played(Vec<f32>),
    /// The loudspeaker has nothing to play any more.
    Silent,
    /// A device is gone, and why.
    Lost(devices::Direction, String),
}
