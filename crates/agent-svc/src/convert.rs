//! Wire ↔ domain: the only file that knows both.

use jiff::Timestamp;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use solo_proto::agent::v1 as pb;
use solo_proto::llm::v1 as llm;
use solo_proto::memory::v1 as memory;
use solo_service::IntoStatus;
use solo_service::error::Fault;

use crate::clock;
use crate::converse::{Done, Incoming, Outgoing, Said, Stage};
use crate::dialogue::{Dialogue, Finish, Mode, Settings, Source, Turn, TurnState, Usage};
use crate::error::Error;
use crate::prompt::{Message, Speaker};
use crate::upstream::{Change, Generated, KnownFact};

/// Longest identifier that a client may choose.
const ID_CHARS: usize = 64;
/// Longest name of a locale or model.
const NAME_CHARS: usize = 128;

/// A client's message, checked as far as it can be without the dialogue.
pub fn incoming(request: pb::ConverseRequest) -> Result<Incoming, Error> {
    use pb::converse_request::Payload;
    match request.payload {
        Some(Payload::Open(open)) => {
            let dialogue = open.dialogue_id.clone();
            Ok(Incoming::Open {
                dialogue,
                settings: settings(open)?,
            })
        }
        Some(Payload::Draft(draft)) => Ok(Incoming::Draft { text: draft.text }),
        Some(Payload::Commit(commit)) => Ok(Incoming::Commit {
            turn: commit.turn_id,
            text: commit.text,
            max_tokens: Some(commit.max_tokens).filter(|tokens| *tokens > 0),
        }),
        Some(Payload::Heard(heard)) => Ok(Incoming::Heard {
            turn: heard.turn_id,
            bytes: heard.text_bytes as usize,
            interrupted: heard.interrupted,
        }),
        Some(Payload::Decision(decision)) => Ok(Incoming::Decision {
            action: decision.action_id,
        }),
        None => Err(Error::invalid(
            "payload",
            "PAYLOAD_MISSING",
            "is missing; open, draft, commit or heard is wanted",
        )),
    }
}

fn settings(open: pb::OpenDialogue) -> Result<Settings, Error> {
    let mode = match pb::DialogueMode::try_from(open.mode) {
        Ok(pb::DialogueMode::Voice) => Mode::Voice,
        Ok(pb::DialogueMode::Text | pb::DialogueMode::Unspecified) => Mode::Text,
        Err(_) => {
            let problem = format!("{} is no dialogue mode; 1 (voice) or 2 (text) is wanted", open.mode);
            return Err(Error::invalid("open.mode", "UNKNOWN_ENUM_VALUE", problem));
        }
    };
    // Both reach prompts and requests; neither may carry more than a name.
    let is_tag = |text: &str| text.len() <= NAME_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_tag(&open.locale) {
        let problem = format!(
            "\"{}\" is no language; a tag such as en-GB is wanted",
            open.locale.escape_debug()
        );
        return Err(Error::invalid("open.locale", "LOCALE_INVALID", problem));
    }
    if open.model.len() > NAME_CHARS {
        let problem = format!("has {} bytes; at most {NAME_CHARS} are allowed", open.model.len());
        return Err(Error::invalid("open.model", "MODEL_INVALID", problem));
    }
    Ok(Settings {
        mode,
        zone: clock::time_zone(&open.time_zone)?,
        locale: if open.locale.is_empty() {
            "en-US".into()
        } else {
            open.locale
        },
        model: open.model,
        recalls: !open.without_memory,
        shows_drafts: open.show_drafts,
    })
}

/// Checks a turn's identifier.
pub fn turn_id(id: &str) -> Result<(), Error> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if id.is_empty() || id.len() > ID_CHARS || !id.bytes().all(named) {
        let problem = format!("must be 1 to {ID_CHARS} letters, digits, `-`, `_` or `.` (a UUID, for instance)");
        return Err(Error::invalid("commit.turn_id", "TURN_ID_INVALID", problem));
    }
    Ok(())
}

