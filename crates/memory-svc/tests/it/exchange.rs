//! Export and import: somebody's whole memory as one file, and back.

use std::io::{Cursor, Read, Write};

use fact_change::Change;
use solo_proto::memory::v1::*;
use solo_service::ErrorCode;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::support::*;

pub async fn learn(client: &Client, change: Change) -> Fact {
    let changes = vec![FactChange { change: Some(change) }];
    let mut facts = client.apply_facts(ApplyFactsRequest { changes }).await.unwrap().facts;
    facts.remove(0)
}

pub fn fact(text: &str) -> Fact {
    Fact {
        text: text.into(),
        confidence: 0.9,
        provenance: "d1/t1".into(),
        ..Default::default()
    }
}

/// Two collections, a document of several pieces in two versions, a fact with a past.
async fn fill(client: &Client) {
    let garden = CreateCollectionRequest {
        name: "garden".into(),
        description: "what grows".into(),
    };
    client.create_collection(garden).await.unwrap();
    client.put("file:///long.md", "# Old\nan older text").await;
    let long = format!("# First\n{}\n# Second\n{}", words("alpha", 150), words("beta", 150));
    let header = DocumentHeader {
        uri: "file:///long.md".into(),
        metadata: Some(prost_types::Struct {
            fields: [("author".to_owned(), prost_types::Value::from("me"))].into(),
        }),
        ..Default::default()
    };
    client.put_with(header, long.as_bytes()).await.unwrap();
    client
        .put_in("garden", "file:///beans.txt", "beans climb up poles")
        .await
        .unwrap();
    let moved = learn(client, Change::Add(fact("the user lives in Bern"))).await;
    let supersede = SupersedeFact {
        id: moved.id,
        expected_version: 1,
        fact: Some(fact("the user lives in Basel")),
    };
    learn(client, Change::Supersede(supersede)).await;
}

/// All that can be seen of somebody's memory.
async fn seen(
    client: &Client,
) -> (
    Vec<Document>,
    Vec<String>,
    Vec<Fact>,
    Vec<Collection>,
    Vec<(String, f32)>,
) {
    let documents = client.documents().await;
    let mut texts = Vec::new();
    for document in &documents {
        texts.push(client.text_of(&document.id).await.unwrap());
    }
    let mut collections = client
        .list_collections(ListCollectionsRequest::default())
        .await
        .unwrap()
        .collections;
    collections
        .iter_mut()
        .for_each(|collection| collection.created_at = None);
    let mut facts = client.facts(true).await;
    facts.sort_by_key(|fact| (fact.id.clone(), fact.version));
    let mut hits: Vec<(String, f32)> = Vec::new();
    for text in ["beans", "alpha7 alpha8", "where does the user live"] {
        hits.extend(client.find(text).await.into_iter().map(|hit| (hit.text, hit.score)));
    }
    hits.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    (documents, texts, facts, collections, hits)
}

