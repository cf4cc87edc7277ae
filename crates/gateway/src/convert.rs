//! Messages ↔ what the gateway works with: the only file that knows both.

use std::collections::HashMap;
use std::time::Duration;

use solo_audio::SampleRate;
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::gateway::v1::{OpenSession, StageTimes, TurnError, TurnPhase, WakeMode as ProtoWakeMode};
use solo_proto::stt::v1::rejected_transcript::Reason;
use solo_proto::tts::v1::{SpeechMark, speech_mark};
use solo_service::ServiceError;
use solo_turn::{BargeIn, Mark, MarkKind, Notice, Phase, Settings, StageOffsets, TurnEnd, WakeMode};

use crate::config::Config;
use crate::error::Error;

/// Highest rate that a client may send or ask for, in Hz.
const MAX_CLIENT_HZ: u32 = 48_000;

/// How a conversation is held, checked.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Rate and channels of what the client sends; `None`: no audio.
    pub(crate) audio_in: Option<(SampleRate, u16)>,
    /// Rate of what the client plays; `None`: no audio.
    pub(crate) audio_out: Option<SampleRate>,
    pub(crate) wake_mode: WakeMode,
    /// The client takes its own loudspeaker out of what it sends.
    pub(crate) echo_cancelled: bool,
    pub(crate) dialogue_id: String,
    pub(crate) voice: String,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
}

impl TryFrom<OpenSession> for Manner {
    type Error = Error;

    fn try_from(open: OpenSession) -> Result<Self, Error> {
        let audio_in = open
            .audio_in
            .map(|format| client_format(format, "open.audio_in", 2))
            .transpose()?;
        let audio_out = open
            .audio_out
            .map(|format| client_format(format, "open.audio_out", 1))
            .transpose()?;
        let wake_mode = match ProtoWakeMode::try_from(open.wake_mode) {
            Ok(ProtoWakeMode::Unspecified | ProtoWakeMode::PushToTalk) => WakeMode::PushToTalk,
            Ok(ProtoWakeMode::Keyword) => WakeMode::Keyword,
            Ok(ProtoWakeMode::Open) => WakeMode::Open,
            Err(_) => {
                let problem = format!(
                    "open.wake_mode: {} is no wake mode; 1, 2 or 3 is wanted",
                    open.wake_mode
                );
                return Err(Error::field("UNKNOWN_WAKE_MODE", "open.wake_mode", problem));
            }
        };
        if wake_mode != WakeMode::PushToTalk && audio_in.is_none() {
            let problem = "this wake mode listens all the time: open.audio_in must say what the audio looks like";
            return Err(Error::field("NO_AUDIO_IN", "open.audio_in", problem));
        }
        for (field, value) in [
            ("open.dialogue_id", &open.dialogue_id),
            ("open.voice", &open.voice),
            ("open.locale", &open.locale),
            ("open.time_zone", &open.time_zone),
        ] {
            if value.len() > 256 {
                let problem = format!("{field} has {} bytes; at most 256 are wanted", value.len());
                return Err(Error::field("FIELD_TOO_LONG", field, problem));
            }
        }
        Ok(Self {
            audio_in,
            audio_out: audio_out.map(|(rate, _)| rate),
            wake_mode,
            echo_cancelled: open.echo_cancelled,
            dialogue_id: open.dialogue_id,
            voice: open.voice,
            locale: open.locale,
            time_zone: open.time_zone,
        })
    }
}

fn client_format(format: AudioFormat, field: &'static str, channels: u32) -> Result<(SampleRate, u16), Error> {
    let refuse = |problem: String| Err(Error::field("BAD_AUDIO_FORMAT", field, format!("{field}: {problem}")));
    match Encoding::try_from(format.encoding) {
        Ok(Encoding::Unspecified | Encoding::S16le) => {}
        Ok(other) => {
            return refuse(format!(
                "{} cannot be streamed; ENCODING_S16LE is wanted",
                other.as_str_name()
            ));
        }
        Err(_) => {
            return refuse(format!(
                "{} is no encoding; ENCODING_S16LE (1) is wanted",
                format.encoding
            ));
        }
    }
    let hz = format.sample_rate_hz;
    let Some(rate) = SampleRate::new(hz).ok().filter(|_| hz <= MAX_CLIENT_HZ) else {
        return refuse(format!("{hz} Hz cannot be used; 8000 to {MAX_CLIENT_HZ} Hz is wanted"));
    };
    match format.channels {
        found if (1..=channels).contains(&found) => Ok((rate, found as u16)),
        // What comes out is mono whether that was said or not.
        0 if channels == 1 => Ok((rate, 1)),
        found if channels == 1 => refuse(format!("{found} channels cannot be used; 1 is wanted")),
        found => refuse(format!("{found} channels cannot be used; 1 or 2 are wanted")),
    }
}

