//! What is measured. Each scenario takes one round on the [`Stage`] and records what it saw; a contender that cannot do a
//! thing leaves its cells empty, and a note says why.

mod concurrent;
mod constrained;
mod dialogue;
mod engines;
mod mapped;
mod memory;
mod single;

use std::path::Path;

pub use concurrent::concurrent;
pub use constrained::constrained;
pub use dialogue::dialogue;
pub use engines::engines;
pub use mapped::mapped;
pub use memory::memory;
pub use single::{prefill, single};

use super::bare::Bare;
use super::client::Ours;
use super::peer::{Pages, Peer, PeerClient};
use super::report::Samples;
use super::service::LlmSvc;

/// The contenders, all loaded, none of them busy.
pub struct Stage {
    service: LlmSvc,
    ours: Ours,
    bare: Bare,
    // Kept for its clients.
    _peer: Option<Peer>,
    peers: Vec<PeerClient>,
}

impl Stage {
    /// Starts them all.
    ///
    /// # Panics
    /// When one does not start; the peer may be missing.
    pub async fn set(model: &Path, samples: &mut Samples) -> Self {
        let service = LlmSvc::start("").await;
        let ours = Ours::new(service.channel().await.expect("llm-svc serves"));
        let bare = Bare::start(model);
        let peer = Peer::start(model, Pages::Huge).await;
        if peer.is_none() {
            samples.note("llama.cpp's server is not built (`cargo make bench-peers`), so nothing is compared with it.");
        }
        let clients = peer
            .iter()
            .flat_map(|peer| (0..super::peer::SLOTS).map(|_| peer.client()));
        let peers = clients.collect();
        Self {
            service,
            ours,
            bare,
            _peer: peer,
            peers,
        }
    }

    /// The first of the peer's clients.
    fn peer(&self) -> Option<&PeerClient> {
        self.peers.first()
    }
}
