//! Opens a file of a folder: the file itself, not where a link leads, even if somebody changes a folder into a link meanwhile.

use std::fs::File;
use std::io;
use std::path::Path;

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
