//! Piper's voices: VITS (Kim et al. 2021, arXiv:2106.06103) exported to ONNX, one graph from phoneme ids to samples.
//!
//! The graph takes `input` i64[1, n], `input_lengths` i64[1], `scales` f32[3] (noise, length, noise of durations) and, for
//! voices of several speakers, `sid` i64[1]; it gives f32[1, 1, 1, samples]. The voice's JSON says the scales, the rate,
//! espeak-ng's language and the ids of phonemes. Samples are scaled to full range per unit, as Piper does.

pub mod espeak;
mod phonemes;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::Tensor;
use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::CancelToken;

use super::{EngineError, SynthesisError, Synthesizer, VoiceFacts};
use espeak::Phonemiser;
use phonemes::PhonemeIds;

/// How often a running graph is asked whether somebody still wants it.
const CANCEL_CHECK: Duration = Duration::from_millis(10);
/// Below this peak a unit is silence and is not amplified, as in Piper.
const MIN_PEAK: f32 = 0.01;

/// The parts of a voice's JSON that are used.
#[derive(Deserialize)]
struct VoiceFile {
    audio: AudioSection,
    espeak: EspeakSection,
    inference: InferenceSection,
    #[serde(default = "one")]
    num_speakers: u32,
    #[serde(default)]
    phoneme_type: Option<String>,
    phoneme_id_map: HashMap<String, Vec<i64>>,
    #[serde(default)]
    language: Option<LanguageSection>,
}

#[derive(Deserialize)]
struct AudioSection {
    sample_rate: u32,
}

#[derive(Deserialize)]
struct EspeakSection {
    voice: String,
}

