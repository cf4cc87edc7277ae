//! RIFF WAVE files (Microsoft Multimedia Programming Interface 1.0, 1991; WAVEFORMATEXTENSIBLE): read and written.
//!
//! Reading is our own, some eighty lines, because a header is a claim by a stranger: every length is held against the
//! bytes that are there, so that a truncated file is told from an empty one and from one that was streamed with its length
//! unknown. Only what speech needs is accepted: PCM of 8, 16, 24 or 32 bits or 32-bit float, one or two channels.

mod read;
mod write;

pub use read::{Layout, Wav, inspect, read, read_speech};
pub use write::{Length, WavWriter, encode, header};

use crate::SampleRateError;

/// Channels that are accepted: one or two.
pub const MAX_CHANNELS: u16 = 2;

/// Why bytes are not a usable WAV file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// There are no bytes, or a header without a single sample behind it.
    #[error("the WAV file holds no audio")]
    Empty,
    /// It does not begin with RIFF … WAVE.
    #[error("not a WAV file: it does not begin with RIFF and WAVE")]
    NotWav,
    /// It ends before its samples begin.
    #[error("the WAV file ends inside its header, after {present} bytes")]
    TruncatedHeader {
        /// Bytes that are there.
        present: u64,
    },
    /// The header promises more samples than there are.
    #[error("the WAV file is truncated: its header promises {promised} bytes of audio, {present} are there")]
    Truncated {
        /// Bytes of audio that the header promises.
        promised: u64,
        /// Bytes of audio that are there.
        present: u64,
    },
    /// A rate of 0 Hz, or an absurd one.
    #[error("the WAV file's header is wrong")]
    SampleRate(#[from] SampleRateError),
    /// No channel, or more than [`MAX_CHANNELS`].
    #[error("the WAV file has {channels} channels: 1 or {MAX_CHANNELS} are wanted")]
    Channels {
        /// Channels that the header claims.
        channels: u16,
    },
    /// A codec or sample size that is not read here.
    #[error("the WAV file's samples cannot be read ({found}): PCM of 8, 16, 24 or 32 bits or 32-bit float is wanted")]
    Unsupported {
        /// What the header names.
        found: String,
    },
    /// The header contradicts itself.
    #[error("the WAV file is damaged: {what}")]
    Damaged {
        /// The contradiction.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests;
