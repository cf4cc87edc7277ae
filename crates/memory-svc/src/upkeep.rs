//! Looks after the store in the background: each put leaves a small file that no index knows, and each deletion leaves what it
//! deleted, until somebody tidies up.

mod schedule;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use solo_service::CancellationToken;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::config::{RetentionConfig, UpkeepConfig};
use crate::retention::Limits;
use crate::store::{Store, StoreError};
use schedule::{Conflicts, LATER, Schedule};

/// Wait after a failure (a full disk, say) before trying again.
const RETRY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Compact,
    Index,
    Words,
    Prune,
    Expire,
}

/// What the configuration wants.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Of the store's files.
    pub upkeep: UpkeepConfig,
    /// Of what leaves by itself.
    pub retention: RetentionConfig,
}

/// Compacts when enough was written or something deleted must leave the disk; prunes once the readers that may use the
/// old files are done. Ends on shutdown, once the writes have ended that were begun; what else it was doing then is either
/// committed or did not happen. When another store takes the place of one, it looks after that.
pub async fn run(mut stores: watch::Receiver<Arc<dyn Store>>, rules: Rules, shutdown: CancellationToken) {
    loop {
        let store = Arc::clone(&stores.borrow_and_update());
        let replaced = tokio::select! {
            () = look_after(&*store, rules, &shutdown) => false,
            changed = stores.changed() => changed.is_ok(),
        };
        if !replaced {
            return store.settle().await;
        }
    }
}

async fn look_after(store: &dyn Store, rules: Rules, shutdown: &CancellationToken) {
    let config = rules.upkeep;
    let mut backlog = store.backlog();
    let warm = store.warm().await;
    if let Err(error) = &warm {
        tracing::warn!(error = %solo_service::error::chain(error), "what searches need could not be read into memory");
    }
    let mut schedule = Schedule::new(config.retain(), Instant::now());
    schedule.index_due = warm.is_err();
    schedule.expire_at = Limits::at(rules.retention, Timestamp::now()).map(|_| Instant::now());
    let mut conflicts = Conflicts::default();
    let mut written = store.backlog();
    loop {
        let much = async {
            backlog
                .wait_for(|backlog| backlog.erased || backlog.writes >= config.after_writes)
                .await
                .map(drop)
        };
        let work = tokio::select! {
            () = shutdown.cancelled() => return,
            () = std::future::ready(()), if schedule.index_due => Work::Index,
            () = at(schedule.expire_at) => Work::Expire,
            () = at(schedule.prune_at) => Work::Prune,
            () = at(schedule.words_at) => Work::Words,
            // That the store is gone is said below.
            Ok(()) = written.changed(), if schedule.words_at.is_none() => {
                schedule.written(Instant::now());
                continue;
            }
            waited = much => match waited {
                Ok(()) => Work::Compact,
                // The store is gone.
                Err(_) => return,
            },
        };
        let begun = Instant::now();
        let working = async {
            // Whether files were replaced, which pruning then removes.
            match work {
                Work::Compact => store.compact().await.map(|()| true),
                Work::Index => store.index().await.map(|()| true),
                Work::Words => store.know_new_words().await,
                Work::Prune => store.prune(config.retain()).await.map(|()| false),
                Work::Expire => expire(store, rules.retention).await.map(|()| false),
            }
        };
        let done = tokio::select! {
            () = shutdown.cancelled() => return,
            done = working => done,
        };
        schedule.note(work, &done, begun, Instant::now());
        if matches!(done, Ok(true)) {
            // What was read and written anew took much; so did what was taken in since the last time.
            let _ended = tokio::task::spawn_blocking(solo_service::memory::give_back).await;
        }
        let Err(error) = done else {
            conflicts.end(work);
            continue;
        };
        if work == Work::Words && matches!(error, StoreError::Busy) {
            // Others may be doing it; nothing else waits for that.
            schedule.words_at = Some(Instant::now() + up_to_twice(LATER));
            continue;
        }
        if !pause(&error, work, &mut conflicts, shutdown).await {
            return;
        }
    }
}

/// Waits until then; without a time for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn expire(store: &dyn Store, retention: RetentionConfig) -> Result<(), StoreError> {
    let Some(limits) = Limits::at(retention, Timestamp::now()) else {
        return Ok(());
    };
    let gone = store.expire(&limits).await?;
    if gone.facts + gone.documents > 0 {
        tracing::info!(
            facts = gone.facts,
            notes = gone.documents,
            "what memory.retention lets go is forgotten"
        );
    }
    Ok(())
}

/// Reports a failure and waits; false: the service stops.
async fn pause(error: &StoreError, work: Work, conflicts: &mut Conflicts, shutdown: &CancellationToken) -> bool {
    let wait = if matches!(error, StoreError::Busy) {
        up_to_twice(conflicts.another(work))
    } else {
        tracing::error!(error = %solo_service::error::chain(error), retry_s = RETRY.as_secs(), "upkeep of the store failed");
        RETRY
    };
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = sleep(wait) => true,
    }
}

/// Up to twice as long, by chance, so that two who were in each other's way do not meet again.
fn up_to_twice(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + f64::from(Uuid::new_v4().as_bytes()[0]) / 256.0)
}
