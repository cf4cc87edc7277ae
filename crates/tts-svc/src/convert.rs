//! The wire's messages to what is wanted, with every range checked, and what was made back to the wire's messages.

use std::ops::RangeInclusive;

use solo_audio::SampleRate;
use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding as Wire};
use solo_proto::tts::v1::speak_request::Payload;
use solo_proto::tts::v1::speech_event::Payload as EventPayload;
use solo_proto::tts::v1::speech_mark::Kind;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::{
    SpeakRequest, SpeechEvent, SpeechHeader, SpeechMark, SpeechSummary, SynthesizeRequest, Voice, VoiceConfig,
};

use crate::SpeechError;
use crate::catalogue::KnownVoice;
use crate::encode::Encoding;
use crate::speech::{Covers, Event, Piece};
use crate::ssml;

/// Rates of speech that are accepted.
pub const SPEED: RangeInclusive<f32> = 0.5..=2.0;
/// Rates of samples that are accepted, in Hz.
const SAMPLE_RATE_HZ: RangeInclusive<u32> = 8_000..=48_000;
/// Gains that are accepted.
pub const VOLUME: RangeInclusive<f32> = 0.0..=2.0;

/// How to speak, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manner {
    /// Identifier of the voice.
    pub voice: String,
    /// Rate of speech, 0.5 to 2.0.
    pub speed: f32,
    /// Gain, 0.0 to 2.0; what it drives beyond full scale is clipped.
    pub volume: f32,
    /// How samples become bytes.
    pub encoding: Encoding,
    /// Rate of the samples. `None`: the voice's own, or the next above that the encoding has.
    pub sample_rate: Option<SampleRate>,
}

/// Reads how to speak; what is unset comes from `defaults`.
///
/// # Errors
/// When a value is out of range or names a format that is not sent.
pub fn manner(config: Option<VoiceConfig>, defaults: &Manner) -> Result<Manner, SpeechError> {
    let config = config.unwrap_or_default();
    let speed = if config.speed == 0.0 {
        defaults.speed
    } else {
        within("voice.speed", config.speed, &SPEED)?
    };
    let volume = config
        .volume
        .map_or(Ok(defaults.volume), |volume| within("voice.volume", volume, &VOLUME))?;
    let (encoding, sample_rate) = config
        .format
        .map_or(Ok((Encoding::default(), None)), |format| audio(&format))?;
    let voice = if config.voice.is_empty() {
        defaults.voice.clone()
    } else {
        config.voice
    };
    Ok(Manner {
        voice,
        speed,
        volume,
        encoding,
        sample_rate,
    })
}

fn within(field: &'static str, value: f32, range: &RangeInclusive<f32>) -> Result<f32, SpeechError> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(SpeechError::OutOfRange {
            field,
            value,
            low: *range.start(),
            high: *range.end(),
        })
    }
}

fn audio(format: &AudioFormat) -> Result<(Encoding, Option<SampleRate>), SpeechError> {
    let refused = |encoding: String| SpeechError::Encoding { encoding };
    let encoding = match Wire::try_from(format.encoding) {
        Ok(Wire::Unspecified | Wire::S16le) => Encoding::S16le,
        Ok(Wire::Wav) => Encoding::Wav,
        Ok(Wire::Opus) => Encoding::Opus,
        Ok(Wire::Mp3) => Encoding::Mp3,
        Ok(other @ Wire::Detect) => return Err(refused(other.as_str_name().into())),
        Err(_) => return Err(refused(format!("encoding {}", format.encoding))),
    };
    if format.channels > 1 {
        return Err(SpeechError::Channels {
            channels: format.channels,
        });
    }
    if format.sample_rate_hz == 0 {
        return Ok((encoding, None));
    }
    let rate = SampleRate::new(format.sample_rate_hz).map_err(SpeechError::SampleRate)?;
    let rates = encoding.rates_hz();
    let fits = if rates.is_empty() {
        SAMPLE_RATE_HZ.contains(&rate.hz())
    } else {
        rates.contains(&rate.hz())
    };
    if !fits {
        let wanted = if rates.is_empty() {
            "8000 to 48000".to_owned()
        } else {
            rates.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
        };
        return Err(SpeechError::FormatRate {
            format: encoding.name(),
            hz: rate.hz(),
            wanted,
        });
    }
    Ok((encoding, Some(rate)))
}

/// What a request for one speech wants spoken: not empty, and at most `limit` characters, the marks of SSML among them.
///
/// # Errors
/// When there is none, or too much, or SSML that cannot be followed.
pub fn pieces(request: &mut SynthesizeRequest, limit: usize) -> Result<Vec<Piece>, SpeechError> {
    let (text, is_ssml) = match request.input.take() {
        None => return Err(SpeechError::NoInput),
        Some(Input::Ssml(text)) => (text, true),
        Some(Input::Text(text)) => (text, false),
    };
    if text.trim().is_empty() {
        return Err(SpeechError::EmptyText);
    }
    if text.chars().count() > limit {
        return Err(SpeechError::TextTooLong { limit });
    }
    if is_ssml {
        let items = ssml::parse(&text).map_err(SpeechError::Ssml)?;
        Ok(items.into_iter().map(Piece::from).collect())
    } else {
        Ok(vec![Piece::Text(text)])
    }
}

/// The first message of a stream of text: how to speak.
///
/// # Errors
/// When it is something else.
pub fn first(request: Option<SpeakRequest>) -> Result<VoiceConfig, SpeechError> {
    let found = match request.map(|request| request.payload) {
        Some(Some(Payload::Config(config))) => return Ok(config),
        Some(Some(Payload::TextDelta(_))) => "text_delta",
        Some(Some(Payload::Flush(_))) => "flush",
        Some(None) => "a message without payload",
        None => "the end of the stream",
    };
    Err(SpeechError::ConfigFirst { found })
}

