//! openWakeWord (<https://github.com/dscripka/openWakeWord>): a shared speech embedding and a small head for each keyword.
//!
//! Every 80 ms, 1,280 new samples and the 480 before them (as f32 in the range of i16) give 8 frames of a mel spectrogram of
//! 32 bands, scaled to x / 10 + 2; the last 76 frames give an embedding of 96 numbers (Lin et al. 2020, arXiv:2002.01322);
//! the last 16 embeddings give each head its probability. The sessions are shared by all streams, which take turns on the
//! worker's thread; what has been heard is each stream's own. A stream begins as if silence had gone before it.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::session::Session;
use ort::value::Tensor;
use solo_audio::Framer;

use super::{EngineError, EngineKind, KeywordDetector, KeywordEngine, KeywordModel, PHRASE, Rule, Score, model_of};

/// The model of what all keywords share.
const FEATURES: &str = "oww-features";
/// New samples a step, and samples before them that the spectrogram's window reaches back to.
const STEP: usize = 1_280;
const BEFORE: usize = 480;
const MEL_BANDS: usize = 32;
const MEL_FRAMES: usize = 76;
const EMBEDDING: usize = 96;
const EMBEDDINGS: usize = 16;
/// Steps of silence after which mel frames and embeddings are full.
const FILL: usize = MEL_FRAMES / 8 + 1 + EMBEDDINGS;
/// The probability from which openWakeWord counts a keyword.
const CUTOFF: f32 = 0.5;

/// Opens openWakeWord's models from the models folder, each once.
pub(super) struct OpenWakeWord {
    models_dir: PathBuf,
    shared: Option<Shared>,
    heads: HashMap<String, Arc<Model>>,
}

#[derive(Clone)]
struct Shared {
    features: Arc<Features>,
    /// What a stream knows before its first sample.
    silence: Heard,
}

impl OpenWakeWord {
    pub(super) fn new(models_dir: &Path) -> Self {
        Self {
            models_dir: models_dir.to_owned(),
            shared: None,
            heads: HashMap::new(),
        }
    }

    fn shared(&mut self) -> Result<Shared, EngineError> {
        if let Some(shared) = &self.shared {
            return Ok(shared.clone());
        }
        let runtime = solo_models::onnx_runtime(&self.models_dir).map_err(missing)?;
        let environment = ort::init_from(&runtime).map_err(|error| unusable("onnxruntime", &runtime, &error))?;
        // False when it was done before: the environment is the same.
        environment.with_name("wake-svc").with_telemetry(false).commit();
        let features = Features {
            mel: Model::open(&self.models_dir, FEATURES, "mel")?,
            embedding: Model::open(&self.models_dir, FEATURES, "embedding")?,
        };
        let mut silence = Heard {
            samples: vec![0.0; BEFORE],
            mel: VecDeque::new(),
            embeddings: VecDeque::new(),
        };
        for _ in 0..FILL {
            silence.hear(&features, &[0; STEP])?;
        }
        Ok(self
            .shared
            .insert(Shared {
                features: Arc::new(features),
                silence,
            })
            .clone())
    }

    fn head(&mut self, keyword: &str) -> Result<Arc<Model>, EngineError> {
        if let Some(head) = self.heads.get(keyword) {
            return Ok(Arc::clone(head));
        }
        let id = model_of(EngineKind::OpenWakeWord, keyword)?;
        let head = Arc::new(Model::open(&self.models_dir, &id, "model")?);
        self.heads.insert(keyword.to_owned(), Arc::clone(&head));
        Ok(head)
    }
}

impl KeywordEngine for OpenWakeWord {
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
        let Shared { features, silence } = self.shared()?;
        let heads: Result<Vec<_>, _> = rules.iter().map(|rule| self.head(&rule.keyword)).collect();
        let model = |rule: &Rule| KeywordModel {
            id: rule.keyword.clone(),
            cutoff: CUTOFF,
            window: PHRASE,
        };
        Ok(Box::new(Stream {
            models: rules.iter().map(model).collect(),
            heads: heads?,
            features,
            heard: silence,
            framer: Framer::new(STEP),
        }))
    }
}

fn missing(error: solo_models::MissingModel) -> EngineError {
    EngineError::NotInstalled {
        message: error.to_string(),
    }
}

