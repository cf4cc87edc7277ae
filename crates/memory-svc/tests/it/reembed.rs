//! Another embedding model for what is stored, while the service goes on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fact_change::Change;
use memory_svc::Engines;
use memory_svc::embedding::{Embedder, EmbeddingError, Identity, Loader};
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_service::{CancelToken, ErrorCode, StartupError};
use solo_testkit::wait_for;

use crate::exchange::fact;
use crate::support::*;

const OTHER_DIMENSION: usize = 128;
const PATIENCE: Duration = Duration::from_secs(30);

/// Folded [`WordVectors`], or a failure for a text that has the word "poison".
struct Folded;

impl Embedder for Folded {
    fn embed(&mut self, texts: &[String], _: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if texts.iter().any(|text| text.contains("poison")) {
            return Err(EmbeddingError::Engine("it does not like that".into()));
        }
        let folded = |text: &String| {
            let mut vector = vec![0.0; OTHER_DIMENSION];
            for (index, x) in WordVectors::of(text).into_iter().enumerate() {
                vector[index % OTHER_DIMENSION] += x;
            }
            let length = vector.iter().map(|x: &f32| x * x).sum::<f32>().sqrt();
            vector.into_iter().map(|x| x / length).collect()
        };
        Ok(texts.iter().map(folded).collect())
    }
}

fn folded() -> Loader {
    Loader {
        identity: Identity {
            model: "folded".into(),
            dimension: OTHER_DIMENSION,
        },
        ..loader_with("folded", Folded)
    }
}

/// With [`WordVectors`], and "folded" for whoever asks.
fn engines() -> Engines {
    Engines {
        others: Arc::new(|wanted| match wanted.model.as_str() {
            "folded" => Ok(folded()),
            "words" => Ok(loader()),
            other => Err(StartupError::MissingModel {
                message: format!("model \"{other}\" is not installed"),
            }),
        }),
        ..loader().into()
    }
}

async fn start_both(folder: &Path) -> (Harness, Client) {
    let harness = start_in(folder, "[memory.upkeep]\nretain_s = 1", engines())
        .await
        .unwrap();
    let client = Client::new(harness.channel().await);
    (harness, client)
}

async fn learn(client: &Client, text: &str) -> Fact {
    crate::exchange::learn(client, Change::Add(fact(text))).await
}

/// Documents and facts, whatever their order.
async fn kept(client: &Client) -> (Vec<Document>, Vec<Fact>) {
    let (mut documents, mut facts) = (client.documents().await, client.facts(true).await);
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    facts.sort_by(|a, b| a.id.cmp(&b.id));
    (documents, facts)
}

/// With the times of their making.
async fn collections(client: &Client) -> Vec<Collection> {
    let list = client.list_collections(ListCollectionsRequest::default()).await;
    list.unwrap().collections
}

