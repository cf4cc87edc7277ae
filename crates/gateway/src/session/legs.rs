//! The legs of a conversation: one task for each call of another service.
//!
//! A leg is told what to do through its input, says what happens as [`LegEvent`]s, and ends when its handle is dropped:
//! that drops the gRPC stream, which the service behind it takes as cancellation, and so on down the tree.

pub(super) mod listen;
pub(super) mod reply;
pub(super) mod speak;
pub(super) mod wake;

use solo_proto::agent::v1 as agent;
use solo_proto::stt::v1::listen_response;
use solo_proto::wake::v1::WakeEvent;
use solo_turn::{Mark, TurnId};
use tokio::sync::mpsc;

use super::outbox::Room;
use crate::error::Error;

/// What legs say to their conversation. Samples are counted from the start of the conversation.
pub(super) enum LegEvent {
    /// A keyword was heard.
    Wake(WakeEvent),
    /// Keywords cannot be heard now; it is tried again.
    WakeFailed(Error),
    /// All audio has been watched for keywords.
    WakeEnded,
    /// Speech recognition says something; add `base` to its samples.
    Heard {
        turn: TurnId,
        base: u64,
        said: listen_response::Payload,
    },
    /// Listening broke down.
    ListenFailed { turn: TurnId, error: Error },
    /// The assistant says something.
    Said {
        turn: TurnId,
        said: agent::converse_response::Payload,
    },
    /// The reply broke off.
    ReplyFailed { turn: TurnId, error: Error },
    /// Where in the reply the next audio stands.
    Marked { turn: TurnId, take: u64, mark: Mark },
    /// Audio of the reply: s16le at the client's rate.
    Audio {
        turn: TurnId,
        take: u64,
        data: Vec<u8>,
        room: Room,
    },
    /// All of the reply was spoken.
    Spoken { turn: TurnId, take: u64 },
    /// Speech broke down.
    SpeakFailed { turn: TurnId, take: u64, error: Error },
}

/// Where legs say it. When the conversation is over nobody listens, and that is no fault.
#[derive(Clone)]
pub(super) struct Ear(pub(super) mpsc::Sender<LegEvent>);

impl Ear {
    pub(super) async fn hears(&self, event: LegEvent) {
        // See above.
        let _ = self.0.send(event).await;
    }
}

/// True for a fault after which the same call may be tried once more: the service was gone, not unwilling.
fn is_passing(error: &Error) -> bool {
    solo_service::ServiceError::code(error) == solo_service::ErrorCode::Unavailable
}
