//! What cannot be brought about from outside: rows as other processes leave them, and commits whose answers get lost.

mod words;

use std::path::Path;

use serde_json::Map;
use sha2::{Digest, Sha256};

use super::change::Change;
use super::document_rows::{DocumentRow, document_row};
use super::documents::now;
use super::pin::Outcome;
use super::put::Slot;
use super::*;
use crate::document::History;
use crate::embedding::Identity;
use crate::fact::FactDraft;

fn identity() -> Identity {
    Identity {
        model: "none".into(),
        dimension: 2,
    }
}

fn indexing() -> Indexing {
    Indexing {
        language: "English".into(),
        vectors_from: 20_000,
        resident_bytes: 1 << 20,
        cache_bytes: 512 << 20,
    }
}

async fn open_shared(folder: &Path) -> LanceStore {
    let sharing = Sharing {
        refresh: Duration::ZERO,
        bucket: None,
    };
    LanceStore::open_shared(folder, &identity(), indexing(), sharing)
        .await
        .unwrap()
}

fn alice_and_bob() -> (Principal, Principal) {
    (Principal::new("alice").unwrap(), Principal::new("bob").unwrap())
}

fn collection() -> CollectionName {
    CollectionName::or_default("", "collection").unwrap()
}

fn draft(uri: &str, text: &str) -> DocumentDraft {
    DocumentDraft {
        collection: collection(),
        uri: DocumentUri::new(uri, "uri").unwrap(),
        title: String::new(),
        media_type: "text/plain".into(),
        bytes: text.len() as u64,
        content_sha256: Sha256::digest(text).into(),
        metadata: Map::new(),
        chunks: vec![ChunkDraft {
            span: 0..text.len() as u64,
            text: text.into(),
            heading: String::new(),
            page: 0,
            vector: vec![1.0, 0.0],
        }],
        history: None,
    }
}

/// A document of an exported file.
fn exported(uri: &str, id: Uuid) -> DocumentDraft {
    let history = History {
        id,
        version: 1,
        created_at: now(),
        updated_at: now(),
    };
    DocumentDraft {
        history: Some(history),
        ..draft(uri, "a text")
    }
}

impl Inner {
    pub(super) async fn answer_in_tests(&self, outcome: Outcome) -> Outcome {
        let after_commit = self.after_commit.lock().unwrap().take();
        match after_commit {
            Some(after_commit) => after_commit.await,
            None => outcome,
        }
    }
}

/// Right after the next commit of a put `then` happens, and the commit is answered so.
fn after_commit(store: &LanceStore, answer: Outcome, then: impl Future<Output = ()> + Send + 'static) {
    let then = async move {
        then.await;
        answer
    };
    *store.inner.after_commit.lock().unwrap() = Some(then.boxed());
}

/// URIs and versions.
async fn versions(store: &LanceStore, principal: &Principal) -> Vec<(String, u32)> {
    let (filter, page) = (DocumentFilter::default(), PageRequest::everything());
    let documents = store.documents(principal, &filter, &page).await.unwrap().items;
    let version = |document: &Document| (document.uri.clone(), document.version);
    documents.iter().map(version).collect()
}

fn watch_of(principal: &Principal) -> Watch {
    Watch {
        id: Uuid::now_v7(),
        principal: principal.clone(),
        collection: collection(),
        path: "/folder".into(),
        created_at: now(),
    }
}

#[tokio::test]
async fn a_put_never_replaces_the_row_of_another_with_the_same_identifier() {
    let folder = tempfile::tempdir().unwrap();
    let store = LanceStore::open(folder.path(), &identity(), indexing()).await.unwrap();
    let (alice, bob) = alice_and_bob();
    let put = store.put_documents(&alice, vec![draft("file:///a", "one")]).await;
    let document = put.unwrap().remove(0).document;
    // As two processes have left it that took an exported file in for both at once.
    let twin = DocumentRow {
        document: document.clone(),
        generation: Uuid::now_v7(),
    };
    let row = document_row(&bob, &twin).unwrap();
    store.inner.documents.append(vec![row]).await.unwrap();
    store
        .put_documents(&alice, vec![draft("file:///a", "two")])
        .await
        .unwrap();
    assert_eq!(store.document(&alice, document.id).await.unwrap().version, 2);
    assert_eq!(store.document(&bob, document.id).await.unwrap(), document);
}

