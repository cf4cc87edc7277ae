//! How likely it is that a frame of 32 ms is voice.
//!
//! Silero VAD v6 (ONNX): input [1, 576] = the last 64 samples of the frame before and the 512 of this one, −1.0 to 1.0;
//! state [2, 1, 128], carried from frame to frame; sr, an i64 scalar; output [1, 1] and the next state. One session is
//! shared by all live streams behind a mutex, because a frame takes a fraction of a millisecond on one thread and a
//! session costs memory; what belongs to a stream is in its [`VoiceDetector`].

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::value::TensorRef;
use solo_audio::level;
use solo_service::StartupError;

use crate::config::{VadConfig, VadKind};
use crate::network;

/// Samples in a frame: 32 ms at 16,000 Hz.
pub(crate) const FRAME: usize = 512;
const CONTEXT: usize = 64;
const STATE: [usize; 3] = [2, 1, 128];
const SAMPLE_RATE: i64 = 16_000;

/// Level at which the detector by loudness is undecided, in dBFS, and how steeply it decides.
const LEVEL_MIDDLE_DBFS: f32 = -40.0;
const LEVEL_SLOPE_DB: f32 = 3.0;

/// The network could not be run.
#[derive(Debug, thiserror::Error)]
#[error("the voice activity model failed")]
pub(crate) struct VadError(#[from] ort::Error);

/// What measures voice, shared by all streams; cheap to clone.
#[derive(Clone)]
pub(crate) enum VoiceModel {
    /// The Silero network.
    Silero(Arc<Mutex<Session>>),
    /// Loudness alone.
    Level,
}

impl VoiceModel {
    /// Loads what is configured.
    ///
    /// # Errors
    /// When the network or ONNX Runtime is not installed, or does not load.
    pub(crate) fn from_config(config: &VadConfig, models_dir: &Path) -> Result<Self, StartupError> {
        match config.engine {
            VadKind::Silero => Self::silero(models_dir),
            VadKind::Level => Ok(Self::Level),
        }
    }

    /// Loads the Silero network and runs it once.
    ///
    /// # Errors
    /// When the network or ONNX Runtime is not installed, or does not load.
    pub(crate) fn silero(models_dir: &Path) -> Result<Self, StartupError> {
        let session = network::load(models_dir, "silero-vad")?;
        let model = Self::Silero(Arc::new(Mutex::new(session)));
        model.detector().probability(&[0; FRAME]).map_err(StartupError::other)?;
        Ok(model)
    }

    /// A detector for one stream.
    pub(crate) fn detector(&self) -> VoiceDetector {
        VoiceDetector {
            model: self.clone(),
            state: vec![0.0; STATE.iter().product()],
            context: [0.0; CONTEXT],
        }
    }
}

/// Measures one stream, frame by frame.
pub(crate) struct VoiceDetector {
    model: VoiceModel,
    state: Vec<f32>,
    context: [f32; CONTEXT],
}

impl VoiceDetector {
    /// The probability, 0.0 to 1.0, that this frame of [`FRAME`] samples at 16,000 Hz is voice.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub(crate) fn probability(&mut self, frame: &[i16]) -> Result<f32, VadError> {
        let samples = solo_audio::pcm::to_f32(frame);
        match &self.model {
            VoiceModel::Level => {
                Ok(1.0 / (1.0 + ((LEVEL_MIDDLE_DBFS - level::rms_dbfs(&samples)) / LEVEL_SLOPE_DB).exp()))
            }
            VoiceModel::Silero(session) => {
                let mut input = Vec::with_capacity(CONTEXT + samples.len());
                input.extend_from_slice(&self.context);
                input.extend_from_slice(&samples);
                // A panic elsewhere leaves the session whole: it keeps no state between runs.
                let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                let outputs = session.run(ort::inputs![
                    "input" => TensorRef::from_array_view(([1, input.len()], input.as_slice()))?,
                    "state" => TensorRef::from_array_view((STATE, self.state.as_slice()))?,
                    "sr" => TensorRef::from_array_view(((), [SAMPLE_RATE].as_slice()))?,
                ])?;
                let probability = outputs["output"]
                    .try_extract_tensor::<f32>()?
                    .1
                    .first()
                    .copied()
                    .unwrap_or(0.0);
                self.state
                    .copy_from_slice(outputs["stateN"].try_extract_tensor::<f32>()?.1);
                self.context.copy_from_slice(&input[input.len() - CONTEXT..]);
                Ok(probability)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudness_alone_tells_a_tone_from_silence() {
        let mut detector = VoiceModel::Level.detector();
        let tone: Vec<i16> = (0..FRAME).map(|n| ((n as f32 * 0.2).sin() * 8_000.0) as i16).collect();
        assert!(detector.probability(&tone).unwrap() > 0.99);
        assert!(detector.probability(&[0; FRAME]).unwrap() < 0.01);
        assert!(detector.probability(&[20; FRAME]).unwrap() < 0.01);
    }
}
