//! Which models there are, and where an installed one lies. Pure: reads files, never the network.
//!
//! - [`Manifest`] is `models/manifest.toml`, compiled in: each model's files with the sha256 that are right, its licence,
//!   and the sources it can be had from. It is validated as a whole and holds only what concerns this machine.
//! - [`locate`] and [`onnx_runtime`] answer a service that is about to load a model: `<models folder>/<id>/<file>`, or
//!   an error whose text is the command that helps.
//! - [`check`] tells whether installed files are still what the manifest says.
//! - [`fit`] plans a model into memory and GPUs, from its header alone.
//! - [`gguf`] reads the header of a model file, with distrust: for the service that runs it and the command that shows it.
//!
//! Fetching is the command line's business (`solo models pull`), so that no service can download anything.

pub mod fit;
pub mod gguf;

mod locate;
mod manifest;
mod verify;

pub use locate::{MissingModel, is_installed, locate, onnx_runtime};
pub use manifest::{
    ChatRecommendation, Conversion, HubFile, HubSource, InstalledFile, Manifest, ManifestError, Member, Model,
    ModelKind, PackageFile, PackageMember, PackageSource, Registry, Source, host_target,
};
pub use verify::{Fault, FaultKind, check, sha256_file};

use std::path::PathBuf;

/// The models folder when nothing else is configured: `solo/models` in the user's cache folder. None where the system
/// names no such folder (no HOME). Reads no variable of Solo's own: that is configuration.
pub fn default_dir() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("solo").join("models"))
}
