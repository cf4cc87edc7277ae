//! Where fixtures and model weights lie.

use std::path::{Path, PathBuf};

/// A file of `tests/fixtures` at the repository's root, for instance `audio/question.wav`.
///
/// # Panics
/// When it is not there.
pub fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name);
    assert!(
        path.exists(),
        "there is no fixture {name} (looked for {})",
        path.display()
    );
    path
}

/// The folder of installed models: `SOLO_MODELS_DIR`, else `solo/models` in the user's cache folder.
///
/// # Panics
/// When the machine names no cache folder.
pub fn models_dir() -> PathBuf {
    match std::env::var_os("SOLO_MODELS_DIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => dirs::cache_dir()
            .expect("HOME or XDG_CACHE_HOME is set")
            .join("solo")
            .join("models"),
    }
}

/// A file of an installed model, for tests that need real weights (`model_…`, behind `--ignored`).
///
/// # Panics
/// When it is missing: such a test fails rather than passing without having run.
pub fn require_model(id: &str, file: &str) -> PathBuf {
    let path = models_dir().join(id).join(file);
    assert!(
        path.is_file(),
        "model \"{id}\" is not installed (looked for {}): run `solo models pull {id}`",
        path.display()
    );
    path
}
