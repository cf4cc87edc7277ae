//! The models folder: `<folder>/<id>/<file>`, and `.staging` beside it for what is still being fetched.
//!
//! A file comes to its place by a rename after its digest was right and its bytes were on the disk, so whatever lies in
//! a model's folder is whole. Staging survives an interrupted pull and is used by the next one.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use solo_models::{InstalledFile, Model};

use crate::terminal::{self, human_bytes};

/// Kept free beside what models need, so that a full disk does not take the rest of the machine down.
const SPARE: u64 = 64 << 20;

/// The models folder, locked: no other `solo models` changes it meanwhile.
pub(super) struct Store {
    dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens `dir`, creating it if need be, and waits while another `solo models` is at work in it.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| {
            format!(
                "cannot create the models folder {}: set SOLO_MODELS_DIR to another one",
                dir.display()
            )
        })?;
        let path = dir.join(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write in the models folder {}: check its owner", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                terminal::remark(format!(
                    "another `solo models` is at work in {}: waiting for it",
                    dir.display()
                ));
                lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("cannot lock {}", path.display())),
        }
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where downloads grow.
    pub(super) fn staging(&self) -> PathBuf {
        self.dir.join(".staging")
    }

    /// A staging folder of its own for one purpose, created.
    pub(super) fn stage(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.staging().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Forgets a staging folder; whether it was there does not matter.
    pub(super) fn unstage(&self, name: &str) {
        remove_all(&self.staging().join(name));
    }

    /// Fails with a sentence if `needed` bytes, less what staging already holds, do not fit on the disk.
    pub(super) fn require_space(&self, needed: u64) -> anyhow::Result<()> {
        let Some(free) = free_bytes(&self.dir)? else {
            return Ok(());
        };
        let needed = needed.saturating_sub(size_of(&self.staging())) + SPARE;
        if free < needed {
            bail!(
                "not enough space in {}: {} are needed, {} are free: free some, or set SOLO_MODELS_DIR to a folder on \
                 another disk",
                self.dir.display(),
                human_bytes(needed),
                human_bytes(free)
            );
        }
        Ok(())
    }

    /// Puts staged files in their places, all or none as far as their digests go.
    pub(super) fn install(&self, model: &Model, staged: &[Staged]) -> anyhow::Result<()> {
        for file in &model.files {
            let Some(staged) = staged.iter().find(|staged| staged.name == file.name) else {
                bail!("the source of {} did not bring {}", model.id, file.name);
            };
            staged.expect(file)?;
        }
        let folder = self.dir.join(&model.id);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for staged in staged {
            let target = folder.join(&staged.name);
            put(&staged.path, &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
        sync_folder(&folder).with_context(|| format!("cannot write {}", folder.display()))
    }
}

/// A fetched file that waits in staging for its siblings.
#[derive(Debug)]
pub(super) struct Staged {
    /// The name it is installed under.
    pub(super) name: String,
    /// Where it lies now.
    pub(super) path: PathBuf,
    /// Its digest.
    pub(super) sha256: String,
}

impl Staged {
    fn expect(&self, file: &InstalledFile) -> anyhow::Result<()> {
        if !file.sha256.contains(&self.sha256) {
            bail!(
                "{} has the sha256 {}, expected {}",
                self.name,
                self.sha256,
                file.sha256.join(" or ")
            );
        }
        Ok(())
    }
}

/// A new file that computes its digest while it is written and takes no more than `limit` bytes.
pub(super) struct DigestWriter<W> {
    out: W,
    digest: Sha256,
    written: u64,
    limit: u64,
}

impl<W: Write> DigestWriter<W> {
    pub(super) fn new(out: W, limit: u64) -> Self {
        Self {
            out,
            digest: Sha256::new(),
            written: 0,
            limit,
        }
    }

    /// What was written to, and the digest of what was written.
    pub(super) fn finish(mut self) -> io::Result<(W, String)> {
        self.out.flush()?;
        Ok((self.out, hex::encode(self.digest.finalize())))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.written;
        if bytes.len() as u64 > room {
            return Err(io::Error::other(format!(
                "it is larger than the {} that the manifest names",
                human_bytes(self.limit)
            )));
        }
        let n = self.out.write(bytes)?;
        self.digest.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The bytes below a path; what vanishes meanwhile counts nothing.
pub(super) fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| size_of(&entry.path())).sum()
}

/// Removes a file or folder with all below it. Leftovers are only wasted space, hence no error.
pub(super) fn remove_all(path: &Path) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    if let Err(e) = removed
        && e.kind() != io::ErrorKind::NotFound
    {
        terminal::remark(format!("cannot remove {}: {e}", path.display()));
    }
}

/// Moves a file to its place so that a crash leaves the old one or the new one, never half of it.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    File::options().read(true).write(true).open(from)?.sync_all()?;
    fs::rename(from, to)
}

