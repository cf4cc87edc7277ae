//! From the contract: everything from outside is checked here.

use std::ops::RangeInclusive;

use solo_audio::{SampleRate, pcm};
use solo_proto::audio::v1::{AudioChunk, AudioFormat, Encoding};
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::{self as proto, listen_request, transcribe_request};

use crate::Stt;
use crate::config::{MIN_SPEECH_MS, PRE_ROLL_MS, SILENCE_MS};
use crate::endpoint;
use crate::engine::{self, Task};
use crate::error::SttError;
use crate::listen;
use crate::media::Format;
use crate::{language, transcribe};

/// Most samples in a live message: 100 ms.
const MAX_CHUNK: usize = 1_600;
/// Most bytes in a piece of a recording.
const MAX_PIECE: usize = 1 << 20;
const MAX_PROMPT_CHARS: usize = 1_000;
const MAX_HOT_WORDS: usize = 100;
const MAX_HOT_WORD_CHARS: usize = 100;
const PARTIAL_INTERVAL_MS: RangeInclusive<u32> = 100..=5_000;
const CANDIDATE_MS: RangeInclusive<u32> = 32..=10_000;

/// The first message of a recording.
pub(crate) fn transcribe_config(
    message: Option<proto::TranscribeRequest>,
    stt: &Stt,
) -> Result<transcribe::Settings, SttError> {
    let Some(transcribe_request::Payload::Config(config)) = message.and_then(|message| message.payload) else {
        return Err(SttError::Sequence("the first message of Transcribe carries `config`"));
    };
    let info = stt.decoder.info();
    check_model(&config.model, &info.model)?;
    let task = match proto::Task::try_from(config.task) {
        Ok(proto::Task::Unspecified | proto::Task::Transcribe) => Task::Transcribe,
        Ok(proto::Task::Translate) if info.multilingual() => Task::Translate,
        Ok(proto::Task::Translate) => {
            return Err(SttError::EnglishOnly {
                model: info.model.clone(),
                wanted: "a translation".into(),
            });
        }
        Err(_) => {
            let wanted = "TASK_TRANSCRIBE (1), TASK_TRANSLATE (2)";
            return Err(SttError::UnknownEnum {
                field: "config.task",
                value: config.task,
                wanted,
            });
        }
    };
    Ok(transcribe::Settings {
        format: format(config.format)?,
        language: language::resolve(&config.language, info)?,
        task,
        prompt: prompt(&config.prompt, &config.hot_words)?,
        word_times: config.word_times,
    })
}

/// A later message of a recording.
pub(crate) fn piece(message: proto::TranscribeRequest) -> Result<Vec<u8>, SttError> {
    match message.payload {
        Some(transcribe_request::Payload::Data(data)) if data.len() <= MAX_PIECE => Ok(data),
        Some(transcribe_request::Payload::Data(data)) => Err(SttError::PieceTooLarge { bytes: data.len() }),
        _ => Err(SttError::Sequence(
            "every message of Transcribe after the first carries `data`",
        )),
    }
}

/// The first message of a live stream.
pub(crate) fn listen_config(message: Option<proto::ListenRequest>, stt: &Stt) -> Result<listen::Settings, SttError> {
    let Some(listen_request::Payload::Config(config)) = message.and_then(|message| message.payload) else {
        return Err(SttError::Sequence("the first message of Listen carries `config`"));
    };
    let interval = config.partial_interval_ms;
    if interval != 0 && !PARTIAL_INTERVAL_MS.contains(&interval) {
        let problem = format!("0 or 100 to 5000 ms is wanted, found {interval}");
        return Err(SttError::Field {
            field: "config.partial_interval_ms",
            problem,
        });
    }
    let candidate = config.candidate_ms;
    if candidate != 0 && !CANDIDATE_MS.contains(&candidate) {
        let problem = format!("0 or 32 to 10000 ms is wanted, found {candidate}");
        return Err(SttError::Field {
            field: "config.candidate_ms",
            problem,
        });
    }
    let wanted = if config.language.is_empty() {
        &stt.config.language
    } else {
        &config.language
    };
    Ok(listen::Settings {
        language: language::resolve(wanted, stt.decoder.info())?,
        endpoint: endpoint_settings(config.vad.unwrap_or_default(), stt.config.vad.endpoint_settings())?,
        partial_interval: (interval != 0).then(|| samples_of(interval)),
        pause: (candidate != 0).then(|| listen::PauseSettings {
            candidate: samples_of(candidate),
            judge_every: stt
                .turn_model
                .as_ref()
                .map(|_| samples_of(stt.config.turn_end.interval_ms)),
        }),
        prompt: prompt(&config.prompt, &config.hot_words)?,
        auto_finalize: config.auto_finalize,
    })
}

/// A later message of a live stream.
pub(crate) fn listen_input(message: proto::ListenRequest) -> Result<listen::Input, SttError> {
    match message.payload {
        Some(listen_request::Payload::Audio(chunk)) => audio(&chunk, &message.words_data),
        Some(listen_request::Payload::Control(control)) => match Action::try_from(control.action) {
            Ok(Action::Finalize) => Ok(listen::Input::Finalize),
            Ok(Action::Reset) => Ok(listen::Input::Reset),
            Ok(Action::PlaybackStarted) => Ok(listen::Input::Playing(true)),
            Ok(Action::PlaybackStopped) => Ok(listen::Input::Playing(false)),
            Ok(Action::Unspecified) | Err(_) => Err(SttError::UnknownEnum {
                field: "control.action",
                value: control.action,
                wanted: "ACTION_FINALIZE (1), ACTION_RESET (2), ACTION_PLAYBACK_STARTED (3), ACTION_PLAYBACK_STOPPED (4)",
            }),
        },
        Some(listen_request::Payload::Config(_)) => Err(SttError::Sequence(
            "`config` comes once, first; open a new stream to change it",
        )),
        None => Err(SttError::Sequence(
            "a message of Listen carries `audio` or `control`, this one nothing",
        )),
    }
}

