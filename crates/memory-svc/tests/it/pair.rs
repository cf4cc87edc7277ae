//! Two services on one store, and what they do to it beside each other, in a folder or in a bucket.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_proto::memory::v1::*;
use solo_service::ErrorCode;
use solo_service::testing::Harness;
use solo_testkit::wait_for;
use tempfile::TempDir;

use crate::support::*;

const SOON: Duration = Duration::from_secs(30);
pub const SHARED: &str = "shared = true\nrefresh_ms = 50\n[memory.upkeep]\nafter_writes = 4\n";

/// Two services on one store.
pub struct Pair {
    pub harnesses: Vec<Harness>,
    pub clients: Vec<Client>,
    overrides: String,
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Pair {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Self::start_at(folder.path(), SHARED).await;
        pair._folder = Some(folder);
        pair
    }

    /// Both start at once, on a store that is not there yet.
    pub async fn start_at(path: &Path, overrides: &str) -> Self {
        let start = || start_in(path, overrides, loader());
        let (one, two) = tokio::join!(start(), start());
        let harnesses = vec![one.unwrap(), two.unwrap()];
        let mut clients = Vec::new();
        for harness in &harnesses {
            clients.push(Client::new(harness.channel().await));
        }
        Self {
            harnesses,
            clients,
            overrides: overrides.into(),
            path: path.to_owned(),
            _folder: None,
        }
    }

    /// Stops the second service and starts it again.
    pub async fn restart_second(&mut self) {
        self.harnesses.remove(1).stop().await.unwrap();
        let harness = start_in(&self.path, &self.overrides, loader()).await.unwrap();
        self.clients[1] = Client::new(harness.channel().await);
        self.harnesses.push(harness);
    }

    /// Nothing is missing, twice or left over, whoever looks; no place has two documents.
    pub async fn assert_sound(&self) {
        for client in &self.clients {
            let verified = client.verify(VerifyRequest {}).await.unwrap();
            assert_eq!(verified.problems, Vec::<String>::new());
            let documents = client.documents().await;
            let places: HashSet<_> = documents
                .iter()
                .map(|document| (&document.collection, &document.uri))
                .collect();
            assert_eq!(places.len(), documents.len(), "a document is there twice");
        }
    }
}

/// Does something again for as long as others are in the way.
pub async fn insist<T>(mut work: impl AsyncFnMut() -> Result<T, tonic::Status>) -> Result<T, tonic::Status> {
    loop {
        match work().await {
            Err(status) if fault(&status).1 == "STORE_BUSY" => tokio::time::sleep(Duration::from_millis(20)).await,
            done => return done,
        }
    }
}

pub async fn put(client: &Client, uri: &str, text: &str) -> Put {
    let header = DocumentHeader {
        uri: uri.into(),
        ..Default::default()
    };
    insist(async || client.put_with(header.clone(), text.as_bytes()).await)
        .await
        .unwrap()
}

pub fn adding(text: &str) -> ApplyFactsRequest {
    let fact = Fact {
        text: text.into(),
        ..Default::default()
    };
    let change = Some(fact_change::Change::Add(fact));
    ApplyFactsRequest {
        changes: vec![FactChange { change }],
    }
}

fn superseding(known: &Fact, text: &str) -> ApplyFactsRequest {
    let fact = Fact {
        text: text.into(),
        ..Default::default()
    };
    let supersede = SupersedeFact {
        id: known.id.clone(),
        expected_version: known.version,
        fact: Some(fact),
    };
    let change = Some(fact_change::Change::Supersede(supersede));
    ApplyFactsRequest {
        changes: vec![FactChange { change }],
    }
}

pub async fn texts(client: &Client) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for document in client.documents().await {
        texts.insert(document.uri, client.text_of(&document.id).await.unwrap());
    }
    texts
}

/// What one writes the other finds, replaced and deleted too.
pub async fn each_sees_the_others_writes(pair: &Pair) {
    let [one, two] = &pair.clients[..] else { unreachable!() };
    let first = put(one, "file:///heron", "a heron in the reeds").await.document;
    assert_eq!(
        one.find("heron").await[0].text,
        "a heron in the reeds",
        "own writes at once"
    );
    wait_for("the other's document", SOON, async || {
        !two.find("heron").await.is_empty()
    })
    .await;
    let second = put(two, "file:///heron", "an owl in the barn").await.document;
    assert_eq!((&second.id, second.version), (&first.id, 2));
    let found = two.find("an owl in the barn").await;
    assert_eq!((found.len(), found[0].text.as_str()), (1, "an owl in the barn"));
    wait_for("the other's version", SOON, async || {
        let found = one.find("owl").await;
        assert_eq!(found.len(), 1, "one version or the other");
        found[0].text == "an owl in the barn"
    })
    .await;
    one.delete(&[&first.id]).await.unwrap();
    assert!(one.find("owl").await.is_empty());
    wait_for("the other's deletion", SOON, async || two.find("owl").await.is_empty()).await;
}

