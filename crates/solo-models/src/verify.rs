//! Are installed files still what the manifest says? By sha256, read in pieces.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::manifest::Model;

/// A file of a model that cannot be trusted. The text carries the remedy.
#[derive(Debug)]
pub struct Fault {
    /// The model.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What is wrong with an installed file.
#[derive(Debug)]
pub enum FaultKind {
    /// It is not there.
    Missing,
    /// Its bytes are not the right ones.
    Corrupted {
        /// Its size.
        bytes: u64,
        /// Its digest.
        sha256: String,
        /// The digests that are right.
        expected: Vec<String>,
    },
    /// It cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, path, kind } = self;
        let path = path.display();
        match kind {
            FaultKind::Missing => write!(f, "{path} is missing: run `solo models pull {id}`"),
            FaultKind::Corrupted {
                bytes,
                sha256,
                expected,
            } => write!(
                f,
                "{path} is corrupted: its {bytes} bytes have the sha256 {sha256}, expected {}: run `solo models pull {id}`",
                expected.join(" or ")
            ),
            FaultKind::Unreadable(e) => write!(f, "{path} cannot be read ({e}): check its permissions and the disk"),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads every file of `model` and tells what is wrong, nothing if all is well. `read` is told the bytes as they are
/// read, for a progress bar.
pub fn check(models_dir: &Path, model: &Model, mut read: impl FnMut(u64)) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in &model.files {
        let path = models_dir.join(&model.id).join(&file.name);
        let kind = match sha256_file(&path, &mut read) {
            Ok((_, sha256)) if file.sha256.contains(&sha256) => continue,
            Ok((bytes, sha256)) => FaultKind::Corrupted {
                bytes,
                sha256,
                expected: file.sha256.clone(),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => FaultKind::Missing,
            Err(e) => FaultKind::Unreadable(e),
        };
        faults.push(Fault {
            id: model.id.clone(),
            path,
            kind,
        });
    }
    faults
}

/// A file's size in bytes and its sha256 in lowercase hex. `read` is told the bytes as they are read.
pub fn sha256_file(path: &Path, mut read: impl FnMut(u64)) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        digest.update(&buffer[..n]);
        bytes += n as u64;
        read(n as u64);
    }
    Ok((bytes, hex::encode(digest.finalize())))
}
