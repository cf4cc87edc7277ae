//! `/transcribe` and `/speak`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use solo_audio::{SampleRate, wav};
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::stt::v1::transcribe_response::Payload as Heard;
use solo_proto::stt::v1::{Task, TranscribeConfig};
use solo_proto::tts::v1::speech_event::Payload as Spoken;
use solo_proto::tts::v1::{SynthesizeRequest, SynthesizeResponse, VoiceConfig, synthesize_request};
use solo_service::{UpstreamError, UpstreamStream};

use crate::Gateway;
use crate::error::Error;

use super::{body, json, media_type};

/// How to transcribe, in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::edge) struct TranscribeQuery {
    /// Language spoken, as an ISO 639-1 code. Empty: detected.
    language: String,
    /// True: write down in English what was said in another language.
    translate: bool,
    /// Text that sets vocabulary and style.
    prompt: String,
    /// Model to transcribe with. Empty: the configured one.
    model: String,
}

/// What a recording says.
#[derive(Debug, Serialize)]
struct Transcript {
    text: String,
    language: String,
    segments: Vec<Segment>,
    duration_ms: u64,
    processing_ms: u64,
    real_time_factor: f32,
    model: String,
}

#[derive(Debug, Serialize)]
struct Segment {
    start_ms: u64,
    end_ms: u64,
    text: String,
}

/// Transcribes a recording: the body as it is, or the field `file` of a form.
pub(in crate::edge) async fn transcribe(
    State(gateway): State<Arc<Gateway>>,
    query: Result<Query<TranscribeQuery>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Error> {
    let Query(query) = query.map_err(|error| Error::invalid("BAD_QUERY", error.body_text()))?;
    let file = if media_type(request.headers()) == "multipart/form-data" {
        file_of_form(&gateway, request).await?
    } else {
        body(&gateway, request.into_body()).await?
    };
    if file.is_empty() {
        return Err(Error::invalid(
            "EMPTY_AUDIO",
            "the recording is empty; WAV, MP3, FLAC, OGG or M4A is wanted",
        ));
    }
    let task = if query.translate {
        Task::Translate
    } else {
        Task::Transcribe
    };
    let config = TranscribeConfig {
        format: Some(AudioFormat {
            encoding: Encoding::Detect.into(),
            ..AudioFormat::default()
        }),
        language: query.language,
        task: task.into(),
        prompt: query.prompt,
        model: query.model,
        ..TranscribeConfig::default()
    };
    let mut answers = gateway.upstreams.transcribe(&gateway.caller(), config, file).await?;
    let mut segments = Vec::new();
    while let Some(answer) = answers.message().await? {
        match answer.payload {
            Some(Heard::Segment(segment)) => segments.push(Segment {
                start_ms: segment.start_ms,
                end_ms: segment.end_ms,
                text: segment.text,
            }),
            Some(Heard::Summary(summary)) => {
                let transcript = Transcript {
                    text: summary.text,
                    language: summary.language,
                    segments,
                    duration_ms: summary.duration_ms,
                    processing_ms: summary.processing_ms,
                    real_time_factor: summary.real_time_factor,
                    model: summary.model,
                };
                return Ok(Json(transcript).into_response());
            }
            Some(Heard::Progress(_)) | None => {}
        }
    }
    Err(Error::Contract {
        service: "stt-svc",
        problem: "it ended without a summary",
    })
}

async fn file_of_form(gateway: &Gateway, request: Request) -> Result<Bytes, Error> {
    let limit = gateway.config.limits.max_body_bytes;
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::BodyTooLarge { limit },
        _ => Error::invalid("BAD_FORM", format!("the form cannot be read: {}", error.body_text())),
    };
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| Error::invalid("BAD_FORM", error.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() == Some("file") {
            return field.bytes().await.map_err(broken);
        }
    }
    Err(Error::invalid("NO_FILE", "the form has no field `file`"))
}

/// What to speak, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::edge) struct SpeakBody {
    text: String,
    #[serde(default)]
    voice: String,
    /// 0.5 to 2.0; 0: from configuration.
    #[serde(default)]
    speed: f32,
    /// 0.0 to 2.0.
    volume: Option<f32>,
}

/// Speaks a text as a WAV file that is sent while it is being made.
pub(in crate::edge) async fn speak(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Error> {
    let SpeakBody {
        text,
        voice,
        speed,
        volume,
    } = json(&gateway, request).await?;
    if text.trim().is_empty() {
        return Err(Error::field("EMPTY_TEXT", "text", "text: at least one word is wanted"));
    }
    let request = SynthesizeRequest {
        input: Some(synthesize_request::Input::Text(text)),
        voice: Some(VoiceConfig {
            voice,
            speed,
            volume,
            format: None,
        }),
    };
    let mut answers = gateway.upstreams.synthesize(&gateway.caller(), request).await?;
    let broken = |problem| Error::Contract {
        service: "tts-svc",
        problem,
    };
    let Some(Spoken::Header(header)) = spoken(&mut answers).await? else {
        return Err(broken("it did not say what its audio looks like"));
    };
    let hz = header.format.map_or(0, |format| format.sample_rate_hz);
    let rate = SampleRate::new(hz).map_err(|_| broken("it speaks at a rate that cannot be played"))?;
    let stream = async_stream::try_stream! {
        yield Bytes::copy_from_slice(&wav::header(rate, 1, wav::Length::Streaming));
        while let Some(event) = spoken(&mut answers).await.inspect_err(|error| {
            // The answer has begun; all that is left is to break it off.
            tracing::warn!(%error, "speech broke off");
        })? {
            if let Spoken::Audio(chunk) = event {
                yield Bytes::from(chunk.data);
            }
        }
    };
    let body = Body::from_stream::<futures::stream::BoxStream<'static, Result<Bytes, UpstreamError>>>(Box::pin(stream));
    Ok(([(header::CONTENT_TYPE, "audio/wav")], body).into_response())
}

async fn spoken(answers: &mut UpstreamStream<SynthesizeResponse>) -> Result<Option<Spoken>, UpstreamError> {
    while let Some(answer) = answers.message().await? {
        if let Some(payload) = answer.event.and_then(|event| event.payload) {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}
