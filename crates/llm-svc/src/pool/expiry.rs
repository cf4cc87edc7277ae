//! Letting models go whose time is up.

use std::time::{Duration, Instant};

use solo_service::{CancellationToken, Worker, WorkerError};
use tokio::sync::watch;

use super::Pool;

/// Lets models go whose time is up, until `shutdown`.
pub async fn expire(worker: Worker<Pool>, mut expires: watch::Receiver<Option<Instant>>, shutdown: CancellationToken) {
    loop {
        let next = *expires.borrow_and_update();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = expires.changed() => if changed.is_err() { return },
            () = due => {
                match worker.run(|pool, _| pool.expire(Instant::now())).await {
                    Ok(()) => {}
                    // Requests are waiting: they go first.
                    Err(WorkerError::QueueFull { .. }) => tokio::time::sleep(Duration::from_secs(1)).await,
                    Err(error) => {
                        tracing::warn!(%error, "models are not unloaded any more");
                        return;
                    }
                }
            }
        }
    }
}
