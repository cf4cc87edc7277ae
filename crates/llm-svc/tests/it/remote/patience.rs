//! How long a server is waited for, when it is asked again, and that it hears when nobody listens.

use std::time::Duration;

use futures::StreamExt;
use llm_svc::backend::Backend;
use llm_svc::backend::openai::OpenAi;
use llm_svc::backend::settings::Limits;
use llm_svc::error::Error;
use llm_svc::llm::{Answered, Generation};
use solo_service::{ErrorCode, ServiceError};
use solo_testkit::wait_for;
use tokio::net::TcpListener;

use crate::remote::openai::{simple, text};
use crate::remote::peer::{Peer, Reply, Step};
use crate::remote::{SOON, failure, limits, openai_config, question, until, whole};

fn with(url: &str, limits: Limits) -> OpenAi {
    let mut config = openai_config(url);
    config.limits = limits;
    OpenAi::new(config, None).unwrap()
}

async fn nobody_listens(peer: &Peer) {
    wait_for("the server to notice", SOON, async || peer.open() == 0).await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let busy = |status| Reply::status(status, [r#"{"error":{"message":"slow down"}}"#]).header("retry-after", "0");
    let peer = Peer::start([busy(429), busy(503), simple("hi")]).await;
    let answer = with(&peer.url, limits()).generate(question("?")).await.unwrap();
    assert_eq!(whole(answer).await.unwrap().texts, ["hi"]);
    assert_eq!(peer.seen().len(), 3);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_told_with_a_hint() {
    let busy = || Reply::status(429, [r#"{"error":{"message":"slow down"}}"#]).header("retry-after", "0.001");
    let peer = Peer::start([busy(), busy(), busy(), busy()]).await;
    let error = failure(with(&peer.url, limits()).generate(question("?")).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::ResourceExhausted, "REMOTE_BUSY")
    );
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1)));
    assert!(error.to_string().contains("slow down"), "{error}");
    assert_eq!(peer.seen().len(), 3, "the first time and two retries");

    let hour = || Reply::status(503, ["loading"]).header("retry-after", "3600");
    let peer = Peer::start([hour()]).await;
    let error = failure(with(&peer.url, limits()).generate(question("?")).await).await;
    assert_eq!(
        (error.code(), error.retry_after()),
        (ErrorCode::Unavailable, Some(Duration::from_secs(3600)))
    );
    assert_eq!(peer.seen().len(), 1, "nobody waits for an hour");
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let backend = with(&url, limits());
    for error in [
        failure(backend.generate(question("?")).await).await,
        backend.models().await.unwrap_err(),
    ] {
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::Unavailable, "REMOTE_UNREACHABLE")
        );
        let told = error.to_string();
        assert!(told.contains(&url) && told.contains("llm.openai.base_url"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_not_asked_again() {
    let broken = Reply::events([text("half").as_str()]).then(Step::Break);
    let peer = Peer::start([broken, simple("hi")]).await;
    let mut answer = with(&peer.url, limits()).generate(question("?")).await.unwrap();
    let mut said = String::new();
    let error = loop {
        match answer.next().await.unwrap() {
            Ok(Answered::Text { text, .. }) => {
                said.push_str(&text);
                peer.break_off();
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        (said.as_str(), error.code(), error.reason()),
        ("half", ErrorCode::Unavailable, "REMOTE_BROKEN")
    );
    assert!(answer.next().await.is_none());
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test]
async fn waiting_ends() {
    let short = |first: f64, idle: f64| Limits {
        first_token_timeout_s: first,
        idle_timeout_s: idle,
        ..limits()
    };
    let begun = || Reply::events([r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#]);
    let cases = [
        (Reply::silence(), short(0.05, 60.0), "first_token_timeout_s"),
        (begun().then(Step::Hang), short(0.05, 60.0), "first_token_timeout_s"),
        (
            Reply::events([text("a").as_str()]).then(Step::Hang),
            short(60.0, 0.05),
            "idle_timeout_s",
        ),
    ];
    for (reply, limits, key) in cases {
        let peer = Peer::start([reply]).await;
        let error = failure(with(&peer.url, limits).generate(question("?")).await).await;
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::Unavailable, "REMOTE_TIMEOUT")
        );
        assert!(
            error.to_string().contains(&format!("llm.openai.limits.{key}")),
            "{error}"
        );
        nobody_listens(&peer).await;
    }
}

#[tokio::test]
async fn the_callers_deadline_is_above_all() {
    for reply in [
        Reply::silence(),
        Reply::events([text("a").as_str()]).then(Step::Hang),
        Reply::status(429, ["busy"]).header("retry-after", "20"),
    ] {
        let busy = reply.clone();
        let peer = Peer::start([reply, busy]).await;
        let mut request = question("?");
        request.caller.deadline = until(Duration::from_millis(80));
        let error = failure(with(&peer.url, limits()).generate(request).await).await;
        // Who is told to come back later than the deadline hears so at once.
        let busy = error.code() == ErrorCode::ResourceExhausted && peer.seen().len() == 1;
        assert!(matches!(error, Error::Deadline) || busy, "{error}");
        nobody_listens(&peer).await;
    }
}

#[tokio::test]
async fn a_dropped_answer_closes_the_connection() {
    let peer = Peer::start([Reply::events([text("a").as_str()]).then(Step::Hang)]).await;
    let mut answer = with(&peer.url, limits()).generate(question("?")).await.unwrap();
    while !matches!(answer.next().await.unwrap().unwrap(), Answered::Text { .. }) {}
    assert_eq!(peer.open(), 1);
    drop(answer);
    nobody_listens(&peer).await;

    // Before anything has come.
    let peer = Peer::start([Reply::silence()]).await;
    let backend = with(&peer.url, limits());
    let asking = tokio::spawn(async move { backend.generate(question("?")).await.map(drop) });
    wait_for("the request", SOON, async || peer.open() == 1).await;
    asking.abort();
    nobody_listens(&peer).await;
}

#[tokio::test]
async fn only_so_many_requests_run() {
    let hang = || Reply::events([text("a").as_str()]).then(Step::Hang);
    let peer = Peer::start([hang(), simple("hi")]).await;
    let backend = with(
        &peer.url,
        Limits {
            max_requests: 1,
            ..limits()
        },
    );
    let first = backend.generate(question("?")).await.unwrap();
    let error = failure(backend.generate(question("?")).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::ResourceExhausted, "REMOTE_BUSY")
    );
    assert!(
        error.retry_after().is_some() && error.to_string().contains("max_requests"),
        "{error}"
    );
    drop(first);
    let request = Generation {
        max_tokens: 1,
        ..question("?")
    };
    assert_eq!(
        whole(backend.generate(request).await.unwrap()).await.unwrap().texts,
        ["hi"]
    );
}