#[tokio::test]
async fn an_identifier_that_two_were_given_at_once_is_noticed_after_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let LanceStore { inner, .. } = open_shared(folder.path()).await;
    let (alice, bob) = alice_and_bob();
    let change = Change::new(None, exported("file:///a", Uuid::now_v7()), now());
    let row = document_row(&alice, &change.new).unwrap();
    inner.documents.append(vec![row]).await.unwrap();
    assert!(inner.given_twice(&alice, &[&change]).await.unwrap().is_empty());
    let row = document_row(&bob, &change.new).unwrap();
    inner.documents.append(vec![row]).await.unwrap();
    assert_eq!(
        inner.given_twice(&alice, &[&change]).await.unwrap(),
        [change.new.generation]
    );
}

#[tokio::test]
async fn a_put_whose_answer_got_lost_is_known_by_its_generation() {
    let folder = tempfile::tempdir().unwrap();
    let LanceStore { inner, .. } = open_shared(folder.path()).await;
    let (alice, _) = alice_and_bob();
    let drafts = vec![
        Slot::Draft(draft("file:///a", "one")),
        Slot::Draft(draft("file:///b", "two")),
    ];
    let (slots, _) = inner.decide(&alice, drafts).await.unwrap();
    // Of the first one's commit nobody heard; the other one's was lost.
    let first = document_row(&alice, &slots[0].change().unwrap().new).unwrap();
    let id = slots[0].change().unwrap().new.document.id;
    inner.documents.append(vec![first]).await.unwrap();
    inner.follow().await.unwrap();
    let (slots, given_up) = inner.decide(&alice, slots).await.unwrap();
    assert!(
        matches!(&slots[0], Slot::Committed(change) if change.new.document.id == id),
        "it is not put once more"
    );
    assert!(matches!(&slots[1], Slot::Begun(_)), "its pieces are used again");
    assert!(given_up.is_empty());
}

#[tokio::test]
async fn facts_whose_answer_got_lost_are_known_by_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_shared(folder.path()).await;
    let (alice, _) = alice_and_bob();
    let told = FactDraft {
        text: "lives in Bern".into(),
        confidence: 1.0,
        valid_from: None,
        valid_to: None,
        provenance: String::new(),
        collection: collection(),
        vector: vec![1.0, 0.0],
    };
    store.apply_facts(&alice, vec![FactChange::Add(told)]).await.unwrap();
    let mut rows = store.inner.read_fact_rows(&Predicate::of(&alice)).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(store.inner.are_there(&rows).await.unwrap());
    // As a retraction would have left it that was not committed.
    rows[0].ended_at = Some(now());
    assert!(!store.inner.are_there(&rows).await.unwrap());
}

#[tokio::test]
async fn a_folder_that_is_not_watched_any_more_brings_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_shared(folder.path()).await;
    let (alice, _) = alice_and_bob();
    let watch = watch_of(&alice);
    store.add_watch(&watch).await.unwrap();
    let first = vec![draft("file:///folder/a", "one")];
    store.put_watched(&watch, first).await.unwrap();
    store.remove_watch(&alice, watch.id).await.unwrap();
    let drafts = vec![
        draft("file:///folder/a", "one, changed"),
        draft("file:///folder/b", "two"),
    ];
    let refused = store.put_watched(&watch, drafts).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::NotFound { what: "watch", .. }),
        "{refused}"
    );
    assert_eq!(versions(&store, &alice).await, [("file:///folder/a".to_owned(), 1)]);
}

