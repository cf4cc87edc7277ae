//! Out-of-band facts of a service, numbered, kept for a while, handed to whoever subscribes.
//!
//! A producer never waits: the newest events are kept in a ring, and a subscriber that falls behind loses the oldest and
//! is told how many.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::Stream;
use solo_proto::events::v1::event::Payload;
use solo_proto::events::v1::event_service_server::EventService;
use solo_proto::events::v1::subscribe_response::Payload as Answer;
use solo_proto::events::v1::{
    Event, EventId, EventKind, EventsLost, SubscribeRequest, SubscribeResponse, SubscriptionStarted,
};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Events kept for subscribers who come back.
const KEPT: usize = 1024;

/// Publishes events. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct EventPublisher(Arc<Log>);

struct Log {
    service: &'static str,
    instance: String,
    epoch: u64,
    ring: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

/// What an event is about, besides its payload.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Whom it concerns; empty: everybody.
    pub principal: String,
    /// Dialogue it belongs to; empty: none.
    pub dialogue: String,
    /// Turn it belongs to; empty: none.
    pub turn: String,
    /// Run it belongs to; empty: none.
    pub run: String,
}

impl EventPublisher {
    /// An empty log of `service`, whose process is `instance`.
    pub fn new(service: &'static str, instance: impl Into<String>) -> Self {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Self(Arc::new(Log {
            service,
            instance: instance.into(),
            epoch,
            ring: Mutex::new(VecDeque::with_capacity(KEPT)),
            live: broadcast::channel(KEPT).0,
        }))
    }

    /// Publishes what happened to `principal` (empty: everybody) in `dialogue` (empty: none).
    pub fn publish(&self, principal: &str, dialogue: &str, payload: Payload) {
        let subject = Subject {
            principal: principal.into(),
            dialogue: dialogue.into(),
            ..Subject::default()
        };
        self.publish_about(subject, payload);
    }

    /// Publishes what happened to a subject.
    pub fn publish_about(&self, subject: Subject, payload: Payload) {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = ring
            .back()
            .and_then(|event| event.id.as_ref())
            .map_or(1, |id| id.sequence + 1);
        let event = Event {
            id: Some(EventId {
                instance: self.0.instance.clone(),
                epoch: self.0.epoch,
                sequence,
            }),
            time: Some(SystemTime::now().into()),
            kind: kind_of(&payload).into(),
            service: self.0.service.into(),
            principal: subject.principal,
            dialogue: subject.dialogue,
            turn: subject.turn,
            run: subject.run,
            payload: Some(payload),
        };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(event.clone());
        // No subscriber is no fault; the ring keeps it.
        let _ = self.0.live.send(event);
    }

    /// What was kept after `after`, the position now, and everything from now on: without a gap and without a repeat.
    pub fn subscribe(&self, after: Option<&EventId>) -> (Vec<Event>, EventId, broadcast::Receiver<Event>) {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.0.live.subscribe();
        let sequence = ring
            .back()
            .and_then(|event| event.id.as_ref())
            .map_or(0, |id| id.sequence);
        let position = EventId {
            instance: self.0.instance.clone(),
            epoch: self.0.epoch,
            sequence,
        };
        let kept = match after.filter(|id| id.instance == position.instance && id.epoch == position.epoch) {
            Some(after) => {
                let newer = |event: &&Event| event.id.as_ref().is_some_and(|id| id.sequence > after.sequence);
                ring.iter().filter(newer).cloned().collect()
            }
            None => Vec::new(),
        };
        (kept, position, live)
    }
}

/// The kind of a payload.
pub fn kind_of(payload: &Payload) -> EventKind {
    match payload {
        Payload::Wake(_) => EventKind::Wake,
        Payload::SpeechToText(_) => EventKind::SpeechToText,
        Payload::Reply(_) => EventKind::Reply,
        Payload::Speech(_) => EventKind::Speech,
        Payload::BargeIn(_) => EventKind::BargeIn,
        Payload::TurnSummary(_) => EventKind::TurnSummary,
        Payload::ActionRequest(_) => EventKind::ActionRequest,
        Payload::RunStep(_) => EventKind::RunStep,
        Payload::IngestProgress(_) => EventKind::IngestProgress,
        Payload::ModelState(_) => EventKind::ModelState,
        Payload::Announce(_) => EventKind::Announce,
        Payload::Health(_) => EventKind::Health,
    }
}

/// Serves a publisher's events.
pub(crate) struct EventsGrpc {
    pub(crate) publisher: EventPublisher,
    pub(crate) stopped: CancellationToken,
}

#[tonic::async_trait]
impl EventService for EventsGrpc {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let kinds = request
            .kinds
            .iter()
            .map(|&kind| match EventKind::try_from(kind) {
                Ok(EventKind::Unspecified) | Err(_) => {
                    Err(Status::invalid_argument(format!("kinds: {kind} is no kind of event")))
                }
                Ok(kind) => Ok(kind),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (kept, position, mut live) = self.publisher.subscribe(request.after.as_ref());
        let stopped = self.stopped.clone();
        let answer = |payload| Ok(SubscribeResponse { payload: Some(payload) });
        let wanted = move |event: &Event| kinds.is_empty() || kinds.contains(&event.kind());
        let stream = async_stream::stream! {
            yield answer(Answer::Started(SubscriptionStarted { position: Some(position) }));
            for event in kept {
                if wanted(&event) {
                    yield answer(Answer::Event(event));
                }
            }
            loop {
                let next = tokio::select! {
                    () = stopped.cancelled() => break,
                    next = live.recv() => next,
                };
                match next {
                    Ok(event) if wanted(&event) => yield answer(Answer::Event(event)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(count)) => yield answer(Answer::Lost(EventsLost { count })),
                    Err(RecvError::Closed) => break,
                }
            }
        };
        Ok(Response::new(Box::pin(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solo_proto::events::v1::AnnouncePayload;

    fn announce(text: &str) -> Payload {
        Payload::Announce(AnnouncePayload { text: text.into() })
    }

    #[test]
    fn events_are_numbered_and_kept() {
        let log = EventPublisher::new("memory-svc", "i1");
        log.publish("ada", "", announce("one"));
        let (_, position, _live) = log.subscribe(None);
        assert_eq!(position.sequence, 1);
        log.publish("ada", "", announce("two"));
        let (kept, now, _live) = log.subscribe(Some(&position));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].id.as_ref().unwrap().sequence, 2);
        assert_eq!(kept[0].kind(), EventKind::Announce);
        assert_eq!(now.sequence, 2);
    }

    #[test]
    fn another_instance_starts_afresh() {
        let log = EventPublisher::new("memory-svc", "i1");
        log.publish("", "", announce("one"));
        let (kept, ..) = log.subscribe(Some(&EventId {
            instance: "i0".into(),
            epoch: 0,
            sequence: 0,
        }));
        assert!(kept.is_empty());
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_lost() {
        let log = EventPublisher::new("memory-svc", "i1");
        let (_, _, mut live) = log.subscribe(None);
        for _ in 0..KEPT + 3 {
            log.publish("", "", announce("tick"));
        }
        assert!(matches!(live.recv().await, Err(RecvError::Lagged(3))));
    }
}
