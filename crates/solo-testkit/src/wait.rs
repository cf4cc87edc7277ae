//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold within `timeout`; the message says `what` was waited for.
pub async fn wait_for(what: &str, timeout: Duration, mut condition: impl AsyncFnMut() -> bool) {
    wait_for_value(what, timeout, async || condition().await.then_some(())).await;
}

/// Waits until `probe` gives a value, and returns it.
///
/// # Panics
/// When it gives none within `timeout`; the message says `what` was waited for.
pub async fn wait_for_value<T>(what: &str, timeout: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < timeout, "waited {timeout:?} in vain for {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}