#[tokio::test]
async fn what_a_folder_brings_while_watching_ends_goes_again() {
    for answer in [Outcome::Done, Outcome::Unknown] {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (open_shared(folder.path()).await, open_shared(folder.path()).await);
        let (alice, _) = alice_and_bob();
        // Another version of what was there stays: once beside something new, once alone.
        for (version, new) in [(2, true), (3, false)] {
            let watch = watch_of(&alice);
            store.add_watch(&watch).await.unwrap();
            let before = vec![draft("file:///folder/a", "one")];
            if new {
                store.put_watched(&watch, before).await.unwrap();
            }
            let mut drafts = vec![draft("file:///folder/a", &format!("one, changed before {version}"))];
            if new {
                drafts.push(draft("file:///folder/b", "two"));
            }
            let (ending, principal, id) = (other.clone(), alice.clone(), watch.id);
            after_commit(&store, answer, async move {
                ending.remove_watch(&principal, id).await.unwrap();
            });
            let refused = store.put_watched(&watch, drafts).await.unwrap_err();
            assert!(
                matches!(refused, StoreError::NotFound { what: "watch", .. }),
                "{answer:?}: {refused}"
            );
            assert_eq!(
                versions(&store, &alice).await,
                [("file:///folder/a".to_owned(), version)],
                "{answer:?}"
            );
        }
        assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_is_put_into_a_collection_while_it_is_deleted_goes_again() {
    for answer in [Outcome::Done, Outcome::Unknown] {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (open_shared(folder.path()).await, open_shared(folder.path()).await);
        let (alice, _) = alice_and_bob();
        let notes = CollectionName::new("notes", "collection").unwrap();
        store.create_collection(&alice, &notes, "").await.unwrap();
        let principal = alice.clone();
        after_commit(&store, answer, async move {
            // As a deletion that has looked for documents before.
            let which = Predicate::of(&principal).is("name", "notes");
            other.inner.collections.delete(&which).await.unwrap();
        });
        let inside = DocumentDraft {
            collection: notes,
            ..draft("file:///a", "one")
        };
        let refused = store.put_documents(&alice, vec![inside]).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::NotFound { what: "collection", .. }),
            "{answer:?}: {refused}"
        );
        assert!(versions(&store, &alice).await.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_identifier_that_two_were_given_at_once_is_given_up_by_one() {
    for answer in [Outcome::Done, Outcome::Unknown] {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (open_shared(folder.path()).await, open_shared(folder.path()).await);
        let (alice, bob) = alice_and_bob();
        let ours = exported("file:///a", Uuid::now_v7());
        let twin = Change::new(None, ours.clone(), now());
        let (id, row) = (twin.new.document.id, document_row(&bob, &twin.new).unwrap());
        after_commit(&store, answer, async move {
            other.inner.documents.append(vec![row]).await.unwrap();
        });
        let put = store.put_documents(&alice, vec![ours]).await.unwrap().remove(0);
        assert!(!put.unchanged && put.document.id != id && put.document.version == 1);
        assert_eq!(versions(&store, &alice).await, [("file:///a".to_owned(), 1)]);
        assert_eq!(store.chunks(&alice, put.document.id).await.unwrap().len(), 1);
        assert_eq!(store.document(&bob, id).await.unwrap(), twin.new.document);
    }
}

#[tokio::test]
async fn an_identifier_that_an_interrupted_put_left_twice_is_given_up_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_shared(folder.path()).await;
    let (alice, bob) = alice_and_bob();
    let ours = exported("file:///a", Uuid::now_v7());
    let put = store.put_documents(&alice, vec![ours.clone()]).await.unwrap().remove(0);
    let twin = DocumentRow {
        document: put.document.clone(),
        generation: Uuid::now_v7(),
    };
    let row = document_row(&bob, &twin).unwrap();
    store.inner.documents.append(vec![row]).await.unwrap();
    let again = store.put_documents(&alice, vec![ours.clone()]).await.unwrap().remove(0);
    assert!(!again.unchanged && again.document.id != put.document.id);
    let again = store.put_documents(&alice, vec![ours]).await.unwrap().remove(0);
    assert!(again.unchanged, "now it is its own");
}
