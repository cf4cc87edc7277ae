//! The reading half: walks the chunks, checks the claims, then decodes.

use super::{MAX_CHANNELS, WavError};
use crate::{SampleRate, pcm, resampler};

const PCM: u16 = 0x0001;
const IEEE_FLOAT: u16 = 0x0003;
const EXTENSIBLE: u16 = 0xfffe;
/// Programs that write to a pipe put a length near 2³¹ or 2³² into the header, because they cannot know it.
const UNKNOWN_LENGTH: u32 = 0x7fff_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Samples {
    U8,
    S16,
    S24,
    S32,
    F32,
}

impl Samples {
    fn bytes(self) -> u16 {
        match self {
            Self::U8 => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
        }
    }
}

/// What a WAV header says, checked against the bytes that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Samples per second and channel.
    pub sample_rate: SampleRate,
    /// Interleaved channels, 1 to [`MAX_CHANNELS`].
    pub channels: u16,
    /// Where the first sample begins, in bytes from the start of the file.
    pub data_offset: usize,
    /// Bytes of audio, a whole number of instants.
    pub data_len: usize,
    samples: Samples,
}

impl Layout {
    /// Samples of each channel.
    pub fn len(&self) -> u64 {
        (self.data_len / usize::from(self.samples.bytes() * self.channels)) as u64
    }

    /// Never true: a file without samples is [`WavError::Empty`].
    pub fn is_empty(&self) -> bool {
        self.data_len == 0
    }

    /// How long it lasts, in ms, rounded down.
    pub fn duration_ms(&self) -> u64 {
        self.sample_rate.ms_of(self.len())
    }
}

/// A decoded WAV file.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav {
    /// Samples per second and channel.
    pub sample_rate: SampleRate,
    /// Interleaved channels, 1 to [`MAX_CHANNELS`].
    pub channels: u16,
    /// Samples, −1.0 to 1.0, channels interleaved.
    pub samples: Vec<f32>,
}

impl Wav {
    /// One channel, at the file's own rate, −1.0 to 1.0: the mean of all channels.
    pub fn mono(&self) -> Vec<f32> {
        pcm::downmix(&self.samples, self.channels).expect("the reader takes whole instants only")
    }

    /// One channel of 16-bit samples, at the file's own rate.
    pub fn mono_i16(&self) -> Vec<i16> {
        pcm::to_i16(&self.mono())
    }
}

/// Reads and checks the header of a whole file in memory, without decoding a sample.
///
/// # Errors
/// All of [`WavError`].
pub fn inspect(bytes: &[u8]) -> Result<Layout, WavError> {
    if bytes.is_empty() {
        return Err(WavError::Empty);
    }
    if bytes.len() < 12 {
        let whole = bytes.starts_with(b"RIFF") || b"RIFF".starts_with(bytes);
        return Err(if whole {
            WavError::TruncatedHeader {
                present: bytes.len() as u64,
            }
        } else {
            WavError::NotWav
        });
    }
    if &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let cut = WavError::TruncatedHeader {
        present: bytes.len() as u64,
    };
    let mut format = None;
    let mut at = 12;
    loop {
        let (Some(id), Some(len)) = (bytes.get(at..at + 4), u32_at(bytes, at + 4)) else {
            return Err(cut);
        };
        at += 8;
        match id {
            b"fmt " => format = Some(read_format(bytes.get(at..at + len as usize).ok_or(cut.clone())?)?),
            b"data" => {
                let (sample_rate, channels, samples) = format.ok_or(WavError::Damaged {
                    what: "the samples come before their format",
                })?;
                let data_len = data_len(len, bytes.len() - at, usize::from(samples.bytes() * channels))?;
                return Ok(Layout {
                    sample_rate,
                    channels,
                    data_offset: at,
                    data_len,
                    samples,
                });
            }
            _ => {}
        }
        // Chunks are padded to an even length; the length itself does not count the padding.
        at = at.checked_add(len as usize + (len % 2) as usize).ok_or(cut.clone())?;
    }
}

