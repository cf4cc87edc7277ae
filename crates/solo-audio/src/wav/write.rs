//! The writing half: 16-bit PCM, as bytes, into a file, or as a header for a stream whose end nobody knows yet.

use std::io::{self, Seek, SeekFrom, Write};

use crate::{SampleRate, pcm};

/// Bytes of the header that is written here.
const HEADER_LEN: usize = 44;
/// What the header says of a stream without end, as ffmpeg and sox do.
const UNKNOWN: u32 = u32::MAX;

/// How much audio follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u32),
    /// Unknown: for an HTTP answer that is sent while it is being made. Players take everything up to the end.
    Streaming,
}

/// The 44 bytes in front of 16-bit PCM. What follows them is interleaved s16le, as [`pcm::to_s16le`] writes it.
pub fn header(sample_rate: SampleRate, channels: u16, length: Length) -> [u8; HEADER_LEN] {
    let (riff_len, data_len) = match length {
        Length::Bytes(bytes) => (bytes.saturating_add(HEADER_LEN as u32 - 8), bytes),
        Length::Streaming => (UNKNOWN, UNKNOWN),
    };
    let block_align = channels.saturating_mul(2);
    let mut out = [0; HEADER_LEN];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&riff_len.to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes());
    put(&1_u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&sample_rate.hz().to_le_bytes());
    put(&sample_rate.hz().saturating_mul(u32::from(block_align)).to_le_bytes());
    put(&block_align.to_le_bytes());
    put(&16_u16.to_le_bytes());
    put(b"data");
    put(&data_len.to_le_bytes());
    out
}

/// A whole mono file in memory. Audio beyond 4 GiB (37 hours at 16,000 Hz) makes a header of unknown length.
pub fn encode(samples: &[i16], sample_rate: SampleRate) -> Vec<u8> {
    let length = u32::try_from(samples.len() * 2).map_or(Length::Streaming, Length::Bytes);
    let mut out = Vec::with_capacity(HEADER_LEN + samples.len() * 2);
    out.extend_from_slice(&header(sample_rate, 1, length));
    out.extend_from_slice(&pcm::to_s16le(samples));
    out
}

/// Writes a mono file piece by piece. Its header says "unknown length" until [`WavWriter::finish`], so that a file whose
/// writer died can still be read up to its end.
#[derive(Debug)]
pub struct WavWriter<W> {
    out: W,
    sample_rate: SampleRate,
    bytes: u64,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Writes the header. `out` should be buffered.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(mut out: W, sample_rate: SampleRate) -> io::Result<Self> {
        out.write_all(&header(sample_rate, 1, Length::Streaming))?;
        Ok(Self {
            out,
            sample_rate,
            bytes: 0,
        })
    }

    /// Appends samples.
    ///
    /// # Errors
    /// When writing fails.
    pub fn push(&mut self, samples: &[i16]) -> io::Result<()> {
        let bytes = pcm::to_s16le(samples);
        self.out.write_all(&bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Samples written so far.
    pub fn len(&self) -> u64 {
        self.bytes / 2
    }

    /// True until a sample has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Puts the true length into the header and gives the file back.
    ///
    /// # Errors
    /// When writing or seeking fails.
    pub fn finish(mut self) -> io::Result<W> {
        if let Ok(bytes) = u32::try_from(self.bytes) {
            self.out.seek(SeekFrom::Start(0))?;
            self.out.write_all(&header(self.sample_rate, 1, Length::Bytes(bytes)))?;
            self.out.seek(SeekFrom::End(0))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
