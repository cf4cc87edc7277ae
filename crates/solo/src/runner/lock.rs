//! One runner a data folder: a lock on `<data_dir>/run/solo.lock`, which the system releases however the runner ends.
//! The file says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Failure;

/// The folder of the lock and the control socket; nobody else may look into it.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("run")
}

/// Pause between two attempts at a lock that somebody may only be looking at.
const LOOK: Duration = Duration::from_millis(10);

/// A lock that is held while this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn acquire(data_dir: &Path) -> Result<Self, Failure> {
        let cannot = |what: &str, e: std::io::Error| {
            Failure::failed(format!("cannot {what} in {}: {e}", folder(data_dir).display()))
                .help("choose a data folder that you may write to: `solo config set global.data_dir FOLDER`")
        };
        private_folder(&folder(data_dir)).map_err(|e| cannot("make the runner's folder", e))?;
        let mut file = open(data_dir).map_err(|e| cannot("open the lock", e))?;
        // `solo ps` looks at the lock by taking it for a moment: that must not count as a runner.
        let mut looks = 0..5;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if looks.next().is_some() => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(taken(data_dir, pid_in(&mut file))),
                Err(TryLockError::Error(e)) => return Err(cannot("take the lock", e)),
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|e| cannot("write the lock", e))?;
        Ok(Self { _file: file })
    }

    /// The process that holds the lock: `None` when nobody does, `Some(None)` when it has not said who it is.
    pub fn holder(data_dir: &Path) -> Option<Option<u32>> {
        let mut file = File::open(folder(data_dir).join("solo.lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(pid_in(&mut file)),
            _ => None,
        }
    }
}

fn open(data_dir: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder(data_dir).join("solo.lock"))
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn taken(data_dir: &Path, pid: Option<u32>) -> Failure {
    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Failure::failed(format!(
        "Solo is already running{who} with the data folder {}",
        data_dir.display()
    ))
    .help("see it with `solo ps`, stop it with `solo down`")
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::holder(folder.path()), None);
        let first = Lock::acquire(folder.path()).unwrap();
        let refused = Lock::acquire(folder.path()).unwrap_err();
        assert!(
            refused.message.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        assert_eq!(Lock::holder(folder.path()), Some(Some(std::process::id())));
        drop(first);
        assert_eq!(Lock::holder(folder.path()), None);
        Lock::acquire(folder.path()).unwrap();
    }
}