/// What the client is told.
pub fn outgoing(said: Outgoing) -> pb::ConverseResponse {
    use pb::converse_response::Payload;
    let payload = match said.said {
        Said::Opened {
            dialogue,
            created,
            turns,
        } => Payload::Opened(pb::DialogueOpened {
            dialogue_id: dialogue,
            created,
            turns,
        }),
        Said::Accepted { draft_adopted } => Payload::Accepted(pb::TurnAccepted { draft_adopted }),
        Said::Doing { stage, milliseconds } => Payload::Status(pb::TurnStatus {
            stage: stage_to(stage).into(),
            tool: String::new(),
            milliseconds,
        }),
        Said::Text(text) => Payload::Text(pb::ReplyDelta { text }),
        Said::DraftText { draft, text } => Payload::DraftText(pb::DraftText { draft, text }),
        Said::Citation(source) => Payload::Citation(citation(source)),
        Said::Done(done) => Payload::Done(turn_done(done)),
        Said::Failed(error) => Payload::Failed(turn_failed(error)),
    };
    pb::ConverseResponse {
        turn_id: said.turn,
        payload: Some(payload),
    }
}

fn stage_to(stage: Stage) -> pb::turn_status::Stage {
    match stage {
        Stage::Recalling => pb::turn_status::Stage::Recalling,
        Stage::Recalled => pb::turn_status::Stage::Recalled,
        Stage::Thinking => pb::turn_status::Stage::Thinking,
    }
}

fn turn_done(done: Done) -> pb::TurnDone {
    pb::TurnDone {
        reply: done.reply,
        usage: Some(usage_to(done.usage)),
        finish_reason: finish_to(done.finish).into(),
        model: done.model,
        times: Some(pb::TurnTimes {
            recalled_ms: done.times.recalled_ms,
            first_token_ms: done.times.first_token_ms,
            first_sentence_ms: done.times.first_sentence_ms,
            done_ms: done.times.done_ms,
        }),
    }
}

/// The fault of one turn. It takes the way of every fault — logged once, internal ones hidden — and is then put into a
/// message instead of ending the stream.
fn turn_failed(error: Error) -> pb::TurnFailed {
    let status = error.into_status();
    let fault = Fault::from(&status);
    pb::TurnFailed {
        code: status.code() as u32,
        reason: fault.reason,
        message: fault.message,
        service: fault.service.unwrap_or_default(),
    }
}

/// A piece of memory that a reply used.
fn citation(source: Source) -> pb::ReplyCitation {
    pb::ReplyCitation {
        number: source.number,
        score: source.score,
        citation: Some(memory::Citation {
            document: source.document,
            title: source.title,
            uri: source.uri,
            page: source.page,
            heading: source.heading,
            range: Some(memory::TextRange {
                start: source.start,
                end: source.end,
            }),
            text: source.text,
        }),
    }
}

/// A hit of memory-svc.
pub fn source(number: u32, hit: memory::Hit) -> Source {
    let is_fact = hit.kind() == memory::HitKind::Fact;
    let citation = hit.citation.unwrap_or_default();
    let range = citation.range.unwrap_or_default();
    // How the ways of finding were fused says how it compares with the other pieces, not how much it is about the question.
    let similarity = hit.parts.and_then(|parts| parts.dense);
    Source {
        number,
        score: similarity.unwrap_or(hit.score),
        is_fact,
        document: citation.document,
        title: citation.title,
        uri: citation.uri,
        page: citation.page,
        heading: citation.heading,
        start: range.start,
        end: range.end,
        text: hit.text,
    }
}

/// A fact near a text.
pub fn near_fact(near: memory::ScoredFact) -> Option<KnownFact> {
    Some(known_fact(near.fact?, near.score))
}

/// A fact as memory-svc has it.
pub fn known_fact(fact: memory::Fact, likeness: f32) -> KnownFact {
    KnownFact {
        id: fact.id,
        version: fact.version,
        text: fact.text,
        provenance: fact.provenance,
        likeness,
    }
}

/// A change of facts, learnt at `provenance`.
pub fn fact_change(change: Change, provenance: &str) -> memory::FactChange {
    use memory::fact_change::Change as Asked;
    let fact = |text: String| memory::Fact {
        text,
        // The person said so.
        confidence: 1.0,
        provenance: provenance.to_owned(),
        ..memory::Fact::default()
    };
    let change = match change {
        Change::Add(text) => Asked::Add(fact(text)),
        Change::Supersede(known, text) => Asked::Supersede(memory::SupersedeFact {
            id: known.id,
            expected_version: known.version,
            fact: Some(fact(text)),
        }),
        Change::Retract(known) => Asked::Retract(memory::RetractFact {
            id: known.id,
            expected_version: known.version,
        }),
    };
    memory::FactChange { change: Some(change) }
}

