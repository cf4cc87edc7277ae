//! Calling another service: waiting for it, losing it, finding it again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use solo_proto::wake::v1::ListKeywordsRequest;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_service::testing::Harness;
use solo_service::{Context, ErrorCode, GlobalConfig, RequestContext, ServiceError, Upstream};

use crate::toy::{self, Config, DEFINITION, Finish};

fn upstream(endpoint: &str) -> Upstream {
    let mut global = GlobalConfig::default();
    global.endpoints.wake = endpoint.to_owned();
    Upstream::connect("wake-svc", &global).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn principal(upstream: &Upstream) -> Result<String, solo_service::UpstreamError> {
    let context = RequestContext::new("ada");
    let answer = upstream
        .call(soon(), |channel| {
            let request = context.request(ListKeywordsRequest {});
            async move { WakeServiceClient::new(channel).list_keywords(request).await }
        })
        .await?;
    Ok(answer.keywords[0].keyword.clone())
}

#[tokio::test]
async fn a_call_waits_until_the_service_serves() {
    let (load, loaded) = tokio::sync::oneshot::channel::<()>();
    let build = move |_: Config, _: Context| async move {
        loaded.await.map_err(solo_service::StartupError::other)?;
        Ok(toy::service(Finish::default()))
    };
    let harness = Harness::start_loading(DEFINITION, "", build).await.unwrap();
    let upstream = upstream(&harness.endpoint());
    let call = principal(&upstream);
    tokio::pin!(call);
    assert!(futures::poll!(&mut call).is_pending());
    assert!(!upstream.is_serving());
    load.send(()).unwrap();
    assert_eq!(call.await.unwrap(), "ada");
    assert_eq!(upstream.addresses(), [harness.address().to_string()]);
}

#[tokio::test]
async fn a_service_that_never_comes_is_named_with_a_remedy() {
    let free: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let upstream = upstream(&format!("http://{free}"));
    let error = upstream
        .channel(Instant::now() + Duration::from_millis(50))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.service(), Some("wake-svc"));
    assert!(error.to_string().contains("solo logs wake-svc"), "{error}");
}

#[tokio::test]
async fn a_restarted_service_is_found_again() {
    let first = toy::start("", Finish::default()).await;
    let address = first.address();
    let upstream = upstream(&first.endpoint());
    assert_eq!(principal(&upstream).await.unwrap(), "ada");
    first.stop().await.unwrap();
    // The same port again: what a runner's restart looks like from here.
    let second = tokio::spawn(async move {
        loop {
            let flags = format!("[wake]\nlisten = \"{address}\"\n");
            let build = |_: Config, _: Context| async { Ok(toy::service(Finish::default())) };
            match Harness::start_at(DEFINITION, &flags, build).await {
                Ok(harness) => return harness,
                Err(error) => assert!(error.to_string().contains("taken"), "{error}"),
            }
        }
    });
    assert_eq!(principal(&upstream).await.unwrap(), "ada");
    drop(second.await.unwrap());
}

#[tokio::test]
async fn a_stream_that_breaks_names_its_service() {
    let harness = toy::start("[global]\ndrain_ms = 0\n", Finish::default()).await;
    let upstream = upstream(&harness.endpoint());
    let mut stream = upstream
        .open(soon(), Duration::from_secs(10), |channel| async move {
            WakeServiceClient::new(channel).detect(futures::stream::pending()).await
        })
        .await
        .unwrap();
    assert!(stream.message().await.unwrap().is_some());
    harness.stop().await.unwrap();
    let error = stream.message().await.unwrap_err();
    assert_eq!(
        (error.code(), error.service()),
        (ErrorCode::Unavailable, Some("wake-svc")),
        "{error}"
    );
}

#[tokio::test]
async fn silence_on_a_stream_is_bounded() {
    let harness = toy::start("", Finish::default()).await;
    let upstream = upstream(&harness.endpoint());
    let mut stream = upstream
        .open(soon(), Duration::from_millis(20), |channel| async move {
            WakeServiceClient::new(channel).detect(futures::stream::pending()).await
        })
        .await
        .unwrap();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
}
