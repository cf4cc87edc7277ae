//! What ends a runner from outside: Ctrl-C, SIGTERM, and the terminal that goes away.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that end a runner.
pub struct Signals([Signal; 3]);

impl Signals {
    /// Takes them over from the system's default, which would end the runner at once.
    pub fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|e| Failure::failed(format!("cannot handle signals: {e}")));
        Ok(Self([
            take(SignalKind::interrupt())?,
            take(SignalKind::terminate())?,
            take(SignalKind::hangup())?,
        ]))
    }

    /// The next of them.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