#[tokio::test]
async fn another_model_takes_the_place_of_the_first_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let (harness, client) = start_both(folder.path()).await;
    let (alice, bob) = (client.of("alice"), client.of("bob"));
    for number in 0..30 {
        alice
            .put(&format!("note:{number}"), &format!("alpha{number} {}", words("w", 150)))
            .await;
    }
    bob.put("note:b", "beans climb up poles").await;
    learn(&bob, "the user lives in Bern").await;
    let gone = learn(&bob, "the user has a cat").await;
    let doomed = alice.put("note:doomed", "a document that goes").await.document.id;

    let writing = async {
        for number in 30..60 {
            alice
                .put(&format!("note:{number}"), &format!("alpha{number} new"))
                .await;
        }
        alice.put("note:3", "alpha3 in another version").await;
        alice.delete(&[&doomed]).await.unwrap();
        let selector = Some(forget_request::Selector::FactId(gone.id.clone()));
        bob.forget(ForgetRequest { selector }).await.unwrap();
        learn(&bob, "the user plays the cello").await;
    };
    let (done, ()) = tokio::join!(client.reembed("folded"), writing);
    let done = done.unwrap();
    assert_eq!(
        (done.model.as_str(), done.dimension),
        ("folded", OTHER_DIMENSION as u32)
    );

    let before = (kept(&alice).await, kept(&bob).await);
    assert_eq!((before.0.0.len(), before.1.1.len()), (60, 2));
    assert_eq!(alice.find("alpha3").await[0].text, "alpha3 in another version");
    assert_eq!(bob.find("cello").await[0].text, "the user plays the cello");
    assert!(
        alice
            .find("a document that goes")
            .await
            .iter()
            .all(|hit| !hit.text.contains("goes"))
    );
    let problems = client.verify(VerifyRequest {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    let status = harness.context().status.snapshot();
    assert_eq!(status.model, "folded");

    // The old vectors leave the disk.
    let old = folder.path().join("chunks.lance");
    wait_for("the first store is removed", PATIENCE, async || !old.exists()).await;
    alice.put("note:later", "written to the second store").await;
    harness.stop().await.unwrap();

    let refused = start_in(folder.path(), "", loader())
        .await
        .err()
        .expect("another model")
        .to_string();
    assert!(
        refused.contains("\"folded\"") && refused.contains("solo memory reembed words"),
        "{refused}"
    );
    let harness = start_in(folder.path(), "", folded()).await.unwrap();
    let client = Client::new(harness.channel().await);
    let (alice, bob) = (client.of("alice"), client.of("bob"));
    assert_eq!(
        alice.find("written to the second store").await[0].text,
        "written to the second store"
    );
    let later = alice
        .documents()
        .await
        .into_iter()
        .find(|document| document.uri == "note:later")
        .unwrap();
    alice.delete(&[&later.id]).await.unwrap();
    assert_eq!((kept(&alice).await, kept(&bob).await), before);
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn there_and_back_again() {
    let folder = tempfile::tempdir().unwrap();
    let (harness, client) = start_both(folder.path()).await;
    client.put("note:1", "beans climb up poles").await;
    client.reembed("folded").await.unwrap();
    client.reembed("words").await.unwrap();
    assert_eq!(client.find("beans").await[0].text, "beans climb up poles");
    let tables = || {
        let there = std::fs::read_dir(folder.path()).unwrap();
        let names = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with("vectors-") || name.ends_with(".lance"))
            .collect::<Vec<_>>()
    };
    wait_for("only one store is left", PATIENCE, async || tables().len() == 1).await;
    assert_eq!(tables(), ["vectors-words-384"]);
    assert_eq!(client.find("beans").await[0].text, "beans climb up poles");
    harness.stop().await.unwrap();
    let harness = start_in(folder.path(), "", loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    assert_eq!(client.find("beans").await[0].text, "beans climb up poles");
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_fails_changes_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (harness, client) = start_both(folder.path()).await;
    client.put("note:1", "beans climb up poles").await;
    client.put("note:2", "a word of poison").await;
    let told = refused(
        client.reembed("folded").await,
        ErrorCode::FailedPrecondition,
        "NOT_REEMBEDDED",
    );
    assert!(told.contains("the vectors are as they were"), "{told}");
    assert_eq!(client.find("beans").await[0].text, "beans climb up poles");
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.iter().all(|name| !name.starts_with("vectors-")), "{left:?}");
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn models_that_cannot_be_had_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (harness, client) = start_both(folder.path()).await;
    let told = refused(
        client.reembed("none").await,
        ErrorCode::FailedPrecondition,
        "MODEL_UNAVAILABLE",
    );
    assert!(told.contains("is not installed"), "{told}");
    let done = client.reembed("words").await.unwrap();
    assert_eq!(
        (done.model.as_str(), done.embedded),
        ("words", 0),
        "there is nothing to do"
    );
    refused(client.reembed("").await, ErrorCode::InvalidArgument, "NO_MODEL");
    harness.stop().await.unwrap();
}

/// Other engines, of which "held" is `held`.
fn with_held(held: Held) -> Engines {
    let held = Mutex::new(Some(held));
    Engines {
        others: Arc::new(move |_| Ok(loader_with("held", held.lock().unwrap().take().unwrap()))),
        ..loader().into()
    }
}

#[tokio::test]
async fn what_is_written_while_the_copy_stands_still_is_in_the_second_store() {
    let folder = tempfile::tempdir().unwrap();
    let (held, holder) = Held::new();
    let harness = start_in(folder.path(), "", with_held(held)).await.unwrap();
    let client = Client::new(harness.channel().await);
    client.put("note:1", "the first version").await;
    let doomed = client.put("note:2", "a document that goes").await.document.id;
    let gone = learn(&client, "the user has a cat").await;
    let reembedding = tokio::spawn({
        let client = client.clone();
        async move { client.reembed("held").await }
    });
    let holder = holder.reached().await;

    client.put("note:1", "the second version").await;
    client.delete(&[&doomed]).await.unwrap();
    client.put("note:3", "a document that came").await;
    let selector = Some(forget_request::Selector::FactId(gone.id));
    client.forget(ForgetRequest { selector }).await.unwrap();
    learn(&client, "the user plays the cello").await;
    let garden = CreateCollectionRequest {
        name: "garden".into(),
        description: "what grows".into(),
    };
    client.create_collection(garden).await.unwrap();
    client.put_in("garden", "note:4", "beans climb up poles").await.unwrap();
    let before = kept(&client).await;
    let collections_before = collections(&client).await;

    (0..100).for_each(|_| holder.release());
    assert_eq!(reembedding.await.unwrap().unwrap().model, "held");
    assert_eq!(kept(&client).await, before);
    assert_eq!((before.0.len(), before.1.len()), (3, 1));
    assert_eq!(collections(&client).await, collections_before);
    assert_eq!(collections_before.len(), 2);
    assert_eq!(client.find("version").await[0].text, "the second version");
    let problems = client.verify(VerifyRequest {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_prepared_with_the_first_engine_is_embedded_by_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let (held, holder) = Held::new();
    let engines = Engines {
        others: Arc::new(|_| Ok(folded())),
        ..loader_with("held", held).into()
    };
    let harness = start_in(folder.path(), "", engines).await.unwrap();
    let client = Client::new(harness.channel().await);
    let putting = tokio::spawn({
        let client = client.clone();
        async move { client.put("note:1", "beans climb up poles").await }
    });
    let holder = holder.reached().await;
    client.reembed("folded").await.unwrap();
    holder.release();
    putting.await.unwrap();
    assert_eq!(client.find("beans").await[0].text, "beans climb up poles");
    let problems = client.verify(VerifyRequest {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    harness.stop().await.unwrap();
}
