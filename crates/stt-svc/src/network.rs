//! Loads the small networks that run beside the engine: one thread each, because many streams ask in turn.

use std::path::Path;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use solo_service::StartupError;

/// Loads the ONNX model with this identifier.
///
/// # Errors
/// When it or ONNX Runtime is not installed, or does not load.
pub(crate) fn load(models_dir: &Path, id: &str) -> Result<Session, StartupError> {
    let missing = |missing: solo_models::MissingModel| StartupError::MissingModel {
        message: missing.to_string(),
    };
    let runtime = solo_models::onnx_runtime(models_dir).map_err(missing)?;
    let network = solo_models::locate(models_dir, id, "model").map_err(missing)?;
    let damaged = |what: &str, path: &Path, error: &dyn std::fmt::Display| StartupError::MissingModel {
        message: format!(
            "{what} cannot be loaded from {} ({error}): run `solo models rm {what}` and `solo models pull {what}`",
            path.display()
        ),
    };
    // A process has one runtime: a second call finds it loaded and changes nothing.
    ort::init_from(&runtime)
        .map_err(|error| damaged("onnxruntime", &runtime, &error))?
        .commit();
    session(&network).map_err(|error| damaged(id, &network, &error))
}

fn session(path: &Path) -> Result<Session, ort::Error> {
    let session = Session::builder()?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_file(path)?;
    Ok(session)
}
