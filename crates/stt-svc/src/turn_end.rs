//! How likely it is that somebody who fell silent has finished.
//!
//! Smart Turn 3 listens to the last 8 s as they sound: melody and pace tell more than the length of a pause. It was trained
//! on pauses after speech and answers nonsense to silence and noise (0.97 and more), so it is asked only where voice
//! activity has found voice and then a pause.

mod features;

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
