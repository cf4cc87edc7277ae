//! Opens and copies a file of a folder: the file itself, not where a link leads, even if somebody changes a folder into a link meanwhile.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use solo_documents::Refusal;

use crate::content::Content;
use crate::error::Error;
use crate::names::DocumentUri;

/// Opens the regular file `path`, which lies in `root`.
///
/// # Errors
/// What is gone, is no regular file, leads elsewhere, or may not be read.
pub(super) fn open(root: &Path, path: &Path) -> io::Result<File> {
    let inside = path.strip_prefix(root).map_err(io::Error::other)?;
    let file = open_beneath(root, inside)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no regular file"));
    }
    Ok(file)
}

/// The kernel follows no link on the way, and leaves the folder nowhere.
#[cfg(target_os = "linux")]
fn open_beneath(root: &Path, inside: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    // Without O_NONBLOCK a pipe that somebody put there would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let root = File::open(root)?;
    Ok(openat2(&root, inside, flags, Mode::empty(), resolve)?.into())
}

/// Elsewhere the last part alone is checked.
#[cfg(not(target_os = "linux"))]
fn open_beneath(root: &Path, inside: &Path) -> io::Result<File> {
    let path = root.join(inside);
    if std::fs::symlink_metadata(&path)?.is_symlink() {
        return Err(io::Error::other("symbolic links are not followed"));
    }
    File::open(path)
}

/// What reading a file came to.
pub(super) enum Read {
    /// A copy of it as it is.
    Content(Content),
    /// It is not there any more.
    Gone,
    /// Somebody is writing it.
    Unsettled,
    /// Nobody reads its format.
    Unsupported,
    /// It is not taken in.
    Refused(String),
    /// It cannot be read now.
    Unreadable(String),
    /// There is no room for a copy.
    NoRoom(io::Error),
}

/// Copies a file, unless it need not or cannot be read.
pub(super) fn read(root: &Path, path: &Path, uri: &DocumentUri, most: u64, settle: Duration, spool: &Path) -> Read {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Read::Gone,
        _ => Read::Unreadable(format!("it cannot be read: {error}")),
    };
    let mut file = match open(root, path) {
        Ok(file) => file,
        Err(error) => return failed(error),
    };
    let before = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return failed(error),
    };
    let too_large = || {
        let error = Error::DocumentTooLarge { limit: most };
        Read::Refused(error.to_string())
    };
    if before.len() > most {
        return too_large();
    }
    // A clock that went back does not make a file unsettled for ever.
    let age = before
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age < settle) {
        return Read::Unsettled;
    }
    match Content::head_of(&mut file) {
        Ok(head) => match solo_documents::detect("", uri.as_str(), &head) {
            Err(Refusal::Unsupported { .. }) => return Read::Unsupported,
            Err(refusal) => return Read::Refused(refusal.to_string()),
            Ok(_) => {}
        },
        Err(error) => return failed(error),
    }
    let content = match Content::copy(&mut file, most, spool) {
        Ok(Some(content)) => content,
        Ok(None) => return too_large(),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Read::NoRoom(error),
        Err(error) => return failed(error),
    };
    let after = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return failed(error),
    };
    let same = before.len() == after.len() && before.modified().ok() == after.modified().ok();
    if !same || content.bytes() != after.len() {
        return Read::Unsettled;
    }
    Read::Content(content)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_folder_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("x")).unwrap();
        std::fs::write(root.join("x/a.txt"), "a").unwrap();
        assert!(open(root, &root.join("x/a.txt")).is_ok());
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        assert!(open(root, &root.join("etc/passwd")).is_err());
        assert!(open(root, &root.join("x/../../../etc/passwd")).is_err());
        assert!(open(root, &root.join("x")).is_err(), "a folder is no file");
        assert!(open(root, Path::new("/etc/passwd")).is_err());
    }
}
