//! Watched folders: what is in them is in the store.
//!
//! - [`Watches`] keeps one [`keeper`] for each folder, and answers for them.
//! - [`keeper`] makes the store equal the folder: at its start, whenever something changes, and every now and then in case a
//!   change was not told. It compares contents, never histories, so that it does not matter what it missed or when it was
//!   killed.
//!
//! Of processes that share a store one keeps the folders (`memory.watch.keeper`): a keeper deletes what its folder has not, and
//! the folder of that name on another machine may be another one. The others list and remove them.
//!
//! - [`scan`] lists a folder's files; [`notices`] hears of changes and lets them settle; [`file`](mod@file) opens what is in
//!   the folder and nothing that only seems to be.

mod file;
mod keeper;
mod notices;
mod scan;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use solo_service::CancellationToken;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use url::Url;
use uuid::Uuid;

use crate::error::Error;
use crate::memory::Memory;
use crate::names::{CollectionName, Principal, shorten};
use crate::store::StoreError;
use keeper::Keeper;

/// A watched folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Identifier.
    pub id: Uuid,
    /// Whose it is.
    pub principal: Principal,
    /// Collection that its documents go to.
    pub collection: CollectionName,
    /// The folder: absolute, without symbolic links.
    pub path: PathBuf,
    /// Since when it is watched.
    pub created_at: Timestamp,
}

impl Watch {
    /// The beginning of its documents' URIs.
    pub fn uri(&self) -> String {
        uri_of_folder(&self.path)
    }

    /// Refuses one that another process of a shared store has removed, and perhaps forgotten what it brought: its folder need not
    /// be read. Whether that happens meanwhile is looked at when it is stored ([`crate::store::Store::put_watched`]).
    async fn check_known(&self, memory: &Memory) -> Result<(), Error> {
        if memory.config().is_shared() && !memory.store().watches().await?.contains(self) {
            Err(StoreError::NotFound {
                what: "watch",
                name: self.id.to_string(),
            })?;
        }
        Ok(())
    }
}

/// `file:///folder/`.
fn uri_of_folder(path: &Path) -> String {
    Url::from_directory_path(path).map(String::from).unwrap_or_default()
}

/// What a keeper is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Comparing the folder with the store.
    #[default]
    Scanning,
    /// The store equals the folder; changes are waited for.
    Following,
    /// Something is in the way; it tries again.
    Waiting,
}

/// How a watched folder is getting on.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What it is doing.
    pub phase: Phase,
    /// Files that are in the store.
    pub files: u64,
    /// Files of this scan that were looked at.
    pub done: u64,
    /// Files of this scan.
    pub total: u64,
    /// Files of formats that nobody reads: pictures, programs.
    pub unsupported: u64,
    /// Files that were refused, and why.
    pub failures: Vec<(PathBuf, String)>,
    /// What is in the way, with the remedy; empty: nothing.
    pub problem: String,
    /// When the store last equalled the folder.
    pub settled_at: Option<Timestamp>,
}

/// All watched folders. Cheap to clone.
#[derive(Clone)]
pub struct Watches(Arc<Parts>);

