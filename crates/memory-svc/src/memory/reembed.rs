//! Another embedding model for all that is stored: a second store is filled beside the first, which goes on serving, and takes
//! its place in one step once both hold the same.
//!
//! 1. The second store is made equal to the first ([`copy`](super::copy)), again for what was written meanwhile, and again.
//! 2. Once more while nobody writes; then the second store counts, on the disk and here.
//! 3. After a while, when nobody reads the first any more, it is removed.
//!
//! What an attempt that fails has written is removed, for what is deleted meanwhile must not stay anywhere.

use std::sync::Arc;
use std::time::Duration;

use solo_service::error::chain;
use solo_service::{ErrorCode, ServiceError};
use tokio::sync::watch;

use super::copy::Copying;
use super::{Current, Memory};
use crate::config::EmbeddingConfig;
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::store::Place;

/// How often it is looked whether somebody reads the first store still.
const READERS: Duration = Duration::from_secs(1);
/// Passes over the store before it is put in order; each is for what was written during the one before.
const PASSES: usize = 2;

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// So many pieces of so many are in the second store.
    Copying {
        /// Pieces that are.
        done: u64,
        /// Pieces in all, about.
        total: u64,
    },
    /// The second store counts now.
    Done {
        /// Whose vectors are in it.
        identity: Identity,
        /// Pieces and facts that were embedded.
        embedded: u64,
    },
    /// The first store still counts.
    Failed {
        /// Why, in a sentence.
        problem: String,
        /// What kind of failure that is.
        code: ErrorCode,
    },
}

impl Step {
    /// True: there is no next one.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Copying { .. })
    }
}

/// A re-embedding that runs, or ran last.
pub(super) struct Running {
    wanted: EmbeddingConfig,
    steps: watch::Receiver<Step>,
}

impl Running {
    /// False when it has ended, however it did.
    fn goes_on(&self) -> bool {
        !self.steps.borrow().is_last() && self.steps.has_changed().is_ok()
    }
}

impl Memory {
    /// Begins to make all vectors anew with another model, in the background, or joins one that has begun. It goes on though
    /// nobody listens. Where the vectors are that model's already there is nothing to do.
    ///
    /// # Errors
    /// A model that is not installed, another one under way, or a store that several services share.
    pub async fn reembed(&self, wanted: EmbeddingConfig) -> Result<watch::Receiver<Step>, Error> {
        let place = self.0.place.clone().ok_or(Error::SharedStore)?;
        let mut reembedding = self.0.reembedding.lock().await;
        if let Some(running) = reembedding.as_ref().filter(|running| running.goes_on()) {
            if running.wanted == wanted {
                return Ok(running.steps.clone());
            }
            return Err(Error::Reembedding {
                model: running.wanted.model.clone(),
            });
        }
        let loader = (self.0.loaders)(&wanted)?;
        let identity = loader.identity.clone();
        if identity == *self.current().embeddings.identity() {
            return Ok(watch::channel(Step::Done { identity, embedded: 0 }).1);
        }
        let embeddings = Embeddings::load(&self.0.context, &self.0.config, loader).await?;
        let (steps, listener) = watch::channel(Step::Copying { done: 0, total: 0 });
        *reembedding = Some(Running {
            wanted,
            steps: listener.clone(),
        });
        let (memory, shutdown) = (self.clone(), self.0.context.shutdown.clone());
        tokio::spawn(async move {
            let last = tokio::select! {
                // What it has written is removed at the next start.
                () = shutdown.cancelled() => Step::Failed {
                    problem: "memory-svc stops: ask again once it runs".into(),
                    code: ErrorCode::Unavailable,
                },
                done = memory.exchange_stores(&place, embeddings, &steps) => done.unwrap_or_else(|error| {
                    tracing::error!(error = %chain(&error), "the vectors could not be made anew");
                    let code = match error.code() {
                        // Of an internal error nobody hears what it was, and somebody has waited for long.
                        ErrorCode::Internal => ErrorCode::FailedPrecondition,
                        code => code,
                    };
                    Step::Failed { problem: error.to_string(), code }
                }),
            };
            steps.send_replace(last);
        });
        Ok(listener)
    }

    async fn exchange_stores(
        &self,
        place: &Place,
        embeddings: Embeddings,
        steps: &watch::Sender<Step>,
    ) -> Result<Step, Error> {
        let identity = embeddings.identity().clone();
        let folder = place.for_model(&identity);
        let store = self.open_beside(&folder, &identity).await?;
        let next = Arc::new(Current {
            store,
            embeddings,
            folder,
        });
        tracing::info!(model = identity.model, "all vectors are made anew");
        let mut copying = Copying::new(self, steps);
        let old = match self.fill_and_switch(place, &next, &mut copying).await {
            Ok(old) => old,
            Err(error) => {
                next.store.settle().await;
                retire(place, &next).await;
                return Err(error);
            }
        };
        let embedded = copying.embedded;
        tracing::info!(
            model = identity.model,
            embedded,
            "the store has vectors of another model now"
        );
        tokio::spawn(remove_unread(self.clone(), place.clone(), old));
        Ok(Step::Done { identity, embedded })
    }

    /// Gives back what does not count any more.
    async fn fill_and_switch(
        &self,
        place: &Place,
        next: &Arc<Current>,
        copying: &mut Copying<'_>,
    ) -> Result<Arc<Current>, Error> {
        for _ in 0..PASSES {
            copying.make_equal(next).await?;
        }
        next.store.compact().await?;
        next.store.index().await?;
        next.store.warm().await?;
        copying.make_equal(next).await?;
        let _nobody_writes = self.0.switching.write().await;
        // Writes whose callers have gone away run on.
        self.current().store.settle().await;
        copying.make_equal(next).await?;
        place.switch(&next.folder).map_err(|source| Error::Spool { source })?;
        Ok(self.replace(Arc::clone(next)))
    }
}

/// Removes a store that no longer counts, once whoever reads it is done.
async fn remove_unread(memory: Memory, place: Place, old: Arc<Current>) {
    let shutdown = memory.0.context.shutdown.clone();
    let unread = async {
        tokio::time::sleep(memory.0.config.upkeep.retain()).await;
        // Of both there is one here.
        while Arc::strong_count(&old) > 1 || Arc::strong_count(&old.store) > 1 {
            tokio::time::sleep(READERS).await;
        }
        old.store.settle().await;
    };
    tokio::select! {
        // The next start removes it.
        () = shutdown.cancelled() => {}
        () = unread => retire(&place, &old).await,
    }
}

async fn retire(place: &Place, store: &Current) {
    let (place, folder) = (place.clone(), store.folder.clone());
    let removed = tokio::task::spawn_blocking(move || place.retire(&folder)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, "a store that does not count could not be removed; the next start tries again");
    }
}
