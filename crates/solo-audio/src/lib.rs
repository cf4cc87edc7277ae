//! Audio as Solo handles it: pure functions and small state machines over samples; no threads, no I/O of its own.
//!
//! Inside Solo audio is signed 16-bit little-endian PCM, one channel, 16,000 Hz ([`SampleRate::SPEECH`]). This library
//! is what turns everything else into that and back:
//!
//! - [`pcm`]: bytes ↔ `i16` ↔ `f32`, and channels to one.
//! - [`SampleRate`]: a rate that has been checked.
//! - [`Resampler`]: a stream of samples at one rate to another.
//! - [`Intake`]: bytes at a client's rate and channels to one channel at 16,000 Hz.
//! - [`Framer`]: a stream cut into frames of equal length that know their position.
//! - [`wav`]: RIFF WAVE files, read with suspicion, written also as an endless stream.
//! - [`EchoCanceller`]: what the loudspeaker plays, taken out of what the microphone hears.
//! - [`NoiseSuppressor`]: steady noise, taken out.
//! - [`level`]: how loud, in dBFS.
//! - [`mel`]: the mel filter bank of Whisper's spectrograms.
//!
//! Two types of sample occur: `i16` (full scale −32,768 to 32,767), which travels, and `f32` (full scale −1.0 to 1.0),
//! which models and filters want. Multichannel audio is interleaved; a *frame of channels* is called an instant here so
//! that "frame" always means a run of consecutive mono samples.

mod echo;
mod framer;
mod intake;
pub mod level;
pub mod mel;
mod noise;
pub mod pcm;
mod rate;
mod resampler;
pub mod wav;

pub use echo::{Clean, EchoCanceller};
pub use framer::{Frame, Framer};
pub use intake::Intake;
pub use noise::NoiseSuppressor;
pub use rate::{SampleRate, SampleRateError};
pub use resampler::{Resampler, resample, resample_i16};
pub use wav::{Wav, WavError};
