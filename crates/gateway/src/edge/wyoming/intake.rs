//! A client's audio, in its own rate, channels and odd pieces, made into what services hear: 16,000 Hz mono, in pieces of
//! one length that know their position.
//!
//! Every chunk says its format anew. Where that changes, what is inside the resampler is flushed and the stream goes on.

use serde::Deserialize;
use solo_audio::{Framer, SampleRate, pcm};
use solo_proto::audio::v1::AudioChunk;

use crate::error::Error;

/// Highest rate that a client may send, in Hz.
const MAX_HZ: u32 = 48_000;

/// The format that `audio-start` and `audio-chunk` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Format {
    /// In Hz.
    rate: u32,
    /// Bytes of a sample.
    width: u32,
    channels: u32,
}

/// When a chunk was recorded.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Chunk {
    #[serde(flatten)]
    pub(super) format: Format,
    /// In ms, by the client's clock.
    #[serde(default)]
    pub(super) timestamp: Option<i64>,
}

/// One stream of audio.
pub(super) struct Intake {
    source: Option<Source>,
    pieces: Framer<i16>,
    /// Most samples that are taken; `None`: any number.
    limit: Option<u64>,
}

/// Audio of one format.
struct Source {
    format: Format,
    intake: solo_audio::Intake,
}

impl Intake {
    /// A stream whose pieces have `piece` samples, and which is at most `limit_seconds` long.
    pub(super) fn new(piece: usize, limit_seconds: Option<u64>) -> Self {
        Self {
            source: None,
            pieces: Framer::new(piece),
            limit: limit_seconds.map(|seconds| SampleRate::SPEECH.samples_in_ms(seconds.saturating_mul(1000))),
        }
    }

    /// Samples so far, at 16,000 Hz.
    pub(super) fn position(&self) -> u64 {
        self.pieces.position()
    }

    /// Takes bytes of a format, in pieces of any length.
    ///
    /// # Errors
    /// When the format cannot be used, or the stream becomes too long.
    pub(super) fn push(&mut self, format: Format, bytes: &[u8]) -> Result<(), Error> {
        let mut source = match self.source.take() {
            Some(source) if source.format == format => source,
            Some(mut other) => {
                self.pieces.push(&other.intake.flush());
                Source::new(format)?
            }
            None => Source::new(format)?,
        };
        self.pieces.push(&source.intake.push(bytes));
        self.source = Some(source);
        match self.limit {
            Some(limit) if self.pieces.position() > limit => Err(Error::Exhausted {
                reason: "UTTERANCE_TOO_LONG",
                problem: format!(
                    "the utterance is longer than {} s (gateway.limits.max_audio_seconds)",
                    SampleRate::SPEECH.ms_of(limit) / 1000
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The next whole piece.
    pub(super) fn piece(&mut self) -> Option<AudioChunk> {
        let frame = self.pieces.next_frame()?;
        Some(AudioChunk {
            data: pcm::to_s16le(&frame.samples),
            first_sample: frame.first_sample,
        })
    }

    /// Ends the stream: the pieces that are left, the last one as short as it is.
    pub(super) fn finish(mut self) -> Vec<AudioChunk> {
        if let Some(mut source) = self.source.take() {
            self.pieces.push(&source.intake.flush());
        }
        let mut rest: Vec<AudioChunk> = std::iter::from_fn(|| self.piece()).collect();
        let left = self.pieces.pending();
        if let Some(frame) = self.pieces.finish(0) {
            rest.push(AudioChunk {
                data: pcm::to_s16le(&frame.samples[..left]),
                first_sample: frame.first_sample,
            });
        }
        rest
    }
}

impl Source {
    fn new(format: Format) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::invalid("BAD_AUDIO_FORMAT", problem));
        let Format { rate, width, channels } = format;
        if width != 2 {
            return refuse(format!(
                "samples of {width} bytes cannot be used; `width` 2 is wanted (16 bits, signed, little-endian)"
            ));
        }
        if !(1..=2).contains(&channels) {
            return refuse(format!("{channels} channels cannot be used; 1 or 2 are wanted"));
        }
        let Some(known) = SampleRate::new(rate).ok().filter(|_| rate <= MAX_HZ) else {
            return refuse(format!("{rate} Hz cannot be used; 8000 to {MAX_HZ} Hz is wanted"));
        };
        Ok(Self {
            format,
            intake: solo_audio::Intake::new(known, channels as u16),
        })
    }
}

/// Checks a format before any audio of it has come.
///
/// # Errors
/// When it cannot be used.
pub(super) fn check(format: Format) -> Result<(), Error> {
    Source::new(format).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn format(rate: u32, channels: u32) -> Format {
        Format {
            rate,
            width: 2,
            channels,
        }
    }

    fn heard(intake: &mut Intake) -> Vec<AudioChunk> {
        std::iter::from_fn(|| intake.piece()).collect()
    }

    #[test]
    fn odd_pieces_of_stereo_come_out_as_mono_pieces_of_one_length() {
        let mut intake = Intake::new(2, None);
        let bytes = pcm::to_s16le(&[100, 300, -100, -300, 5, 7]);
        let mut pieces = Vec::new();
        for part in bytes.chunks(5) {
            intake.push(format(16_000, 2), part).unwrap();
            pieces.extend(heard(&mut intake));
        }
        pieces.extend(intake.finish());
        let samples: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.first_sample, pcm::from_s16le(&piece.data).unwrap()))
            .collect();
        assert_eq!(samples, [(0, vec![200, -200]), (2, vec![6])]);
    }

    #[test]
    fn every_rate_comes_out_at_one_also_when_it_changes_on_the_way() {
        let mut intake = Intake::new(1600, None);
        for rate in [8_000, 44_100, 48_000, 16_000] {
            for part in vec![0; rate as usize * 2].chunks(777) {
                intake.push(format(rate, 1), part).unwrap();
            }
        }
        let samples: usize = intake.finish().iter().map(|piece| piece.data.len() / 2).sum();
        assert!((63_998..=64_004).contains(&samples), "{samples}");
    }

    #[test]
    fn formats_that_cannot_be_used_say_what_is_wanted() {
        let wide = Format {
            width: 4,
            ..format(16_000, 1)
        };
        for (format, said) in [
            (wide, "samples of 4 bytes"),
            (format(16_000, 0), "0 channels"),
            (format(16_000, 7), "7 channels"),
            (format(0, 1), "0 Hz cannot be used; 8000 to 48000 Hz"),
            (format(4_000_000_000, 1), "4000000000 Hz"),
        ] {
            let error = check(format).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_utterance_has_an_end() {
        let mut intake = Intake::new(1600, Some(1));
        intake.push(format(16_000, 1), &[0; 32_000]).unwrap();
        let error = intake.push(format(16_000, 1), &[0; 2]).unwrap_err().to_string();
        assert!(error.contains("longer than 1 s"), "{error}");
    }
}
