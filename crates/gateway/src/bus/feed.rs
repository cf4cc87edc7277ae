//! Brings the events of all services onto the bus: one subscription for each address, so that replicas are all heard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use solo_proto::events::v1::event_service_client::EventServiceClient;
use solo_proto::events::v1::subscribe_response::Payload;
use solo_proto::events::v1::{EventId, SubscribeRequest};
use tokio::task::JoinSet;
use tonic::Status;

use super::Bus;
use crate::Gateway;
use crate::peers::{Peer, SERVICES};

const RESOLVE_EVERY: Duration = Duration::from_secs(5);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Subscribes to every address of every service until the gateway stops.
pub(crate) async fn feed(gateway: Arc<Gateway>) {
    let mut tasks = JoinSet::new();
    let mut subscribed: HashMap<(&str, String), tokio::task::AbortHandle> = HashMap::new();
    loop {
        let mut found = Vec::new();
        for service in SERVICES {
            found.extend(gateway.peers(service).await);
        }
        subscribed.retain(|(service, address), task| {
            let stays = found
                .iter()
                .any(|peer| peer.service == *service && peer.address == *address);
            if !stays {
                task.abort();
            }
            stays
        });
        for peer in found {
            let key = (peer.service, peer.address.clone());
            subscribed
                .entry(key)
                .or_insert_with(|| tasks.spawn(follow(gateway.bus.clone(), peer)));
        }
        tokio::select! {
            () = gateway.context.shutdown.cancelled() => return,
            () = tokio::time::sleep(RESOLVE_EVERY) => {}
        }
    }
}

/// Subscribes to one address, again and again, each time from where it left off.
async fn follow(bus: Bus, peer: Peer) {
    let mut after = None;
    let mut pause = BACKOFF.0;
    loop {
        let begun = tokio::time::Instant::now();
        if let Err(status) = subscribe(&bus, &peer, &mut after).await {
            tracing::debug!(service = peer.service, address = peer.address, %status, "no events from this address");
        }
        pause = if begun.elapsed() > BACKOFF.1 {
            BACKOFF.0
        } else {
            (pause * 2).min(BACKOFF.1)
        };
        tokio::time::sleep(pause).await;
    }
}

async fn subscribe(bus: &Bus, peer: &Peer, after: &mut Option<EventId>) -> Result<(), Status> {
    let request = SubscribeRequest {
        after: after.clone(),
        kinds: Vec::new(),
    };
    let mut answers = EventServiceClient::new(peer.channel.clone())
        .subscribe(request)
        .await?
        .into_inner();
    while let Some(answer) = answers.message().await? {
        match answer.payload {
            Some(Payload::Started(started)) => *after = started.position.or(after.take()),
            Some(Payload::Event(event)) => {
                after.clone_from(&event.id);
                bus.publish(event);
            }
            Some(Payload::Lost(lost)) => {
                tracing::warn!(
                    service = peer.service,
                    count = lost.count,
                    "events were lost on the way here"
                );
            }
            None => {}
        }
    }
    Ok(())
}
