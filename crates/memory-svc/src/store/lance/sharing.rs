//! What several processes on one store take turns by: docs/adr/0024.
//!
//! | | |
//! |---|---|
//! | Seeing each other's writes | [`Inner::look`], every now and then, before something is read; [`Inner::follow`], at once |
//! | Not undoing each other's writes | [`super::pin`], and [`Attempts`] when another was faster |
//! | Keeping files that others may still use | [`KEPT`] and [`Shared::may_be_under_way`] |
//! | Not tidying up at once | [`Turn`] |

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use solo_service::StartupError;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Inner;
use crate::store::StoreError;

/// How long files of older states are kept, and chunks that belong to no document, at least: longer than any write of any
/// process takes, from what it was decided by to its commit.
pub const KEPT: Duration = Duration::from_secs(3600);

/// A write that was overtaken is decided again so often.
const MOST_ATTEMPTS: u32 = 10;
/// The wait before an attempt: up to so much for each that was made.
const WAIT: Duration = Duration::from_millis(20);
/// Documents and chunks are read again until they fit together, so often.
const MOST_LOOKS: u32 = 50;

/// How a store is shared.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// What others wrote is seen after this time at the latest.
    pub refresh: Duration,
    /// Settings of the bucket that it is in; `None`: it is in a folder.
    pub bucket: Option<Vec<(String, String)>>,
}

/// What is remembered of sharing.
pub(super) struct Shared {
    refresh: Duration,
    /// When somebody last looked.
    looked: Mutex<Option<Instant>>,
    /// The file that says whose turn upkeep is; `None`: nobody can say.
    turns: Option<PathBuf>,
}

/// While it lives no other process of this machine tidies up.
pub(super) struct Turn {
    _lock: Option<File>,
}

/// Attempts at a write.
#[derive(Default)]
pub(super) struct Attempts(u32);

impl Shared {
    pub(super) fn new(path: &Path, sharing: &Sharing) -> Self {
        Self {
            refresh: sharing.refresh,
            looked: Mutex::default(),
            turns: sharing.bucket.is_none().then(|| path.join("upkeep.lock")),
        }
    }

    /// True: chunks of this generation may be those of a document that another process is about to commit.
    pub(super) fn may_be_under_way(generation: Uuid) -> bool {
        is_younger(generation, KEPT)
    }

    /// True: chunks of this generation, which is this process's own, will not be taken for strays before a commit.
    pub(super) fn is_recent(generation: Uuid) -> bool {
        is_younger(generation, KEPT / 2)
    }

    /// Takes the turn; another process has it: [`StoreError::Busy`]. In a bucket everybody has it, and conflicts decide.
    fn turn(&self) -> Result<Turn, StoreError> {
        let Some(path) = &self.turns else {
            return Ok(Turn { _lock: None });
        };
        let cannot = |error: std::io::Error| StoreError::Backend {
            doing: "locked its upkeep",
            source: error.into(),
        };
        let file = open_lock(path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Turn { _lock: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

impl Attempts {
    /// Waits before another attempt, longer each time, and not as long as others do.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after too many.
    pub(super) async fn again(&mut self) -> Result<(), StoreError> {
        self.0 += 1;
        if self.0 >= MOST_ATTEMPTS {
            return Err(StoreError::Busy);
        }
        tokio::time::sleep(jitter(WAIT * self.0)).await;
        Ok(())
    }
}

/// By the time that it carries.
fn is_younger(id: Uuid, age: Duration) -> bool {
    let Some(made) = id.get_timestamp() else { return false };
    let (seconds, _) = made.to_unix();
    let made = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::now().as_second().saturating_sub(made) < age.as_secs().cast_signed()
}

/// Something between nothing and `most`.
fn jitter(most: Duration) -> Duration {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    most.mul_f64(random as f64 / u64::MAX as f64)
}

impl Inner {
    /// Sees what others wrote, if nobody looked for a while.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        // Others wait for whoever looks.
        let mut looked = shared.looked.lock().await;
        if looked.is_some_and(|looked| looked.elapsed() < shared.refresh) {
            return Ok(());
        }
        let now = Instant::now();
        self.follow().await?;
        *looked = Some(now);
        Ok(())
    }

    /// Sees the newest state of every table.
    ///
    /// Of documents and chunks it is one that fits together: each document's chunks were there when its row was read, and are
    /// still there if no row was changed since.
    pub(super) async fn follow(&self) -> Result<(), StoreError> {
        if self.shared.is_none() {
            return Ok(());
        }
        let pair = async {
            for look in 1.. {
                let documents = self.documents.newest().await?;
                let chunks = self.chunks.newest().await?;
                // Where others write without a break a piece may be missing for a moment, rather than nothing new be seen.
                if look == MOST_LOOKS || self.documents.is_newest(&documents).await? {
                    return Ok((documents, chunks));
                }
            }
            Err(StoreError::Busy)
        };
        let ((documents, chunks), (), (), ()) = futures::try_join!(
            pair,
            self.facts.reload(),
            self.collections.reload(),
            self.watches.reload()
        )?;
        // Searches pin both tables under this lock.
        let _nobody_pins = self.hidden.write().await;
        self.documents.show(documents);
        self.chunks.show(chunks);
        Ok(())
    }

    /// Waits for nobody: the right to tidy up, or [`StoreError::Busy`].
    pub(super) fn turn(&self) -> Result<Option<Turn>, StoreError> {
        self.shared.as_ref().map(Shared::turn).transpose()
    }
}

/// Locks the folder until the file is closed: for this process alone, or for all that share it.
pub(super) fn lock(path: &Path, shared: bool) -> Result<File, StartupError> {
    let file = path.join("solo.lock");
    let cannot = |error: std::io::Error| StartupError::other(format!("{} cannot be locked: {error}", file.display()));
    let lock = open_lock(&file).map_err(cannot)?;
    let locked = if shared {
        lock.try_lock_shared()
    } else {
        lock.try_lock()
    };
    match locked {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) if shared => Err(StartupError::other(format!(
            "the store in {} is open in another process that does not share it: set memory.shared = true for that one, too, or \
             stop it (`solo ps`)",
            path.display()
        ))),
        Err(TryLockError::WouldBlock) => Err(StartupError::other(format!(
            "the store in {} is open in another process: stop that one (`solo ps`), or set memory.path; with memory.shared = \
             true in both they share it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_within_the_hour_may_be_under_way() {
        assert!(Shared::may_be_under_way(Uuid::now_v7()));
        let hours = |hours: u64| {
            let seconds = u64::try_from(Timestamp::now().as_second()).unwrap() - hours * 3600;
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0))
        };
        assert!(!Shared::may_be_under_way(hours(2)));
        assert!(
            !Shared::may_be_under_way(Uuid::new_v4()),
            "nobody makes such generations"
        );
    }

    #[tokio::test]
    async fn attempts_end() {
        let mut attempts = Attempts::default();
        let mut made = 1;
        while attempts.again().await.is_ok() {
            made += 1;
        }
        assert_eq!(made, MOST_ATTEMPTS);
    }
}
