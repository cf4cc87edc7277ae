//! What a conversation says to its client, in order.
//!
//! The conversation itself never waits for a slow client: what it says is queued, and a client that reads nothing for too
//! long is given up. Audio does wait: whoever makes it first asks for a [`Room`], so that a slow client slows synthesis
//! and not memory. When a reply is cut, its audio that is still queued is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use solo_proto::gateway::v1::ConverseResponse;
use solo_turn::TurnId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages that may wait, besides audio.
const WAITING: usize = 4096;
/// Pieces of audio that may wait: a few seconds.
const AUDIO_WAITING: usize = 48;

/// The conversation's end.
#[derive(Clone)]
pub(crate) struct Outbox {
    entries: mpsc::UnboundedSender<Entry>,
    shared: Arc<Shared>,
}

/// The client's end.
pub(crate) struct Outgoing {
    entries: mpsc::UnboundedReceiver<Entry>,
    shared: Arc<Shared>,
}

struct Shared {
    waiting: AtomicUsize,
    room: Arc<Semaphore>,
    /// Audio of turns up to this one is not sent any more.
    silenced: AtomicU64,
}

enum Entry {
    Message(Box<ConverseResponse>),
    Audio(TurnId, Box<ConverseResponse>, Room),
    End(End),
}

/// Room for one piece of audio, held until the piece is sent.
pub(crate) struct Room(#[allow(dead_code)] OwnedSemaphorePermit);

/// Why a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was over.
    Done,
    /// The gateway is going down.
    Draining,
    /// The client did not read.
    TooSlow,
}

/// What comes next for the client.
#[derive(Debug)]
pub(crate) enum Next {
    /// A message.
    Message(Box<ConverseResponse>),
    /// Nothing more.
    End(End),
}

/// The two ends.
pub(crate) fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        waiting: AtomicUsize::new(0),
        room: Arc::new(Semaphore::new(AUDIO_WAITING)),
        silenced: AtomicU64::new(0),
    });
    (
        Outbox {
            entries: sender,
            shared: Arc::clone(&shared),
        },
        Outgoing {
            entries: receiver,
            shared,
        },
    )
}

impl Outbox {
    /// Queues a message. False: the client reads too slowly to go on.
    pub(crate) fn push(&self, message: ConverseResponse) -> bool {
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            return false;
        }
        // A client that is gone is noticed by `closed`.
        let _ = self.entries.send(Entry::Message(Box::new(message)));
        true
    }

    /// Queues audio of a turn.
    pub(crate) fn push_audio(&self, turn: TurnId, message: ConverseResponse, room: Room) {
        // As above.
        let _ = self.entries.send(Entry::Audio(turn, Box::new(message), room));
    }

    /// Waits until a piece of audio may be queued.
    pub(crate) async fn room(&self) -> Room {
        let permit = Arc::clone(&self.shared.room).acquire_owned().await;
        Room(permit.expect("nobody closes this semaphore"))
    }

    /// Forgets queued audio of this turn and of those before.
    pub(crate) fn silence(&self, turn: TurnId) {
        self.shared.silenced.fetch_max(turn.0, Ordering::Relaxed);
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self, end: End) {
        // As above.
        let _ = self.entries.send(Entry::End(end));
    }

    /// Waits until the client is gone.
    pub(crate) async fn closed(&self) {
        self.entries.closed().await;
    }
}

impl Outgoing {
    /// What comes next.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            match self.entries.recv().await {
                Some(Entry::Message(message)) => {
                    self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    return Next::Message(message);
                }
                Some(Entry::Audio(turn, message, _room)) => {
                    if turn.0 > self.shared.silenced.load(Ordering::Relaxed) {
                        return Next::Message(message);
                    }
                }
                Some(Entry::End(end)) => return Next::End(end),
                None => return Next::End(End::Done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solo_proto::audio::v1::AudioChunk;
    use solo_proto::gateway::v1::converse_response::Payload;

    fn audio(byte: u8) -> ConverseResponse {
        let payload = Payload::Audio(AudioChunk {
            data: vec![byte],
            first_sample: 0,
        });
        ConverseResponse {
            turn_id: String::new(),
            payload: Some(payload),
        }
    }

    #[tokio::test]
    async fn a_cut_reply_is_not_heard_any_more() {
        let (outbox, mut outgoing) = outbox();
        outbox.push_audio(TurnId(1), audio(1), outbox.room().await);
        outbox.push_audio(TurnId(2), audio(2), outbox.room().await);
        outbox.silence(TurnId(1));
        outbox.end(End::Done);
        let Next::Message(first) = outgoing.next().await else {
            panic!("audio of turn 2 is wanted")
        };
        assert_eq!(*first, audio(2));
        assert!(matches!(outgoing.next().await, Next::End(End::Done)));
    }

    #[tokio::test]
    async fn audio_waits_for_a_slow_client_and_messages_do_not() {
        let (outbox, mut outgoing) = outbox();
        for _ in 0..AUDIO_WAITING {
            outbox.push_audio(TurnId(1), audio(0), outbox.room().await);
        }
        assert!(outbox.push(audio(9)));
        let waits = tokio::spawn({
            let outbox = outbox.clone();
            async move { drop(outbox.room().await) }
        });
        assert!(!waits.is_finished());
        outgoing.next().await;
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up() {
        let (outbox, _outgoing) = outbox();
        assert!((0..WAITING).all(|_| outbox.push(audio(0))));
        assert!(!outbox.push(audio(0)));
    }
}
