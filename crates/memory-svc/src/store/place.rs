//! Where in its folder the store is: in the folder itself at first, in one inside it once its vectors were made anew.
//!
//! A file says which one counts, and is replaced in one step: a crash leaves the old store or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::embedding::Identity;

/// Says which folder counts; absent: the outer one.
const POINTER: &str = "current";
/// How the names of inner folders begin.
const INNER: &str = "vectors-";

/// The folder of all stores, of which one counts. Clones share it.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
    /// Held while it changes which folders there are.
    changing: Arc<Mutex<()>>,
}

impl Place {
    /// Stores in `root`.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            changing: Arc::default(),
        }
    }

    /// The folder that counts.
    ///
    /// # Errors
    /// When the file that says so cannot be read, or names what no store is named.
    pub fn current(&self) -> io::Result<PathBuf> {
        match std::fs::read_to_string(self.root.join(POINTER)) {
            Ok(name) if is_inner(name.trim()) => Ok(self.root.join(name.trim())),
            Ok(name) => Err(io::Error::other(format!("it names `{}`", name.escape_debug()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.root.clone()),
            Err(error) => Err(error),
        }
    }

    /// The folder for vectors of another model.
    pub fn for_model(&self, identity: &Identity) -> PathBuf {
        let name = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let model: String = identity.model.chars().map(name).collect();
        self.root.join(format!("{INNER}{model}-{}", identity.dimension))
    }

    /// Makes a folder that [`Place::for_model`] gave the one that counts.
    ///
    /// # Errors
    /// A full disk: then the other one still counts.
    pub fn switch(&self, folder: &Path) -> io::Result<()> {
        let _changing = self.changing();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut pointer = tempfile::NamedTempFile::new_in(&self.root)?;
        pointer.write_all(name.as_bytes())?;
        pointer.as_file().sync_all()?;
        pointer.persist(self.root.join(POINTER)).map_err(|error| error.error)?;
        // From here on it counts. That a power cut does not take it back is worth trying, and no reason to fail.
        #[cfg(unix)]
        if let Err(error) = std::fs::File::open(&self.root).and_then(|root| root.sync_all()) {
            tracing::warn!(%error, "which store counts may not be on the disk yet");
        }
        Ok(())
    }

    /// Removes the tables of a folder that nobody has open, unless it is the one that counts.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn retire(&self, folder: &Path) -> io::Result<()> {
        let _changing = self.changing();
        if folder == self.current()? {
            return Ok(());
        }
        if folder != self.root {
            return std::fs::remove_dir_all(folder);
        }
        self.remove(|name| name.ends_with(".lance"))
    }

    /// Removes the tables of all folders but the one that counts: what a process that died did not. Before anything is opened.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_others(&self) -> io::Result<()> {
        let _changing = self.changing();
        let current = self.current()?;
        let (is_root, counts) = (current == self.root, current.file_name());
        self.remove(|name| {
            let is_table = !is_root && name.ends_with(".lance");
            is_table || (is_inner(name) && counts.is_none_or(|counts| counts != name))
        })
    }

    fn remove(&self, which: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(&which) {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_inner(name: &str) -> bool {
    name.starts_with(INNER) && !name.contains(['/', '\\']) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(model: &str) -> Identity {
        Identity {
            model: model.into(),
            dimension: 384,
        }
    }

    fn there(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn one_folder_counts_and_the_others_go_when_they_are_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        assert_eq!(place.current().unwrap(), folder.path());
        let (next, other) = (place.for_model(&identity("a/b")), place.for_model(&identity("c")));
        let make = || {
            for made in [&next, &other, &folder.path().join("chunks.lance")] {
                std::fs::create_dir_all(made).unwrap();
            }
        };
        make();
        place.retire(folder.path()).unwrap();
        assert_eq!(there(folder.path()).len(), 3, "what counts stays");
        place.remove_others().unwrap();
        assert_eq!(there(folder.path()), ["chunks.lance"]);
        make();
        place.switch(&next).unwrap();
        assert_eq!(place.current().unwrap(), next);
        place.retire(folder.path()).unwrap();
        assert_eq!(
            there(folder.path()),
            ["current", "vectors-a_b-384", "vectors-c-384"],
            "another attempt stays"
        );
        place.retire(&next).unwrap();
        place.retire(&other).unwrap();
        assert_eq!(there(folder.path()), ["current", "vectors-a_b-384"]);
        make();
        std::fs::write(folder.path().join("solo.lock"), "").unwrap();
        place.remove_others().unwrap();
        assert_eq!(there(folder.path()), ["current", "solo.lock", "vectors-a_b-384"]);
    }

    #[test]
    fn a_pointer_out_of_the_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        for name in ["vectors-../x", "/etc", "", "other"] {
            std::fs::write(folder.path().join(POINTER), name).unwrap();
            assert!(place.current().is_err(), "{name}");
        }
    }
}
