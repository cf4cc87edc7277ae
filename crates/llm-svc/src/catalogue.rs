//! Which models there are: those that Solo knows and, where configuration names a file, that one.
//!
//! Requests name ids, never paths. A model's header is read and checked once, and again when its file changes; whatever is
//! wrong with it is told before an engine sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use solo_models::{Manifest, MissingModel, ModelKind};

use crate::config::Config;
use crate::error::Error;
use crate::gguf::{Facts, GgufError, Header};

/// A model whose file has been checked.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Its id.
    pub id: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What the file says.
    pub header: Header,
    /// The same, checked.
    pub facts: Facts,
}

impl ModelFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn open(id: &str, path: &Path) -> Result<Self, Error> {
        let checked = Header::open(path).and_then(|header| Ok((Facts::of(&header)?, header)));
        let (facts, header) = checked.map_err(|reason| damaged(id, path, reason))?;
        Ok(Self {
            id: id.to_owned(),
            path: path.to_owned(),
            header,
            facts,
        })
    }
}

/// A model that may be there.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its checked file; `None` when it is not installed or damaged.
    pub file: Option<Arc<ModelFile>>,
}

/// When a file was what it is.
type Stamp = (Option<SystemTime>, u64);

/// The models that can be asked for.
pub struct Catalogue {
    models_dir: PathBuf,
    /// The file that configuration names, under its id.
    configured_file: Option<(String, PathBuf)>,
    /// The model of requests that name none.
    default: String,
    read: Mutex<HashMap<PathBuf, (Stamp, Arc<ModelFile>)>>,
}

impl Catalogue {
    /// The catalogue of this configuration.
    pub fn new(config: &Config, models_dir: &Path) -> Self {
        let configured_file = config.model_file().map(|path| {
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (id, path.to_owned())
        });
        let default = configured_file.as_ref().map_or(&config.model, |(id, _)| id).clone();
        Self {
            models_dir: models_dir.to_owned(),
            configured_file,
            default,
            read: Mutex::default(),
        }
    }

    /// The id of the model of requests that name none.
    pub fn default_id(&self) -> &str {
        &self.default
    }

    /// The id that a request means.
    pub fn id_or_default<'a>(&'a self, id: &'a str) -> &'a str {
        if id.is_empty() { &self.default } else { id }
    }

    /// A model's checked file; an empty `id` is the configured model. Reads the disk.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`].
    pub fn open(&self, id: &str) -> Result<Arc<ModelFile>, Error> {
        let id = self.id_or_default(id);
        let path = self.locate(id)?;
        let metadata = std::fs::metadata(&path).map_err(|error| damaged(id, &path, GgufError::Io(error)))?;
        let stamp = (metadata.modified().ok(), metadata.len());
        if let Some((known, file)) = self.read().get(&path)
            && *known == stamp
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(ModelFile::open(id, &path)?);
        let mut read = self.read();
        // Two who open it at once must get the same: a model is known by its file.
        if let Some((known, file)) = read.get(&path)
            && *known == stamp
        {
            return Ok(Arc::clone(file));
        }
        read.insert(path, (stamp, Arc::clone(&file)));
        Ok(file)
    }

    /// All models, the configured one first.
    pub fn list(&self) -> Vec<Entry> {
        let known = Manifest::embedded()
            .models
            .iter()
            .filter(|model| model.kind == ModelKind::Llm);
        let others = known.map(|model| model.id.as_str()).filter(|id| *id != self.default);
        std::iter::once(self.default.as_str())
            .chain(others)
            .map(|id| Entry {
                id: id.to_owned(),
                file: self.open(id).ok(),
            })
            .collect()
    }

    fn locate(&self, id: &str) -> Result<PathBuf, Error> {
        if let Some((name, path)) = &self.configured_file
            && name == id
        {
            let path = path.clone();
            return if path.is_file() {
                Ok(path)
            } else {
                Err(Error::NoFile { path })
            };
        }
        let known = |model: &&solo_models::Model| model.kind == ModelKind::Llm;
        if Manifest::embedded()
            .models
            .iter()
            .filter(known)
            .all(|model| model.id != id)
        {
            let ids: Vec<&str> = self.ids().collect();
            return Err(Error::Missing(MissingModel::Unknown {
                id: id.to_owned(),
                known: ids.join(", "),
            }));
        }
        solo_models::locate(&self.models_dir, id, "model").map_err(Error::Missing)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let known = Manifest::embedded()
            .models
            .iter()
            .filter(|model| model.kind == ModelKind::Llm);
        let named = self.configured_file.iter().map(|(id, _)| id.as_str());
        named.chain(known.map(|model| model.id.as_str()))
    }

    fn read(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, Arc<ModelFile>)>> {
        // Entries are whole or absent: a panic elsewhere cannot leave one half-written.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(id: &str, path: &Path, reason: GgufError) -> Error {
    let known = Manifest::embedded().get(id).is_some();
    let remedy = if known {
        format!("run `solo models verify {id}`")
    } else {
        "fetch it again".to_owned()
    };
    Error::Damaged {
        path: path.to_owned(),
        reason,
        remedy,
    }
}
