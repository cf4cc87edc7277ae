//! A recording in any format that people have, to mono 16-bit samples at 16,000 Hz.
//!
//! Symphonia demuxes and decodes packet by packet; each packet is mixed down and resampled at once, so that an hour of
//! stereo never lies in memory as floats. WAV headers are checked first by solo-audio, which says what exactly is wrong
//! where symphonia would play what there is. Runs on a blocking thread; hostile files may make a decoder panic, which the
//! caller turns into an error.

use std::io::{Cursor, ErrorKind};

use solo_audio::{Resampler, SampleRate, WavError, pcm, wav};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::error::SttError;

/// Channels that are mixed down; more are refused, because nobody knows which of seven carries the voice.
const MAX_CHANNELS: usize = wav::MAX_CHANNELS as usize;
/// Samples that a header may promise too many: encoders count their own delay differently.
const LENGTH_TOLERANCE: u64 = 8_192;

/// What the bytes are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Whatever the first bytes say.
    Detect,
    /// RIFF WAVE.
    Wav,
    /// MPEG-1 layer III.
    Mp3,
    /// Interleaved s16le.
    Raw {
        /// Samples per second and channel.
        rate: SampleRate,
        /// 1 or 2.
        channels: u16,
    },
}

/// Decodes a whole recording; at most `max_seconds` of it.
///
/// # Errors
/// Each kind of bad recording has its own.
pub(crate) fn decode(bytes: Vec<u8>, format: Format, max_seconds: u32) -> Result<Vec<i16>, SttError> {
    if bytes.is_empty() {
        return Err(SttError::EmptyAudio);
    }
    let mut speech = Speech::new(max_seconds);
    match format {
        Format::Raw { rate, channels } => raw(&bytes, rate, channels, &mut speech)?,
        Format::Wav => container(checked_wav(bytes)?, "wav", &mut speech)?,
        Format::Detect if bytes.starts_with(b"RIFF") => container(checked_wav(bytes)?, "wav", &mut speech)?,
        Format::Mp3 => container(bytes, "mp3", &mut speech)?,
        Format::Detect => container(bytes, "", &mut speech)?,
    }
    speech.finish()
}

fn raw(bytes: &[u8], rate: SampleRate, channels: u16, speech: &mut Speech) -> Result<(), SttError> {
    let instant = 2 * usize::from(channels);
    if !bytes.len().is_multiple_of(instant) {
        return Err(SttError::OddBytes { bytes: bytes.len() });
    }
    for piece in bytes.chunks(instant * 16_384) {
        let samples = pcm::from_s16le(piece).map_err(|odd| SttError::OddBytes { bytes: odd.bytes })?;
        speech.push(&pcm::to_f32(&samples), rate.hz(), usize::from(channels))?;
    }
    Ok(())
}

/// Holds the header against the bytes, and writes the true length into one that was streamed.
fn checked_wav(mut bytes: Vec<u8>) -> Result<Vec<u8>, SttError> {
    match wav::inspect(&bytes) {
        Ok(layout) => {
            let length = u32::try_from(layout.data_len).unwrap_or(u32::MAX).to_le_bytes();
            bytes[layout.data_offset - 4..layout.data_offset].copy_from_slice(&length);
            Ok(bytes)
        }
        // Symphonia knows more codecs than we check.
        Err(WavError::Unsupported { .. }) => Ok(bytes),
        Err(error) => Err(error.into()),
    }
}

fn container(bytes: Vec<u8>, extension: &str, speech: &mut Speech) -> Result<(), SttError> {
    let mut reader = open(bytes, extension)?;
    let mut track = AudioTrack::of(reader.as_ref())?;
    let mut bad = 0_u64;
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == track.id => match track.decode(&packet, speech) {
                // A packet that cannot be decoded is a gap, not the end: MP3 that was cut begins with one.
                Err(Undecoded::Packet) => bad += 1,
                Err(Undecoded::Recording(error)) => return Err(error),
                Ok(()) => {}
            },
            Ok(Some(_)) => {}
            Ok(None) => break,
            // Behind a cut nothing makes sense; how much is missing is said below.
            Err(_) if track.missing().is_some() => break,
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                match reader.format_info().short_name {
                    // MPEG audio has no header that could be contradicted: it may end anywhere.
                    "mp1" | "mp2" | "mp3" | "aac" => break,
                    name => {
                        let what = format!("the {name} data end in the middle of a packet");
                        return Err(SttError::TruncatedAudio(what));
                    }
                }
            }
            Err(Error::ResetRequired) => {
                return Err(SttError::DamagedAudio("its format changes in the middle".into()));
            }
            Err(error) => return Err(SttError::DamagedAudio(error.to_string())),
        }
    }
    if let Some((promised, found)) = track.missing() {
        let what = format!("its header promises {promised} samples, {found} can be read");
        return Err(SttError::TruncatedAudio(what));
    }
    if bad > 0 && track.frames == 0 {
        return Err(SttError::DamagedAudio(format!(
            "none of its {bad} packets can be decoded"
        )));
    }
    if bad > 0 {
        tracing::info!(packets = bad, "packets of a recording could not be decoded");
    }
    Ok(())
}

