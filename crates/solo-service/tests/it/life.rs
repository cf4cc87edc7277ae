//! Boot and drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use solo_proto::events::v1::event_service_client::EventServiceClient;
use solo_proto::events::v1::{SubscribeRequest, subscribe_response};
use solo_proto::status::v1::status_service_client::StatusServiceClient;
use solo_proto::status::v1::{GetStatusRequest, ServiceState};
use solo_proto::wake::v1::ListKeywordsRequest;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_service::testing::Harness;
use solo_service::{Context, StartupError, Worker};
use tokio::sync::oneshot;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::toy::{self, Config, DEFINITION, Finish};

async fn health(harness: &Harness, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let answer: HealthCheckResponse = HealthClient::new(harness.channel().await)
        .check(request)
        .await
        .unwrap()
        .into_inner();
    answer.status()
}

#[tokio::test]
async fn it_answers_while_it_loads_and_serves_afterwards() {
    let (load, loaded) = oneshot::channel::<()>();
    let build = move |_: Config, _: Context| async move {
        loaded.await.map_err(StartupError::other)?;
        Ok(toy::service(Finish::default()))
    };
    let harness = Harness::start_loading(DEFINITION, "", build).await.unwrap();
    assert_eq!(health(&harness, "").await, ServingStatus::NotServing);
    assert_eq!(
        health(&harness, "solo.wake.v1.WakeService").await,
        ServingStatus::NotServing
    );
    let mut client = WakeServiceClient::new(harness.channel().await);
    let refused = client.list_keywords(ListKeywordsRequest {}).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "wake-svc is starting: its engine is loading")
    );

    let mut watch = HealthClient::new(harness.channel().await)
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    load.send(()).unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    client.list_keywords(ListKeywordsRequest {}).await.unwrap();
    let status = StatusServiceClient::new(harness.channel().await)
        .get_status(GetStatusRequest {})
        .await
        .unwrap();
    let status = status.into_inner().status.unwrap();
    assert_eq!(status.state(), ServiceState::Serving);
    assert_eq!(
        (status.service.as_str(), status.version.as_str()),
        ("wake-svc", "1.0.0")
    );
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_nothing_else() {
    let harness = toy::start("", Finish::default()).await;
    let mut client = ServerReflectionClient::new(harness.channel().await);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "solo.events.v1.EventService",
        "solo.status.v1.StatusService",
        "solo.wake.v1.WakeService",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_running_call_finishes_while_draining_and_new_ones_are_refused() {
    let finish = Finish::default();
    let harness = toy::start("", finish.clone()).await;
    let channel = harness.channel().await;
    let mut stream = WakeServiceClient::new(channel.clone())
        .detect(futures::stream::pending())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(toy::next_engine(&mut stream).await.unwrap().unwrap(), "first");
    harness.begin_stop();
    harness.context().shutdown.cancelled().await;
    let refused = WakeServiceClient::new(channel)
        .list_keywords(ListKeywordsRequest {})
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "wake-svc is restarting")
    );
    finish.notify_one();
    assert_eq!(toy::next_engine(&mut stream).await.unwrap().unwrap(), "second");
    assert_eq!(toy::next_engine(&mut stream).await.unwrap(), None);
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_finish_is_cut_off_at_the_deadline() {
    let harness = toy::start("[global]\ndrain_ms = 50\n", Finish::default()).await;
    let mut stream = WakeServiceClient::new(harness.channel().await)
        .detect(futures::stream::pending())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(toy::next_engine(&mut stream).await.unwrap().unwrap(), "first");
    harness.stop().await.unwrap();
    assert!(toy::next_engine(&mut stream).await.is_err());
}

#[tokio::test]
async fn a_subscriber_hears_events_and_does_not_hold_up_the_drain() {
    let harness = toy::start("", Finish::default()).await;
    let mut events = EventServiceClient::new(harness.channel().await)
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut next = async || events.message().await.unwrap().and_then(|message| message.payload);
    assert!(matches!(next().await, Some(subscribe_response::Payload::Started(_))));
    let payload = solo_proto::events::v1::AnnouncePayload {
        text: "tea is ready".into(),
    };
    let payload = solo_proto::events::v1::event::Payload::Announce(payload);
    harness.context().events.publish("ada", "", payload.clone());
    let Some(subscribe_response::Payload::Event(event)) = next().await else {
        panic!("no event")
    };
    assert_eq!((event.principal.as_str(), event.payload), ("ada", Some(payload)));
    harness.begin_stop();
    // It may hear that calls are refused from now on; then the end, either of the events or as the process's last word.
    while let Ok(Some(message)) = events.message().await {
        let Some(subscribe_response::Payload::Event(event)) = message.payload else {
            panic!("no event: {message:?}")
        };
        let health = matches!(event.payload, Some(solo_proto::events::v1::event::Payload::Health(_)));
        assert!(health, "{event:?}");
    }
    harness.stop().await.unwrap();
}

/// An engine that takes its time to go, as one that frees a model does.
struct Slow(Arc<AtomicBool>);

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(300));
        self.0.store(true, Ordering::Release);
    }
}

#[tokio::test]
async fn it_ends_after_its_engines() {
    let gone = Arc::new(AtomicBool::new(false));
    let engine = Slow(Arc::clone(&gone));
    let build = move |_: Config, context: Context| async move {
        let worker = Worker::start(&context, "slow", 1, move || Ok(engine)).await?;
        Ok(toy::service(Finish::default()).task(async move {
            let _worker = worker;
            std::future::pending().await
        }))
    };
    let harness = Harness::start(DEFINITION, "", build).await.unwrap();
    assert!(!gone.load(Ordering::Acquire));
    harness.stop().await.unwrap();
    assert!(gone.load(Ordering::Acquire), "the process would end before its engine");
}

#[tokio::test]
async fn a_service_that_cannot_start_says_why() {
    let build = |_: Config, _: Context| async {
        Err(StartupError::MissingModel {
            message: "run `solo models pull x`".into(),
        })
    };
    let error = Harness::start(DEFINITION, "", build).await.err().unwrap();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("run `solo models pull x`", 66)
    );
}
