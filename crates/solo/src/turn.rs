//! One turn as the gateway tells it, gathered piece by piece, and the stable JSON that programs get of it. Pure.

use serde::Serialize;
use solo_proto::agent::v1::ReplyCitation;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::{SpeechRejected, StageTimes, TurnError, TurnSummary, WakeHeard};
use solo_service::ErrorCode;

use crate::failure::{Exit, Failure, exit_of};

/// What is known of a turn so far.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The wake word that began it.
    pub wake: Option<WakeHeard>,
    /// What was said.
    pub transcript: String,
    /// What is answered.
    pub reply: String,
    /// What the answer rests on.
    pub citations: Vec<ReplyCitation>,
    /// How it ended.
    pub summary: Option<TurnSummary>,
    /// What went wrong.
    pub error: Option<TurnError>,
    /// Speech that was not believed.
    pub rejected: Option<SpeechRejected>,
}

impl Turn {
    /// Takes in one message of the gateway.
    pub fn take(&mut self, payload: &Payload) {
        match payload {
            Payload::Wake(wake) => self.wake = Some(wake.clone()),
            Payload::Final(text) => self.transcript.clone_from(&text.text),
            Payload::Reply(reply) => self.reply.push_str(&reply.delta),
            Payload::Citation(citation) => self.citations.push(citation.clone()),
            Payload::Summary(summary) => {
                if !summary.transcript.is_empty() {
                    self.transcript.clone_from(&summary.transcript);
                }
                if !summary.reply.is_empty() {
                    self.reply.clone_from(&summary.reply);
                }
                self.summary = Some(summary.clone());
            }
            Payload::Error(error) => self.error = Some(error.clone()),
            Payload::Rejected(rejected) => self.rejected = Some(rejected.clone()),
            _ => {}
        }
    }

    /// Why the turn failed, if it did.
    pub fn failure(&self) -> Option<Failure> {
        self.error.as_ref().map(failure_of)
    }

    fn stages(&self) -> Stages {
        self.summary
            .as_ref()
            .and_then(|summary| summary.stages.as_ref())
            .map(Stages::from)
            .unwrap_or_default()
    }

    /// One line of `solo talk --json`.
    pub fn spoken(&self) -> Spoken<'_> {
        Spoken {
            wake: self.wake.as_ref().map(|wake| Wake {
                keyword: &wake.keyword,
                at_ms: wake.at_ms,
                score: shortest(wake.score),
            }),
            transcript: &self.transcript,
            reply: &self.reply,
            citations: self.citations.iter().map(Citation::from).collect(),
            stages_ms: self.stages(),
            voice_to_voice_ms: self.summary.as_ref().and_then(|summary| summary.voice_to_voice_ms),
        }
    }

    /// One line of `solo ask --json`.
    pub fn written(&self) -> Written<'_> {
        let summary = self.summary.as_ref();
        Written {
            reply: &self.reply,
            citations: self.citations.iter().map(Citation::from).collect(),
            usage: Usage {
                prompt_tokens: summary.map_or(0, |summary| summary.prompt_tokens),
                cached_tokens: summary.map_or(0, |summary| summary.cached_tokens),
                completion_tokens: summary.map_or(0, |summary| summary.completion_tokens),
            },
            stages_ms: self.stages(),
            dialogue: summary.map_or("", |summary| summary.dialogue_id.as_str()),
        }
    }
}

/// An error of a turn as a failure that names the service.
pub fn failure_of(error: &TurnError) -> Failure {
    let service = if error.service.is_empty() {
        crate::services::GATEWAY
    } else {
        &error.service
    };
    let code = ErrorCode::from_grpc(tonic::Code::from(i32::try_from(error.code).unwrap_or(i32::MAX)));
    let exit = exit_of(code);
    let named = error.message.starts_with(service);
    let message = if named {
        error.message.clone()
    } else {
        format!("{service}: {}", error.message)
    };
    let request = if error.request_id.is_empty() {
        String::new()
    } else {
        format!(" (request {})", error.request_id)
    };
    match exit {
        Exit::Unavailable => Failure::new(exit, message).help(format!(
            "see how it is with `solo ps`, and why with `solo logs {service}`{request}"
        )),
        _ if code == ErrorCode::Internal => {
            Failure::new(exit, message).help(format!("`solo logs {service}` has the details{request}"))
        }
        _ => Failure::new(exit, message),
    }
}

/// `solo talk --json`: one object a turn, exactly these fields.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Spoken<'a> {
    pub wake: Option<Wake<'a>>,
    pub transcript: &'a str,
    pub reply: &'a str,
    pub citations: Vec<Citation<'a>>,
    pub stages_ms: Stages,
    pub voice_to_voice_ms: Option<i64>,
}

/// The wake word that began a turn; `at_ms` from the first sample.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Wake<'a> {
    pub keyword: &'a str,
    pub at_ms: u64,
    pub score: f64,
}

/// `solo ask --json`: exactly these fields.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Written<'a> {
    pub reply: &'a str,
    pub citations: Vec<Citation<'a>>,
    pub usage: Usage,
    pub stages_ms: Stages,
    pub dialogue: &'a str,
}

/// Tokens of a turn.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Usage {
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub completion_tokens: u32,
}

/// When each stage was done, in ms: from the last voiced sample (talk) or from the question's arrival (ask); negative
/// when done before, null when it did not happen.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Stages {
    pub endpoint: Option<i64>,
    pub stt: Option<i64>,
    pub recall: Option<i64>,
    pub llm_first_token: Option<i64>,
    pub llm_first_sentence: Option<i64>,
    pub tts_first_audio: Option<i64>,
}

