//! The formats that speech is sent in: samples become bytes while they are made.
//!
//! An encoder is a small state machine of one speech: samples go in as they come, whole pieces of the format come out.
//! Which rates a format has is said here, once; a speech whose voice has another rate is resampled before it gets here.

mod mp3;
mod opus;

use solo_audio::{SampleRate, pcm, wav};

/// How samples become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Signed 16-bit little-endian samples, without a header.
    #[default]
    S16le,
    /// A WAV file whose header says that its length is unknown.
    Wav,
    /// Opus (RFC 6716) in Ogg (RFC 7845).
    Opus,
    /// MPEG-1 or MPEG-2 layer III.
    Mp3,
}

impl Encoding {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::S16le => "s16le",
            Self::Wav => "WAV",
            Self::Opus => "Opus",
            Self::Mp3 => "MP3",
        }
    }

    /// The rates that it has, in Hz, ascending. Empty: any from 8,000 to 48,000.
    pub fn rates_hz(self) -> &'static [u32] {
        match self {
            Self::S16le | Self::Wav => &[],
            Self::Opus => &[8_000, 12_000, 16_000, 24_000, 48_000],
            Self::Mp3 => &[8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000],
        }
    }

    /// The rate to send a voice of this rate at when nobody asks for another: its own, or the next one above.
    pub fn rate_for(self, voice: SampleRate) -> SampleRate {
        let rates = self.rates_hz();
        let above = rates.iter().find(|hz| **hz >= voice.hz()).or(rates.last());
        above.and_then(|hz| SampleRate::new(*hz).ok()).unwrap_or(voice)
    }
}

/// Turns the samples of one speech into bytes.
pub trait Encoder: Send {
    /// Takes samples and gives the bytes that are complete now; perhaps none.
    ///
    /// # Errors
    /// What the library that encodes says.
    fn push(&mut self, samples: &[i16]) -> Result<Vec<u8>, EncodeError>;

    /// Ends the stream and gives the rest of it.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    fn finish(&mut self) -> Result<Vec<u8>, EncodeError>;
}

/// Why samples could not be encoded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EncodeError {
    #[error(
        "MP3 is made by the library libmp3lame, which is not installed here ({tried}): run `apt-get install libmp3lame0` (macOS: `brew install lame`), or ask for WAV, Opus or s16le"
    )]
    NoMp3 { tried: String },
    #[error("the library that makes {format} failed ({problem})")]
    Failed { format: &'static str, problem: String },
}

/// An encoder for one speech.
///
/// # Errors
/// [`EncodeError::NoMp3`] where LAME is not installed.
pub fn encoder(encoding: Encoding, rate: SampleRate) -> Result<Box<dyn Encoder>, EncodeError> {
    Ok(match encoding {
        Encoding::S16le => Box::new(Pcm { header: None }),
        Encoding::Wav => Box::new(Pcm {
            header: Some(wav::header(rate, 1, wav::Length::Streaming).to_vec()),
        }),
        Encoding::Opus => Box::new(opus::OggOpus::new(rate)?),
        Encoding::Mp3 => Box::new(mp3::Mp3::new(rate)?),
    })
}

/// Samples as they are, after a header if there is one.
struct Pcm {
    header: Option<Vec<u8>>,
}

impl Encoder for Pcm {
    fn push(&mut self, samples: &[i16]) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = self.header.take().unwrap_or_default();
        bytes.extend(pcm::to_s16le(samples));
        Ok(bytes)
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        // A file without a sample is a file all the same.
        Ok(self.header.take().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