fn unusable(id: &str, path: &Path, error: &ort::Error) -> EngineError {
    EngineError::Unusable {
        path: path.to_owned(),
        problem: error.to_string(),
        remedy: format!("run `solo models verify {id}`, then `solo models pull {id}`"),
    }
}

/// A model with one input and one output. Locked only by the worker's thread, so nobody ever waits.
struct Model(Mutex<Session>);

impl Model {
    fn open(models_dir: &Path, id: &str, role: &str) -> Result<Self, EngineError> {
        let path = solo_models::locate(models_dir, id, role).map_err(missing)?;
        // Each model is far too small for a second thread to pay.
        let session = || Session::builder()?.with_intra_threads(1)?.commit_from_file(&path);
        let session = session().map_err(|error| unusable(id, &path, &error))?;
        Ok(Self(Mutex::new(session)))
    }

    fn run<const D: usize>(&self, shape: [usize; D], input: Vec<f32>) -> Result<Vec<f32>, EngineError> {
        let failed = |error: ort::Error| EngineError::Run(error.into());
        let input = Tensor::from_array((shape, input)).map_err(failed)?;
        let mut session: MutexGuard<'_, Session> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![input]).map_err(failed)?;
        let (_, output) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        Ok(output.to_vec())
    }
}

/// What all keywords share.
struct Features {
    mel: Model,
    embedding: Model,
}

/// What a stream has heard, as far as it still matters.
#[derive(Clone)]
struct Heard {
    /// The last [`BEFORE`] samples.
    samples: Vec<f32>,
    /// At most [`MEL_FRAMES`] frames.
    mel: VecDeque<[f32; MEL_BANDS]>,
    /// At most [`EMBEDDINGS`] embeddings.
    embeddings: VecDeque<Vec<f32>>,
}

impl Heard {
    /// Takes the next [`STEP`] samples.
    fn hear(&mut self, features: &Features, step: &[i16]) -> Result<(), EngineError> {
        self.samples.extend(step.iter().copied().map(f32::from));
        let mel = features.mel.run([1, self.samples.len()], self.samples.clone())?;
        self.samples.drain(..self.samples.len() - BEFORE);
        let (frames, rest) = mel.as_chunks::<MEL_BANDS>();
        if !rest.is_empty() {
            return Err(wrong_shape("melspectrogram", mel.len()));
        }
        self.mel
            .extend(frames.iter().map(|frame| frame.map(|value| value / 10.0 + 2.0)));
        self.mel.drain(..self.mel.len().saturating_sub(MEL_FRAMES));
        if self.mel.len() == MEL_FRAMES {
            let window = self.mel.iter().flatten().copied().collect();
            let embedding = features.embedding.run([1, MEL_FRAMES, MEL_BANDS, 1], window)?;
            if embedding.len() != EMBEDDING {
                return Err(wrong_shape("embedding_model", embedding.len()));
            }
            self.embeddings.push_back(embedding);
            self.embeddings
                .drain(..self.embeddings.len().saturating_sub(EMBEDDINGS));
        }
        Ok(())
    }
}

fn wrong_shape(model: &str, numbers: usize) -> EngineError {
    EngineError::Run(format!("{model} gave {numbers} numbers, which is not its shape").into())
}

/// One stream.
struct Stream {
    models: Vec<KeywordModel>,
    heads: Vec<Arc<Model>>,
    features: Arc<Features>,
    heard: Heard,
    framer: Framer<i16>,
}

impl KeywordDetector for Stream {
    fn keywords(&self) -> &[KeywordModel] {
        &self.models
    }

    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        if first_sample != self.framer.position() {
            self.framer.skip_to(first_sample);
        }
        self.framer.push(samples);
        while let Some(frame) = self.framer.next_frame() {
            self.heard.hear(&self.features, &frame.samples)?;
            let window: Vec<f32> = self.heard.embeddings.iter().flatten().copied().collect();
            for (keyword, head) in self.heads.iter().enumerate() {
                let output = head.run([1, EMBEDDINGS, EMBEDDING], window.clone())?;
                let probability = *output.first().ok_or_else(|| wrong_shape("the keyword's head", 0))?;
                emit(Score {
                    keyword,
                    probability,
                    end_sample: frame.first_sample + STEP as u64,
                });
            }
        }
        Ok(())
    }
}