/// What the machine of a conversation is told.
pub(crate) fn settings(manner: &Manner, config: &Config) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        wake_mode: manner.wake_mode,
        audio_out_hz: manner.audio_out.map(SampleRate::hz),
        listen_timeout: ms(config.voice.listen_timeout_ms),
        max_utterance: Duration::from_secs(config.limits.max_audio_seconds),
        final_timeout: ms(config.timeouts.transcript_ms),
        reply_timeout: ms(config.timeouts.reply_ms),
        speech_timeout: ms(config.timeouts.speech_ms),
        follow_up: ms(config.voice.follow_up_ms),
        wake_interrupts: config.voice.wake_interrupts,
        turn_end: TurnEnd {
            probability: config.voice.end_probability,
            silence: ms(config.voice.end_silence_ms),
            doubt: ms(config.voice.doubt_silence_ms),
            hesitation: ms(config.voice.hesitation_silence_ms),
            reads: config.voice.candidate_ms > 0,
            open_words: config.voice.open_words.clone(),
        },
        barge_in: config.voice.barge_in.then(|| BargeIn {
            voice: ms(config.voice.barge_in_ms),
            backchannels: config.voice.backchannels.clone(),
            interjections: config.voice.interjections.clone(),
        }),
        stop_phrases: config.voice.stop_phrases.clone(),
        ..Settings::default()
    }
}

/// An audio format of ours: s16le, mono.
pub(crate) fn mono(rate: SampleRate) -> AudioFormat {
    AudioFormat {
        encoding: Encoding::S16le.into(),
        sample_rate_hz: rate.hz(),
        channels: 1,
    }
}