fn open(bytes: Vec<u8>, extension: &str) -> Result<Box<dyn FormatReader>, SttError> {
    let mut hint = Hint::new();
    if !extension.is_empty() {
        hint.with_extension(extension);
    }
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    symphonia::default::get_probe()
        .probe(&hint, source, FormatOptions::default(), MetadataOptions::default())
        .map_err(unknown)
}

fn unknown(error: Error) -> SttError {
    SttError::UnknownFormat {
        hint: format!(" ({error})"),
    }
}

/// The track that is listened to.
struct AudioTrack {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Samples of each channel that the container promises, where it says truly how many there are.
    promised: Option<u64>,
    /// Samples of each channel so far.
    frames: u64,
    samples: Vec<f32>,
}

enum Undecoded {
    Packet,
    Recording(SttError),
}

impl AudioTrack {
    fn of(reader: &dyn FormatReader) -> Result<Self, SttError> {
        let missing = |what: &str| SttError::UnknownFormat {
            hint: format!(" ({what})"),
        };
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(|| missing("it has no audio track"))?;
        let codec = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let codec = codec.ok_or_else(|| missing("its codec cannot be told"))?;
        if let Some(channels) = &codec.channels {
            check_channels(channels.count())?;
        }
        if let Some(hz) = codec.sample_rate {
            SampleRate::new(hz).map_err(SttError::BadSampleRate)?;
        }
        let decoder = symphonia::default::get_codecs().make_audio_decoder(codec, &AudioDecoderOptions::default());
        // The other containers estimate.
        let exact = matches!(reader.format_info().short_name, "flac" | "isomp4");
        Ok(Self {
            id: track.id,
            decoder: decoder.map_err(unknown)?,
            promised: track.num_frames.filter(|_| exact),
            frames: 0,
            samples: Vec::new(),
        })
    }

    fn decode(&mut self, packet: &Packet, speech: &mut Speech) -> Result<(), Undecoded> {
        match self.decoder.decode(packet) {
            Ok(buffer) => {
                buffer.copy_to_vec_interleaved(&mut self.samples);
                self.frames += buffer.frames() as u64;
                let spec = buffer.spec();
                speech
                    .push(&self.samples, spec.rate(), spec.channels().count())
                    .map_err(Undecoded::Recording)
            }
            Err(Error::DecodeError(_)) => Err(Undecoded::Packet),
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(Undecoded::Packet),
            Err(error) => Err(Undecoded::Recording(SttError::DamagedAudio(error.to_string()))),
        }
    }

    /// How many samples were promised and how many came, where some are missing.
    fn missing(&self) -> Option<(u64, u64)> {
        let promised = self
            .promised
            .filter(|promised| self.frames + LENGTH_TOLERANCE < *promised)?;
        Some((promised, self.frames))
    }
}

fn check_channels(channels: usize) -> Result<(), SttError> {
    if channels == 0 || channels > MAX_CHANNELS {
        Err(SttError::Channels { channels })
    } else {
        Ok(())
    }
}

/// Collects what is decoded as speech is kept.
struct Speech {
    samples: Vec<i16>,
    resampler: Option<Resampler>,
    max_seconds: u32,
}

impl Speech {
    fn new(max_seconds: u32) -> Self {
        Self {
            samples: Vec::new(),
            resampler: None,
            max_seconds,
        }
    }

    fn push(&mut self, interleaved: &[f32], hz: u32, channels: usize) -> Result<(), SttError> {
        check_channels(channels)?;
        let rate = SampleRate::new(hz).map_err(SttError::BadSampleRate)?;
        let mono =
            pcm::downmix(interleaved, channels as u16).map_err(|uneven| SttError::DamagedAudio(uneven.to_string()))?;
        if self
            .resampler
            .as_ref()
            .is_some_and(|resampler| resampler.from() != rate)
        {
            self.flush();
        }
        let resampler = self
            .resampler
            .get_or_insert_with(|| Resampler::new(rate, SampleRate::SPEECH));
        self.samples.extend(pcm::to_i16(&resampler.push(&mono)));
        if self.samples.len() as u64 > u64::from(self.max_seconds) * u64::from(SampleRate::SPEECH.hz()) {
            return Err(SttError::TooManySeconds {
                seconds: self.max_seconds,
            });
        }
        Ok(())
    }

    fn flush(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            self.samples.extend(resampler.flush_i16());
        }
    }

    fn finish(mut self) -> Result<Vec<i16>, SttError> {
        self.flush();
        if self.samples.is_empty() {
            Err(SttError::EmptyAudio)
        } else {
            Ok(self.samples)
        }
    }
}

#[cfg(test)]
mod tests;
