//! The `[stt]` section: typed, and checked once. `config.toml` beside `Cargo.toml` explains each key.

use std::net::SocketAddr;

use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

use crate::endpoint;

/// The `[stt]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address that the service listens on.
    pub listen: SocketAddr,
    /// What transcribes.
    pub engine: EngineKind,
    /// Identifier of the speech model.
    pub model: String,
    /// Language of live audio where a request names none; empty: detected.
    pub language: String,
    /// CPU threads of the engine; 0: from `[global]`.
    pub threads: usize,
    /// Decodes that may wait.
    pub queue: usize,
    /// Live streams that may be open at once.
    pub max_streams: usize,
    /// Recordings that may be transcribed at once.
    pub max_files: usize,
    /// Longest recording, in seconds.
    pub max_seconds: u32,
    /// Largest recording, in bytes.
    pub max_bytes: u64,
    /// Longest utterance of live audio, in seconds.
    pub max_utterance_s: u32,
    /// When sound counts as voice.
    pub vad: VadConfig,
    /// Whether somebody who fell silent has finished.
    pub turn_end: TurnEndConfig,
    /// What is not believed.
    pub gate: GateConfig,
}

/// The engines that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// whisper.cpp.
    Whisper,
}

/// `[stt.vad]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VadConfig {
    /// What measures voice.
    pub engine: VadKind,
    /// Probability from which a frame counts as voiced.
    pub threshold: f32,
    /// Voiced time that starts an utterance, in ms.
    pub min_speech_ms: u32,
    /// Silence after which voice is reported as ended, in ms.
    pub silence_ms: u32,
    /// Audio kept from before the start of voice, in ms.
    pub pre_roll_ms: u32,
    /// Added to the threshold while the assistant speaks.
    pub playback_raise: f32,
}

/// What measures voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VadKind {
    /// The Silero network.
    Silero,
    /// Loudness alone.
    Level,
}

/// `[stt.turn_end]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnEndConfig {
    /// Identifier of the model that judges; empty: none.
    pub model: String,
    /// Time between two judgements of one pause, in ms.
    pub interval_ms: u32,
}

/// `[stt.gate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// More tokens a second than this are not believed.
    pub max_tokens_per_second: f32,
    /// Words whose mean log-probability is below this are not believed.
    pub min_logprob: f32,
    /// Below this level, in dBFS, phrases that the model invents are not believed.
    pub phantom_dbfs: f32,
}

/// Limits of `[stt.vad]`, which requests keep to as well: path within the section, low, high.
pub(crate) const MIN_SPEECH_MS: (u32, u32) = (0, 2_000);
/// See [`MIN_SPEECH_MS`].
pub(crate) const SILENCE_MS: (u32, u32) = (32, 10_000);
/// See [`MIN_SPEECH_MS`].
pub(crate) const PRE_ROLL_MS: (u32, u32) = (0, 2_000);

impl VadConfig {
    /// As the endpointer wants it: in samples.
    pub(crate) fn endpoint_settings(&self) -> endpoint::Settings {
        let samples = |ms: u32| SampleRate::SPEECH.samples_in_ms(u64::from(ms));
        endpoint::Settings {
            threshold: self.threshold,
            min_speech: samples(self.min_speech_ms),
            silence: samples(self.silence_ms),
            pre_roll: samples(self.pre_roll_ms),
            playback_raise: self.playback_raise,
        }
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        faults.range("stt.threads", self.threads, 0, 256);
        faults.range("stt.queue", self.queue, 1, 1_024);
        faults.range("stt.max_streams", self.max_streams, 1, 10_000);
        faults.range("stt.max_files", self.max_files, 1, 1_000);
        faults.range("stt.max_seconds", self.max_seconds, 1, 24 * 3_600);
        faults.range("stt.max_bytes", self.max_bytes, 1_024, 4 << 30);
        faults.range("stt.max_utterance_s", self.max_utterance_s, 5, 3_600);
        faults.range("stt.vad.threshold", self.vad.threshold, 0.0, 1.0);
        faults.range(
            "stt.vad.min_speech_ms",
            self.vad.min_speech_ms,
            MIN_SPEECH_MS.0,
            MIN_SPEECH_MS.1,
        );
        faults.range("stt.vad.silence_ms", self.vad.silence_ms, SILENCE_MS.0, SILENCE_MS.1);
        faults.range(
            "stt.vad.pre_roll_ms",
            self.vad.pre_roll_ms,
            PRE_ROLL_MS.0,
            PRE_ROLL_MS.1,
        );
        faults.range("stt.vad.playback_raise", self.vad.playback_raise, 0.0, 1.0);
        faults.range("stt.turn_end.interval_ms", self.turn_end.interval_ms, 32, 10_000);
        faults.range(
            "stt.gate.max_tokens_per_second",
            self.gate.max_tokens_per_second,
            1.0,
            100.0,
        );
        faults.range("stt.gate.min_logprob", self.gate.min_logprob, -100.0, 0.0);
        faults.range("stt.gate.phantom_dbfs", self.gate.phantom_dbfs, -120.0, 0.0);
    }
}
