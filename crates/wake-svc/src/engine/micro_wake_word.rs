//! microWakeWord (<https://github.com/kahrendt/microWakeWord>): small streaming models, one for each keyword.
//!
//! Audio goes in blocks of 10 ms through a fixed-point filter bank (40 features) into a recurrent, quantised network that
//! gives a probability every 30 ms; what is reported is the mean over the model's sliding window. The models say nothing
//! about where a phrase began.

use std::path::{Path, PathBuf};

use micro_wakeword::{AUDIO_BLOCK_SAMPLES, Config as ModelConfig, Detector, Error, Runtime};
use solo_audio::Framer;

use super::{EngineError, EngineKind, KeywordDetector, KeywordEngine, KeywordModel, PHRASE, Rule, Score, model_of};

/// Opens microWakeWord's models from the models folder.
pub(super) struct MicroWakeWord {
    models_dir: PathBuf,
    runtime: Runtime,
}

impl MicroWakeWord {
    /// `library` is the path of libtensorflowlite_c; empty for the one inside the program.
    pub(super) fn new(models_dir: &Path, library: &str) -> Self {
        let runtime = if library.is_empty() {
            Runtime::Auto
        } else {
            Runtime::from_path(library)
        };
        Self {
            models_dir: models_dir.to_owned(),
            runtime,
        }
    }

    fn load(&self, keyword: &str) -> Result<(KeywordModel, Detector), EngineError> {
        let id = model_of(EngineKind::MicroWakeWord, keyword)?;
        let missing = |error: solo_models::MissingModel| EngineError::NotInstalled {
            message: error.to_string(),
        };
        let model = solo_models::locate(&self.models_dir, &id, "model").map_err(missing)?;
        let config = solo_models::locate(&self.models_dir, &id, "config").map_err(missing)?;
        let damaged = |path: &Path, error: &Error| EngineError::Unusable {
            path: path.to_owned(),
            problem: error.to_string(),
            remedy: format!("run `solo models verify {id}`, then `solo models pull {id}`"),
        };
        // The file names its model by the name it was published under; here the manifest says where it lies.
        let settings = ModelConfig::from_file(&config).map_err(|error| damaged(&config, &error))?;
        // A cut-off of zero has every score reported: the watch decides what counts.
        let detector = Detector::builder(&model)
            .wake_word(&settings.wake_word)
            .probability_cutoff(0.0)
            .sliding_window_size(settings.sliding_window_size)
            .feature_step_size_ms(settings.feature_step_size_ms)
            .runtime(self.runtime.clone())
            .build()
            .map_err(|error| match (&error, self.runtime.path()) {
                (Error::Tflite(_), Some(library)) if !library.is_file() => EngineError::Unusable {
                    path: library.to_owned(),
                    problem: "no such file".into(),
                    remedy: "set wake.tflite_library to libtensorflowlite_c, or leave it empty".into(),
                },
                // The library inside the program is unpacked into the cache folder, to be loaded from there.
                (Error::Io { path, source }, None) if *path != model => EngineError::Unusable {
                    path: path.clone(),
                    problem: source.to_string(),
                    remedy: "let XDG_CACHE_HOME name a folder that can be written, or set wake.tflite_library".into(),
                },
                _ => damaged(&model, &error),
            })?;
        let keyword = KeywordModel {
            id: keyword.to_owned(),
            cutoff: settings.probability_cutoff,
            window: PHRASE,
        };
        Ok((keyword, detector))
    }
}

impl KeywordEngine for MicroWakeWord {
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
        let loaded: Result<Vec<_>, _> = rules.iter().map(|rule| self.load(&rule.keyword)).collect();
        let (models, detectors) = loaded?
            .into_iter()
            .map(|(model, detector)| (model, Movable(detector)))
            .unzip();
        Ok(Box::new(Streams {
            models,
            detectors,
            framer: Framer::new(AUDIO_BLOCK_SAMPLES),
        }))
    }
}

/// A detector that may move from thread to thread.
struct Movable(Detector);

// SAFETY: the detector is not `Send` only because it owns a raw pointer to its filter bank: memory of its own, without
// globals or thread-locals (native/frontend_bridge.cc and TensorFlow's microfrontend). TensorFlow Lite's interpreter, its
// other part, is declared `Send` by its own crate. It is only moved: nothing here shares a reference between threads.
unsafe impl Send for Movable {}

/// One stream, heard by a model for each keyword.
struct Streams {
    models: Vec<KeywordModel>,
    detectors: Vec<Movable>,
    framer: Framer<i16>,
}

impl KeywordDetector for Streams {
    fn keywords(&self) -> &[KeywordModel] {
        &self.models
    }

    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        if first_sample != self.framer.position() {
            self.framer.skip_to(first_sample);
        }
        self.framer.push(samples);
        while let Some(frame) = self.framer.next_frame() {
            for (keyword, detector) in self.detectors.iter_mut().enumerate() {
                let detection = detector
                    .0
                    .process_audio(&frame.samples)
                    .map_err(|error| EngineError::Run(error.into()))?;
                if let Some(detection) = detection {
                    let end_sample = frame.first_sample + AUDIO_BLOCK_SAMPLES as u64;
                    emit(Score {
                        keyword,
                        probability: detection.probability,
                        end_sample,
                    });
                }
            }
        }
        Ok(())
    }
}
