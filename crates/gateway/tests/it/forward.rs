//! The other services' contracts at the gateway's port: calls pass as they are.

use solo_proto::memory::v1::SearchRequest;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::search_request::Query;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{SynthesizeRequest, SynthesizeResponse};
use solo_service::error::Fault;
use solo_testkit::Gate;
use solo_testkit::memory::hit;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

use crate::world::World;

async fn search(world: &World) -> Result<Vec<String>, Status> {
    let mut request = Request::new(SearchRequest {
        query: Some(Query::Text("keys".into())),
        ..SearchRequest::default()
    });
    // Whoever a client says it is, the gateway says who it is.
    request
        .metadata_mut()
        .insert("solo-principal", MetadataValue::from_static("mallory"));
    let answer = MemoryServiceClient::new(world.gateway.channel().await)
        .search(request)
        .await?;
    Ok(answer.into_inner().hits.into_iter().map(|hit| hit.text).collect())
}

async fn synthesize(world: &World) -> Streaming<SynthesizeResponse> {
    let request = SynthesizeRequest {
        input: Some(Input::Text("One. Two.".into())),
        ..SynthesizeRequest::default()
    };
    let mut client = TtsServiceClient::new(world.gateway.channel().await);
    client.synthesize(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_call_passes_and_is_the_principals() {
    let world = World::new().await;
    world.memory.set_hits(vec![hit("Spare keys", "In the blue tin.", 0.9)]);
    assert_eq!(search(&world).await.unwrap(), ["In the blue tin."]);
    assert_eq!(world.memory.searches()[0].header("solo-principal"), Some("local"));
    let mut spoken = synthesize(&world).await;
    let mut messages = 0;
    while spoken.message().await.unwrap().is_some() {
        messages += 1;
    }
    assert!(messages > 2, "{messages}");
}

#[tokio::test]
async fn a_refusal_passes_as_it_was_said() {
    let world = World::new().await;
    world
        .memory
        .fail_with(Some(Status::invalid_argument("nothing is asked")));
    let status = search(&world).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "nothing is asked")
    );
}

#[tokio::test]
async fn what_is_not_handed_on_is_refused() {
    let world = World::with("gateway.forward = [\"tts\"]").await;
    let status = search(&world).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("gateway.forward"), "{status:?}");
    assert!(world.memory.searches().is_empty());
    assert!(synthesize(&world).await.message().await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_that_is_not_there_or_goes_away_is_named() {
    let mut world = World::with("gateway.timeouts.connect_ms = 300").await;
    let gate = Gate::closed();
    world.tts.hold_at(&gate);
    let mut spoken = synthesize(&world).await;
    let mut wait = Box::pin(async move {
        loop {
            match spoken.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => return status,
            }
        }
    });
    // It waits before it speaks.
    assert!(futures::poll!(&mut wait).is_pending());
    world.servers.tts.take().unwrap().stop().await;
    let broken = Fault::from(&wait.await);
    assert_eq!(broken.service.as_deref(), Some("tts-svc"), "{broken:?}");
    assert!(broken.message.contains("broke off"), "{broken:?}");

    world.servers.memory.take().unwrap().stop().await;
    let status = search(&world).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        Fault::from(&status).service.as_deref(),
        Some("memory-svc"),
        "{status:?}"
    );
}