#[derive(Deserialize)]
struct InferenceSection {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

#[derive(Deserialize)]
struct LanguageSection {
    code: String,
}

fn one() -> u32 {
    1
}

/// A voice of Piper.
pub struct Piper {
    facts: VoiceFacts,
    session: Session,
    phonemiser: Phonemiser,
    ids: PhonemeIds,
    inference: InferenceSection,
    several_speakers: bool,
}

impl Piper {
    /// Loads an installed voice, ONNX Runtime and espeak-ng's data. `espeak_data` is empty for the usual places.
    ///
    /// # Errors
    /// When one of them is missing or damaged.
    pub fn load(models_dir: &Path, id: &str, espeak_data: &str, threads: usize) -> Result<Self, EngineError> {
        let missing = |error: solo_models::MissingModel| EngineError::NotInstalled {
            message: error.to_string(),
        };
        let model = solo_models::locate(models_dir, id, "model").map_err(missing)?;
        let config = solo_models::locate(models_dir, id, "config").map_err(missing)?;
        let runtime = solo_models::onnx_runtime(models_dir).map_err(missing)?;

        let voice = read_voice(id, &config)?;
        let damaged = |problem: String| EngineError::Damaged {
            model: id.to_owned(),
            path: config.clone(),
            problem,
        };
        let sample_rate = SampleRate::new(voice.audio.sample_rate).map_err(|error| damaged(error.to_string()))?;
        let ids = PhonemeIds::new(voice.phoneme_id_map).map_err(damaged)?;
        let phonemiser = Phonemiser::new(&espeak::find_data(espeak_data)?, &voice.espeak.voice)?;
        let code = voice.language.map_or(voice.espeak.voice, |language| language.code);

        load_runtime(&runtime)?;
        let session = open_session(&model, threads).map_err(|error| EngineError::Damaged {
            model: id.to_owned(),
            path: model.clone(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            facts: VoiceFacts {
                id: id.to_owned(),
                language: code.replace('_', "-"),
                sample_rate,
            },
            session,
            phonemiser,
            ids,
            inference: voice.inference,
            several_speakers: voice.num_speakers > 1,
        })
    }

    /// Runs the graph; it is stopped within [`CANCEL_CHECK`] and the time of one node when nobody wants it any more.
    fn run(&mut self, ids: Vec<i64>, speed: f32, cancel: &CancelToken) -> Result<Vec<f32>, SynthesisError> {
        let InferenceSection {
            noise_scale,
            length_scale,
            noise_w,
        } = self.inference;
        let length = i64::try_from(ids.len()).expect("a unit is short");
        let scales = vec![noise_scale, length_scale / speed, noise_w];
        let mut inputs: Vec<SessionInputValue<'_>> = vec![
            Tensor::from_array(([1, ids.len()], ids)).map_err(failed)?.into(),
            Tensor::from_array(([1], vec![length])).map_err(failed)?.into(),
            Tensor::from_array(([3], scales)).map_err(failed)?.into(),
        ];
        if self.several_speakers {
            inputs.push(Tensor::from_array(([1], vec![0_i64])).map_err(failed)?.into());
        }
        let options = RunOptions::new().map_err(failed)?;
        let outputs = std::thread::scope(|scope| {
            let (done, waiting) = mpsc::channel::<()>();
            let options = &options;
            scope.spawn(move || {
                while waiting.recv_timeout(CANCEL_CHECK) == Err(RecvTimeoutError::Timeout) {
                    if cancel.is_cancelled() {
                        // It fails only for a null pointer.
                        let _ = options.terminate();
                        return;
                    }
                }
            });
            let outputs = self.session.run_with_options(inputs.as_slice(), options);
            drop(done);
            outputs
        });
        match outputs {
            Ok(outputs) => {
                let (_, samples) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
                Ok(samples.to_vec())
            }
            Err(_) if cancel.is_cancelled() => Err(SynthesisError::Cancelled),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Synthesizer for Piper {
    fn facts(&self) -> &VoiceFacts {
        &self.facts
    }

    fn synthesize(&mut self, text: &str, speed: f32, cancel: &CancelToken) -> Result<Vec<f32>, SynthesisError> {
        let mut phonemes = String::new();
        for (clause, mark) in phonemes::clauses(text) {
            let spoken = self.phonemiser.phonemes(clause)?;
            if !spoken.is_empty() {
                if !phonemes.is_empty() {
                    phonemes.push(' ');
                }
                phonemes.push_str(&spoken);
                phonemes.push(mark);
            }
        }
        if cancel.is_cancelled() {
            return Err(SynthesisError::Cancelled);
        }
        if phonemes.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, unknown) = self.ids.encode(&phonemes);
        if !unknown.is_empty() {
            tracing::debug!(?unknown, %phonemes, "the voice does not know these phonemes; they are left out");
        }
        let mut samples = self.run(ids, speed, cancel)?;
        let peak = samples.iter().fold(MIN_PEAK, |peak, sample| peak.max(sample.abs()));
        for sample in &mut samples {
            *sample /= peak;
        }
        Ok(samples)
    }
}

fn failed(error: ort::Error) -> SynthesisError {
    SynthesisError::Run(error.into())
}

/// The sample rate that a voice's JSON says, in Hz; `None` when there is no such file or it is no voice's.
pub fn sample_rate_of(config: &Path) -> Option<u32> {
    let text = fs::read_to_string(config).ok()?;
    serde_json::from_str::<VoiceFile>(&text)
        .ok()
        .map(|voice| voice.audio.sample_rate)
}

fn read_voice(id: &str, path: &Path) -> Result<VoiceFile, EngineError> {
    let damaged = |problem: String| EngineError::Damaged {
        model: id.to_owned(),
        path: path.to_owned(),
        problem,
    };
    let text = fs::read_to_string(path).map_err(|error| damaged(error.to_string()))?;
    let voice: VoiceFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    match voice.phoneme_type.as_deref() {
        None | Some("espeak") => Ok(voice),
        Some(other) => Err(damaged(format!(
            "its phonemes are of type \"{other}\", \"espeak\" is wanted"
        ))),
    }
}

/// Loads ONNX Runtime, once a process.
fn load_runtime(path: &Path) -> Result<(), EngineError> {
    let environment = ort::init_from(path).map_err(|error| EngineError::Damaged {
        model: "onnxruntime".into(),
        path: PathBuf::from(path),
        problem: error.to_string(),
    })?;
    // False when another voice has done it before: the environment is the same.
    environment.with_name("tts-svc").with_telemetry(false).commit();
    Ok(())
}

fn open_session(model: &Path, threads: usize) -> Result<Session, ort::Error> {
    // Threads that spin between runs would take the cores from the services that work then.
    let mut builder = Session::builder()?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?;
    builder.commit_from_file(model)
}
