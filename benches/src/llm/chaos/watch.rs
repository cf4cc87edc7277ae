//! Those who look on: health must stay SERVING throughout, and gauges must have moved.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{GAUGES, Shared};
use crate::llm::service::{gauge, status_at};

/// How long the service may take to say how it is, on a machine that is as busy as can be.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches health as a client of Solo does, and asks besides, so that silence does not pass for health. Ends only with a
/// fault.
pub(super) async fn health(endpoint: Endpoint, tally: Shared) {
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return tally.fault(format!("health cannot be watched: {error}")),
    };
    let (mut watcher, mut asker) = (HealthClient::new(channel.clone()), HealthClient::new(channel));
    let everything = HealthCheckRequest { service: String::new() };
    let watched = async {
        let mut changes = watcher.watch(everything.clone()).await?.into_inner();
        while let Some(change) = changes.message().await? {
            tally.saw(format!("health: {}", change.status().as_str_name()));
            if change.status() != ServingStatus::Serving {
                tally.fault(format!("health turned {}", change.status().as_str_name()));
            }
        }
        Err::<(), _>(tonic::Status::unavailable("the watch ended"))
    };
    let asked = async {
        loop {
            match tokio::time::timeout(PATIENCE, asker.check(everything.clone())).await {
                Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {}
                Ok(Ok(answer)) => {
                    tally.fault(format!("health is {}", answer.get_ref().status().as_str_name()));
                }
                Ok(Err(status)) => return Err::<(), _>(status),
                Err(_) => tally.fault(format!("health was not told within {PATIENCE:?}")),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    if let Err(status) = tokio::try_join!(watched, asked) {
        tally.fault(format!("health cannot be had: {status}"));
    }
}

/// Keeps the largest value of each gauge. Ends when it is aborted.
pub(super) async fn gauges(endpoint: Endpoint, tally: Shared) {
    loop {
        match status_at(&endpoint).await {
            Ok(status) => tally.with(|tally| {
                for name in GAUGES {
                    let peak = tally.peaks.entry(name).or_default();
                    *peak = gauge(&status, name).unwrap_or(0.0).max(*peak);
                }
            }),
            Err(status) => tally.fault(format!("the status cannot be had: {status}")),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
