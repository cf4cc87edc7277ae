//! How likely it is that somebody who fell silent has finished.
//!
//! Smart Turn 3 listens to the last 8 s as they sound: melody and pace tell more than the length of a pause. It was trained
//! on pauses after speech and answers nonsense to silence and noise (0.97 and more), so it is asked only where voice
//! activity has found voice and then a pause.

mod features;

pub(crate) use features::SAMPLES;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::value::TensorRef;
use solo_service::StartupError;

use crate::network;
use features::{FRAMES, Features, MELS};

/// The network could not be run.
#[derive(Debug, thiserror::Error)]
#[error("the model for the end of turns failed")]
pub(crate) struct TurnEndError(#[from] ort::Error);

/// Smart Turn, shared by all streams; cheap to clone.
#[derive(Clone)]
pub(crate) struct TurnModel {
    id: Arc<str>,
    session: Arc<Mutex<Session>>,
    features: Arc<Features>,
}

impl TurnModel {
    /// Loads the configured model and runs it once; `None` where none is configured.
    ///
    /// # Errors
    /// When the model or ONNX Runtime is not installed, or does not load.
    pub(crate) fn from_config(id: &str, models_dir: &Path) -> Result<Option<Self>, StartupError> {
        if id.is_empty() {
            return Ok(None);
        }
        let session = network::load(models_dir, id)?;
        let model = Self {
            id: id.into(),
            session: Arc::new(Mutex::new(session)),
            features: Arc::new(Features::new()),
        };
        model.probability(&[]).map_err(StartupError::other)?;
        Ok(Some(model))
    }

    /// Identifier of the model.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The probability, 0.0 to 1.0, that who said `samples` (16,000 Hz, up to now) has finished. About 30 ms of one core.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub(crate) fn probability(&self, samples: &[i16]) -> Result<f32, TurnEndError> {
        let features = self.features.of(samples);
        // A panic elsewhere leaves the session whole: it keeps no state between runs.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![
            "input_features" => TensorRef::from_array_view(([1, MELS, FRAMES], features.as_slice()))?,
        ])?;
        // The network ends in a sigmoid, whatever its output is called.
        let probability = outputs["logits"].try_extract_tensor::<f32>()?.1.first().copied();
        Ok(probability.unwrap_or(0.0).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use solo_audio::wav;
    use solo_testkit::require_model;

    use super::*;

    const LIBRIVOX: &str = "/usr/share/pocketsphinx/test/data/librivox";

    /// Whether the processor adds up products of eight bits in full, as AVX-512's and ARM's do: with AVX2 alone pairs of
    /// them saturate at sixteen bits, and a network of eight bits answers otherwise.
    fn whole_products() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni");
        #[cfg(not(target_arch = "x86_64"))]
        true
    }

    #[test]
    #[ignore = "needs models: cargo make test-models"]
    fn model_pauses_sound_as_they_do_to_the_reference() {
        require_model("onnxruntime", "libonnxruntime.so");
        let model = require_model("smart-turn-v3", "model.onnx");
        let models = model.parent().and_then(Path::parent).unwrap();
        let model = TurnModel::from_config("smart-turn-v3", models).unwrap().unwrap();
        // A fifth of a second of silence: as early as a turn may end.
        let judge = |samples: &[i16]| model.probability(&[samples, &[0; 3_200]].concat()).unwrap();
        // What the same network says of features made in NumPy after transformers' WhisperFeatureExtractor. (The fifth clip
        // lies on the edge, where the network answers to the last bit of its input.)
        // First with products that saturate, then with whole ones.
        let reference = [
            ("0870", [0.985, 0.988]),
            ("0880", [0.062, 0.208]),
            ("0890", [0.928, 0.959]),
            ("0920", [0.972, 0.984]),
        ];
        let (mut pieces, mut unfinished) = (0, 0);
        for (clip, wanted) in reference {
            let wanted = wanted[usize::from(whole_products())];
            let path = format!("{LIBRIVOX}/sense_and_sensibility_01_austen_64kb-{clip}.wav");
            let file = std::fs::read(&path).expect("apt-get install pocketsphinx-testdata");
            let samples = wav::read_speech(&file).unwrap();
            let found = judge(&samples);
            assert!((found - wanted).abs() < 0.02, "{clip}: {found}, {wanted} is wanted");
            for share in [0.45, 0.55, 0.65, 0.75, 0.85] {
                let cut = judge(&samples[..(samples.len() as f64 * share) as usize]);
                pieces += 1;
                unfinished += usize::from(cut < 0.5);
            }
        }
        println!("{unfinished} of {pieces} pieces sound unfinished");
        assert!(unfinished >= 12, "{unfinished} of {pieces} pieces sound unfinished");
    }
}
