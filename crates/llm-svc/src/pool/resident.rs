//! A model in memory.

use std::sync::Arc;
use std::time::Instant;

use solo_service::Priority;
use tokio::sync::watch;

use super::{Key, Stay};
use crate::catalogue::ModelFile;
use crate::lane::Lane;

/// A model, and who runs on it.
pub(super) struct Resident {
    pub(super) key: Key,
    pub(super) file: Arc<ModelFile>,
    pub(super) lane: Lane,
    /// For requests with a seed, where results in `lane` depend on what else runs.
    pub(super) exact: Option<Lane>,
    pub(super) stay: Stay,
    pub(super) used: Instant,
    pub(super) bytes: u64,
    /// True once it answers, until that is noted.
    pub(super) busy: bool,
    /// Set when it is to go once it has answered.
    pub(super) leaving: Option<watch::Sender<bool>>,
}

impl Resident {
    pub(super) fn expires(&self) -> Option<Instant> {
        match self.stay {
            Stay::For(time) if self.is_idle() => self.used.checked_add(time),
            Stay::For(_) | Stay::Forever | Stay::OneRequest => None,
        }
    }

    pub(super) fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        std::iter::once(&mut self.lane).chain(self.exact.as_mut())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lane.is_idle() && self.exact.as_ref().is_none_or(Lane::is_idle)
    }

    pub(super) fn priority(&self) -> Option<Priority> {
        let exact = self.exact.as_ref().and_then(|lane| lane.scheduler().priority());
        self.lane.scheduler().priority().max(exact)
    }
}
