//! Piper's voices: VITS (Kim et al. 2021, arXiv:2106.06103) exported to ONNX, one graph from phoneme ids to samples.
//!
//! The graph takes `input` i64[1, n], `input_lengths` i64[1], `scales` f32[3] (noise, length, noise of durations) and, for
//! voices of several speakers, `sid` i64[1]; it gives f32[1, 1, 1, samples]. The voice's JSON says the scales, the rate,
//! espeak-ng's language and the ids of phonemes. Where the graph can be cut ([`seam`]), samples leave in pieces while the
//! rest is being made, and it is known when each word is spoken; a voice of several speakers speaks in one piece.

mod ids;
mod latent;
mod seam;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::CancelToken;

use super::espeak::{self, Phonemiser};
use super::level::Level;
use super::onnx::{self, failed};
use super::{Emit, EngineError, Made, SynthesisError, Synthesizer, Utterance, VoiceFacts, collect, text};
use ids::{Encoded, PhonemeIds};
use latent::{Latent, pieces};

/// Threads of the first half of the graph, at most.
const ENCODER_THREADS: usize = 2;

/// Said when the voice is loaded: sets its level, and makes the runtime allocate what it needs.
const TRIAL: &str = "The quick brown fox jumps over the lazy dog.";

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

/// The voice's graph.
enum Graphs {
    Halves { encoder: Session, decoder: Session },
    Whole(Session),
}

/// A voice of Piper.
pub struct Piper {
    facts: VoiceFacts,
    graphs: Graphs,
    phonemiser: Phonemiser,
    ids: PhonemeIds,
    inference: InferenceSection,
    several_speakers: bool,
    level: Level,
}

/// An utterance as the graph takes it.
struct Spoken {
    ids: Vec<i64>,
    /// For each word of the text the index of its first id; empty when the words cannot be told apart.
    words: Vec<usize>,
}

impl Piper {
    /// Loads an installed voice, ONNX Runtime and espeak-ng's data. `espeak_data` is empty for the usual places.
    ///
    /// # Errors
    /// When one of them is missing or damaged.
    pub fn load(models_dir: &Path, id: &str, espeak_data: &str, threads: usize) -> Result<Self, EngineError> {
        let model = solo_models::locate(models_dir, id, "model")?;
        let config = solo_models::locate(models_dir, id, "config")?;
        let voice = read_voice(id, &config)?;
        let damaged = |path: &Path, problem: String| EngineError::Damaged {
            model: id.to_owned(),
            path: path.to_owned(),
            problem,
        };
        let sample_rate =
            SampleRate::new(voice.audio.sample_rate).map_err(|error| damaged(&config, error.to_string()))?;
        let ids = PhonemeIds::new(voice.phoneme_id_map).map_err(|problem| damaged(&config, problem))?;
        onnx::load_runtime(models_dir)?;
        let phonemiser = Phonemiser::new(&espeak::find_data(espeak_data)?, &voice.espeak.voice)?;
        let code = voice.language.map_or(voice.espeak.voice, |language| language.code);
        let graphs = open_graphs(&model, threads).map_err(|error| damaged(&model, error.to_string()))?;
        let mut piper = Self {
            facts: VoiceFacts {
                id: id.to_owned(),
                language: code.replace('_', "-"),
                sample_rate,
            },
            graphs,
            phonemiser,
            ids,
            inference: voice.inference,
            several_speakers: voice.num_speakers > 1,
            level: Level::UNITY,
        };
        let trial = Utterance {
            text: TRIAL,
            speed: 1.0,
            soon: true,
        };
        let said = collect(&mut piper, &trial, &CancelToken::new()).map_err(|source| EngineError::Mute {
            voice: id.to_owned(),
            source,
        })?;
        piper.level = Level::of_speech(&said);
        Ok(piper)
    }

