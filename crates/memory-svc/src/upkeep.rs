//! Looks after the store in the background: each put leaves a small file that no index knows, and each deletion leaves what it
//! deleted, until somebody tidies up.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use solo_service::CancellationToken;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::config::{RetentionConfig, UpkeepConfig};
use crate::retention::{self, Limits};
use crate::store::{Store, StoreError};

/// Wait after a failure (a full disk, say) before trying again.
const RETRY: Duration = Duration::from_secs(60);
/// Wait where other processes of a shared store were in the way, at least; at most twice as long, so that two do not meet again.
const LATER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Work {
    Compact,
    Index,
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
    let mut index_due = warm.is_err();
    // What the last process left is removed soon after the start.
    let mut prune_at = Some(Instant::now() + config.retain());
    let mut compacted_at = None;
    // A moment longer, so that the state before a compaction is old enough.
    let retained = config.retain() + Duration::from_millis(100);
    let mut expire_at = Limits::at(rules.retention, Timestamp::now()).map(|_| Instant::now());
    loop {
        let much = async {
            backlog
                .wait_for(|backlog| backlog.erased || backlog.writes >= config.after_writes)
                .await
                .map(drop)
        };
        let work = tokio::select! {
            () = shutdown.cancelled() => return,
            () = std::future::ready(()), if index_due => Work::Index,
            () = at(expire_at) => Work::Expire,
            () = at(prune_at) => Work::Prune,
            waited = much => match waited {
                Ok(()) => Work::Compact,
                // The store is gone.
                Err(_) => return,
            },
        };
        let begun = Instant::now();
        let working = async {
            match work {
                Work::Compact => store.compact().await,
                Work::Index => store.index().await,
                Work::Prune => store.prune(config.retain()).await,
                Work::Expire => expire(store, rules.retention).await,
            }
        };
        let done = tokio::select! {
            () = shutdown.cancelled() => return,
            done = working => done,
        };
        index_due = match (work, &done) {
            (Work::Compact, Ok(())) => true,
            (Work::Index, done) => done.is_err(),
            _ => index_due,
        };
        prune_at = match (work, &done) {
            // What was compacted since was not old enough.
            (Work::Prune, Ok(())) => compacted_at.map(|at| at + retained).filter(|at| *at > begun),
            (Work::Compact, Err(StoreError::Busy)) => prune_at,
            // After a failure too: pruning makes the room that joining files may have lacked.
            (Work::Compact, _) => {
                let now = Instant::now();
                compacted_at = Some(now);
                // Or a store that is always written to would never be pruned.
                prune_at.or(Some(now + retained))
            }
            (Work::Index | Work::Expire, _) | (Work::Prune, Err(_)) => prune_at,
        };
        if matches!(work, Work::Expire) {
            expire_at = Some(Instant::now() + retention::EVERY);
        }
        if let Err(error) = done
            && !pause(&error, shutdown).await
        {
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
async fn pause(error: &StoreError, shutdown: &CancellationToken) -> bool {
    let wait = if matches!(error, StoreError::Busy) {
        let wait = LATER.mul_f64(1.0 + f64::from(Uuid::new_v4().as_bytes()[0]) / 256.0);
        tracing::debug!(
            retry_s = wait.as_secs(),
            "another process is writing to the store: its upkeep waits"
        );
        wait
    } else {
        tracing::error!(error = %solo_service::error::chain(error), retry_s = RETRY.as_secs(), "upkeep of the store failed");
        RETRY
    };
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = sleep(wait) => true,
    }
}