struct Parts {
    memory: Memory,
    running: Mutex<HashMap<Uuid, Running>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Running {
    watch: Watch,
    report: watch::Receiver<Report>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Watches {
    /// Goes on with the folders that the store knows, if this is the process that keeps them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(memory: Memory, shutdown: CancellationToken) -> Result<Self, StoreError> {
        let known = if memory.config().keeps_watches() {
            memory.store().watches().await?
        } else {
            Vec::new()
        };
        let watches = Self(Arc::new(Parts {
            memory,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }));
        for watch in known {
            watches.keep(watch);
        }
        Ok(watches)
    }

    /// Ends with the service, once every keeper has.
    pub async fn run(self) {
        self.0.shutdown.cancelled().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Watches a folder.
    ///
    /// # Errors
    /// What is no folder, or lies in one that is watched for the same collection, or holds one. A process that does not keep
    /// watched folders.
    pub async fn add(&self, principal: &Principal, path: &str, collection: CollectionName) -> Result<Watch, Error> {
        if !self.0.memory.config().keeps_watches() {
            return Err(Error::WatchesElsewhere);
        }
        let path = folder(path).await?;
        for watch in self.of(principal).await? {
            if watch.collection == collection && (path.starts_with(&watch.path) || watch.path.starts_with(&path)) {
                let message = format!(
                    "{} is watched already for the collection {collection}: remove that watch first ({})",
                    watch.path.display(),
                    watch.id
                );
                return Err(Error::invalid("path", "WATCH_OVERLAPS", message));
            }
        }
        let now = Timestamp::now();
        let watch = Watch {
            id: Uuid::now_v7(),
            principal: principal.clone(),
            collection,
            path,
            created_at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
        };
        self.0.memory.writing().await.store().add_watch(&watch).await?;
        self.keep(watch.clone());
        Ok(watch)
    }

    /// Stops watching a folder; says how many of its documents were deleted, which are none if they are to be kept.
    ///
    /// # Errors
    /// When there is no such watch of this principal.
    pub async fn remove(&self, principal: &Principal, id: Uuid, keep_documents: bool) -> Result<u64, Error> {
        let watch = self.of(principal).await?.into_iter().find(|watch| watch.id == id);
        let watch = watch.ok_or_else(|| StoreError::NotFound {
            what: "watch",
            name: id.to_string(),
        })?;
        let writing = self.0.memory.writing().await;
        let removed = writing.store().remove_watch(principal, id).await;
        // Keepers write, too.
        drop(writing);
        match removed {
            // Another process was faster.
            Ok(()) | Err(StoreError::NotFound { .. }) => self.stop(id).await,
            Err(error) => return Err(error.into()),
        }
        if keep_documents {
            return Ok(0);
        }
        let deleted = self.delete_contents(&watch).await?;
        self.0.memory.count().await;
        Ok(deleted)
    }

    /// Deletes what a folder brought that is not watched any more; says how many documents that were.
    async fn delete_contents(&self, watch: &Watch) -> Result<u64, Error> {
        let writing = self.0.memory.writing().await;
        let store = writing.store();
        let (uri, mut deleted) = (watch.uri(), 0);
        loop {
            let documents = store.contents(&watch.principal, &watch.collection, &uri).await?;
            let some = documents.iter().take(keeper::DELETED_AT_ONCE);
            let ids: Vec<Uuid> = some.map(|document| document.id).collect();
            if ids.is_empty() {
                return Ok(deleted);
            }
            match store.delete_documents(&watch.principal, &ids).await {
                Ok(count) => deleted += count,
                // The process that kept the folder took some of them back.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stops watching every folder of a principal: before everything is forgotten, or it would come back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove_all(&self, principal: &Principal) -> Result<(), Error> {
        for watch in self.of(principal).await? {
            self.remove(principal, watch.id, true).await?;
        }
        Ok(())
    }

    /// The folders of a principal, oldest first, and how they are getting on.
    ///
    /// # Errors
    /// When the store cannot be read, where another process keeps them.
    pub async fn list(&self, principal: &Principal) -> Result<Vec<(Watch, Report)>, Error> {
        let mut list: Vec<(Watch, Report)> = if self.0.memory.config().keeps_watches() {
            let running = self.running();
            let report = |running: &Running| (running.watch.clone(), running.report.borrow().clone());
            running.values().map(report).collect()
        } else {
            let report = Report {
                phase: Phase::Waiting,
                problem: "another process of this shared store keeps it, the one with memory.watch.keeper = true"
                    .into(),
                ..Report::default()
            };
            let known = self.0.memory.store().watches().await?;
            known.into_iter().map(|watch| (watch, report.clone())).collect()
        };
        list.retain(|(watch, _)| watch.principal == *principal);
        list.sort_by_key(|(watch, _)| watch.id);
        Ok(list)
    }

    async fn of(&self, principal: &Principal) -> Result<Vec<Watch>, Error> {
        Ok(self
            .list(principal)
            .await?
            .into_iter()
            .map(|(watch, _)| watch)
            .collect())
    }

    fn keep(&self, watch: Watch) {
        let (reporter, report) = watch::channel(Report::default());
        let (stop, stopped) = (self.0.shutdown.child_token(), CancellationToken::new());
        let keeper = Keeper::new(self.0.memory.clone(), watch.clone(), reporter);
        let (until, ended) = (stop.clone(), stopped.clone().drop_guard());
        self.0.tasks.spawn(async move {
            keeper.run(until).await;
            drop(ended);
        });
        let running = Running {
            report,
            stop,
            stopped,
            watch,
        };
        self.running().insert(running.watch.id, running);
    }

    async fn stop(&self, id: Uuid) {
        let running = self.running().remove(&id);
        if let Some(Running { stop, stopped, .. }) = running {
            stop.cancel();
            stopped.cancelled().await;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that a request names, without symbolic links.
async fn folder(path: &str) -> Result<PathBuf, Error> {
    let bad = |message: String| Error::invalid("path", "BAD_PATH", message);
    if !Path::new(path).is_absolute() {
        return Err(bad(format!(
            "`{}` is no absolute path: memory-svc does not know where you are",
            shorten(path)
        )));
    }
    let found = tokio::fs::canonicalize(path)
        .await
        .map_err(|error| bad(format!("{path} cannot be watched: {error}")))?;
    let metadata = tokio::fs::metadata(&found)
        .await
        .map_err(|error| bad(format!("{path} cannot be watched: {error}")))?;
    if !metadata.is_dir() {
        return Err(bad(format!(
            "{path} is no folder: `solo remember --file` takes single files in"
        )));
    }
    Ok(found)
}
