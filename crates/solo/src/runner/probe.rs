//! How a service is, asked of the service: gRPC health (watched, not polled, once it answers) and `StatusService`.

use std::time::Duration;

use solo_proto::status::v1::GetStatusRequest;
use solo_proto::status::v1::status_service_client::StatusServiceClient;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::board::About;
use crate::connection::Address;

/// Pause between two attempts to reach a service that is starting: short, it counts into every start.
const RETRY: Duration = Duration::from_millis(25);
const CONNECT: Duration = Duration::from_millis(500);
const STATUS: Duration = Duration::from_millis(700);
/// The same when a service turns SERVING: it counts into the start, and can be asked again later.
const FIRST_STATUS: Duration = Duration::from_millis(300);
/// A broken connection mostly means that the process has ended, which its supervisor hears in a moment; only after this
/// is it news of its own.
const BROKEN: Duration = Duration::from_millis(100);

/// What the health of a service turned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// SERVING; and what it says of itself, if it said something.
    Serving(Option<About>),
    /// Anything else, after it had been SERVING.
    NotServing,
}

impl Address {
    /// What the service says of itself; none when it does not answer in time.
    pub async fn about(&self) -> Option<About> {
        tokio::time::timeout(STATUS, async { about(self.connect(CONNECT).await.ok()?).await })
            .await
            .ok()
            .flatten()
    }

    /// Tells `news` how the service is until the receiver is dropped. Never ends by itself: a service that breaks the
    /// connection is tried again.
    pub async fn follow(self, news: mpsc::Sender<Health>) {
        let mut was_serving = false;
        while !news.is_closed() {
            if let Ok(channel) = self.connect(CONNECT).await {
                watch(channel, &news, &mut was_serving).await;
                if was_serving {
                    was_serving = false;
                    tokio::time::sleep(BROKEN).await;
                    let _ = news.send(Health::NotServing).await;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Follows one connection until it breaks.
async fn watch(channel: Channel, news: &mpsc::Sender<Health>, was_serving: &mut bool) {
    let request = HealthCheckRequest { service: String::new() };
    let Ok(response) = HealthClient::new(channel.clone()).watch(request).await else {
        return;
    };
    let mut updates = response.into_inner();
    while let Ok(Some(update)) = updates.message().await {
        let serving = update.status() == ServingStatus::Serving;
        if serving == *was_serving {
            continue;
        }
        *was_serving = serving;
        let health = if serving {
            let about = tokio::time::timeout(FIRST_STATUS, about(channel.clone()))
                .await
                .ok()
                .flatten();
            Health::Serving(about)
        } else {
            Health::NotServing
        };
        if news.send(health).await.is_err() {
            return;
        }
    }
}

async fn about(channel: Channel) -> Option<About> {
    let response = StatusServiceClient::new(channel)
        .get_status(GetStatusRequest {})
        .await
        .ok()?;
    let status = response.into_inner().status?;
    Some(About {
        engine: status.engine,
        model: status.model,
        device: status.device,
        ready_ms: status.ready_ms,
        rss_bytes: status.rss_bytes,
    })
}
