//! A folder's files: those that are not hidden, not ignored and not somewhere else.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::WalkBuilder;

/// A file beside `.gitignore` and `.ignore` whose lines say what is not taken in.
const IGNORE_FILE: &str = ".soloignore";

/// Which part of a folder.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// All of it.
    Everything,
    /// These files and folders, with what is in them.
    Within(Arc<Part>),
}

/// Files and folders.
#[derive(Debug, Default)]
pub(super) struct Part {
    paths: HashSet<PathBuf>,
    ancestors: HashSet<PathBuf>,
}

impl Scope {
    /// The files and folders `paths`.
    pub(super) fn within(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut part = Part::default();
        for path in paths {
            let above = path.ancestors().skip(1).map(Path::to_owned);
            part.ancestors.extend(above);
            part.paths.insert(path);
        }
        Self::Within(Arc::new(part))
    }

    /// True for what lies in it.
    pub(super) fn holds(&self, path: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Within(part) => path.ancestors().any(|path| part.paths.contains(path)),
        }
    }

    /// True for what lies in it or leads to it.
    fn leads(&self, path: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Within(part) => part.ancestors.contains(path) || self.holds(path),
        }
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Regular files, in the order of their paths.
    pub(super) files: Vec<PathBuf>,
    /// What is not taken in, and why.
    pub(super) refused: Vec<(PathBuf, String)>,
    /// What could not be looked into: nothing is known of what is in there.
    pub(super) unreadable: Vec<PathBuf>,
}

/// Looks through the part `scope` of the folder `root`.
pub(super) fn scan(root: &Path, scope: &Scope) -> Scan {
    let mut scan = Scan::default();
    let lead = scope.clone();
    let walk = WalkBuilder::new(root)
        .follow_links(false)
        .parents(false)
        .require_git(false)
        .git_global(false)
        .git_exclude(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .sort_by_file_path(Path::cmp)
        .filter_entry(move |entry| lead.leads(entry.path()))
        .build();
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = path_of(&error).unwrap_or_else(|| root.to_owned());
                // What vanished while it was looked at is not there.
                if !is_gone(&error) {
                    scan.refused.push((path.clone(), error.to_string()));
                    scan.unreadable.push(path);
                }
                continue;
            }
        };
        if !scope.holds(entry.path()) {
            continue;
        }
        match entry.file_type() {
            Some(kind) if kind.is_file() => scan.files.push(entry.into_path()),
            Some(kind) if kind.is_dir() => {}
            Some(kind) if kind.is_symlink() => {
                let reason = "symbolic links are not followed: they may lead out of the folder".to_owned();
                scan.refused.push((entry.into_path(), reason));
            }
            _ => scan
                .refused
                .push((entry.into_path(), "this is no regular file".to_owned())),
        }
    }
    scan
}

/// True for a file whose lines change what is ignored.
pub(super) fn decides_what_is_ignored(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == IGNORE_FILE || name == ".gitignore" || name == ".ignore")
}

fn path_of(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
        _ => None,
    }
}

fn is_gone(error: &ignore::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scan: &Scan, root: &Path) -> Vec<String> {
        let names = scan.files.iter().map(|path| path.strip_prefix(root).unwrap());
        names.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn ignored_and_hidden_files_are_left_out() {
        let folder = folder(&[
            ("a.txt", ""),
            (".hidden", ""),
            (".git/config", ""),
            (".soloignore", "secret/\n*.log\n"),
            ("secret/b.txt", ""),
            ("x/c.log", ""),
            ("x/.gitignore", "d.txt\n"),
            ("x/d.txt", ""),
            ("x/e.txt", ""),
        ]);
        assert_eq!(
            names(&scan(folder.path(), &Scope::Everything), folder.path()),
            ["a.txt", "x/e.txt"]
        );
    }

    #[test]
    fn a_part_is_looked_at_with_the_same_rules() {
        let folder = folder(&[
            (".soloignore", "*.log\n"),
            ("a.txt", ""),
            ("x/b.txt", ""),
            ("x/y/c.txt", ""),
            ("x/y/d.log", ""),
            ("xy.txt", ""),
        ]);
        let within = |paths: &[&str]| {
            let scope = Scope::within(paths.iter().map(|path| folder.path().join(path)));
            names(&scan(folder.path(), &scope), folder.path())
        };
        assert_eq!(within(&["x/y", "a.txt"]), ["a.txt", "x/y/c.txt"]);
        assert_eq!(within(&["x"]), ["x/b.txt", "x/y/c.txt"]);
        assert!(within(&["x/y/d.log"]).is_empty());
        assert!(within(&["gone"]).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_refused_by_name() {
        let folder = folder(&[("a.txt", "")]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.txt")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("folder")).unwrap();
        let scan = scan(folder.path(), &Scope::Everything);
        assert_eq!(names(&scan, folder.path()), ["a.txt"]);
        assert_eq!(scan.refused.len(), 2, "{:?}", scan.refused);
        assert!(scan.refused[0].1.contains("not followed"));
    }
}
