//! The bus: what happens in turns, and what services say.

use solo_proto::events::v1::event::Payload as Fact;
use solo_proto::events::v1::{AnnouncePayload, Event, EventKind};
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::subscribe_events_response::Payload as Next;
use solo_proto::gateway::v1::{GetStatusRequest, OpenSession, SubscribeEventsRequest, SubscribeEventsResponse};
use solo_service::testing::Harness;
use solo_service::{Context, Definition, Service, StartupError};
use solo_testkit::wait_for_value;
use tonic::Streaming;

use crate::world::{NO_WYOMING, PATIENCE, World};

async fn subscribe(world: &World, kinds: &[EventKind]) -> Streaming<SubscribeEventsResponse> {
    let kinds = kinds.iter().map(|&kind| kind.into()).collect();
    let request = SubscribeEventsRequest {
        kinds,
        ..Default::default()
    };
    GatewayServiceClient::new(world.gateway.channel().await)
        .subscribe_events(request)
        .await
        .unwrap()
        .into_inner()
}

async fn next(events: &mut Streaming<SubscribeEventsResponse>) -> Event {
    let answer = tokio::time::timeout(PATIENCE, events.message())
        .await
        .expect("an event comes")
        .unwrap()
        .unwrap();
    match answer.payload {
        Some(Next::Event(event)) => event,
        other => panic!("an event is wanted: {other:?}"),
    }
}

#[tokio::test]
async fn a_turn_is_told_to_subscribers() {
    let world = World::new().await;
    let mut events = subscribe(&world, &[EventKind::Reply, EventKind::TurnSummary]).await;
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("Hello?", false).await;
    let summary = talk.summary().await;
    let mut kinds = Vec::new();
    let last = loop {
        let event = next(&mut events).await;
        kinds.push(event.kind());
        if let Some(Fact::TurnSummary(summary)) = event.payload.clone() {
            break (event, summary);
        }
    };
    assert!(kinds.contains(&EventKind::Reply));
    assert_eq!(
        (last.1.transcript.as_str(), last.1.reply.as_str()),
        ("Hello?", summary.reply.as_str())
    );
    assert!(last.1.stages_ms.contains_key("llm_first_token") && !last.1.stages_ms.contains_key("stt"));
    assert_eq!(
        (last.0.principal.as_str(), last.0.dialogue.as_str()),
        ("local", "dialogue-1")
    );
    assert_eq!(last.0.turn, talk.seen[1].turn_id);
}

const STANDIN: Definition = Definition {
    name: "memory-svc",
    section: "memory",
    version: "0.0.0",
    defaults: "[memory]\nlisten = \"127.0.0.1:0\"\n",
    grpc_services: &[],
    environment: &[],
};

#[derive(Debug, serde::Deserialize)]
struct StandinConfig {
    listen: std::net::SocketAddr,
}

impl solo_service::ServiceConfig for StandinConfig {
    fn listen(&self) -> std::net::SocketAddr {
        self.listen
    }
}

async fn standin(_: StandinConfig, _: Context) -> Result<Service, StartupError> {
    Ok(Service::new())
}

#[tokio::test]
async fn what_services_say_is_on_the_bus_and_their_status_in_the_overview() {
    let memory = Harness::start(STANDIN, "", standin).await.unwrap();
    let fakes = World::new().await;
    let config = format!(
        "gateway.http_listen = \"127.0.0.1:0\"\n{NO_WYOMING}\nglobal.endpoints.memory = \"{}\"\nglobal.endpoints.llm = \"http://127.0.0.1:9\"\nglobal.endpoints.agent = \"{}\"",
        memory.endpoint(),
        fakes.servers.agent.as_ref().unwrap().endpoint(),
    );
    let gateway = Harness::start(gateway::DEFINITION, &config, gateway::build)
        .await
        .unwrap();
    let mut client = GatewayServiceClient::new(gateway.channel().await);
    let request = SubscribeEventsRequest {
        kinds: vec![EventKind::Announce.into()],
        ..Default::default()
    };
    let mut events = client.subscribe_events(request).await.unwrap().into_inner();
    // The gateway hears from the moment its subscription stands; nobody tells when that is.
    let event = wait_for_value("the announcement", PATIENCE, async || {
        memory.context().events.publish(
            "local",
            "d7",
            Fact::Announce(AnnouncePayload {
                text: "tea is ready".into(),
            }),
        );
        tokio::time::timeout(std::time::Duration::from_millis(50), next(&mut events))
            .await
            .ok()
    })
    .await;
    assert_eq!((event.service.as_str(), event.dialogue.as_str()), ("memory-svc", "d7"));
    assert_eq!(event.id.unwrap().instance, gateway.context().status.instance());

    let overview = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    let memory_status = overview.services.iter().find(|at| at.service == "memory-svc").unwrap();
    assert_eq!(memory_status.status.as_ref().unwrap().service, "memory-svc");
    assert!(memory_status.error.is_empty());
    assert!(!overview.ready, "there is no llm-svc");
}
