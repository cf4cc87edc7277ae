//! Two services on one store at once. Whatever they do beside each other, nothing is lost, doubled or undone.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memory_svc::embedding::Identity;
use memory_svc::names::{CollectionName, Principal};
use memory_svc::page::PageRequest;
use memory_svc::store::Store;
use memory_svc::store::lance::{Indexing, LanceStore, Sharing};
use solo_proto::memory::v1::*;
use solo_service::ErrorCode;
use solo_testkit::wait_for;

use crate::pair::*;
use crate::support::*;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_the_other_writes() {
    each_sees_the_others_writes(&Pair::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_write_the_same_documents_at_once() {
    both_write(&Pair::start().await, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_supersede_a_fact_one_wins() {
    one_of_two_supersedes(&Pair::start().await, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_made_once_and_deleted_beside_puts() {
    let pair = Pair::start().await;
    let [one, two] = &pair.clients[..] else { unreachable!() };
    for round in 0..6 {
        let name = format!("notes{round}");
        let make = async |client: &Client| {
            let request = CreateCollectionRequest {
                name: name.clone(),
                ..Default::default()
            };
            insist(async || client.create_collection(request.clone()).await).await
        };
        let (first, second) = tokio::join!(make(one), make(two));
        assert!(first.is_ok() != second.is_ok(), "one makes it: {first:?} {second:?}");
        wait_for("the collection", SOON, async || {
            two.put_in(&name, "file:///a", "text").await.is_ok() && one.put_in(&name, "file:///b", "text").await.is_ok()
        })
        .await;
        let fill = async {
            let mut n = 0;
            // Until it is gone.
            while insist(async || two.put_in(&name, &format!("file:///{n}"), "more text").await)
                .await
                .is_ok()
            {
                n += 1;
            }
        };
        let delete = async {
            tokio::time::sleep(Duration::from_millis(30 * round)).await;
            let request = DeleteCollectionRequest { name: name.clone() };
            insist(async || one.delete_collection(request.clone()).await)
                .await
                .unwrap();
        };
        tokio::join!(fill, delete);
        for client in [one, two] {
            wait_for("its documents are gone", SOON, async || {
                client.documents().await.is_empty()
            })
            .await;
        }
    }
    pair.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_export_is_taken_in_once_by_both() {
    let source = start().await;
    for n in 0..5 {
        source
            .client
            .put(&format!("file:///{n}"), &format!("text number {n}"))
            .await;
        source
            .client
            .apply_facts(adding(&format!("fact number {n}")))
            .await
            .unwrap();
    }
    let (file, _) = source.client.export().await.unwrap();
    let pair = Pair::start().await;
    let import = async |client: &Client| insist(async || client.import(&file).await).await.unwrap();
    tokio::join!(import(&pair.clients[0]), import(&pair.clients[1]));
    pair.assert_sound().await;
    for client in &pair.clients {
        assert_eq!((client.documents().await.len(), client.facts(true).await.len()), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_two_take_in_at_once_gives_each_identifiers_of_their_own() {
    let source = start().await;
    for n in 0..5 {
        source
            .client
            .put(&format!("file:///{n}"), &format!("text number {n}"))
            .await;
    }
    let (file, _) = source.client.export().await.unwrap();
    let pair = Pair::start().await;
    for round in 0..4 {
        let alice = pair.clients[0].of(&format!("alice{round}"));
        let bob = pair.clients[1].of(&format!("bob{round}"));
        let import = async |client: &Client| insist(async || client.import(&file).await).await.unwrap();
        tokio::join!(import(&alice), import(&bob));
        for client in [&alice, &bob] {
            let there = texts(client).await;
            assert_eq!((there.len(), there["file:///3"].as_str()), (5, "text number 3"));
        }
    }
    // Which says of an identifier whether two documents have it.
    pair.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_restarts_while_the_other_writes() {
    let mut pair = Pair::start().await;
    let one = pair.clients[0].clone();
    let writing = async {
        for n in 0..30 {
            put(&one, &format!("file:///{}", n % 7), &words(&format!("n{n}w"), 250)).await;
        }
    };
    let restarting = async {
        for n in 0..3 {
            put(&pair.clients[1], &format!("file:///{n}"), "from the other").await;
            pair.restart_second().await;
        }
    };
    tokio::join!(writing, restarting);
    pair.assert_sound().await;
    assert_eq!(texts(&pair.clients[0]).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shares_and_whoever_does_not_refuse_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let alone = start_in(folder.path(), "", loader()).await.unwrap();
    Client::new(alone.channel().await).put("file:///a", "made alone").await;
    let refused = start_in(folder.path(), SHARED, loader())
        .await
        .err()
        .expect("it does not start");
    assert!(refused.to_string().contains("memory.shared = true"), "{refused}");
    alone.stop().await.unwrap();
    // What was made alone is shared from now on.
    let pair = Pair::start_at(folder.path(), SHARED).await;
    put(&pair.clients[0], "file:///a", "made by one").await;
    put(&pair.clients[1], "file:///a", "made by two").await;
    pair.assert_sound().await;
    let refused = start_in(folder.path(), "", loader())
        .await
        .err()
        .expect("it does not start");
    assert!(refused.to_string().contains("open in another process"), "{refused}");
    for harness in pair.harnesses {
        harness.stop().await.unwrap();
    }
    // And alone again.
    let alone = start_in(folder.path(), "", loader()).await.unwrap();
    let client = Client::new(alone.channel().await);
    assert_eq!(client.put("file:///a", "made alone again").await.document.version, 4);
    assert_eq!(
        client.verify(VerifyRequest {}).await.unwrap().problems,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_share_search_words_of_one_language() {
    let folder = tempfile::tempdir().unwrap();
    let started = async |shared: &str, language: &str| {
        let overrides = format!("{shared}[memory.search]\nlanguage = {language:?}\n");
        start_in(folder.path(), &overrides, loader()).await
    };
    let english = started(SHARED, "english").await.unwrap();
    let same = started(SHARED, "english").await.unwrap();
    let refused = started(SHARED, "german").await.err().expect("it does not start");
    assert!(
        refused.to_string().contains("memory.search.language = \"english\""),
        "{refused}"
    );
    english.stop().await.unwrap();
    same.stop().await.unwrap();
    // Who has it alone changes it, and then it is so for all.
    started("", "german").await.unwrap().stop().await.unwrap();
    let refused = started(SHARED, "english").await.err().expect("it does not start");
    assert!(refused.to_string().contains("\"german\""), "{refused}");
    started(SHARED, "german").await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_those_that_share_keeps_watched_folders() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::start().await;
    let request = AddWatchRequest {
        path: folder.path().to_str().unwrap().into(),
        ..Default::default()
    };
    let message = refused(
        pair.clients[0].add_watch(request).await,
        ErrorCode::FailedPrecondition,
        "WATCHES_ELSEWHERE",
    );
    assert!(message.contains("memory.watch.keeper = true"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_not_made_anew_while_others_have_the_store() {
    let pair = Pair::start().await;
    let refused = refused(
        pair.clients[0].reembed("other").await,
        ErrorCode::FailedPrecondition,
        "STORE_SHARED",
    );
    assert!(refused.contains("memory.shared = false"), "{refused}");
}

fn identity() -> Identity {
    Identity {
        model: "words".into(),
        dimension: DIMENSION,
    }
}

fn indexing() -> Indexing {
    Indexing {
        language: "English".into(),
        vectors_from: 20_000,
        resident_bytes: 0,
        cache_bytes: 512 << 20,
    }
}

/// A store as one of several processes has it.
async fn one_of_several(folder: &Path) -> LanceStore {
    let sharing = Sharing {
        refresh: Duration::from_millis(50),
        bucket: None,
    };
    LanceStore::open_shared(folder, &identity(), indexing(), sharing)
        .await
        .unwrap()
}

async fn make(store: &LanceStore, principal: &Principal, collection: &str) {
    let name = CollectionName::new(collection, "name").unwrap();
    store.create_collection(principal, &name, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_takes_its_time_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (one_of_several(folder.path()).await, one_of_several(folder.path()).await);
    let principal = Principal::new("local").unwrap();
    make(&one, &principal, "a").await;
    let exported = one.snapshot(&principal).await.unwrap();
    make(&one, &principal, "b").await;
    let all = PageRequest::everything();
    assert_eq!(one.collections(&principal, &all).await.unwrap().items.len(), 2);
    assert_eq!(exported.collections.len(), 1);
    // Old files are removed after it. Meanwhile the other process tidies up.
    let pruning = tokio::spawn({
        let one = one.clone();
        async move { one.prune(Duration::ZERO).await }
    });
    for _ in 0..10 {
        other.compact().await.unwrap();
    }
    assert!(!pruning.is_finished());
    drop(exported);
    pruning.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_may_still_use_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = one_of_several(folder.path()).await;
    let principal = Principal::new("local").unwrap();
    for name in ["a", "b", "c"] {
        make(&store, &principal, name).await;
    }
    let states = || {
        std::fs::read_dir(folder.path().join("collections.lance/_versions"))
            .unwrap()
            .count()
    };
    // As a write that has not been committed leaves it.
    let unnamed = folder.path().join("collections.lance/data/unnamed.lance");
    std::fs::write(&unnamed, "rows").unwrap();
    let before = states();
    store.prune(Duration::ZERO).await.unwrap();
    assert_eq!((states(), unnamed.exists()), (before, true));
    drop(store);
    // Whoever has the store alone knows that nobody uses them.
    let store = LanceStore::open(folder.path(), &identity(), indexing()).await.unwrap();
    store.prune(Duration::ZERO).await.unwrap();
    assert!(states() < before && !unnamed.exists());
}

const FOLDER: &str = "SOLO_MEMORY_SHARED_FOLDER";

/// Not a test: puts documents until it is killed, and says so after each acknowledgement.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that another test kills"]
async fn shared_child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let harness = start_in(folder.as_ref(), SHARED, loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    for n in 0.. {
        put(
            &client,
            &format!("file:///{}", n % 5),
            &words(&format!("child{n}w"), 300),
        )
        .await;
        put(&client, &format!("file:///child{n}"), &format!("child {n}")).await;
        let mut out = std::io::stdout();
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_is_killed_while_another_writes() {
    let folder = tempfile::tempdir().unwrap();
    let harness = start_in(folder.path(), SHARED, loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    let mut acknowledged = 0;
    for round in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shared::shared_child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reading = tokio::task::spawn_blocking(move || {
            let lines = lines.map_while(Result::ok);
            let seen = lines
                .filter(|line| line.starts_with("acknowledged "))
                .take(5 + round)
                .count();
            child.kill().unwrap();
            child.wait().unwrap();
            seen
        });
        let mut n = 0;
        while !reading.is_finished() {
            put(
                &client,
                &format!("file:///{}", n % 5),
                &words(&format!("own{n}r{round}w"), 300),
            )
            .await;
            n += 1;
        }
        acknowledged = acknowledged.max(reading.await.unwrap());
    }
    let verified = client.verify(VerifyRequest {}).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    let there = texts(&client).await;
    for n in 0..acknowledged {
        assert_eq!(there[&format!("file:///child{n}")], format!("child {n}"));
    }
    assert!((0..5).all(|n| there.contains_key(&format!("file:///{n}"))));
}