/// A JSON schema that an answer must satisfy.
pub fn json_schema(schema: serde_json::Value) -> llm::ResponseFormat {
    let fields = match value(schema).kind {
        Some(Kind::StructValue(fields)) => fields,
        _ => Struct::default(),
    };
    llm::ResponseFormat {
        format: Some(llm::response_format::Format::JsonSchema(fields)),
    }
}

fn value(json: serde_json::Value) -> prost_types::Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(value).collect(),
        }),
        Json::Object(object) => Kind::StructValue(Struct {
            fields: object.into_iter().map(|(key, json)| (key, value(json))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A message for the model.
pub fn message(message: &Message) -> llm::Message {
    let role = match message.speaker {
        Speaker::System => llm::Role::System,
        Speaker::Person => llm::Role::User,
        Speaker::Assistant => llm::Role::Assistant,
    };
    let part = llm::ContentPart {
        part: Some(llm::content_part::Part::Text(message.text.clone())),
    };
    llm::Message {
        role: role.into(),
        parts: vec![part],
        tool_calls: Vec::new(),
        tool_call_id: String::new(),
    }
}

/// A piece of what the model says; `None` for what was not asked for.
pub fn generated(response: llm::GenerateResponse) -> Option<Generated> {
    use llm::generate_response::Payload;
    match response.payload? {
        Payload::Started(started) => Some(Generated::Started { model: started.model }),
        Payload::Text(delta) => Some(Generated::Text(delta.text)),
        Payload::Finished(finished) => {
            let finish = match finished.reason() {
                llm::FinishReason::Length => Finish::Length,
                llm::FinishReason::ToolCalls => Finish::ToolCalls,
                llm::FinishReason::Stop | llm::FinishReason::Unspecified => Finish::Stop,
            };
            Some(Generated::Finished {
                finish,
                usage: finished.usage.map(usage_from).unwrap_or_default(),
            })
        }
        Payload::ToolCall(call) => {
            tracing::warn!(
                tool = call.name,
                "a tool call came though no tool was offered; it is ignored"
            );
            None
        }
    }
}

fn usage_from(usage: llm::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        completion_tokens: usage.completion_tokens,
        prefill_ms: usage.prefill_ms,
        decode_ms: usage.decode_ms,
    }
}

fn usage_to(usage: Usage) -> llm::Usage {
    llm::Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        completion_tokens: usage.completion_tokens,
        prefill_ms: usage.prefill_ms,
        decode_ms: usage.decode_ms,
    }
}

fn finish_to(finish: Finish) -> llm::FinishReason {
    match finish {
        Finish::Stop => llm::FinishReason::Stop,
        Finish::Length => llm::FinishReason::Length,
        Finish::ToolCalls => llm::FinishReason::ToolCalls,
    }
}

/// A dialogue as it is listed.
pub fn dialogue(dialogue: Dialogue) -> pb::Dialogue {
    pb::Dialogue {
        id: dialogue.id,
        title: dialogue.title,
        turns: dialogue.turns,
        created_at: Some(timestamp(dialogue.created_at)),
        updated_at: Some(timestamp(dialogue.updated_at)),
    }
}

/// One exchange.
pub fn turn(turn: Turn) -> pb::Turn {
    let state = match turn.state {
        TurnState::Running => pb::TurnState::Running,
        TurnState::Unconfirmed => pb::TurnState::Unconfirmed,
        TurnState::Heard => pb::TurnState::Heard,
        TurnState::Interrupted => pb::TurnState::Interrupted,
        TurnState::Failed => pb::TurnState::Failed,
    };
    pb::Turn {
        id: turn.id,
        text: turn.text,
        reply: turn.reply,
        state: state.into(),
        citations: turn.sources.into_iter().map(citation).collect(),
        created_at: Some(timestamp(turn.created_at)),
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// The number of entries of a page, or the fault that there are too many.
pub fn limit(field: &'static str, asked: u32, default: u32, most: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(default),
        asked if asked <= most => Ok(asked),
        asked => Err(Error::invalid(
            field,
            "OUT_OF_RANGE",
            format!("is {asked}; 1 to {most} is wanted, or 0 for {default}"),
        )),
    }
}
