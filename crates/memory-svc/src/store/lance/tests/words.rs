//! Indexes by words: of several segments, which searches find the same in as in one.

use super::*;
use crate::query::{By, Filter, Query};
use crate::store::lance::index::Segments;

/// Documents of one piece each; each has a word of its own.
async fn put(store: &LanceStore, alice: &Principal, numbers: std::ops::Range<u32>) {
    let drafts = numbers.map(|n| draft(&format!("file:///{n}"), &format!("heron{n} by the lake")));
    store.put_documents(alice, drafts.collect()).await.unwrap();
}

/// The texts that are found by words.
async fn found(store: &LanceStore, alice: &Principal, words: &str) -> Vec<String> {
    let query = Query {
        by: By::Words(words.into()),
        filter: Filter::default(),
        limit: 10,
        vectors: false,
    };
    let found = store.search(alice, &query).await.unwrap();
    found.hits.into_iter().map(|hit| hit.citation.text).collect()
}

/// Rows in each segment.
async fn known(store: &LanceStore) -> Vec<u64> {
    segments(store).await.rows
}

async fn segments(store: &LanceStore) -> Segments {
    store.inner.chunks.segments("English").await.unwrap()
}

async fn delete(store: &LanceStore, alice: &Principal, numbers: std::ops::Range<u32>) {
    let (filter, page) = (DocumentFilter::default(), PageRequest::everything());
    let all = store.documents(alice, &filter, &page);
    let gone: Vec<String> = numbers.map(|n| format!("file:///{n}")).collect();
    let of_them = all.await.unwrap().items.into_iter();
    let ids: Vec<Uuid> = of_them
        .filter(|one| gone.contains(&one.uri))
        .map(|one| one.id)
        .collect();
    assert_eq!(store.delete_documents(alice, &ids).await.unwrap(), gone.len() as u64);
}

#[tokio::test]
async fn words_come_into_segments_and_are_found_in_each() {
    let folder = tempfile::tempdir().unwrap();
    let store = LanceStore::open(folder.path(), &identity(), indexing()).await.unwrap();
    let (alice, _) = alice_and_bob();
    put(&store, &alice, 0..1000).await;
    assert!(store.know_new_words().await.unwrap());
    assert_eq!(known(&store).await.iter().sum::<u64>(), 1000);
    put(&store, &alice, 1000..1100).await;
    assert!(!store.know_new_words().await.unwrap(), "a few are looked at one by one");
    assert_eq!(segments(&store).await.unknown, 100);
    put(&store, &alice, 1100..1300).await;
    assert!(store.know_new_words().await.unwrap());
    assert_eq!(known(&store).await, [1000, 300]);
    put(&store, &alice, 1300..1310).await;
    for n in [7, 1007, 1107, 1307] {
        let of_it = found(&store, &alice, &format!("heron{n}")).await;
        assert_eq!(of_it, [format!("heron{n} by the lake")]);
    }

    delete(&store, &alice, 7..8).await;
    delete(&store, &alice, 1107..1108).await;
    store.compact().await.unwrap();
    store.index().await.unwrap();
    assert_eq!(known(&store).await, [999, 299, 10], "all are known");
    for n in [7, 1107] {
        assert!(found(&store, &alice, &format!("heron{n}")).await.is_empty());
    }
    for n in [8, 1007, 1108, 1307] {
        let of_it = found(&store, &alice, &format!("heron{n}")).await;
        assert_eq!(
            of_it,
            [format!("heron{n} by the lake")],
            "rows have other addresses now"
        );
    }
}

/// Bytes of the files of the indexes of chunks that the table refers to.
async fn index_bytes(store: &LanceStore, folder: &Path) -> u64 {
    store.prune(Duration::ZERO).await.unwrap();
    let mut bytes = 0;
    for index in std::fs::read_dir(folder.join("chunks.lance/_indices")).unwrap() {
        for file in std::fs::read_dir(index.unwrap().path()).unwrap() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
    }
    bytes
}

#[tokio::test]
async fn words_of_what_is_gone_with_all_its_neighbours_leave_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = LanceStore::open(folder.path(), &identity(), indexing()).await.unwrap();
    let (alice, _) = alice_and_bob();
    put(&store, &alice, 0..300).await;
    store.index().await.unwrap();
    let small = index_bytes(&store, folder.path()).await;
    put(&store, &alice, 300..3300).await;
    store.index().await.unwrap();
    assert_eq!(known(&store).await, [3300], "one segment knows both files");
    assert!(index_bytes(&store, folder.path()).await > 2 * small);
    delete(&store, &alice, 300..3300).await;
    assert_eq!(segments(&store).await.gone, [true]);
    store.compact().await.unwrap();
    store.index().await.unwrap();
    let left = segments(&store).await;
    assert_eq!((left.rows, left.gone, left.unknown), (vec![300], vec![false], 0));
    let bytes = index_bytes(&store, folder.path()).await;
    assert!(bytes < small + small / 4, "{bytes} bytes, {small} before");

    put(&store, &alice, 300..400).await;
    store.index().await.unwrap();
    delete(&store, &alice, 300..400).await;
    store.compact().await.unwrap();
    store.index().await.unwrap();
    let left = segments(&store).await;
    assert!(left.gone.iter().all(|gone| !gone), "{left:?}");
    assert_eq!(found(&store, &alice, "heron299").await, ["heron299 by the lake"]);
    assert!(found(&store, &alice, "heron301").await.is_empty());
}
