//! One recording, from bytes to segments.
//!
//! Voice activity runs ahead on a blocking thread and hands over stretches of speech as it finds them; each is a job of
//! its own for the engine, so that a long recording never keeps a person who speaks waiting for more than one stretch.

use std::sync::Arc;
use std::time::Instant;

use futures::Stream;
use solo_audio::SampleRate;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use crate::Stt;
use crate::decoder::{Patience, Verdict};
use crate::endpoint;
use crate::engine::{Decoded, Request, Task, Word};
use crate::error::SttError;
use crate::media::{self, Format};
use crate::vad::{FRAME, VoiceModel};
use crate::windows::{Window, Windower};

/// Stretches that voice activity may be ahead of the engine.
const AHEAD: usize = 4;

/// How to transcribe a recording.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    /// ISO 639-1 code; `None`: detected in the first stretch.
    pub(crate) language: Option<String>,
    pub(crate) task: Task,
    pub(crate) prompt: String,
    pub(crate) word_times: bool,
}

/// What a transcription says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// How far it has come, in ms of audio.
    Progress {
        /// Done so far.
        done_ms: u64,
        /// In all.
        total_ms: u64,
    },
    /// A run of words; times in ms from the start of the recording.
    Segment {
        /// Start.
        start_ms: u64,
        /// End.
        end_ms: u64,
        /// The words; their own times count from the start of the recording too.
        decoded: Decoded,
    },
    /// The end.
    Summary {
        /// All text, segments joined by one space.
        text: String,
        /// ISO 639-1 code; empty when nothing was said and none was given.
        language: String,
        /// Length of the recording, in ms.
        duration_ms: u64,
        /// Time spent on it, in ms.
        processing_ms: u64,
        /// Identifier of the model.
        model: String,
    },
}

/// Transcribes a recording. Dropping the stream stops everything.
pub(crate) fn run(stt: Stt, settings: Settings, bytes: Vec<u8>) -> impl Stream<Item = Result<Output, SttError>> {
    async_stream::try_stream! {
        let started = Instant::now();
        let (format, max_seconds) = (settings.format, stt.config.max_seconds);
        let samples = tokio::task::spawn_blocking(move || media::decode(bytes, format, max_seconds))
            .await
            .map_err(decoder_panicked)??;
        let samples: Arc<[i16]> = samples.into();
        let total_ms = ms(samples.len() as u64);
        yield Output::Progress { done_ms: 0, total_ms };

        let (send, mut windows) = mpsc::channel(AHEAD);
        let (voice, speech) = (stt.file_voice.clone(), Arc::clone(&samples));
        let endpoint_settings = stt.config.vad.endpoint_settings();
        let finder = tokio::task::spawn_blocking(move || find_windows(&voice, endpoint_settings, &speech, &send));
        let mut language = settings.language.clone();
        let mut texts: Vec<String> = Vec::new();
        let mut patience = Patience::Refuse;
        while let Some(window) = windows.recv().await {
            let request = Request {
                samples: samples[window.start as usize..window.end as usize].to_vec(),
                language: language.clone(),
                task: settings.task,
                prompt: settings.prompt.clone(),
                word_times: settings.word_times,
                ..Request::default()
            };
            let verdict = stt.file_decoder.decode(request, patience).await?;
            patience = Patience::Wait;
            let (start_ms, end_ms) = (ms(window.start), ms(window.end));
            match verdict {
                Verdict::Heard { mut decoded, .. } => {
                    language.get_or_insert_with(|| decoded.language.clone());
                    shift(&mut decoded.words, start_ms, end_ms);
                    texts.push(decoded.text.clone());
                    yield Output::Segment { start_ms, end_ms, decoded };
                }
                Verdict::Rejected { reason, text, .. } => {
                    tracing::info!(?reason, text, start_ms, end_ms, "a stretch of the recording was not believed");
                }
            }
            yield Output::Progress { done_ms: end_ms, total_ms };
        }
        finder.await.map_err(decoder_panicked)??;
        yield Output::Progress { done_ms: total_ms, total_ms };
        yield Output::Summary {
            text: texts.join(" "),
            language: language.unwrap_or_default(),
            duration_ms: total_ms,
            processing_ms: started.elapsed().as_millis() as u64,
            model: stt.decoder.info().model.clone(),
        };
    }
}

/// Runs voice activity over the whole recording; stops when nobody takes the stretches any more.
fn find_windows(
    voice: &VoiceModel,
    settings: endpoint::Settings,
    samples: &[i16],
    found: &mpsc::Sender<Window>,
) -> Result<(), SttError> {
    let mut detector = voice.detector();
    let mut windower = Windower::new(settings);
    for (index, frame) in samples.chunks(FRAME).enumerate() {
        let mut padded = frame.to_vec();
        padded.resize(FRAME, 0);
        let probability = detector.probability(&padded)?;
        if let Some(window) = windower.push((index * FRAME) as u64, probability)
            && found.blocking_send(clipped(window, samples)).is_err()
        {
            return Ok(());
        }
    }
    if let Some(window) = windower.finish(samples.len() as u64) {
        // Nobody takes it when the caller has gone.
        let _ = found.blocking_send(clipped(window, samples));
    }
    Ok(())
}

/// The last frame was filled up: a window must not reach beyond the samples.
fn clipped(window: Window, samples: &[i16]) -> Window {
    Window {
        end: window.end.min(samples.len() as u64),
        ..window
    }
}

fn shift(words: &mut [Word], start_ms: u64, end_ms: u64) {
    for word in words {
        word.start_ms = (word.start_ms + start_ms).min(end_ms);
        word.end_ms = (word.end_ms + start_ms).min(end_ms);
    }
}

fn ms(samples: u64) -> u64 {
    SampleRate::SPEECH.ms_of(samples)
}

fn decoder_panicked(error: JoinError) -> SttError {
    tracing::warn!(%error, "a decoder gave up on a recording");
    SttError::DamagedAudio("it makes its decoder fail".into())
}
