//! `/chat`: a turn in writing, as one JSON answer or, for clients that accept `text/event-stream`, while it happens.
//!
//! It is a conversation of one turn, like any other; this file only dresses it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use solo_audio::{SampleRate, pcm, wav};
use solo_proto::agent::v1::{ReplyCitation, TurnFailed};
use solo_proto::audio::v1::AudioFormat;
use solo_proto::gateway::v1::converse_request::Payload as In;
use solo_proto::gateway::v1::converse_response::Payload as Out;
use solo_proto::gateway::v1::{ConverseRequest, OpenSession, TextInput, TurnError, TurnSummary};

use super::accepts;
use crate::Gateway;
use crate::convert::Manner;
use crate::error::Error;
use crate::session::{self, End, Next, Outgoing};

/// Rate of spoken replies, in Hz: that of the usual voices.
const SPOKEN_HZ: u32 = 22_050;

/// What is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::edge) struct ChatBody {
    message: String,
    /// Dialogue to go on with. Empty: a new one.
    #[serde(default)]
    dialogue: String,
    /// True: the reply is spoken too.
    #[serde(default)]
    speak: bool,
    #[serde(default)]
    voice: String,
    #[serde(default)]
    locale: String,
    #[serde(default)]
    time_zone: String,
}

/// A turn in writing.
pub(in crate::edge) async fn chat(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Error> {
    let streams = accepts(request.headers(), "text/event-stream");
    let body: ChatBody = super::json(&gateway, request).await?;
    if body.message.trim().is_empty() {
        return Err(Error::field(
            "EMPTY_TEXT",
            "message",
            "message: at least one word is wanted",
        ));
    }
    let format = AudioFormat {
        sample_rate_hz: SPOKEN_HZ,
        channels: 1,
        ..AudioFormat::default()
    };
    let manner = Manner::try_from(OpenSession {
        audio_out: body.speak.then_some(format),
        dialogue_id: body.dialogue,
        voice: body.voice,
        locale: body.locale,
        time_zone: body.time_zone,
        ..OpenSession::default()
    })?;
    let said = In::Text(TextInput {
        text: body.message,
        speak: body.speak,
    });
    let incoming = futures::stream::iter([Ok(ConverseRequest {
        payload: Some(said),
        ..ConverseRequest::default()
    })]);
    let (_, outgoing) = session::start(&gateway, manner, incoming)?;
    if streams {
        Ok(as_it_happens(outgoing))
    } else {
        at_once(outgoing).await
    }
}

/// The whole turn as one answer. A reply that broke off is a problem; a voice that broke off is told beside the reply.
async fn at_once(mut outgoing: Outgoing) -> Result<Response, Error> {
    let mut citations = Vec::new();
    let mut audio = Vec::new();
    let mut fault: Option<TurnError> = None;
    let mut turn = String::new();
    loop {
        let message = match outgoing.next().await {
            Next::Message(message) => message,
            Next::End(End::Draining) => return Err(Error::Draining),
            Next::End(_) => {
                let lost = "the conversation ended without an answer";
                return Err(fault.map_or(
                    Error::NotNow {
                        reason: "NO_ANSWER",
                        problem: lost,
                    },
                    broken,
                ));
            }
        };
        if !message.turn_id.is_empty() {
            turn.clone_from(&message.turn_id);
        }
        match message.payload {
            Some(Out::Citation(citation)) => citations.push(citation_json(citation)),
            Some(Out::Audio(chunk)) => audio.extend(chunk.data),
            Some(Out::Error(error)) => fault = Some(error),
            Some(Out::Summary(summary)) => {
                let spoken = fault.as_ref().is_some_and(|fault| fault.service == "tts-svc");
                match fault {
                    Some(fault) if !spoken => return Err(broken(fault)),
                    fault => return Ok(Json(answer(turn, summary, citations, &audio, fault.as_ref())).into_response()),
                }
            }
            _ => {}
        }
    }
}

fn answer(turn: String, summary: TurnSummary, citations: Vec<Value>, audio: &[u8], fault: Option<&TurnError>) -> Value {
    let mut answer = summary_json(turn, summary);
    answer["citations"] = citations.into();
    if !audio.is_empty()
        && let (Ok(rate), Ok(samples)) = (SampleRate::new(SPOKEN_HZ), pcm::from_s16le(audio))
    {
        answer["audio"] = json!({ "media_type": "audio/wav", "data": BASE64.encode(wav::encode(&samples, rate)) });
    }
    if let Some(fault) = fault {
        answer["speech_error"] = error_json(fault);
    }
    answer
}

/// The turn as server-sent events: `text`, `citation`, `audio`, `error`, and `done` last.
fn as_it_happens(mut outgoing: Outgoing) -> Response {
    let stream = async_stream::stream! {
        loop {
            let message = match outgoing.next().await {
                Next::Message(message) => message,
                Next::End(End::Draining) => {
                    yield event("error", json!({ "reason": "DRAINING", "message": Error::Draining.to_string() }));
                    break;
                }
                Next::End(_) => break,
            };
            match message.payload {
                Some(Out::Reply(reply)) => yield event("text", json!({ "delta": reply.delta })),
                Some(Out::Citation(citation)) => yield event("citation", citation_json(citation)),
                Some(Out::Audio(chunk)) => {
                    let data = BASE64.encode(&chunk.data);
                    yield event("audio", json!({ "encoding": "s16le", "sample_rate_hz": SPOKEN_HZ, "data": data }));
                }
                Some(Out::Error(error)) => yield event("error", error_json(&error)),
                Some(Out::Summary(summary)) => yield event("done", summary_json(message.turn_id, summary)),
                _ => {}
            }
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

fn event(name: &str, data: Value) -> Result<Event, std::convert::Infallible> {
    Ok(Event::default().event(name).data(data.to_string()))
}

fn summary_json(turn: String, summary: TurnSummary) -> Value {
    let stages = summary.stages.unwrap_or_default();
    json!({
        "reply": summary.reply,
        "dialogue": summary.dialogue_id,
        "turn": turn,
        "usage": {
            "prompt_tokens": summary.prompt_tokens,
            "cached_tokens": summary.cached_tokens,
            "completion_tokens": summary.completion_tokens,
        },
        "stages_ms": {
            "endpoint": stages.endpoint,
            "stt": stages.stt,
            "recall": stages.recall,
            "llm_first_token": stages.llm_first_token,
            "llm_first_sentence": stages.llm_first_sentence,
            "tts_first_audio": stages.tts_first_audio,
        },
    })
}

fn citation_json(cited: ReplyCitation) -> Value {
    let citation = cited.citation.unwrap_or_default();
    json!({
        "number": cited.number,
        "title": citation.title,
        "uri": citation.uri,
        "document": citation.document,
        "page": citation.page,
        "heading": citation.heading,
        "text": citation.text,
        "score": cited.score,
    })
}

fn error_json(error: &TurnError) -> Value {
    json!({ "reason": error.reason, "message": error.message, "service": error.service, "request_id": error.request_id })
}

/// The fault of a turn as an error of this request.
fn broken(fault: TurnError) -> Error {
    let TurnError {
        code,
        reason,
        message,
        service,
        ..
    } = fault;
    Error::Turn(Box::new(TurnFailed {
        code,
        reason,
        message,
        service,
    }))
}