/// The language of a locale: of "en-GB", "en". Empty stays empty.
pub(crate) fn language_of(locale: &str) -> String {
    locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// A state as clients see it.
pub(crate) fn phase(phase: Phase) -> TurnPhase {
    match phase {
        Phase::Idle => TurnPhase::Idle,
        Phase::Listening => TurnPhase::Listening,
        Phase::Deciding => TurnPhase::Deciding,
        Phase::Thinking => TurnPhase::Thinking,
        Phase::Speaking => TurnPhase::Speaking,
    }
}

/// Stage times as clients see them.
pub(crate) fn stage_times(stages: &StageOffsets) -> StageTimes {
    StageTimes {
        draft: stages.draft,
        endpoint: stages.endpoint,
        stt: stages.stt,
        recall: stages.recall,
        llm_first_token: stages.first_token,
        llm_first_sentence: stages.first_sentence,
        tts_first_audio: stages.first_audio,
    }
}

/// Stage times by name; those that did not happen are absent.
pub(crate) fn stage_map(stages: &StageTimes) -> HashMap<String, i64> {
    let named = [
        ("draft", stages.draft),
        ("endpoint", stages.endpoint),
        ("stt", stages.stt),
        ("recall", stages.recall),
        ("llm_first_token", stages.llm_first_token),
        ("llm_first_sentence", stages.llm_first_sentence),
        ("tts_first_audio", stages.tts_first_audio),
    ];
    named
        .into_iter()
        .filter_map(|(name, at)| Some((name.to_owned(), at?)))
        .collect()
}

/// An error as clients of a conversation see it.
pub(crate) fn turn_error(error: &Error, request_id: &str) -> TurnError {
    TurnError {
        code: error.code().grpc() as u32,
        reason: error.reason().to_owned(),
        message: error.to_string(),
        service: error.service().unwrap_or_default().to_owned(),
        request_id: request_id.to_owned(),
    }
}

/// What the machine wants a person to be told, as an error; nothing heard is none.
pub(crate) fn notice_error(notice: Notice) -> Option<Error> {
    let (service, reason, problem) = match notice {
        Notice::NothingHeard => return None,
        Notice::NoTranscript => (
            "stt-svc",
            "TRANSCRIPT_TIMED_OUT",
            "it did not say what was said in time",
        ),
        Notice::ReplyTimedOut => ("agent-svc", "REPLY_TIMED_OUT", "its reply was not complete in time"),
        Notice::SpeechTimedOut => (
            "tts-svc",
            "SPEECH_TIMED_OUT",
            "it stood still in the middle of the reply",
        ),
    };
    Some(Error::Late {
        service,
        reason,
        problem,
    })
}

/// A reason as a code: "NO_VOICE".
pub(crate) fn rejection(reason: Reason) -> String {
    reason.as_str_name().trim_start_matches("REASON_").to_owned()
}

/// A mark, its samples counted in the client's rate. `None`: a kind that is not known.
pub(crate) fn mark(mark: &SpeechMark, from: SampleRate, to: SampleRate) -> Option<Mark> {
    let kind = match mark.kind() {
        speech_mark::Kind::Word => MarkKind::Word,
        speech_mark::Kind::Unit => MarkKind::Unit,
        speech_mark::Kind::Unspecified => return None,
    };
    let scale = |sample: u64| (u128::from(sample) * u128::from(to.hz()) / u128::from(from.hz())) as u64;
    Some(Mark {
        kind,
        text_start: mark.text_start as usize,
        text_end: mark.text_end as usize,
        start_sample: scale(mark.start_sample),
        end_sample: scale(mark.end_sample),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(sample_rate_hz: u32, channels: u32) -> Option<AudioFormat> {
        Some(AudioFormat {
            encoding: 0,
            sample_rate_hz,
            channels,
        })
    }

    fn refusal(open: OpenSession) -> String {
        Manner::try_from(open).unwrap_err().to_string()
    }

    #[test]
    fn every_wrong_opening_says_what_is_wanted() {
        let audio_in = |audio_in| OpenSession {
            audio_in,
            ..OpenSession::default()
        };
        assert!(refusal(audio_in(format(0, 1))).contains("0 Hz cannot be used; 8000 to 48000 Hz"));
        assert!(refusal(audio_in(format(16_000, 7))).contains("7 channels cannot be used; 1 or 2"));
        let mp3 = AudioFormat {
            encoding: Encoding::Mp3.into(),
            sample_rate_hz: 16_000,
            channels: 1,
        };
        assert!(refusal(audio_in(Some(mp3))).contains("ENCODING_MP3 cannot be streamed"));
        let unknown = AudioFormat {
            encoding: 99,
            sample_rate_hz: 16_000,
            channels: 1,
        };
        assert!(refusal(audio_in(Some(unknown))).contains("99 is no encoding"));
        let stereo = OpenSession {
            audio_out: format(16_000, 2),
            ..OpenSession::default()
        };
        assert!(refusal(stereo).contains("open.audio_out: 2 channels"));
        assert!(
            refusal(OpenSession {
                wake_mode: 9,
                ..OpenSession::default()
            })
            .contains("9 is no wake mode")
        );
        assert!(
            refusal(OpenSession {
                wake_mode: 2,
                ..OpenSession::default()
            })
            .contains("open.audio_in")
        );
    }

    #[test]
    fn marks_move_to_the_clients_rate() {
        let spoken = SpeechMark {
            kind: speech_mark::Kind::Unit.into(),
            text_start: 0,
            text_end: 5,
            start_sample: 22_050,
            end_sample: 44_100,
        };
        let moved = mark(
            &spoken,
            SampleRate::new(22_050).unwrap(),
            SampleRate::new(48_000).unwrap(),
        )
        .unwrap();
        assert_eq!((moved.start_sample, moved.end_sample), (48_000, 96_000));
    }

    #[test]
    fn languages_come_from_locales() {
        assert_eq!((language_of("en-GB"), language_of("")), ("en".into(), String::new()));
    }

    #[test]
    fn rejections_are_codes() {
        assert_eq!(rejection(Reason::NoVoice), "NO_VOICE");
    }
}