/// A later message of a stream of text.
///
/// # Errors
/// When it is none of those that may come then.
pub fn piece(request: SpeakRequest) -> Result<Piece, SpeechError> {
    match request.payload {
        Some(Payload::TextDelta(delta)) => Ok(Piece::Text(delta)),
        Some(Payload::Flush(_)) => Ok(Piece::Flush),
        Some(Payload::Config(_)) => Err(SpeechError::ConfigTwice),
        None => Err(SpeechError::EmptyMessage),
    }
}

/// What is made, as the wire says it.
pub fn event(event: Event) -> SpeechEvent {
    let payload = match event {
        Event::Header {
            voice,
            encoding,
            sample_rate,
        } => EventPayload::Header(SpeechHeader {
            format: Some(AudioFormat {
                encoding: wire(encoding).into(),
                sample_rate_hz: sample_rate.hz(),
                channels: 1,
            }),
            voice,
        }),
        Event::Mark { covers, text, samples } => EventPayload::Mark(SpeechMark {
            kind: match covers {
                Covers::Unit => Kind::Unit.into(),
                Covers::Word => Kind::Word.into(),
            },
            text_start: offset(text.start),
            text_end: offset(text.end),
            start_sample: samples.start,
            end_sample: samples.end,
        }),
        Event::Audio { first_sample, data } => EventPayload::Audio(AudioChunk { data, first_sample }),
        Event::Summary(summary) => EventPayload::Summary(SpeechSummary {
            samples: summary.samples,
            first_audio_ms: milliseconds(summary.first_audio),
            synthesis_ms: milliseconds(summary.synthesis),
            real_time_factor: summary.real_time_factor(),
        }),
    };
    SpeechEvent { payload: Some(payload) }
}

fn wire(encoding: Encoding) -> Wire {
    match encoding {
        Encoding::S16le => Wire::S16le,
        Encoding::Wav => Wire::Wav,
        Encoding::Opus => Wire::Opus,
        Encoding::Mp3 => Wire::Mp3,
    }
}

/// The wire's offsets have 32 bits; the limit of text is far below.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn milliseconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A voice, as the wire says it; the rate of one that is not installed is unknown and 0.
pub fn voice(voice: &KnownVoice, active: bool) -> Voice {
    Voice {
        id: voice.id.clone(),
        language: voice.language.clone(),
        engine: voice.engine.name().into(),
        sample_rate_hz: voice.sample_rate_hz().unwrap_or(0),
        licence: voice.licence.clone(),
        installed: voice.installed(),
        active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Manner {
        Manner {
            voice: "joe".into(),
            speed: 1.2,
            volume: 1.0,
            encoding: Encoding::S16le,
            sample_rate: None,
        }
    }

    fn with(change: impl FnOnce(&mut VoiceConfig)) -> Result<Manner, SpeechError> {
        let mut config = VoiceConfig::default();
        change(&mut config);
        manner(Some(config), &defaults())
    }

    fn format(encoding: Wire, sample_rate_hz: u32, channels: u32) -> Option<AudioFormat> {
        Some(AudioFormat {
            encoding: encoding.into(),
            sample_rate_hz,
            channels,
        })
    }

    #[test]
    fn what_is_unset_comes_from_the_configuration() {
        assert_eq!(manner(None, &defaults()).unwrap(), defaults());
        let set = with(|config| {
            config.voice = "amy".into();
            config.speed = 0.5;
            config.volume = Some(0.0);
            config.format = format(Wire::Opus, 16_000, 1);
        });
        let expected = Manner {
            voice: "amy".into(),
            speed: 0.5,
            volume: 0.0,
            encoding: Encoding::Opus,
            sample_rate: Some(SampleRate::SPEECH),
        };
        assert_eq!(set.unwrap(), expected);
    }

    #[test]
    fn ranges_and_formats_are_checked() {
        for speed in [0.49, 2.01, -1.0, f32::NAN, f32::INFINITY] {
            let error = with(|config| config.speed = speed).unwrap_err().to_string();
            assert!(
                error.starts_with("voice.speed is") && error.contains("0.5 to 2"),
                "{error}"
            );
        }
        assert!(
            with(|config| config.volume = Some(2.5))
                .unwrap_err()
                .to_string()
                .starts_with("voice.volume is 2.5")
        );
        let error = with(|config| config.format = format(Wire::Detect, 0, 0)).unwrap_err();
        assert!(error.to_string().contains("ENCODING_DETECT"), "{error}");
        for (encoding, hz, wanted) in [
            (Wire::Opus, 22_050, "Opus has no sample rate of 22050 Hz: 8000, 12000"),
            (Wire::Mp3, 9_000, "MP3 has no sample rate of 9000 Hz: 8000, 11025"),
            (Wire::Wav, 96_000, "WAV has no sample rate of 96000 Hz: 8000 to 48000"),
        ] {
            let error = with(|config| config.format = format(encoding, hz, 1)).unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{error}");
        }
        let unknown = AudioFormat {
            encoding: 99,
            ..AudioFormat::default()
        };
        assert!(
            with(|config| config.format = Some(unknown))
                .unwrap_err()
                .to_string()
                .contains("encoding 99")
        );
        assert!(matches!(
            with(|config| config.format = format(Wire::S16le, 0, 7)),
            Err(SpeechError::Channels { channels: 7 })
        ));
        assert!(matches!(
            with(|config| config.format = format(Wire::S16le, 100, 1)),
            Err(SpeechError::SampleRate(_))
        ));
    }
}
