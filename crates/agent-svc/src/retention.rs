//! Dialogues that leave by themselves (`agent.keep_dialogues_days`).

use std::time::Duration;

use jiff::Timestamp;
use solo_service::CancellationToken;
use solo_service::error::chain;

use crate::error::Error;
use crate::gauges::Gauges;
use crate::store::Store;

/// How often it is looked for what has to leave.
const EVERY: Duration = Duration::from_secs(3600);

/// Deletes dialogues whose last turn is older than `keep`, now and from time to time, until the service stops.
pub async fn run(store: Store, gauges: Gauges, keep: Option<Duration>, shutdown: CancellationToken) {
    let Some(keep) = keep else { return };
    loop {
        if let Err(error) = expire(&store, &gauges, keep).await {
            tracing::error!(error = %chain(&error), "old dialogues could not be deleted; they are tried again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn expire(store: &Store, gauges: &Gauges, keep: Duration) -> Result<(), Error> {
    let before = Timestamp::now().saturating_sub(keep).unwrap_or(Timestamp::MIN);
    let deleted = store.delete_older(before).await?;
    if deleted > 0 {
        tracing::info!(deleted, "old dialogues are deleted");
        gauges.set_totals(store.counts().await?);
    }
    Ok(())
}