impl From<&StageTimes> for Stages {
    fn from(times: &StageTimes) -> Self {
        Self {
            endpoint: times.endpoint,
            stt: times.stt,
            recall: times.recall,
            llm_first_token: times.llm_first_token,
            llm_first_sentence: times.llm_first_sentence,
            tts_first_audio: times.tts_first_audio,
        }
    }
}

/// A piece of memory that a reply used.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Citation<'a> {
    pub number: u32,
    pub document: &'a str,
    pub title: &'a str,
    pub uri: &'a str,
    pub page: Option<u32>,
    pub heading: Option<&'a str>,
    pub range: Option<Range>,
    pub text: &'a str,
    pub score: f64,
}

/// Bytes of a document's text.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

impl<'a> From<&'a ReplyCitation> for Citation<'a> {
    fn from(cited: &'a ReplyCitation) -> Self {
        let text =
            |get: fn(&solo_proto::memory::v1::Citation) -> &String| cited.citation.as_ref().map_or("", |c| get(c));
        let inner = cited.citation.as_ref();
        Self {
            number: cited.number,
            document: text(|c| &c.document),
            title: text(|c| &c.title),
            uri: text(|c| &c.uri),
            page: inner.map(|c| c.page).filter(|page| *page > 0),
            heading: inner.map(|c| c.heading.as_str()).filter(|heading| !heading.is_empty()),
            range: inner.and_then(|c| c.range.as_ref()).map(|range| Range {
                start: range.start,
                end: range.end,
            }),
            text: text(|c| &c.text),
            score: shortest(cited.score),
        }
    }
}

impl Citation<'_> {
    /// What the source is called: its title, else where it comes from.
    pub fn source(&self) -> &str {
        if self.title.is_empty() { self.uri } else { self.title }
    }
}

/// A 32-bit figure as the 64-bit one with the same shortest digits: 0.93, not 0.9300000071525574.
pub fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use solo_proto::gateway::v1::{FinalText, ReplyText};
    use solo_proto::memory::v1 as memory;

    use super::*;

    fn turn() -> Turn {
        let mut turn = Turn::default();
        let citation = memory::Citation {
            document: "d1".into(),
            title: "note".into(),
            uri: "note:1".into(),
            ..Default::default()
        };
        for payload in [
            Payload::Wake(WakeHeard {
                keyword: "hey_jarvis".into(),
                at_ms: 1280,
                score: 0.93,
            }),
            Payload::Final(FinalText {
                text: "What colour is my bike?".into(),
                confidence: 0.9,
            }),
            Payload::Reply(ReplyText {
                delta: "Your bike ".into(),
            }),
            Payload::Citation(ReplyCitation {
                number: 1,
                citation: Some(citation),
                score: 0.61,
            }),
            Payload::Reply(ReplyText {
                delta: "is green.".into(),
            }),
        ] {
            turn.take(&payload);
        }
        turn
    }

    fn summary() -> TurnSummary {
        TurnSummary {
            dialogue_id: "d".into(),
            transcript: "What colour is my bike?".into(),
            reply: "Your bike is green.".into(),
            stages: Some(StageTimes {
                endpoint: Some(412),
                recall: Some(-20),
                ..Default::default()
            }),
            voice_to_voice_ms: Some(980),
            completion_tokens: 6,
            prompt_tokens: 120,
            cached_tokens: 64,
            ..Default::default()
        }
    }

    #[test]
    fn talk_json_is_exactly_as_documented() {
        let mut turn = turn();
        turn.take(&Payload::Summary(summary()));
        let wanted = r#"{"wake":{"keyword":"hey_jarvis","at_ms":1280,"score":0.93},"transcript":"What colour is my bike?","reply":"Your bike is green.","citations":[{"number":1,"document":"d1","title":"note","uri":"note:1","page":null,"heading":null,"range":null,"text":"","score":0.61}],"stages_ms":{"endpoint":412,"stt":null,"recall":-20,"llm_first_token":null,"llm_first_sentence":null,"tts_first_audio":null},"voice_to_voice_ms":980}"#;
        assert_eq!(serde_json::to_string(&turn.spoken()).unwrap(), wanted);
    }

    #[test]
    fn ask_json_is_exactly_as_documented() {
        let mut turn = turn();
        turn.citations.clear();
        turn.take(&Payload::Summary(summary()));
        let wanted = r#"{"reply":"Your bike is green.","citations":[],"usage":{"prompt_tokens":120,"cached_tokens":64,"completion_tokens":6},"stages_ms":{"endpoint":412,"stt":null,"recall":-20,"llm_first_token":null,"llm_first_sentence":null,"tts_first_audio":null},"dialogue":"d"}"#;
        assert_eq!(serde_json::to_string(&turn.written()).unwrap(), wanted);
    }

    #[test]
    fn without_wake_and_summary_the_fields_are_null() {
        let json = serde_json::to_value(Turn::default().spoken()).unwrap();
        assert!(json["wake"].is_null() && json["voice_to_voice_ms"].is_null());
        assert!(json["stages_ms"]["endpoint"].is_null());
    }

    #[test]
    fn a_failed_turn_names_the_service() {
        let error = TurnError {
            code: 14,
            message: "the connection broke off".into(),
            service: "llm-svc".into(),
            ..Default::default()
        };
        let failure = failure_of(&error);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Unavailable, "llm-svc: the connection broke off")
        );
        let own = TurnError {
            code: 3,
            message: "7 channels are too many".into(),
            ..Default::default()
        };
        let failure = failure_of(&own);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Failed, "gateway: 7 channels are too many")
        );
    }
}