/// How many bytes of the data chunk count, given what it claims and what is there.
fn data_len(claimed: u32, present: usize, instant: usize) -> Result<usize, WavError> {
    let streamed = claimed >= UNKNOWN_LENGTH && claimed as usize > present;
    if streamed {
        // Written to a pipe: everything up to the end is audio; a sample that was cut in half is dropped.
        let whole = present - present % instant;
        return if whole == 0 { Err(WavError::Empty) } else { Ok(whole) };
    }
    let claimed = claimed as usize;
    if claimed > present {
        return Err(WavError::Truncated {
            promised: claimed as u64,
            present: present as u64,
        });
    }
    if claimed == 0 {
        return Err(WavError::Empty);
    }
    if !claimed.is_multiple_of(instant) {
        return Err(WavError::Damaged {
            what: "the length of its audio is no whole number of samples",
        });
    }
    Ok(claimed)
}

fn read_format(chunk: &[u8]) -> Result<(SampleRate, u16, Samples), WavError> {
    let short = WavError::Damaged {
        what: "its format chunk is too short",
    };
    let field = |at: usize| u16_at(chunk, at).ok_or(short.clone());
    let (tag, channels, block_align, bits) = (field(0)?, field(2)?, field(12)?, field(14)?);
    let hz = u32_at(chunk, 4).ok_or(short.clone())?;
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(WavError::Channels { channels });
    }
    let sample_rate = SampleRate::new(hz)?;
    // WAVEFORMATEXTENSIBLE keeps the codec in the first two bytes of a GUID.
    let codec = if tag == EXTENSIBLE { field(24)? } else { tag };
    let samples = match (codec, bits) {
        (PCM, 8) => Samples::U8,
        (PCM, 16) => Samples::S16,
        (PCM, 24) => Samples::S24,
        (PCM, 32) => Samples::S32,
        (IEEE_FLOAT, 32) => Samples::F32,
        _ => {
            return Err(WavError::Unsupported {
                found: format!("codec 0x{codec:04x}, {bits} bits"),
            });
        }
    };
    if block_align != samples.bytes() * channels {
        return Err(WavError::Damaged {
            what: "its block alignment contradicts its channels and bits",
        });
    }
    Ok((sample_rate, channels, samples))
}

/// Reads a whole file in memory.
///
/// # Errors
/// All of [`WavError`].
pub fn read(bytes: &[u8]) -> Result<Wav, WavError> {
    let layout = inspect(bytes)?;
    let data = &bytes[layout.data_offset..layout.data_offset + layout.data_len];
    let samples = match layout.samples {
        Samples::U8 => data.iter().map(|byte| (f32::from(*byte) - 128.0) / 128.0).collect(),
        Samples::S16 => decode(data, |b: [u8; 2]| pcm::sample_to_f32(i16::from_le_bytes(b))),
        // The three bytes become the upper three of four, which keeps the sign.
        Samples::S24 => decode(data, |[a, b, c]: [u8; 3]| {
            i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0
        }),
        Samples::S32 => decode(data, |b: [u8; 4]| i32::from_le_bytes(b) as f32 / 2_147_483_648.0),
        Samples::F32 => decode(data, |b: [u8; 4]| f32::from_le_bytes(b)),
    };
    Ok(Wav {
        sample_rate: layout.sample_rate,
        channels: layout.channels,
        samples,
    })
}

/// Reads a whole file in memory as speech inside Solo is kept: one channel of 16-bit samples at 16,000 Hz.
///
/// # Errors
/// All of [`WavError`].
pub fn read_speech(bytes: &[u8]) -> Result<Vec<i16>, WavError> {
    let wav = read(bytes)?;
    Ok(pcm::to_i16(&resampler::resample(
        &wav.mono(),
        wav.sample_rate,
        SampleRate::SPEECH,
    )))
}

fn decode<const N: usize>(data: &[u8], sample: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|bytes| sample(*bytes)).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
