//! The way to the client. One that takes nothing for too long counts as gone: its turn must not wait for ever.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use super::{End, Outgoing};

#[derive(Clone)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Result<Outgoing, Status>>,
    patience: Duration,
}

impl Outbox {
    pub(super) fn new(sender: mpsc::Sender<Result<Outgoing, Status>>, patience: Duration) -> Self {
        Self { sender, patience }
    }

    /// Waits until the client is gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    pub(super) async fn send(&self, message: Outgoing) -> Result<(), End> {
        match tokio::time::timeout(self.patience, self.sender.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::warn!("the client takes nothing that it is sent; its stream is ended");
                Err(End::Gone)
            }
        }
    }

    /// Ends the stream with a status. A client that is gone as well has nobody to be told.
    pub(super) async fn end(&self, status: Status) {
        let _ = tokio::time::timeout(self.patience, self.sender.send(Err(status))).await;
    }
}
