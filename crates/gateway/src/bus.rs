//! One bus of events: what the gateway sees in turns, and what services say of themselves.
//!
//! Events of services keep their time, service and subject, and get a new position: a subscriber that comes back names
//! the position on this bus, whoever the event came from. A producer never waits; a subscriber that falls behind loses the
//! oldest events and is told how many.

mod feed;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::Stream;
use solo_proto::events::v1::event::Payload;
use solo_proto::events::v1::{Event, EventId, EventKind, EventsLost};
use solo_proto::gateway::v1::subscribe_events_response::Payload as Next;
use solo_proto::gateway::v1::{SubscribeEventsRequest, SubscribeEventsResponse};
use solo_service::CancellationToken;
use solo_service::events::{Subject, kind_of};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::error::Error;

pub(crate) use feed::feed;

/// Events kept for subscribers who come back, and for slow ones.
const KEPT: usize = 1024;

/// The bus. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bus(Arc<Log>);

struct Log {
    instance: String,
    epoch: u64,
    kept: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Bus {
    /// An empty bus of the process `instance`.
    pub(crate) fn new(instance: &str) -> Self {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Self(Arc::new(Log {
            instance: instance.to_owned(),
            epoch,
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            live: broadcast::channel(KEPT).0,
        }))
    }

    /// Says what happened in a turn.
    pub(crate) fn say(&self, subject: Subject, payload: Payload) {
        self.publish(Event {
            id: None,
            time: Some(SystemTime::now().into()),
            kind: kind_of(&payload).into(),
            service: "gateway".into(),
            principal: subject.principal,
            dialogue: subject.dialogue,
            turn: subject.turn,
            run: subject.run,
            payload: Some(payload),
        });
    }

    /// Passes an event on, at the next position.
    pub(crate) fn publish(&self, mut event: Event) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = kept
            .back()
            .and_then(|event| event.id.as_ref())
            .map_or(1, |id| id.sequence + 1);
        event.id = Some(EventId {
            instance: self.0.instance.clone(),
            epoch: self.0.epoch,
            sequence,
        });
        let event = Arc::new(event);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // No subscriber is no fault.
        let _ = self.0.live.send(event);
    }

    /// Kept events after a position, then new ones, for one principal; ends when the gateway stops.
    ///
    /// # Errors
    /// When a kind is unknown.
    pub(crate) fn subscribe(
        &self,
        request: SubscribeEventsRequest,
        principal: String,
        stopped: CancellationToken,
    ) -> Result<impl Stream<Item = SubscribeEventsResponse> + use<>, Error> {
        let wanted = Wanted::new(request.kinds, request.dialogue, principal)?;
        let (kept, mut live) = self.since(request.after.as_ref());
        Ok(async_stream::stream! {
            for event in kept.into_iter().filter(|event| wanted.wants(event)) {
                yield answer(Next::Event(event.as_ref().clone()));
            }
            loop {
                let next = tokio::select! {
                    () = stopped.cancelled() => break,
                    next = live.recv() => next,
                };
                match next {
                    Ok(event) if wanted.wants(&event) => yield answer(Next::Event(event.as_ref().clone())),
                    Ok(_) => {}
                    Err(RecvError::Lagged(count)) => yield answer(Next::Lost(EventsLost { count })),
                    Err(RecvError::Closed) => break,
                }
            }
        })
    }

    /// What was kept after `after`, and everything from now on: without a gap and without a repeat.
    fn since(&self, after: Option<&EventId>) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.0.live.subscribe();
        let ours = after.filter(|id| id.instance == self.0.instance && id.epoch == self.0.epoch);
        let newer = ours.map(|after| {
            let is_newer = |event: &&Arc<Event>| event.id.as_ref().is_some_and(|id| id.sequence > after.sequence);
            kept.iter().filter(is_newer).cloned().collect()
        });
        (newer.unwrap_or_default(), live)
    }
}

fn answer(payload: Next) -> SubscribeEventsResponse {
    SubscribeEventsResponse { payload: Some(payload) }
}

/// What a subscriber wants to hear of.
struct Wanted {
    kinds: Vec<i32>,
    dialogue: String,
    principal: String,
}

impl Wanted {
    fn new(kinds: Vec<i32>, dialogue: String, principal: String) -> Result<Self, Error> {
        for &kind in &kinds {
            if matches!(EventKind::try_from(kind), Err(_) | Ok(EventKind::Unspecified)) {
                return Err(Error::field(
                    "UNKNOWN_EVENT_KIND",
                    "kinds",
                    format!("kinds: {kind} is no kind of event"),
                ));
            }
        }
        Ok(Self {
            kinds,
            dialogue,
            principal,
        })
    }

    fn wants(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.dialogue.is_empty() || self.dialogue == event.dialogue)
            && (event.principal.is_empty() || event.principal == self.principal)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use solo_proto::events::v1::SpeechPayload;

    use super::*;

    fn say(bus: &Bus, principal: &str, dialogue: &str) {
        let subject = Subject {
            principal: principal.into(),
            dialogue: dialogue.into(),
            ..Subject::default()
        };
        bus.say(subject, Payload::Speech(SpeechPayload { speaking: true }));
    }

    fn subscribe(bus: &Bus, request: SubscribeEventsRequest) -> impl Stream<Item = Next> + Unpin {
        let stream = bus.subscribe(request, "ada".into(), CancellationToken::new()).unwrap();
        Box::pin(stream.filter_map(async |answer| answer.payload))
    }

    #[tokio::test]
    async fn others_events_are_not_shown() {
        let bus = Bus::new("i1");
        let mut mine = subscribe(&bus, SubscribeEventsRequest::default());
        say(&bus, "bob", "");
        say(&bus, "ada", "d1");
        say(&bus, "", "");
        let Some(Next::Event(first)) = mine.next().await else {
            panic!("an event is wanted")
        };
        let Some(Next::Event(second)) = mine.next().await else {
            panic!("an event is wanted")
        };
        assert_eq!((first.principal.as_str(), second.principal.as_str()), ("ada", ""));
        assert_eq!((first.service.as_str(), first.kind()), ("gateway", EventKind::Speech));
    }

    #[tokio::test]
    async fn a_position_brings_what_came_after_it() {
        let bus = Bus::new("i1");
        let mut live = subscribe(&bus, SubscribeEventsRequest::default());
        say(&bus, "ada", "d1");
        say(&bus, "ada", "d2");
        let Some(Next::Event(first)) = live.next().await else {
            panic!("an event is wanted")
        };
        let mut again = subscribe(
            &bus,
            SubscribeEventsRequest {
                after: first.id,
                ..Default::default()
            },
        );
        let Some(Next::Event(second)) = again.next().await else {
            panic!("an event is wanted")
        };
        assert_eq!(second.dialogue, "d2");
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_lost() {
        let bus = Bus::new("i1");
        let mut slow = subscribe(&bus, SubscribeEventsRequest::default());
        for _ in 0..KEPT + 5 {
            say(&bus, "ada", "");
        }
        let Some(Next::Lost(lost)) = slow.next().await else {
            panic!("a loss is wanted")
        };
        assert_eq!(lost.count, 5);
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let request = SubscribeEventsRequest {
            kinds: vec![0],
            ..Default::default()
        };
        assert!(
            Bus::new("i1")
                .subscribe(request, "ada".into(), CancellationToken::new())
                .is_err()
        );
    }
}
