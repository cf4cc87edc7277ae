//! `/transcribe` and `/speak`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
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
    /// Plain text; this or `ssml`.
    #[serde(default)]
    text: String,
    /// A document of SSML 1.1.
    #[serde(default)]
    ssml: String,
    #[serde(default)]
    voice: String,
    /// 0.5 to 2.0; 0: from configuration.
    #[serde(default)]
    speed: f32,
    /// 0.0 to 2.0.
    volume: Option<f32>,
    /// Format of the answer. Unset: what the header Accept prefers, else WAV.
    format: Option<SpeechFormat>,
    /// Samples per second; 0: what fits the voice.
    #[serde(default)]
    sample_rate_hz: u32,
}

/// A format that speech is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SpeechFormat {
    Wav,
    /// s16le without a header.
    Pcm,
    Opus,
    Mp3,
}

impl SpeechFormat {
    /// The first format that the header Accept names, in its order; WAV without the header or for any audio. `None` when
    /// it wants something else only.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .peekable();
        if named.peek().is_none() {
            return Some(Self::Wav);
        }
        named.find_map(|range| match range.as_str() {
            "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/*" | "*/*" => Some(Self::Wav),
            "audio/pcm" | "audio/l16" => Some(Self::Pcm),
            "audio/ogg" | "audio/opus" => Some(Self::Opus),
            "audio/mpeg" | "audio/mp3" => Some(Self::Mp3),
            _ => None,
        })
    }

    /// What tts-svc is asked for: the header of a WAV file is put in front here.
    fn encoding(self) -> Encoding {
        match self {
            Self::Wav | Self::Pcm => Encoding::S16le,
            Self::Opus => Encoding::Opus,
            Self::Mp3 => Encoding::Mp3,
        }
    }

    /// The type of the answer, at this rate.
    fn media_type(self, hz: u32) -> String {
        match self {
            Self::Wav => "audio/wav".to_owned(),
            Self::Pcm => format!("audio/pcm;rate={hz};encoding=signed-int;bits=16"),
            Self::Opus => "audio/ogg;codecs=opus".to_owned(),
            Self::Mp3 => "audio/mpeg".to_owned(),
        }
    }
}

/// Speaks a text, in an answer that is sent while it is being made.
pub(in crate::edge) async fn speak(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Error> {
    let accepted = SpeechFormat::accepted(request.headers());
    let SpeakBody {
        text,
        ssml,
        voice,
        speed,
        volume,
        format,
        sample_rate_hz,
    } = json(&gateway, request).await?;
    let input = match (text.trim().is_empty(), ssml.trim().is_empty()) {
        (true, true) => return Err(Error::field("EMPTY_TEXT", "text", "text: at least one word is wanted")),
        (false, false) => {
            let problem = "ssml: text is set, too; exactly one of them is wanted";
            return Err(Error::field("TEXT_AND_SSML", "ssml", problem));
        }
        (false, true) => synthesize_request::Input::Text(text),
        (true, false) => synthesize_request::Input::Ssml(ssml),
    };
    let Some(format) = format.or(accepted) else {
        let problem = "the header Accept names no format of speech: audio/wav, audio/pcm, audio/ogg (Opus) or audio/mpeg is wanted";
        return Err(Error::field("FORMAT_UNSUPPORTED", "format", problem));
    };
    let request = SynthesizeRequest {
        input: Some(input),
        voice: Some(VoiceConfig {
            voice,
            speed,
            volume,
            format: Some(AudioFormat {
                encoding: format.encoding().into(),
                sample_rate_hz,
                channels: 1,
            }),
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
    let sent = header.format.unwrap_or_default();
    if sent.encoding() != format.encoding() {
        return Err(broken("it speaks in another format than was asked for"));
    }
    let media_type = format.media_type(sent.sample_rate_hz);
    let rate = SampleRate::new(sent.sample_rate_hz);
    let rate = rate.map_err(|_| broken("it speaks at a rate that cannot be played"))?;
    let stream = async_stream::try_stream! {
        if format == SpeechFormat::Wav {
            yield Bytes::copy_from_slice(&wav::header(rate, 1, wav::Length::Streaming));
        }
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
    Ok(([(header::CONTENT_TYPE, media_type)], body).into_response())
}

async fn spoken(answers: &mut UpstreamStream<SynthesizeResponse>) -> Result<Option<Spoken>, UpstreamError> {
    while let Some(answer) = answers.message().await? {
        if let Some(payload) = answer.event.and_then(|event| event.payload) {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_format() {
        let accepted = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::ACCEPT, value.parse().unwrap());
            }
            SpeechFormat::accepted(&headers)
        };
        assert_eq!(accepted(None), Some(SpeechFormat::Wav));
        assert_eq!(accepted(Some("*/*")), Some(SpeechFormat::Wav));
        assert_eq!(
            accepted(Some("text/html, audio/mpeg;q=0.9, */*")),
            Some(SpeechFormat::Mp3)
        );
        assert_eq!(accepted(Some("Audio/OGG; codecs=opus")), Some(SpeechFormat::Opus));
        assert_eq!(accepted(Some("audio/pcm")), Some(SpeechFormat::Pcm));
        assert_eq!(accepted(Some("application/json")), None);
    }
}
