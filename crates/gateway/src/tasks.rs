//! Counts the tasks that work for turns. No task outlives its turn: when nobody talks, the gauge `active_tasks` is 0.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use solo_service::StatusBoard;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Starts and counts tasks. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Counter>);

struct Counter {
    status: StatusBoard,
    running: Mutex<usize>,
}

impl Tasks {
    pub(crate) fn new(status: StatusBoard) -> Self {
        status.gauge("active_tasks", "1", 0.0);
        Self(Arc::new(Counter {
            status,
            running: Mutex::new(0),
        }))
    }

    /// Runs `work` until it ends or the handle is dropped.
    pub(crate) fn spawn(
        &self,
        span: &tracing::Span,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let counted = Counted::new(self);
        let work = async move {
            let _counted = counted;
            work.await;
        };
        AbortOnDropHandle::new(tokio::spawn(work.instrument(span.clone())))
    }

    fn change(&self, by: isize) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_add_signed(by);
        // Within the lock, so that the newest number is the one that stays.
        self.0.status.gauge("active_tasks", "1", *running as f64);
    }
}

/// One running task.
struct Counted(Tasks);

impl Counted {
    fn new(tasks: &Tasks) -> Self {
        tasks.change(1);
        Self(tasks.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(-1);
    }
}