/// A rename lasts once its folder is on the disk.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows writes folders by itself and lets nobody open them.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Free bytes for this user; None where the system is not asked.
#[cfg(unix)]
fn free_bytes(dir: &Path) -> anyhow::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(dir).with_context(|| format!("cannot read how much space {} has", dir.display()))?;
    Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

#[cfg(not(unix))]
fn free_bytes(_dir: &Path) -> anyhow::Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use solo_models::Manifest;

    use super::*;

    fn staged(store: &Store, name: &str, text: &str) -> Staged {
        let path = store.stage("m").unwrap().join(name);
        fs::write(&path, text).unwrap();
        let (_, sha256) = solo_models::sha256_file(&path, |_| {}).unwrap();
        Staged {
            name: name.to_owned(),
            path,
            sha256,
        }
    }

    fn model() -> Model {
        let mut model = Manifest::embedded().get("piper-en-us-joe").unwrap().clone();
        for (file, text) in model.files.iter_mut().zip(["abc", "{}"]) {
            file.sha256 = vec![hex::encode(Sha256::digest(text))];
        }
        model
    }

    #[test]
    fn files_are_installed_together() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let files = [
            staged(&store, "voice.onnx", "abc"),
            staged(&store, "voice.onnx.json", "{}"),
        ];
        store.install(&model(), &files).unwrap();
        assert_eq!(fs::read(dir.path().join("piper-en-us-joe/voice.onnx")).unwrap(), b"abc");
        assert!(solo_models::is_installed(dir.path(), &model()));
        assert!(!files[0].path.exists());
    }

    #[test]
    fn one_wrong_file_installs_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let files = [
            staged(&store, "voice.onnx", "abc"),
            staged(&store, "voice.onnx.json", "[]"),
        ];
        let error = store.install(&model(), &files).unwrap_err().to_string();
        assert!(error.starts_with("voice.onnx.json has the sha256 4f53cda1"), "{error}");
        assert!(!dir.path().join("piper-en-us-joe").exists());
        let error = store.install(&model(), &files[..1]).unwrap_err().to_string();
        assert_eq!(error, "the source of piper-en-us-joe did not bring voice.onnx.json");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let mut writer = DigestWriter::new(Vec::new(), 4);
        writer.write_all(b"abc").unwrap();
        assert!(writer.write_all(b"de").is_err());
        let (out, sha256) = writer.finish().unwrap();
        assert_eq!(out, b"abc");
        assert_eq!(sha256, hex::encode(Sha256::digest("abc")));
    }

    #[test]
    fn too_little_space_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.require_space(1).unwrap();
        let error = store.require_space(1 << 60).unwrap_err().to_string();
        assert!(
            error.contains("1152922 TB are needed") && error.contains("SOLO_MODELS_DIR"),
            "{error}"
        );
    }

    #[test]
    fn a_second_lock_waits() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let path = dir.path().to_owned();
        let (tell, hear) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            tell.send(()).unwrap();
            let _store = Store::open(&path).unwrap();
            tell.send(()).unwrap();
        });
        hear.recv().unwrap();
        assert!(hear.try_recv().is_err());
        drop(first);
        hear.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        second.join().unwrap();
    }
}
