//! ONNX Runtime as the engines use it: the library, sessions, and a run that can be stopped.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ort::session::builder::SessionBuilder;
use ort::session::{RunOptions, Session, SessionInputValue, SessionOutputs};
use solo_service::CancelToken;

use super::{EngineError, SynthesisError};

/// How often a running graph is asked whether somebody still wants it.
const CANCEL_CHECK: Duration = Duration::from_millis(10);

/// Loads ONNX Runtime, once a process.
pub(super) fn load_runtime(models_dir: &Path) -> Result<(), EngineError> {
    let path = solo_models::onnx_runtime(models_dir)?;
    let environment = ort::init_from(&path).map_err(|error| EngineError::Damaged {
        model: "onnxruntime".into(),
        path: PathBuf::from(&path),
        problem: error.to_string(),
    })?;
    // False when another voice has done it before: the environment is the same.
    environment.with_name("tts-svc").with_telemetry(false).commit();
    Ok(())
}

/// What a session is opened with. Threads that spin between runs would take the cores from the services that work then.
pub(super) fn builder(threads: usize) -> Result<SessionBuilder, ort::Error> {
    Ok(Session::builder()?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?)
}

/// Runs a graph and reads its outputs with `read`; it is stopped within [`CANCEL_CHECK`] and the time of one node when
/// nobody wants it any more.
pub(super) fn run<T>(
    session: &mut Session,
    inputs: &[SessionInputValue<'_>],
    cancel: &CancelToken,
    read: impl FnOnce(&SessionOutputs<'_>) -> Result<T, ort::Error>,
) -> Result<T, SynthesisError> {
    if cancel.is_cancelled() {
        return Err(SynthesisError::Cancelled);
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
        let outputs = session.run_with_options(inputs, options);
        drop(done);
        outputs
    });
    match outputs {
        Ok(outputs) => read(&outputs).map_err(failed),
        Err(_) if cancel.is_cancelled() => Err(SynthesisError::Cancelled),
        Err(error) => Err(failed(error)),
    }
}

/// What ONNX Runtime says, as the engines say it.
pub(super) fn failed(error: ort::Error) -> SynthesisError {
    SynthesisError::Run(error.into())
}
