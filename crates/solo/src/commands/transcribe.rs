//! `solo transcribe FILE`: speech into text.

use std::path::PathBuf;

use serde::Serialize;
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::transcribe_request::Payload as Request;
use solo_proto::stt::v1::transcribe_response::Payload;
use solo_proto::stt::v1::{Segment, TranscribeConfig, TranscribeRequest, TranscribeSummary};

use super::bytes_of;
use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, paint};
use crate::turn::shortest;

/// Bytes of the file in a message; the contract allows 1 MiB.
const PIECE: usize = 256 * 1024;

/// What `solo transcribe` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// WAV, MP3, FLAC, OGG or M4A file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Language spoken, as in `en` [default: detected]
    #[arg(long, value_name = "CODE")]
    pub language: Option<String>,
}

/// `solo transcribe --json`: exactly these fields.
#[derive(Debug, Serialize)]
struct Transcript<'a> {
    text: &'a str,
    language: &'a str,
    segments: Vec<Piece<'a>>,
    real_time_factor: f64,
}

#[derive(Debug, Serialize)]
struct Piece<'a> {
    start_ms: u64,
    end_ms: u64,
    text: &'a str,
}

/// Transcribes a file and prints the words.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let bytes = bytes_of(&arguments.file)?;
    let stt = services::parse("stt").map_err(Failure::failed)?;
    let failed = |status: tonic::Status| Failure::from_status(stt.name, &status);
    let channel = connection::to(settings, stt).await?;
    let config = TranscribeConfig {
        language: arguments.language.clone().unwrap_or_default(),
        ..TranscribeConfig::default()
    };
    let pieces: Vec<Request> = bytes.chunks(PIECE).map(|piece| Request::Data(piece.to_vec())).collect();
    let requests = std::iter::once(Request::Config(config)).chain(pieces);
    let requests = requests.map(|payload| TranscribeRequest { payload: Some(payload) });
    let response = SttServiceClient::new(channel)
        .transcribe(tokio_stream::iter(requests))
        .await;
    let mut answers = response.map_err(failed)?.into_inner();
    let (mut segments, mut summary) = (Vec::new(), None);
    while let Some(answer) = answers.message().await.map_err(failed)? {
        match answer.payload {
            Some(Payload::Segment(segment)) => {
                if !settings.json {
                    show(&segment)?;
                }
                segments.push(segment);
            }
            Some(Payload::Summary(last)) => summary = Some(last),
            Some(Payload::Progress(_)) | None => {}
        }
    }
    let summary = summary.ok_or_else(|| {
        Failure::failed(format!("{}: the transcript broke off", stt.name)).help("`solo logs stt-svc` may say why")
    })?;
    if settings.json {
        return terminal::json(&transcript(&segments, &summary));
    }
    if terminal::is_interactive() {
        let rtf = summary.real_time_factor;
        terminal::line(paint(
            FAINT,
            format_args!("{}, {}, real-time factor {rtf:.2}", summary.language, summary.model),
        ))?;
    }
    Ok(())
}

/// Times are for people who look; a pipe gets the words.
fn show(segment: &Segment) -> Result<(), Failure> {
    if !terminal::is_interactive() {
        return terminal::line(&segment.text);
    }
    terminal::line(format_args!(
        "{} {}",
        paint(FAINT, clock(segment.start_ms)),
        segment.text
    ))
}

fn clock(ms: u64) -> String {
    format!("{:02}:{:02}.{}", ms / 60_000, ms / 1000 % 60, ms / 100 % 10)
}

fn transcript<'a>(segments: &'a [Segment], summary: &'a TranscribeSummary) -> Transcript<'a> {
    Transcript {
        text: &summary.text,
        language: &summary.language,
        segments: segments
            .iter()
            .map(|segment| Piece {
                start_ms: segment.start_ms,
                end_ms: segment.end_ms,
                text: &segment.text,
            })
            .collect(),
        real_time_factor: shortest(summary.real_time_factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_exactly_as_documented() {
        let segments = [Segment {
            start_ms: 0,
            end_ms: 1500,
            text: "Hello there.".into(),
            ..Segment::default()
        }];
        let summary = TranscribeSummary {
            text: "Hello there.".into(),
            language: "en".into(),
            real_time_factor: 0.21,
            ..TranscribeSummary::default()
        };
        let wanted = r#"{"text":"Hello there.","language":"en","segments":[{"start_ms":0,"end_ms":1500,"text":"Hello there."}],"real_time_factor":0.21}"#;
        assert_eq!(serde_json::to_string(&transcript(&segments, &summary)).unwrap(), wanted);
    }

    #[test]
    fn clocks_count_minutes() {
        assert_eq!(clock(61_250), "01:01.2");
    }
}
