//! The wire's messages to what is wanted, with every range checked, and what was heard back to the wire's messages.

use solo_audio::pcm;
use solo_proto::wake::v1::detect_request::Payload;
use solo_proto::wake::v1::detect_response::Payload as Answer;
use solo_proto::wake::v1::{DetectConfig, DetectRequest, DetectResponse, DetectStarted, Keyword, WakeEvent};

use crate::WakeError;
use crate::catalogue::{Catalogue, KnownKeyword};
use crate::engine::EngineKind;
use crate::watch::{Rule, Wake};

/// Keywords that one stream may be watched for.
pub const MAX_KEYWORDS: usize = 16;
/// Longest refractory time, in ms.
pub const MAX_REFRACTORY_MS: u32 = 60_000;
/// Most scores above the threshold that may be wanted.
pub const MAX_TRIGGERS: u32 = 20;
/// Bytes of 100 ms of 16 kHz mono s16le.
pub const MAX_CHUNK_BYTES: usize = 3_200;

/// The first message of a stream: what to listen for.
///
/// # Errors
/// When it is something else.
pub fn first(request: Option<DetectRequest>) -> Result<DetectConfig, WakeError> {
    let found = match request.map(|request| request.payload) {
        Some(Some(Payload::Config(config))) => return Ok(config),
        Some(Some(Payload::Audio(_))) => "audio",
        Some(None) => "a message without payload",
        None => "the end of the stream",
    };
    Err(WakeError::ConfigFirst { found })
}

/// What the configuration wants of keywords where a request leaves it open.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The engine that listens: it bounds what can be asked for.
    pub engine: EngineKind,
    /// What is listened for when a request names nothing.
    pub rules: Vec<Rule>,
    /// Refractory time of other keywords.
    pub refractory_ms: u32,
    /// Trigger count of other keywords.
    pub trigger_count: u32,
}

/// What is wanted of each keyword; none named means those of `defaults`, and what one leaves open is as there.
///
/// # Errors
/// When a keyword is unknown or a value out of range.
pub fn rules(config: DetectConfig, defaults: &Defaults, catalogue: &Catalogue) -> Result<Vec<Rule>, WakeError> {
    if config.keywords.is_empty() {
        return Ok(defaults.rules.clone());
    }
    if config.keywords.len() > MAX_KEYWORDS {
        return Err(WakeError::TooManyKeywords {
            count: config.keywords.len(),
        });
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(config.keywords.len());
    for wanted in config.keywords {
        let keyword = wanted.keyword;
        catalogue.find(&keyword)?;
        if rules.iter().any(|rule| rule.keyword == keyword) {
            return Err(WakeError::KeywordTwice { keyword });
        }
        if let Some(threshold) = wanted.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
            return Err(WakeError::Threshold { keyword, threshold });
        }
        if let Some(refractory_ms) = wanted.refractory_ms.filter(|ms| *ms > MAX_REFRACTORY_MS) {
            return Err(WakeError::Refractory { keyword, refractory_ms });
        }
        let most = defaults.engine.max_triggers();
        if let Some(count) = wanted.trigger_count.filter(|count| !(1..=most).contains(count)) {
            return Err(WakeError::TriggerCount { keyword, count, most });
        }
        let configured = defaults.rules.iter().find(|rule| rule.keyword == keyword);
        rules.push(Rule {
            threshold: wanted.threshold.or(configured.and_then(|rule| rule.threshold)),
            refractory_ms: wanted.refractory_ms.unwrap_or(defaults.refractory_ms),
            trigger_count: wanted
                .trigger_count
                .unwrap_or_else(|| configured.map_or(defaults.trigger_count, |rule| rule.trigger_count)),
            keyword,
        });
    }
    Ok(rules)
}

/// A later message of a stream: samples and the position of the first.
///
/// # Errors
/// When it is none, or its bytes are no samples, or too many.
pub fn audio(request: DetectRequest) -> Result<(u64, Vec<i16>), WakeError> {
    let chunk = match request.payload {
        Some(Payload::Audio(chunk)) => chunk,
        Some(Payload::Config(_)) => return Err(WakeError::ConfigTwice),
        None => return Err(WakeError::EmptyMessage),
    };
    match chunk.data.len() {
        0 => Err(WakeError::EmptyChunk),
        bytes if bytes > MAX_CHUNK_BYTES => Err(WakeError::LongChunk { bytes }),
        _ => match pcm::from_s16le(&chunk.data) {
            Ok(samples) => Ok((chunk.first_sample, samples)),
            Err(odd) => Err(WakeError::OddChunk { bytes: odd.bytes }),
        },
    }
}

/// Says that the stream is being listened to.
pub fn started(rules: &[Rule], engine: &str) -> DetectResponse {
    let keywords = rules.iter().map(|rule| rule.keyword.clone()).collect();
    DetectResponse {
        payload: Some(Answer::Started(DetectStarted {
            keywords,
            engine: engine.into(),
        })),
    }
}

/// Says that a keyword was spoken.
pub fn wake(wake: Wake) -> DetectResponse {
    let Wake {
        keyword,
        score,
        start_sample,
        end_sample,
    } = wake;
    DetectResponse {
        payload: Some(Answer::Wake(WakeEvent {
            keyword,
            score,
            start_sample,
            end_sample,
        })),
    }
}

/// A keyword, as the wire says it.
pub fn keyword(keyword: &KnownKeyword, active: bool) -> Keyword {
    Keyword {
        keyword: keyword.id.clone(),
        phrase: keyword.phrase.clone(),
        engine: keyword.engine.name().into(),
        licence: keyword.licence.clone(),
        active,
        installed: keyword.installed(),
    }
}