/// Whoever looks finds each of the documents that both put in one version, never in none or in two.
async fn assert_seen_whole(client: &Client) {
    let found = client.search(query("s0w0r0n0")).await.unwrap();
    let mut versions: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for hit in &found.hits {
        let version = hit.text.split('n').next().unwrap_or_default().to_owned();
        versions.entry(citation(hit).uri.clone()).or_default().insert(version);
    }
    assert!(versions.values().all(|versions| versions.len() == 1), "{versions:?}");
    let all = (0..3).all(|uri| versions.contains_key(&format!("file:///same{uri}")));
    assert!(all, "{versions:?}");
}

/// Both put the same documents, others of their own, and delete some, again and again, and both search meanwhile.
pub async fn both_write(pair: &Pair, rounds: usize) {
    for uri in 0..3 {
        put(
            &pair.clients[0],
            &format!("file:///same{uri}"),
            &words(&format!("s{uri}firstn"), 300),
        )
        .await;
    }
    wait_for("the first documents", SOON, async || {
        pair.clients[1].documents().await.len() == 3
    })
    .await;
    let done = Cell::new(false);
    let read = async |client: &Client| {
        while !done.get() {
            assert_seen_whole(client).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let write = async |who: usize| {
        let client = &pair.clients[who];
        for round in 0..rounds {
            for uri in 0..3 {
                put(
                    client,
                    &format!("file:///same{uri}"),
                    &words(&format!("s{uri}w{who}r{round}n"), 300),
                )
                .await;
            }
            let own = put(
                client,
                &format!("file:///own{who}-{round}"),
                &words(&format!("o{who}r{round}n"), 300),
            )
            .await;
            if round % 3 == 0 {
                insist(async || client.delete(&[&own.document.id]).await).await.unwrap();
            }
            assert_seen_whole(client).await;
        }
    };
    let writing = async {
        tokio::join!(write(0), write(1));
        done.set(true);
    };
    tokio::join!(writing, read(&pair.clients[0]), read(&pair.clients[1]));
    pair.assert_sound().await;
    let there = texts(&pair.clients[0]).await;
    assert_eq!(there, texts(&pair.clients[1]).await);
    let kept = (0..rounds).filter(|round| round % 3 != 0).count();
    assert_eq!(there.len(), 3 + 2 * kept, "{:?}", there.keys());
    for uri in 0..3 {
        let text = &there[&format!("file:///same{uri}")];
        let last = |who| words(&format!("s{uri}w{who}r{}n", rounds - 1), 300);
        assert!(*text == last(0) || *text == last(1), "the last of one of both");
    }
    // Each put of the same document was one version, none was lost.
    for document in pair.clients[0].documents().await {
        if document.uri.contains("same") {
            assert_eq!(document.version as usize, 2 * rounds + 1, "{}", document.uri);
        }
    }
}

/// Of two that replace one version of a fact one is told that the other was faster.
pub async fn one_of_two_supersedes(pair: &Pair, rounds: usize) {
    let [one, two] = &pair.clients[..] else { unreachable!() };
    one.apply_facts(adding("my dentist is Dr Weber")).await.unwrap();
    for round in 0..rounds {
        let known = one.facts(false).await.remove(0);
        wait_for("the same version", SOON, async || {
            two.facts(false).await == [known.clone()]
        })
        .await;
        let change = async |client: &Client, name: &str| {
            let request = superseding(&known, &format!("my dentist is {name} {round}"));
            insist(async || client.apply_facts(request.clone()).await).await
        };
        let (first, second) = tokio::join!(change(one, "Alba"), change(two, "Bert"));
        let lost = match (first, second) {
            (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
            both => panic!("one wins: {both:?}"),
        };
        assert_eq!(fault(&lost), (ErrorCode::FailedPrecondition, "FACT_CHANGED".to_owned()));
    }
    pair.assert_sound().await;
    let facts = one.facts(true).await;
    assert_eq!(facts.len(), rounds + 1);
    // Both add at once, and one forgets it all.
    let (a, b) = tokio::join!(
        one.apply_facts(adding("I live in Kiel")),
        two.apply_facts(adding("I sail"))
    );
    a.unwrap();
    b.unwrap();
    let selector = Some(forget_request::Selector::Everything(true));
    insist(async || {
        two.forget(ForgetRequest {
            selector: selector.clone(),
        })
        .await
    })
    .await
    .unwrap();
    assert!(two.facts(true).await.is_empty());
    wait_for("nothing is left", SOON, async || {
        one.facts(true).await.is_empty() && one.documents().await.is_empty()
    })
    .await;
    pair.assert_sound().await;
}
