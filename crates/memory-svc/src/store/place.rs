//! Where in its folder the store is: in the folder itself at first, in one inside it once its vectors were made anew.
//!
//! A file says which one counts, and is replaced in one step: a crash leaves the old store or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::embedding::Identity;

/// Says which folder counts; absent: the outer one.
const POINTER: &str = "current";
/// How the names of inner folders begin.
const INNER: &str = "vectors-";

/// The folder of all stores, of which one counts.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// Stores in `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
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
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut pointer = tempfile::NamedTempFile::new_in(&self.root)?;
        pointer.write_all(name.as_bytes())?;
        pointer.as_file().sync_all()?;
        pointer.persist(self.root.join(POINTER)).map_err(|error| error.error)?;
        // The new name itself must be on the disk.
        std::fs::File::open(&self.root)?.sync_all()
    }

    /// Removes the tables of the folders that do not count: what another model's vectors took the place of, and what an
    /// interrupted attempt left. Nobody may have them open.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_others(&self) -> io::Result<()> {
        let current = self.current()?;
        for entry in std::fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_table = current != self.root && name.ends_with(".lance");
            if path != current && (is_inner(name) || is_table) {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
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

    #[test]
    fn one_folder_counts_and_the_others_go() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        assert_eq!(place.current().unwrap(), folder.path());
        let (next, other) = (place.for_model(&identity("a/b")), place.for_model(&identity("c")));
        assert_eq!(next.file_name().unwrap(), "vectors-a_b-384");
        for made in [&next, &other, &folder.path().join("chunks.lance")] {
            std::fs::create_dir(made).unwrap();
        }
        place.remove_others().unwrap();
        assert!(!next.exists() && !other.exists() && folder.path().join("chunks.lance").exists());
        std::fs::create_dir(&next).unwrap();
        std::fs::create_dir(&other).unwrap();
        place.switch(&next).unwrap();
        assert_eq!(place.current().unwrap(), next);
        std::fs::write(folder.path().join("solo.lock"), "").unwrap();
        place.remove_others().unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["current", "solo.lock", "vectors-a_b-384"]);
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