fn audio(chunk: &AudioChunk, words_data: &[u8]) -> Result<listen::Input, SttError> {
    let samples_of = |bytes| pcm::from_s16le(bytes).map_err(|odd| SttError::OddBytes { bytes: odd.bytes });
    let samples = samples_of(&chunk.data)?;
    let words = if words_data.is_empty() {
        None
    } else if words_data.len() == chunk.data.len() {
        Some(samples_of(words_data)?)
    } else {
        return Err(SttError::Field {
            field: "words_data",
            problem: format!(
                "as many bytes as `audio.data` has are wanted, {}, found {}",
                chunk.data.len(),
                words_data.len()
            ),
        });
    };
    if samples.len() > MAX_CHUNK {
        return Err(SttError::ChunkTooLong {
            ms: SampleRate::SPEECH.ms_of(samples.len() as u64),
        });
    }
    Ok(listen::Input::Audio {
        first_sample: chunk.first_sample,
        samples,
        words,
    })
}

fn check_model(asked: &str, loaded: &str) -> Result<(), SttError> {
    if asked.is_empty() || asked == loaded {
        return Ok(());
    }
    let others: Vec<&str> = engine::stt_models()
        .map(|model| model.id.as_str())
        .filter(|id| *id != loaded)
        .collect();
    let known = if others.is_empty() {
        String::new()
    } else {
        format!(" (there is {})", others.join(", "))
    };
    Err(SttError::UnknownModel {
        asked: asked.chars().take(100).collect(),
        loaded: loaded.to_owned(),
        known,
    })
}

fn format(format: Option<AudioFormat>) -> Result<Format, SttError> {
    let Some(format) = format else {
        return Ok(Format::Detect);
    };
    match Encoding::try_from(format.encoding) {
        Ok(Encoding::Detect) => Ok(Format::Detect),
        Ok(Encoding::Wav) => Ok(Format::Wav),
        Ok(Encoding::Mp3) => Ok(Format::Mp3),
        Ok(Encoding::Opus) => Err(SttError::UnknownFormat {
            hint: " (Ogg Opus cannot be read yet)".into(),
        }),
        Ok(Encoding::Unspecified | Encoding::S16le) => {
            let rate = SampleRate::new(format.sample_rate_hz).map_err(SttError::BadSampleRate)?;
            match format.channels {
                channels @ 1..=2 => Ok(Format::Raw {
                    rate,
                    channels: channels as u16,
                }),
                channels => Err(SttError::Channels {
                    channels: channels as usize,
                }),
            }
        }
        Err(_) => Err(SttError::UnknownEnum {
            field: "config.format.encoding",
            value: format.encoding,
            wanted: "ENCODING_S16LE (1), ENCODING_WAV (2), ENCODING_OPUS (3), ENCODING_MP3 (4), ENCODING_DETECT (5)",
        }),
    }
}

fn endpoint_settings(wanted: proto::VadConfig, configured: endpoint::Settings) -> Result<endpoint::Settings, SttError> {
    let threshold = wanted.threshold.unwrap_or(configured.threshold);
    if !(0.0..=1.0).contains(&threshold) {
        let problem = format!("0.0 to 1.0 is wanted, found {threshold}");
        return Err(SttError::Field {
            field: "config.vad.threshold",
            problem,
        });
    }
    let length = |field, value: Option<u32>, (low, high): (u32, u32), configured| match value {
        None => Ok(configured),
        Some(ms) if (low..=high).contains(&ms) => Ok(samples_of(ms)),
        Some(ms) => Err(SttError::Field {
            field,
            problem: format!("{low} to {high} ms is wanted, found {ms}"),
        }),
    };
    Ok(endpoint::Settings {
        threshold,
        min_speech: length(
            "config.vad.min_speech_ms",
            wanted.min_speech_ms,
            MIN_SPEECH_MS,
            configured.min_speech,
        )?,
        silence: length(
            "config.vad.silence_ms",
            wanted.silence_ms,
            SILENCE_MS,
            configured.silence,
        )?,
        pre_roll: length(
            "config.vad.pre_roll_ms",
            wanted.pre_roll_ms,
            PRE_ROLL_MS,
            configured.pre_roll,
        )?,
        playback_raise: configured.playback_raise,
    })
}

/// Hot words stand before the prompt: where both are too long for the model, the beginning is what it forgets.
fn prompt(prompt: &str, hot_words: &[String]) -> Result<String, SttError> {
    if prompt.chars().count() > MAX_PROMPT_CHARS {
        let problem = format!("at most {MAX_PROMPT_CHARS} characters are wanted");
        return Err(SttError::Field {
            field: "config.prompt",
            problem,
        });
    }
    if hot_words.len() > MAX_HOT_WORDS || hot_words.iter().any(|word| word.chars().count() > MAX_HOT_WORD_CHARS) {
        let problem = format!("at most {MAX_HOT_WORDS} of at most {MAX_HOT_WORD_CHARS} characters each are wanted");
        return Err(SttError::Field {
            field: "config.hot_words",
            problem,
        });
    }
    if hot_words.is_empty() {
        return Ok(prompt.to_owned());
    }
    Ok(format!("{}. {prompt}", hot_words.join(", ")))
}

fn samples_of(ms: u32) -> u64 {
    SampleRate::SPEECH.samples_in_ms(u64::from(ms))
}
