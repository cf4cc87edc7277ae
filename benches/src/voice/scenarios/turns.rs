//! Spoken turns, one after another, each contender in turn: the same words, nothing else going on.

use std::time::Duration;

use solo_proto::gateway::v1::WakeMode;

use super::{Samples, Stage, Tally, Who};
use crate::voice::conversation::{Conversation, Failure, Turn, peer_turn};
use crate::voice::corpus::Clip;

/// What a contender does after its answer (closing a dialogue, clearing a cache) is not to fall into the other's turn.
const SETTLE: Duration = Duration::from_millis(300);

/// Each clip is a dialogue of its own, so that all prompts are of one length.
pub async fn turns(stage: &Stage, samples: &mut Samples, round: usize) {
    let mut tallies = [(Who::Ours, Tally::default()), (Who::Peer, Tally::default())];
    for (index, clip) in stage.clips().iter().enumerate() {
        for who in Who::in_turn(round + index) {
            let turn = one(stage, who, clip).await;
            let (_, tally) = &mut tallies[usize::from(who == Who::Peer)];
            tally.take(who, clip, turn);
            tokio::time::sleep(SETTLE).await;
        }
    }
    for (who, tally) in tallies {
        tally.record(samples, "turns", who);
    }
}

/// One turn of one contender.
pub(super) async fn one(stage: &Stage, who: Who, clip: &Clip) -> Result<Turn, Failure> {
    match who {
        Who::Ours => {
            let gateway = stage.channel("gateway").await;
            let conversation = Conversation::open(gateway, WakeMode::Open).await;
            let conversation = conversation.map_err(|status| Failure::Refused(status.message().to_owned()))?;
            conversation.turn(clip).await
        }
        Who::Peer => peer_turn(stage.peer.caller(), clip).await,
    }
}
