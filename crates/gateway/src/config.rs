//! The `[gateway]` section.

mod wyoming;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use solo_service::{Faults, GlobalConfig, ServiceConfig};

pub use wyoming::Wyoming;

/// The section as it is written; `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Config {
    pub listen: SocketAddr,
    pub http_listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub allowed_hosts: Vec<String>,
    pub forward: Vec<String>,
    pub limits: Limits,
    pub voice: Voice,
    pub timeouts: Timeouts,
    pub wyoming: Wyoming,
}

/// Services whose contracts can be handed on.
const FORWARDED: [&str; 6] = ["wake", "stt", "tts", "llm", "memory", "agent"];

/// What is too much.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Limits {
    pub max_body_bytes: usize,
    pub max_frame_bytes: usize,
    pub max_audio_seconds: u64,
    pub max_sessions: usize,
}

/// How turns by voice begin and end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Voice {
    pub keywords: Vec<String>,
    pub listen_timeout_ms: u64,
    pub pre_roll_ms: u64,
    pub silence_ms: u32,
    pub candidate_ms: u32,
    pub end_probability: f32,
    pub end_silence_ms: u64,
    pub doubt_silence_ms: u64,
    pub hesitation_silence_ms: u64,
    pub open_words: Vec<String>,
    pub partial_interval_ms: u32,
    pub follow_up_ms: u64,
    pub chime: bool,
    pub wake_interrupts: bool,
    pub barge_in: bool,
    pub barge_in_ms: u64,
    pub backchannels: Vec<String>,
    pub interjections: Vec<String>,
    pub stop_phrases: Vec<String>,
    pub noise_suppression: bool,
}

/// How long is too long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub connect_ms: u64,
    pub transcript_ms: u64,
    pub reply_ms: u64,
    pub speech_ms: u64,
    pub request_ms: u64,
}

impl Timeouts {
    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }
    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn validate(&self, global: &GlobalConfig, faults: &mut Faults) {
        let mut http = Faults::default();
        global.check_listen("gateway", self.http_listen, &mut http);
        for fault in http.iter() {
            faults.add("gateway.http_listen", &fault.problem);
        }
        if self.http_listen == self.listen && self.listen.port() != 0 {
            faults.add("gateway.http_listen", "another address than gateway.listen is wanted");
        }
        for origin in &self.allowed_origins {
            let scheme_and_host = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            if scheme_and_host.is_none_or(|host| host.is_empty() || host.contains('/')) {
                faults.add(
                    "gateway.allowed_origins",
                    format!("`{origin}` is no origin; scheme and host such as https://home.example are wanted"),
                );
            }
        }
        let Limits {
            max_body_bytes,
            max_frame_bytes,
            max_audio_seconds,
            max_sessions,
        } = self.limits;
        faults.range("gateway.limits.max_body_bytes", max_body_bytes, 1024, 1 << 30);
        faults.range("gateway.limits.max_frame_bytes", max_frame_bytes, 16 * 1024, 16 << 20);
        faults.range("gateway.limits.max_audio_seconds", max_audio_seconds, 5, 600);
        faults.range("gateway.limits.max_sessions", max_sessions, 1, 10_000);
        if self.voice.keywords.len() > 16 {
            let found = self.voice.keywords.len();
            faults.add(
                "gateway.voice.keywords",
                format!("at most 16 are wanted, found {found}"),
            );
        }
        faults.range(
            "gateway.voice.listen_timeout_ms",
            self.voice.listen_timeout_ms,
            500,
            60_000,
        );
        faults.range("gateway.voice.pre_roll_ms", self.voice.pre_roll_ms, 0, 1_000);
        faults.range("gateway.voice.silence_ms", self.voice.silence_ms, 100, 5_000);
        faults.range("gateway.voice.candidate_ms", self.voice.candidate_ms, 0, 2_000);
        faults.range("gateway.voice.end_probability", self.voice.end_probability, 0.0, 1.0);
        faults.range("gateway.voice.end_silence_ms", self.voice.end_silence_ms, 0, 5_000);
        faults.range("gateway.voice.doubt_silence_ms", self.voice.doubt_silence_ms, 0, 5_000);
        let hesitation = self.voice.hesitation_silence_ms;
        faults.range("gateway.voice.hesitation_silence_ms", hesitation, 0, 5_000);
        faults.range("gateway.voice.barge_in_ms", self.voice.barge_in_ms, 0, 5_000);
        if self.voice.partial_interval_ms != 0 {
            faults.range(
                "gateway.voice.partial_interval_ms",
                self.voice.partial_interval_ms,
                100,
                5_000,
            );
        }
        faults.range("gateway.voice.follow_up_ms", self.voice.follow_up_ms, 0, 60_000);
        let timeouts = &self.timeouts;
        for service in &self.forward {
            if !FORWARDED.contains(&service.as_str()) {
                let wanted = FORWARDED.join(", ");
                faults.add("gateway.forward", format!("`{service}` is not one of {wanted}"));
            }
        }
        faults.range("gateway.timeouts.connect_ms", timeouts.connect_ms, 100, 60_000);
        faults.range("gateway.timeouts.transcript_ms", timeouts.transcript_ms, 500, 600_000);
        faults.range("gateway.timeouts.reply_ms", timeouts.reply_ms, 1_000, 3_600_000);
        faults.range("gateway.timeouts.speech_ms", timeouts.speech_ms, 500, 600_000);
        faults.range("gateway.timeouts.request_ms", timeouts.request_ms, 500, 3_600_000);
        self.wyoming.validate(global, faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solo_service::config::{self, Inputs};

    fn load(text: &str) -> Result<(GlobalConfig, Config), Faults> {
        let inputs = Inputs {
            inline: Some(text.into()),
            ..Inputs::default()
        };
        config::load("gateway", crate::DEFINITION.defaults, &inputs)
    }

    #[test]
    fn the_defaults_are_right() {
        let (_, config) = load("").unwrap();
        assert_eq!(config.http_listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.voice.silence_ms, 1_200);
        assert!(config.voice.end_silence_ms < config.voice.doubt_silence_ms);
        assert!(config.voice.doubt_silence_ms < config.voice.hesitation_silence_ms);
        assert!(config.voice.hesitation_silence_ms < u64::from(config.voice.silence_ms));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = r#"
            [gateway]
            http_listen = "0.0.0.0:8080"
            allowed_origins = ["home.example"]
            limits.max_sessions = 0
        "#;
        let faults = load(text).unwrap_err().to_string();
        for key in [
            "gateway.http_listen",
            "gateway.allowed_origins",
            "gateway.limits.max_sessions",
        ] {
            assert!(faults.contains(key), "{key} in {faults}");
        }
    }
}
