//! From a model's id to the file on disk, or to the sentence that tells how to get it.

use std::path::{Path, PathBuf};

use crate::manifest::{Manifest, Model};

/// A model that a service was configured with cannot be loaded. The text carries the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissingModel {
    /// Solo knows it, but it is not there.
    #[error("model \"{id}\" is not installed (looked for {}): run `solo models pull {id}`", .path.display())]
    NotInstalled {
        /// The model.
        id: String,
        /// The file that was looked for.
        path: PathBuf,
    },
    /// Solo does not know it.
    #[error("there is no model \"{id}\": there is {known} (`solo models list` tells more)")]
    Unknown {
        /// What was asked for.
        id: String,
        /// What there is of that kind.
        known: String,
    },
    /// It is another kind of model than the one who asks expects.
    #[error("model \"{id}\" ({kind}) has no file for \"{role}\": it has {known}")]
    WrongKind {
        /// The model.
        id: String,
        /// Its kind.
        kind: &'static str,
        /// What was asked for.
        role: String,
        /// What it has.
        known: String,
    },
    /// It does not exist for this machine.
    #[error("model \"{id}\" does not exist for {target}")]
    NoSuchTarget {
        /// The model.
        id: String,
        /// This machine, for example `freebsd-x86_64`.
        target: String,
    },
}

/// The file of `id` with this `role`: `<models_dir>/<id>/<name>`. It is there; whether it is intact is a question for
/// [`check`](crate::check), because reading gigabytes at each start would cost more than it tells.
pub fn locate(models_dir: &Path, id: &str, role: &str) -> Result<PathBuf, MissingModel> {
    let model = Manifest::embedded().require(id)?;
    if model.files.is_empty() {
        return Err(MissingModel::NoSuchTarget {
            id: id.to_owned(),
            target: crate::host_target(),
        });
    }
    let file = model.file(role).ok_or_else(|| MissingModel::WrongKind {
        id: id.to_owned(),
        kind: model.kind.as_str(),
        role: role.to_owned(),
        known: model
            .files
            .iter()
            .map(|file| file.role.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let path = models_dir.join(id).join(&file.name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(MissingModel::NotInstalled {
            id: id.to_owned(),
            path,
        })
    }
}

/// The ONNX Runtime library, for `ort::init_from`.
pub fn onnx_runtime(models_dir: &Path) -> Result<PathBuf, MissingModel> {
    locate(models_dir, "onnxruntime", "library")
}

/// True when all files of a model are there.
pub fn is_installed(models_dir: &Path, model: &Model) -> bool {
    !model.files.is_empty()
        && model
            .files
            .iter()
            .all(|file| models_dir.join(&model.id).join(&file.name).is_file())
}
