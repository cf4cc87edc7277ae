//! A point at which a fake waits until the test lets it go on: what tests use where others sleep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Closed until [`Gate::open`]; cloning gives another handle to the same gate.
#[derive(Clone)]
pub struct Gate {
    opened: Arc<watch::Sender<bool>>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self {
            opened: Arc::new(watch::Sender::new(false)),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Lets everyone through, those who wait and those who come later.
    pub fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Closes it again for those who come later.
    pub fn close(&self) {
        self.opened.send_replace(false);
    }

    /// How many wait at it now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Waits until somebody waits at the gate, so that a test acts exactly while the fake stands still.
    ///
    /// # Panics
    /// After 10 s without anybody.
    pub async fn reached(&self) {
        crate::wait_for(
            "somebody to wait at the gate",
            std::time::Duration::from_secs(10),
            async || self.waiting() > 0,
        )
        .await;
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let mut opened = self.opened.subscribe();
        // The sender lives in `self`, so the channel cannot close while we wait.
        opened
            .wait_for(|open| *open)
            .await
            .expect("the gate outlives those who wait at it");
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gate")
            .field("open", &*self.opened.borrow())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// Counts one who waits, also when the waiting future is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
