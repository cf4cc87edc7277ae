//! What was deleted leaves the disk, and many small files become few.

use std::path::Path;
use std::time::Duration;

use solo_proto::memory::v1::*;
use solo_testkit::wait_for;

use crate::support::*;

const SOON: Duration = Duration::from_secs(30);

/// Files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

/// True when some file holds `needle`. A file that was removed meanwhile holds nothing.
fn on_disk(folder: &Path, needle: &str) -> bool {
    files(folder).iter().any(|file| {
        let content = std::fs::read(file).unwrap_or_default();
        content.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_replaced_or_forgotten_leaves_the_disk() {
    let fixture = start_with("[memory.upkeep]\nretain_s = 1\n").await;
    let client = &fixture.client;
    let folder = fixture.folder.path();
    let deleted = client.put("file:///a", "the word xyzzyplugh is deleted").await.document;
    client.put("file:///b", "the word frobnicate is replaced").await;
    client.put("file:///c", "the word perseverance is kept").await;
    let fact = Fact {
        text: "the word quuxquux is forgotten".into(),
        ..Default::default()
    };
    let change = FactChange {
        change: Some(fact_change::Change::Add(fact)),
    };
    client
        .apply_facts(ApplyFactsRequest { changes: vec![change] })
        .await
        .unwrap();
    for word in ["xyzzyplugh", "frobnicate", "perseverance", "quuxquux"] {
        assert!(on_disk(folder, word), "{word}: the test can see what is stored");
    }
    client.delete(&[&deleted.id]).await.unwrap();
    client.put("file:///b", "something else").await;
    let fact = client.facts(true).await.remove(0);
    let selector = Some(forget_request::Selector::FactId(fact.id));
    client.forget(ForgetRequest { selector }).await.unwrap();
    for word in ["xyzzyplugh", "frobnicate", "quuxquux"] {
        wait_for(word, SOON, async || !on_disk(folder, word)).await;
    }
    assert!(on_disk(folder, "perseverance"));
    assert_eq!(
        client.find("perseverance").await[0].text,
        "the word perseverance is kept"
    );
    assert_eq!(client.documents().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_become_few() {
    let fixture = start_with("[memory.upkeep]\nretain_s = 1\nafter_writes = 20\n").await;
    let client = &fixture.client;
    for n in 0..21 {
        client.put(&format!("file:///{n}"), &format!("text number {n}")).await;
    }
    let data = fixture.folder.path().join("chunks.lance/data");
    wait_for("few files", SOON, async || files(&data).len() <= 3).await;
    let found = client.search(query("text number 7")).await.unwrap();
    assert_eq!((found.hits.len(), found.searched), (21, 21));
    let fixture = fixture.restart().await;
    assert_eq!(fixture.client.documents().await.len(), 21);
    assert_eq!(fixture.client.find("text number 7").await[0].text, "text number 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_much_is_in_the_index_by_words_soon_after_one_write() {
    let fixture = start_with("").await;
    let indexes = fixture.folder.path().join("chunks.lance/_indices");
    let size = || -> u64 {
        let sizes = files(&indexes)
            .into_iter()
            .map(|file| file.metadata().map_or(0, |file| file.len()));
        sizes.sum()
    };
    let empty = size();
    let long: String = (0..60_000).map(|n| format!("{n} ")).collect();
    let put = fixture.client.put("file:///long.txt", &long).await.document;
    assert!(put.chunks > 256, "{} pieces", put.chunks);
    wait_for("its words in the index", SOON, async || size() > empty + 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_outgrows_its_memory_is_searched_on_the_disk() {
    let fixture = start_with("[memory.search]\nresident_mb = 1\n").await;
    let client = &fixture.client;
    client.put("file:///small.txt", "the harbour of Lisbon").await;
    assert_eq!(
        client.find("the harbour of Lisbon").await[0].text,
        "the harbour of Lisbon"
    );
    let long: String = (0..200_000).map(|n| format!("{n} ")).collect();
    client.put("file:///large.txt", &long).await;
    client.put("file:///late.txt", "a heron in the reeds").await;
    for text in ["the harbour of Lisbon", "a heron in the reeds"] {
        assert_eq!(client.find(text).await[0].text, text);
    }
    let verified = client.clone().verify(VerifyRequest {}).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    // With the large one gone there is room again, and nothing else changes.
    let large = client
        .documents()
        .await
        .into_iter()
        .find(|document| document.uri.ends_with("large.txt"));
    client.delete(&[&large.unwrap().id]).await.unwrap();
    for text in ["the harbour of Lisbon", "a heron in the reeds"] {
        assert_eq!(client.find(text).await[0].text, text);
    }
}