async fn assert_sound(client: &Client) {
    let problems = client.verify(VerifyRequest {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test]
async fn an_exported_memory_comes_back_whole() {
    let old = start().await;
    fill(&old.client).await;
    let (file, told) = old.client.export().await.unwrap();
    assert_eq!((told.documents, told.facts, told.bytes), (2, 2, file.len() as u64));
    let new = start().await;
    let done = new.client.import(&file).await.unwrap();
    assert_eq!(
        (done.documents, done.documents_kept, done.facts, done.chunks_embedded),
        (2, 0, 2, 0)
    );
    assert_eq!(seen(&new.client).await, seen(&old.client).await);
    assert_sound(&new.client).await;
    let again = new.client.import(&file).await.unwrap();
    assert_eq!((again.documents, again.documents_kept, again.facts), (0, 2, 0));
    let restarted = new.restart().await;
    assert_eq!(seen(&restarted.client).await, seen(&old.client).await);
    assert_sound(&restarted.client).await;
}

#[tokio::test]
async fn what_is_newer_here_stays_and_what_is_older_is_replaced() {
    let fixture = start().await;
    fixture.client.put("file:///a.txt", "the first text").await;
    let (first, _) = fixture.client.export().await.unwrap();
    fixture.client.put("file:///a.txt", "the second text").await;
    let (second, _) = fixture.client.export().await.unwrap();
    let done = fixture.client.import(&first).await.unwrap();
    assert_eq!((done.documents, done.documents_kept), (0, 1));
    let other = start().await;
    other.client.import(&first).await.unwrap();
    let done = other.client.import(&second).await.unwrap();
    assert_eq!((done.documents, done.documents_kept), (1, 0));
    for client in [&fixture.client, &other.client] {
        let document = client.documents().await.remove(0);
        assert_eq!(document.version, 2);
        assert_eq!(client.text_of(&document.id).await.unwrap(), "the second text");
        assert_sound(client).await;
    }
}

#[tokio::test]
async fn what_is_taken_in_for_one_touches_nothing_of_another() {
    let fixture = start().await;
    let (alice, bob) = (fixture.client.of("alice"), fixture.client.of("bob"));
    fill(&alice).await;
    let before = seen(&alice).await;
    let (file, _) = alice.export().await.unwrap();
    let done = bob.import(&file).await.unwrap();
    assert_eq!((done.documents, done.facts), (2, 2));
    let ids = |documents: Vec<Document>| documents.into_iter().map(|document| document.id).collect::<Vec<_>>();
    let (hers, his) = (ids(alice.documents().await), ids(bob.documents().await));
    assert!(
        his.iter().all(|id| !hers.contains(id)),
        "identifiers that are hers are not given again"
    );
    assert_sound(&fixture.client).await;
    bob.put("file:///long.md", "something else").await;
    bob.forget(ForgetRequest {
        selector: Some(forget_request::Selector::Everything(true)),
    })
    .await
    .unwrap();
    assert_eq!(seen(&alice).await, before);
    assert!(bob.documents().await.is_empty() && bob.facts(true).await.is_empty());
    assert_sound(&fixture.client).await;
}

/// The file with the lines of an entry changed.
pub fn changed(file: &[u8], entry: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut from = ZipArchive::new(Cursor::new(file)).unwrap();
    let mut to = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..from.len() {
        let mut content = String::new();
        let mut inside = from.by_index(index).unwrap();
        inside.read_to_string(&mut content).unwrap();
        to.start_file(inside.name(), SimpleFileOptions::default()).unwrap();
        let content = if inside.name() == entry {
            change(&content)
        } else {
            content
        };
        to.write_all(content.as_bytes()).unwrap();
    }
    to.finish().unwrap().into_inner()
}

#[tokio::test]
async fn vectors_of_another_model_are_made_anew() {
    let old = start().await;
    fill(&old.client).await;
    let (file, _) = old.client.export().await.unwrap();
    let other = changed(&file, "manifest.json", |it| {
        let mut manifest: serde_json::Value = serde_json::from_str(it).unwrap();
        manifest["model"] = "other".into();
        manifest["dimension"] = 1.into();
        format!("{manifest}\n")
    });
    let other = changed(&other, "facts.jsonl", with_short_vectors);
    let new = start().await;
    // Some vectors are not as long as the manifest says.
    refused(
        new.client.import(&other).await,
        ErrorCode::InvalidArgument,
        "BAD_DIMENSION",
    );
    let other = changed(&other, "documents.jsonl", with_short_vectors);
    let done = new.client.import(&other).await.unwrap();
    assert!(done.chunks_embedded >= 3, "{done:?}");
    assert_eq!(seen(&new.client).await, seen(&old.client).await);
}

/// Lines with vectors of one component.
fn with_short_vectors(lines: &str) -> String {
    let line = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(piece) = record.get_mut("piece") {
            piece["vector"] = "AACAPw==".into();
        } else if record.get("vector").is_some() {
            record["vector"] = "AACAPw==".into();
        }
        format!("{record}\n")
    };
    lines.lines().map(line).collect()
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_what_was_whole_is_kept() {
    let old = start().await;
    fill(&old.client).await;
    let (file, _) = old.client.export().await.unwrap();
    let new = start().await;
    let strange = new
        .client
        .import(b"nothing of the kind, though it is long enough")
        .await;
    let told = refused(strange, ErrorCode::InvalidArgument, "BAD_SNAPSHOT");
    assert!(told.contains("no exported memory"), "{told}");
    let half = new.client.import(&file[..file.len() / 2]).await;
    refused(half, ErrorCode::InvalidArgument, "BAD_SNAPSHOT");
    assert!(new.client.documents().await.len() < 2);

    // The last piece of the second document is cut, then missing.
    let cut = |it: &str| it[..it.len() - 30].to_owned();
    let missing = |it: &str| it[..=it.trim_end().rfind('\n').unwrap()].to_owned();
    for file in [
        changed(&file, "documents.jsonl", cut),
        changed(&file, "documents.jsonl", missing),
    ] {
        refused(
            new.client.import(&file).await,
            ErrorCode::InvalidArgument,
            "BAD_SNAPSHOT",
        );
        assert_eq!(new.client.documents().await.len(), 1, "the first one is whole");
    }
    for entry in ["documents.jsonl", "facts.jsonl"] {
        let short = changed(&file, entry, with_short_vectors);
        refused(
            new.client.import(&short).await,
            ErrorCode::InvalidArgument,
            "BAD_DIMENSION",
        );
    }
    assert_sound(&new.client).await;
    new.client.import(&file).await.unwrap();
    assert_eq!(seen(&new.client).await, seen(&old.client).await);
}

#[tokio::test]
async fn two_documents_of_a_file_never_share_an_identifier() {
    let old = start().await;
    old.client.put("file:///a.txt", "the first text").await;
    old.client.put("file:///b.txt", "the second text").await;
    let (file, _) = old.client.export().await.unwrap();
    let id = old.client.documents().await.remove(0).id;
    let file = changed(&file, "documents.jsonl", |it| {
        let line = |line: &str| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(document) = record.get_mut("document") {
                document["id"] = id.clone().into();
            }
            format!("{record}\n")
        };
        it.lines().map(line).collect()
    });
    let new = start().await;
    new.client.import(&file).await.unwrap();
    new.client.put("file:///a.txt", "another first text").await;
    let documents = new.client.documents().await;
    let mut texts = Vec::new();
    for document in &documents {
        texts.push(new.client.text_of(&document.id).await.unwrap());
    }
    texts.sort();
    assert_eq!(texts, ["another first text", "the second text"]);
    assert_sound(&new.client).await;
}

#[tokio::test]
async fn a_fact_holds_in_one_version_whatever_history_a_file_has() {
    let old = start().await;
    let first = learn(&old.client, Change::Add(fact("lives in Bern"))).await;
    let (file, _) = old.client.export().await.unwrap();
    let new = start().await;
    new.client.import(&file).await.unwrap();
    let supersede = SupersedeFact {
        id: first.id,
        expected_version: 1,
        fact: Some(fact("lives in Basel")),
    };
    learn(&old.client, Change::Supersede(supersede)).await;
    let (file, _) = old.client.export().await.unwrap();
    // What the fact was before has left there.
    let file = changed(&file, "facts.jsonl", |it| {
        it.lines()
            .filter(|line| line.contains("Basel"))
            .map(|line| format!("{line}\n"))
            .collect()
    });
    new.client.import(&file).await.unwrap();
    let holding: Vec<String> = new
        .client
        .facts(false)
        .await
        .into_iter()
        .map(|fact| fact.text)
        .collect();
    assert_eq!(holding, ["lives in Basel"]);
    assert_eq!(new.client.facts(true).await.len(), 2);
    assert_sound(&new.client).await;
}

#[tokio::test]
async fn a_file_has_a_largest_size() {
    let fixture = start_with("max_import_bytes = 1000").await;
    let told = refused(
        fixture.client.import(&[0; 1001]).await,
        ErrorCode::ResourceExhausted,
        "IMPORT_TOO_LARGE",
    );
    assert!(told.contains("memory.max_import_bytes"), "{told}");
}
