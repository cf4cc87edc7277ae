//! `solo say "…" --out a.wav`: text into speech.

use std::path::PathBuf;

use solo_audio::{SampleRate, pcm, wav};
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{SpeechSummary, SynthesizeRequest, VoiceConfig};

use super::{text_of, write_file};
use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal;
use crate::turn::shortest;

/// What `solo say` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The text; `-` reads it from standard input
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
    /// WAV file to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Voice [default: the configured one]
    #[arg(long, value_name = "ID")]
    pub voice: Option<String>,
    /// Rate of speech, 0.5 to 2.0 [default: the configured one]
    #[arg(long, value_name = "FACTOR")]
    pub speed: Option<f32>,
}

/// What the service spoke.
struct Speech {
    voice: String,
    rate: SampleRate,
    samples: Vec<i16>,
    summary: SpeechSummary,
}

/// Speaks the text into a file.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let text = text_of(&arguments.text)?;
    let voice = VoiceConfig {
        voice: arguments.voice.clone().unwrap_or_default(),
        speed: arguments.speed.unwrap_or_default(),
        ..VoiceConfig::default()
    };
    let speech = speak(settings, text, voice).await?;
    write_file(&arguments.out, &wav::encode(&speech.samples, speech.rate))?;
    let duration_ms = speech.rate.ms_of(speech.samples.len() as u64);
    let Speech {
        voice, rate, summary, ..
    } = speech;
    // Standard output may be the audio itself.
    let to_pipe = arguments.out.as_os_str() == "-";
    if settings.json && !to_pipe {
        return terminal::json(&serde_json::json!({
            "out": arguments.out,
            "voice": voice,
            "sample_rate_hz": rate.hz(),
            "duration_ms": duration_ms,
            "first_audio_ms": summary.first_audio_ms,
            "real_time_factor": shortest(summary.real_time_factor),
        }));
    }
    let seconds = duration_ms as f64 / 1e3;
    let text = format!(
        "{}: {seconds:.1} s by {voice}, real-time factor {:.2}",
        arguments.out.display(),
        summary.real_time_factor
    );
    if to_pipe {
        terminal::remark(text);
        return Ok(());
    }
    terminal::line(text)
}

async fn speak(settings: &Settings, text: String, voice: VoiceConfig) -> Result<Speech, Failure> {
    let tts = services::parse("tts").map_err(Failure::failed)?;
    let failed = |status: tonic::Status| Failure::from_status(tts.name, &status);
    let broken = |what: &str| Failure::failed(format!("{}: {what}", tts.name)).help("`solo logs tts-svc` may say why");
    let channel = connection::to(settings, tts).await?;
    let request = SynthesizeRequest {
        voice: Some(voice),
        input: Some(Input::Text(text)),
    };
    let mut events = TtsServiceClient::new(channel)
        .synthesize(request)
        .await
        .map_err(failed)?
        .into_inner();
    let (mut header, mut samples, mut summary) = (None, Vec::new(), None);
    while let Some(response) = events.message().await.map_err(failed)? {
        match response.event.and_then(|event| event.payload) {
            Some(Payload::Header(first)) => header = Some(first),
            Some(Payload::Audio(chunk)) => {
                samples.extend(pcm::from_s16le(&chunk.data).map_err(|e| broken(&e.to_string()))?);
            }
            Some(Payload::Summary(last)) => summary = Some(last),
            Some(Payload::Mark(_)) | None => {}
        }
    }
    let header = header.ok_or_else(|| broken("the speech has no header"))?;
    let hz = header.format.map_or(0, |format| format.sample_rate_hz);
    let rate = SampleRate::new(hz).map_err(|e| broken(&e.to_string()))?;
    let summary = summary.ok_or_else(|| broken("the speech broke off"))?;
    Ok(Speech {
        voice: header.voice,
        rate,
        samples,
        summary,
    })
}
