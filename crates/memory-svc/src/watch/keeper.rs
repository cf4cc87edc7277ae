//! Makes the store equal one folder.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use serde_json::Map;
use solo_service::CancellationToken;
use tokio::sync::{mpsc, watch};
use url::Url;
use uuid::Uuid;

use super::file::{self, Read};
use super::notices::Notices;
use super::scan::{Scan, Scope, scan};
use super::{Phase, Report, Watch};
use crate::document::Stored;
use crate::error::Error;
use crate::memory::{Memory, Ready, Upload};
use crate::names::{DocumentUri, check_uri};

/// Documents that are deleted in one step.
pub(super) const DELETED_AT_ONCE: usize = 1000;
/// Documents that are stored in one step, at most.
const STORED_AT_ONCE: usize = 64;
/// Pieces that are stored in one step, about.
const PIECES_AT_ONCE: usize = 512;
/// Files that are read at once: one waits for the engine while the next is parsed.
const READ_AT_ONCE: usize = 2;
/// After a failure (a full disk, say) the folder is compared again after so long.
const RETRY: Duration = Duration::from_secs(10);
/// A folder whose changes are not told is compared so often.
const UNTOLD: Duration = Duration::from_secs(60);
/// Failures that are kept to be shown.
const SHOWN_FAILURES: usize = 1000;

/// Keeps one folder.
pub(super) struct Keeper {
    memory: Memory,
    watch: Watch,
    report: watch::Sender<Report>,
    /// Files that were refused, with their contents, so that they are not read again before they change.
    refused: HashMap<PathBuf, ([u8; 32], String)>,
    /// Files that are not taken in and were not read, and why.
    passed_over: BTreeMap<PathBuf, String>,
    unsupported: HashSet<PathBuf>,
    /// Files that were taken in without some of their parts, and which.
    partial: Mutex<BTreeMap<PathBuf, String>>,
}

/// What became of a file.
enum Outcome {
    /// The store has it.
    Same,
    /// It is ready to be stored.
    New(Box<Ready>),
    /// It is not taken in.
    Refused(Option<[u8; 32]>, String),
    /// Nobody reads its format.
    Unsupported,
    /// Somebody is writing it.
    Unsettled,
    /// It is not there any more.
    Gone,
    /// It cannot be read now; what the store has of it stays.
    Unreadable(String),
}

/// What is known of the folder while it is compared.
struct Comparison {
    stored: HashMap<String, Stored>,
    /// Documents by their content: a file that was copied, or has another name now, is not embedded again.
    by_content: ByContent,
    /// What the folder has, or may have: it stays in the store.
    kept: HashSet<String>,
    unreadable: Vec<PathBuf>,
    unsettled: Vec<PathBuf>,
}

impl Keeper {
    pub(super) fn new(memory: Memory, watch: Watch, report: watch::Sender<Report>) -> Self {
        Self {
            memory,
            watch,
            report,
            refused: HashMap::new(),
            passed_over: BTreeMap::new(),
            unsupported: HashSet::new(),
            partial: Mutex::default(),
        }
    }

    /// Keeps the folder until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let stopped = stop.clone();
        // Whatever runs then is either committed or did not happen; the next start compares anew.
        tokio::select! {
            () = stopped.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        let config = self.memory.config().watch;
        loop {
            // Hearing begins before looking, so that nothing falls between.
            let (notices, untold) = Notices::follow(&self.watch.path, config.settle());
            let mut scope = Scope::Everything;
            let every = if untold.is_some() { UNTOLD } else { config.rescan() };
            loop {
                if let Err(problem) = self.compare(&scope, &notices).await {
                    tracing::warn!(folder = %self.watch.path.display(), problem, "a watched folder cannot be compared with the store");
                    self.report.send_modify(|report| {
                        report.phase = Phase::Waiting;
                        report.problem = problem;
                    });
                    tokio::time::sleep(RETRY).await;
                    // The folder may be another one by now, and then nobody hears.
                    break;
                }
                self.report
                    .send_modify(|report| report.problem = untold.clone().unwrap_or_default());
                scope = tokio::select! {
                    scope = notices.next() => scope,
                    () = tokio::time::sleep(every) => Scope::Everything,
                };
            }
        }
    }