    /// The phonemes of a text as ids, and where its words are among them.
    fn spoken(&self, words: &str) -> Result<Option<Spoken>, SynthesisError> {
        let mut phonemes = String::new();
        let mut length = 0;
        let mut starts = Vec::new();
        for (clause, mark) in text::clauses(words) {
            let spoken = self.phonemiser.phonemes(clause)?;
            if length > 0 && !spoken.is_empty() {
                phonemes.push(' ');
                length += 1;
            }
            let alone = clause.split_whitespace().map(|word| {
                let alone = self.phonemiser.phonemes(word)?;
                Ok::<_, SynthesisError>(alone.chars().count())
            });
            let alone = alone.collect::<Result<Vec<_>, _>>()?;
            starts.extend(text::word_starts(&spoken, &alone).iter().map(|start| length + start));
            if !spoken.is_empty() {
                length += spoken.chars().count() + 1;
                phonemes.push_str(&spoken);
                phonemes.push(mark);
            }
        }
        if phonemes.is_empty() {
            return Ok(None);
        }
        let Encoded { ids, first_id, unknown } = self.ids.encode(&phonemes);
        if !unknown.is_empty() {
            tracing::debug!(?unknown, %phonemes, "the voice does not know these phonemes; they are left out");
        }
        let last = ids.len() - 1;
        let words = if starts.len() == words.split_whitespace().count() {
            let first = |start: &usize| first_id.get(*start).copied().unwrap_or(last);
            starts.iter().map(first).collect()
        } else {
            Vec::new()
        };
        Ok(Some(Spoken { ids, words }))
    }

    fn inputs(&self, ids: Vec<i64>, speed: f32) -> Result<Vec<SessionInputValue<'static>>, SynthesisError> {
        let InferenceSection {
            noise_scale,
            length_scale,
            noise_w,
        } = self.inference;
        let length = i64::try_from(ids.len()).expect("a unit is short");
        let scales = vec![noise_scale, length_scale / speed, noise_w];
        let mut inputs: Vec<SessionInputValue<'static>> = vec![
            Tensor::from_array(([1, ids.len()], ids)).map_err(failed)?.into(),
            Tensor::from_array(([1], vec![length])).map_err(failed)?.into(),
            Tensor::from_array(([3], scales)).map_err(failed)?.into(),
        ];
        if self.several_speakers {
            inputs.push(Tensor::from_array(([1], vec![0_i64])).map_err(failed)?.into());
        }
        Ok(inputs)
    }
}

impl Synthesizer for Piper {
    fn facts(&self) -> &VoiceFacts {
        &self.facts
    }

    fn synthesize(
        &mut self,
        utterance: &Utterance<'_>,
        cancel: &CancelToken,
        emit: &mut Emit<'_>,
    ) -> Result<(), SynthesisError> {
        let Some(Spoken { ids, words }) = self.spoken(utterance.text)? else {
            return Ok(());
        };
        let inputs = self.inputs(ids, utterance.speed)?;
        let level = self.level;
        match &mut self.graphs {
            Graphs::Whole(session) => {
                let mut samples = onnx::run(session, &inputs, cancel, |outputs| {
                    Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
                })?;
                level.apply(&mut samples);
                emit(Made::Length {
                    samples: samples.len(),
                    words: Vec::new(),
                })?;
                emit(Made::Samples(samples))
            }
            Graphs::Halves { encoder, decoder } => {
                let latent = onnx::run(encoder, &inputs, cancel, Latent::read)?;
                let mut hop = None;
                for piece in pieces(latent.frames, utterance.soon) {
                    let (window, before) = latent.window(&piece);
                    let frames = window.shape[2];
                    let tensor = Tensor::from_array((window.shape, window.values)).map_err(failed)?;
                    let mut samples = onnx::run(decoder, &[tensor.into()], cancel, |outputs| {
                        Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
                    })?;
                    if hop.is_none() {
                        let found = samples.len() / frames;
                        emit(latent.length(found, &words))?;
                        hop = Some(found);
                    }
                    let hop = hop.unwrap_or_default();
                    samples.truncate((before + piece.len()) * hop);
                    samples.drain(..(before * hop).min(samples.len()));
                    level.apply(&mut samples);
                    emit(Made::Samples(samples))?;
                }
                Ok(())
            }
        }
    }
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

fn open_graphs(model: &Path, threads: usize) -> Result<Graphs, Box<dyn std::error::Error>> {
    let bytes = fs::read(model)?;
    let Some(seam::Halves { encoder, decoder }) = seam::split(&bytes)? else {
        tracing::info!("the voice's graph cannot be cut: it speaks each unit in one piece, without word marks");
        return Ok(Graphs::Whole(onnx::builder(threads)?.commit_from_memory(&bytes)?));
    };
    drop(bytes);
    Ok(Graphs::Halves {
        // Thousands of tiny steps: a second thread takes a quarter of the time away, more of them are not worth waking. That
        // they spin from one step to the next brought nothing.
        encoder: onnx::builder(threads.min(ENCODER_THREADS))?.commit_from_memory(&encoder)?,
        decoder: onnx::builder(threads)?.commit_from_memory(&decoder)?,
    })
}
