//! `solo wake bench DIR`: recordings through the running wake-svc, as any client would send them, and what came of it.
//!
//! The service at the configured endpoint is measured as it is configured; nothing is started. A recording is a stream of
//! its own, sent as fast as it is taken: positions are counted in samples, so latency is that of the audio, not of the
//! machine. [`recordings`] finds and reads them, [`report`] counts.

mod recordings;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use solo_audio::pcm;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::status::v1::status_service_client::StatusServiceClient;
use solo_proto::status::v1::{GetStatusRequest, ServiceStatus};
use solo_proto::wake::v1::detect_request::Payload as Request;
use solo_proto::wake::v1::detect_response::Payload as Answer;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_proto::wake::v1::{DetectConfig, DetectRequest, Keyword, KeywordConfig, WakeEvent};
use tonic::transport::Channel;

use crate::failure::{Exit, Failure};
use crate::settings::Settings;
use crate::terminal;
use recordings::Recording;
use report::{Heard, Load, Report};

/// Samples of a message: 100 ms, the most that the contract allows.
const CHUNK: usize = 1_600;
/// Silence after each recording, in which a detector may still make up its mind.
const TAIL: usize = 16_000;

/// What `solo wake bench` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = LAYOUT)]
pub struct Arguments {
    /// Folder with positives/ and negatives/, or with manifest.jsonl
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A keyword to measure; may be given several times [default: those that are listened for]
    #[arg(long, value_name = "ID")]
    pub keyword: Vec<String>,
    /// Threshold in place of the configured one, 0.0 to 1.0
    #[arg(long, value_name = "PROBABILITY")]
    pub threshold: Option<f32>,
    /// Trigger count in place of the configured one, 1 to 20
    #[arg(long, value_name = "COUNT")]
    pub triggers: Option<u32>,
    /// Recordings that are sent at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub streams: u8,
}

const LAYOUT: &str = "\
The folder holds WAV files:
  positives/hey_jarvis/*.wav   each says the keyword once (positives/*.wav where one keyword is measured)
  negatives/**/*.wav           nobody says it; the folders below are reported one by one
or a list of them, manifest.jsonl, with one JSON object a line:
  {\"file\": \"a.wav\", \"keyword\": \"hey_jarvis\", \"start_ms\": 900, \"end_ms\": 1650, \"tags\": {\"noise\": \"pink\", \"snr\": \"10 dB\"}}
without \"keyword\" nobody says one; start_ms and end_ms say where it stands, if that is known.";

/// Measures.
pub(super) async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let (wake, channel) = super::service(settings).await?;
    let known = super::keywords(channel.clone()).await?;
    let keywords = wanted(&known, &arguments.keyword)?;
    let recordings = recordings::find(&arguments.folder, &keywords)?;
    let before = status(channel.clone()).await?;
    let bar = bar(recordings.len() as u64);
    let configs: Vec<KeywordConfig> = keywords
        .iter()
        .map(|keyword| KeywordConfig {
            keyword: keyword.clone(),
            threshold: arguments.threshold,
            trigger_count: arguments.triggers,
            ..KeywordConfig::default()
        })
        .collect();
    let started = Instant::now();
    let listen = |recording: Recording| {
        let (channel, configs, bar) = (channel.clone(), configs.clone(), bar.clone());
        async move {
            let samples = recording.samples()?;
            let wakes = wakes(channel, configs, &samples).await;
            let wakes = wakes.map_err(|status| Failure::from_status(wake.name, &status))?;
            bar.inc(1);
            Ok::<_, Failure>(Heard::new(recording, &samples, wakes))
        }
    };
    let heard: Vec<Heard> = stream::iter(recordings)
        .map(listen)
        .buffered(arguments.streams.into())
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let elapsed = started.elapsed();
    let after = settled(channel, &before, &heard).await?;
    let report = Report::new(&keywords, &heard, &Load::between(&before, &after), elapsed, &after);
    if settings.json {
        return terminal::json(&report);
    }
    terminal::line(report.text())
}

/// Those that were named, or those that are listened for.
fn wanted(known: &[Keyword], named: &[String]) -> Result<Vec<String>, Failure> {
    let all = || {
        known
            .iter()
            .map(|keyword| keyword.keyword.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    for name in named {
        if !known.iter().any(|keyword| keyword.keyword == *name) {
            return Err(Failure::new(
                Exit::Usage,
                format!("there is no keyword \"{name}\"; there are: {}", all()),
            )
            .help("`solo wake list` tells more"));
        }
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let active = known.iter().filter(|keyword| keyword.active);
    Ok(active.map(|keyword| keyword.keyword.clone()).collect())
}

/// What is heard in one recording.
async fn wakes(
    channel: Channel,
    keywords: Vec<KeywordConfig>,
    samples: &[i16],
) -> Result<Vec<WakeEvent>, tonic::Status> {
    let padded = [samples, &[0; TAIL]].concat();
    let chunks = (0u64..)
        .step_by(CHUNK)
        .zip(padded.chunks(CHUNK))
        .map(|(first_sample, samples)| {
            Request::Audio(AudioChunk {
                data: pcm::to_s16le(samples),
                first_sample,
            })
        });
    let requests: Vec<DetectRequest> = std::iter::once(Request::Config(DetectConfig { keywords }))
        .chain(chunks)
        .map(|payload| DetectRequest { payload: Some(payload) })
        .collect();
    let mut answers = WakeServiceClient::new(channel)
        .detect(stream::iter(requests))
        .await?
        .into_inner();
    let mut wakes = Vec::new();
    while let Some(answer) = answers.message().await? {
        if let Some(Answer::Wake(wake)) = answer.payload {
            wakes.push(wake);
        }
    }
    Ok(wakes)
}

async fn status(channel: Channel) -> Result<ServiceStatus, Failure> {
    let answer = StatusServiceClient::new(channel).get_status(GetStatusRequest {}).await;
    let answer = answer.map_err(|status| Failure::from_status("wake-svc", &status))?;
    answer
        .into_inner()
        .status
        .ok_or_else(|| Failure::failed("wake-svc: the answer holds no status"))
}

/// The status once the service has counted all that was sent; it does so when a stream's end reaches it.
async fn settled(channel: Channel, before: &ServiceStatus, heard: &[Heard]) -> Result<ServiceStatus, Failure> {
    let sent: f64 = heard.iter().map(|heard| heard.seconds + TAIL as f64 / 16_000.0).sum();
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        let after = status(channel.clone()).await?;
        let load = Load::between(before, &after);
        // A service that counts nothing, or has other clients, is taken as it is.
        if load.audio_seconds.is_none_or(|seconds| seconds >= sent - 0.5) || Instant::now() > limit {
            return Ok(after);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn bar(recordings: u64) -> ProgressBar {
    let bar = ProgressBar::new(recordings).with_prefix("listening");
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} recordings {eta:>4}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}
