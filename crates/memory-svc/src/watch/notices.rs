//! Hears of changes in a folder (inotify and its like, by notify) and lets them settle: whoever writes a file writes it in
//! pieces.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::scan::{Scope, decides_what_is_ignored};

/// Paths that are waited for one by one; with more, the whole folder is looked at.
const MOST_PATHS: usize = 20_000;

/// What changed lately in a folder.
pub(super) struct Notices {
    shared: Arc<Shared>,
    settle: Duration,
    /// Hears for as long as it is kept; `None`: it could not be made.
    _watcher: Option<RecommendedWatcher>,
}

#[derive(Default)]
struct Shared {
    dirty: Mutex<Dirty>,
    changed: Notify,
}

#[derive(Default)]
struct Dirty {
    /// When each path last changed.
    paths: HashMap<PathBuf, Instant>,
    /// When something changed of which it is not known where.
    everything: Option<Instant>,
}

impl Shared {
    fn note(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for path in paths {
            if decides_what_is_ignored(&path) {
                dirty.everything = Some(now);
            } else {
                dirty.paths.insert(path, now);
            }
        }
        if dirty.paths.len() > MOST_PATHS {
            dirty.paths.clear();
            dirty.everything = Some(now);
        }
        drop(dirty);
        self.changed.notify_one();
    }

    fn note_everything(&self) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).everything = Some(Instant::now());
        self.changed.notify_one();
    }

    fn hear(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.note_everything(),
            // Reading a file is no change of it, and this service reads.
            Ok(event) if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) =>
                {}
            Ok(event) => self.note(event.paths),
            Err(error) => {
                tracing::warn!(%error, "a change in a watched folder was not understood: all of it is looked at");
                self.note_everything();
            }
        }
    }
}

impl Notices {
    /// Hears of changes in `root`. Where the system does not tell, the problem is returned, too, and nothing is heard.
    pub(super) fn follow(root: &Path, settle: Duration) -> (Self, Option<String>) {
        let shared = Arc::new(Shared::default());
        let hearing = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| hearing.hear(event))
            .and_then(|mut watcher| watcher.watch(root, RecursiveMode::Recursive).map(|()| watcher));
        let (watcher, problem) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(explained(&error))),
        };
        let notices = Self {
            shared,
            settle,
            _watcher: watcher,
        };
        (notices, problem)
    }

    /// Looks at these again once they have settled.
    pub(super) fn again(&self, paths: Vec<PathBuf>) {
        if !paths.is_empty() {
            self.shared.note(paths);
        }
    }

    /// Waits for changes, and until those have settled. Cancel safe.
    pub(super) async fn next(&self) -> Scope {
        loop {
            match self.settled() {
                Ok(scope) => return scope,
                Err(Some(at)) => tokio::time::sleep_until(at).await,
                Err(None) => self.shared.changed.notified().await,
            }
        }
    }

    /// What has settled; else when to look again; `None`: nothing changed.
    fn settled(&self) -> Result<Scope, Option<Instant>> {
        let mut dirty = self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(at) = dirty.everything {
            if at + self.settle > now {
                return Err(Some(at + self.settle));
            }
            *dirty = Dirty::default();
            return Ok(Scope::Everything);
        }
        let settled: Vec<PathBuf> = dirty
            .paths
            .extract_if(|_, at| *at + self.settle <= now)
            .map(|(path, _)| path)
            .collect();
        if settled.is_empty() {
            return Err(dirty.paths.values().min().map(|at| *at + self.settle));
        }
        Ok(Scope::within(settled))
    }
}

fn explained(error: &notify::Error) -> String {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system tells of changes in too few folders: raise fs.inotify.max_user_watches (sysctl); until then the \
             folder is looked at once a minute"
                .to_owned()
        }
        _ => format!("the system does not tell of changes ({error}): the folder is looked at once a minute"),
    }
}
