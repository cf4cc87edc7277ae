//! Looks after the store in the background: each put leaves a small file that no index knows, and each deletion leaves what it
//! deleted, until somebody tidies up.

use std::sync::Arc;
use std::time::Duration;

use solo_service::CancellationToken;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::config::UpkeepConfig;
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
}

/// Compacts when enough was written or something deleted must leave the disk; prunes once the readers that may use the
/// old files are done. Ends on shutdown, once the writes have ended that were begun; what else it was doing then is either
/// committed or did not happen.
pub async fn run(store: Arc<dyn Store>, config: UpkeepConfig, shutdown: CancellationToken) {
    look_after(&*store, config, shutdown).await;
    store.settle().await;
}

async fn look_after(store: &dyn Store, config: UpkeepConfig, shutdown: CancellationToken) {
    let mut backlog = store.backlog();
    let warm = store.warm().await;
    if let Err(error) = &warm {
        tracing::warn!(error = %solo_service::error::chain(error), "what searches need could not be read into memory");
    }
    let mut index_due = warm.is_err();
    // What the last process left is removed soon after the start.
    let mut prune_at = Some(Instant::now() + config.retain());
    loop {
        let due = async {
            match prune_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let much = async {
            backlog
                .wait_for(|backlog| backlog.erased || backlog.writes >= config.after_writes)
                .await
                .map(drop)
        };
        let work = tokio::select! {
            () = shutdown.cancelled() => return,
            () = std::future::ready(()), if index_due => Work::Index,
            () = due => Work::Prune,
            waited = much => match waited {
                Ok(()) => Work::Compact,
                // The store is gone.
                Err(_) => return,
            },
        };
        let working = async {
            match work {
                Work::Compact => store.compact().await,
                Work::Index => store.index().await,
                Work::Prune => store.prune(config.retain()).await,
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
            (Work::Prune, Ok(())) => None,
            // A moment longer, so that the state before this one is old enough. After a failure too: pruning makes the
            // room that joining files may have lacked.
            (Work::Compact, _) => Some(Instant::now() + config.retain() + Duration::from_millis(100)),
            (Work::Index, _) | (Work::Prune, Err(_)) => prune_at,
        };
        if let Err(error) = done
            && !pause(&error, &shutdown).await
        {
            return;
        }
    }
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