    /// Makes the store equal the part `scope` of the folder.
    async fn compare(&mut self, scope: &Scope, notices: &Notices) -> Result<(), String> {
        self.watch
            .check_known(&self.memory)
            .await
            .map_err(|error| told(&error))?;
        let found = self.look(scope).await?;
        let store = self.memory.store();
        let stored = store
            .contents(&self.watch.principal, &self.watch.collection, &self.watch.uri())
            .await
            .map_err(|error| told(&error.into()))?;
        let by_content = stored.iter().map(|stored| (stored.content_sha256, stored.id)).collect();
        let mut comparison = Comparison {
            by_content: Mutex::new(by_content),
            stored: stored.into_iter().map(|stored| (stored.uri.clone(), stored)).collect(),
            kept: HashSet::new(),
            unreadable: found.unreadable,
            unsettled: Vec::new(),
        };
        self.passed_over.retain(|path, _| !scope.holds(path));
        self.passed_over.extend(found.refused);
        self.unsupported.retain(|path| !scope.holds(path));
        let still_there: HashSet<&PathBuf> = found.files.iter().collect();
        self.refused
            .retain(|path, _| !scope.holds(path) || still_there.contains(path));
        self.partial
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path, _| !scope.holds(path) || still_there.contains(path));
        let (total, known) = (found.files.len() as u64, comparison.stored.len() as u64);
        self.report.send_modify(|report| {
            report.phase = Phase::Scanning;
            report.problem.clear();
            report.files = known;
            (report.done, report.total) = (0, total);
        });
        self.take_in(found.files, &mut comparison).await?;
        self.delete_the_rest(scope, &comparison).await?;
        self.memory.count().await;
        let settled = comparison.unsettled.is_empty();
        notices.again(comparison.unsettled);
        self.tell(settled).await
    }

    /// What the folder has. A folder that is gone is a disk that is not there, or a mistake: nothing is deleted for it.
    async fn look(&self, scope: &Scope) -> Result<Scan, String> {
        let (root, scope) = (self.watch.path.clone(), scope.clone());
        let look = move || match std::fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => Ok(scan(&root, &scope)),
            _ => Err(format!(
                "{} is not there: what it brought stays until it is back, or until the watch is removed",
                root.display()
            )),
        };
        tokio::task::spawn_blocking(look)
            .await
            .map_err(|_| "looking through the folder panicked".to_owned())?
    }

    /// Takes in what is new or changed. Nothing is deleted yet: a file with another name now lends its vectors.
    async fn take_in(&mut self, files: Vec<PathBuf>, comparison: &mut Comparison) -> Result<(), String> {
        let mut ready: Vec<Ready> = Vec::new();
        let keeper = &*self;
        let (stored, by_content) = (&comparison.stored, &comparison.by_content);
        let (mut kept, mut unsettled) = (HashSet::new(), Vec::new());
        let (mut refused, mut unsupported, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
        let looked_at = files.clone();
        let mut outcomes = stream::iter(files)
            .map(|path| async move {
                let outcome = keeper.file(&path, stored, by_content).await;
                (path, outcome)
            })
            .buffered(READ_AT_ONCE);
        while let Some((path, outcome)) = outcomes.next().await {
            let uri = uri_of(&path);
            match outcome.map_err(|error| told(&error))? {
                Outcome::Same => {
                    kept.extend(uri);
                }
                Outcome::New(new) => {
                    kept.extend(uri);
                    ready.push(*new);
                }
                Outcome::Refused(Some(content), reason) => refused.push((path, (content, reason))),
                Outcome::Refused(None, reason) => passed_over.push((path, reason)),
                Outcome::Unsupported => unsupported.push(path),
                Outcome::Unsettled => {
                    kept.extend(uri);
                    unsettled.push(path);
                }
                Outcome::Gone => {}
                Outcome::Unreadable(reason) => {
                    kept.extend(uri);
                    passed_over.push((path, reason));
                }
            }
            let pieces: usize = ready.iter().map(Ready::chunks).sum();
            if ready.len() >= STORED_AT_ONCE || pieces >= PIECES_AT_ONCE {
                keeper.store(std::mem::take(&mut ready), by_content).await?;
            }
            keeper.report.send_modify(|report| report.done += 1);
        }
        keeper.store(ready, by_content).await?;
        drop(outcomes);
        (comparison.kept, comparison.unsettled) = (kept, unsettled);
        for path in looked_at {
            self.refused.remove(&path);
        }
        self.refused.extend(refused);
        self.unsupported.extend(unsupported);
        self.passed_over.extend(passed_over);
        Ok(())
    }

    async fn store(&self, ready: Vec<Ready>, by_content: &ByContent) -> Result<(), String> {
        if ready.is_empty() {
            return Ok(());
        }
        let contents: Vec<[u8; 32]> = ready.iter().map(Ready::content_sha256).collect();
        let (memory, watch) = (&self.memory, &self.watch);
        let stored = memory.store_all(&watch.principal, ready, Some(watch)).await;
        let stored = stored.map_err(|error| told(&error))?;
        let mut by_content = by_content.lock().unwrap_or_else(PoisonError::into_inner);
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for (content, taken) in contents.into_iter().zip(stored) {
            by_content.insert(content, taken.document.id);
            if let Some(path) = path_of(&taken.document.uri) {
                partial.remove(&path);
                if !taken.warnings.is_empty() {
                    partial.insert(path, format!("taken in, but {}", taken.warnings.join("; ")));
                }
            }
        }
        Ok(())
    }

    /// Reads a file, unless the store has it as it is.
    async fn file(
        &self,
        path: &Path,
        stored: &HashMap<String, Stored>,
        by_content: &ByContent,
    ) -> Result<Outcome, Error> {
        let config = self.memory.config();
        let uri = match uri_of(path)
            .ok_or("its path is not absolute".to_owned())
            .and_then(|uri| {
                check_uri(&uri, "uri").map_err(|error| error.to_string())?;
                Ok(uri)
            }) {
            Ok(uri) => uri,
            Err(reason) => return Ok(Outcome::Refused(None, reason)),
        };
        let known = stored.get(&uri);
        let refused = self.refused.get(path).cloned();
        let (most, settle) = (config.max_document_bytes, config.watch.settle());
        let (root, file, spool) = (self.watch.path.clone(), path.to_owned(), self.memory.spool().to_owned());
        let document = DocumentUri::or_note(&uri)?;
        let of = document.clone();
        let read = move || file::read(&root, &file, &of, most, settle, &spool);
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| Error::Panicked {
            doing: "reading a file",
        })?;
        let content = match read {
            Read::Content(content) => content,
            Read::Gone => return Ok(Outcome::Gone),
            Read::Unsettled => return Ok(Outcome::Unsettled),
            Read::Unsupported => return Ok(Outcome::Unsupported),
            Read::Refused(reason) => return Ok(Outcome::Refused(None, reason)),
            Read::Unreadable(reason) => return Ok(Outcome::Unreadable(reason)),
            Read::NoRoom(source) => return Err(Error::Spool { source }),
        };
        let hash = content.sha256();
        if known.is_some_and(|known| known.content_sha256 == hash) {
            return Ok(Outcome::Same);
        }
        if let Some((_, reason)) = refused.filter(|(known, _)| *known == hash) {
            return Ok(Outcome::Refused(Some(hash), reason));
        }
        let same = by_content
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
            .copied();
        let like: Vec<Uuid> = known.map(|known| known.id).into_iter().chain(same).collect();
        let upload = Upload {
            collection: self.watch.collection.clone(),
            uri: document,
            media_type: String::new(),
            title: String::new(),
            metadata: Map::new(),
            content_sha256: None,
        };
        let (progress, _) = mpsc::channel(1);
        let preparing = self
            .memory
            .prepare(&self.watch.principal, upload, content, &like, progress);
        match preparing.await {
            Ok(ready) => Ok(Outcome::New(Box::new(ready))),
            Err(error @ (Error::Refused(_) | Error::Invalid { .. })) => {
                Ok(Outcome::Refused(Some(hash), error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes what the store has and the folder has not.
    async fn delete_the_rest(&self, scope: &Scope, comparison: &Comparison) -> Result<(), String> {
        let deleted = comparison.stored.values().filter(|stored| {
            !comparison.kept.contains(&stored.uri)
                && path_of(&stored.uri).is_some_and(|path| {
                    scope.holds(&path) && !comparison.unreadable.iter().any(|unread| path.starts_with(unread))
                })
        });
        let ids: Vec<Uuid> = deleted.map(|stored| stored.id).collect();
        for some in ids.chunks(DELETED_AT_ONCE) {
            let writing = self.memory.writing().await;
            let deleted = writing.store().delete_documents(&self.watch.principal, some).await;
            deleted.map_err(|error| told(&error.into()))?;
        }
        Ok(())
    }

    /// Says how the store and the folder stand; `settled`: they are equal, nobody is writing a file.
    async fn tell(&self, settled: bool) -> Result<(), String> {
        let stored = self
            .memory
            .store()
            .contents(&self.watch.principal, &self.watch.collection, &self.watch.uri())
            .await
            .map_err(|error| told(&error.into()))?;
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = self.refused.iter().map(|(path, (_, reason))| (path, reason));
        let mut failures: Vec<(PathBuf, String)> = refused
            .chain(&self.passed_over)
            .chain(&partial)
            .map(|(path, reason)| (path.clone(), reason.clone()))
            .collect();
        failures.sort();
        failures.truncate(SHOWN_FAILURES);
        self.report.send_modify(|report| {
            report.files = stored.len() as u64;
            report.unsupported = self.unsupported.len() as u64;
            report.failures = failures;
            if settled {
                report.phase = Phase::Following;
                report.settled_at = Some(Timestamp::now());
            }
        });
        Ok(())
    }
}

/// Documents by the SHA-256 of their content.
type ByContent = Mutex<HashMap<[u8; 32], Uuid>>;

/// A failure that stops the comparison, as it is shown; what is behind it is for the log.
fn told(error: &Error) -> String {
    tracing::debug!(error = %solo_service::error::chain(error), "a comparison stopped");
    error.to_string()
}

fn uri_of(path: &Path) -> Option<String> {
    Url::from_file_path(path).map(String::from).ok()
}

fn path_of(uri: &str) -> Option<PathBuf> {
    Url::parse(uri).ok()?.to_file_path().ok()
}
