//! Collections.

use solo_proto::memory::v1::*;
use solo_service::ErrorCode;

use crate::support::*;

fn named(name: &str) -> CreateCollectionRequest {
    CreateCollectionRequest {
        name: name.into(),
        description: format!("about {name}"),
    }
}

async fn names(client: &Client) -> Vec<(String, u64, u64)> {
    let list = client
        .list_collections(ListCollectionsRequest::default())
        .await
        .unwrap()
        .collections;
    list.into_iter()
        .map(|collection| (collection.name, collection.documents, collection.chunks))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_hold_documents_apart() {
    let fixture = start().await;
    let client = &fixture.client;
    assert!(names(client).await.is_empty());
    let made = client
        .create_collection(named("work"))
        .await
        .unwrap()
        .collection
        .unwrap();
    assert_eq!(
        (made.name.as_str(), made.description.as_str(), made.documents),
        ("work", "about work", 0)
    );
    client
        .put_in("work", "file:///a.txt", "report for the meeting")
        .await
        .unwrap();
    client.put("file:///a.txt", "report for another meeting").await;
    assert_eq!(names(client).await, [("default".into(), 1, 1), ("work".into(), 1, 1)]);
    let within = |collection: &str| SearchRequest {
        collections: vec![collection.into()],
        ..query("report")
    };
    assert_eq!(client.search(within("work")).await.unwrap().hits.len(), 1);
    assert_eq!(client.search(within("nowhere")).await.unwrap().hits.len(), 0);
    assert_eq!(
        client.find("report").await.len(),
        2,
        "the same URI in another collection is another document"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_and_unique() {
    let fixture = start().await;
    let client = &fixture.client;
    client.create_collection(named("work")).await.unwrap();
    refused(
        client.create_collection(named("work")).await,
        ErrorCode::AlreadyExists,
        "COLLECTION_EXISTS",
    );
    for name in ["", "Work", "a b", "x' OR '1'='1", "../x"] {
        refused(
            client.create_collection(named(name)).await,
            ErrorCode::InvalidArgument,
            "BAD_COLLECTION_NAME",
        );
    }
    let message = refused(
        client.put_in("nowhere", "", "x").await,
        ErrorCode::NotFound,
        "COLLECTION_NOT_FOUND",
    );
    assert!(message.contains("nowhere"), "{message}");
    let absent = DeleteCollectionRequest { name: "nowhere".into() };
    refused(
        client.delete_collection(absent).await,
        ErrorCode::NotFound,
        "COLLECTION_NOT_FOUND",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_collection_deletes_what_is_in_it() {
    let fixture = start().await;
    let client = &fixture.client;
    client.create_collection(named("work")).await.unwrap();
    for n in 0..3 {
        client.put_in("work", &format!("file:///{n}"), "report").await.unwrap();
    }
    client.put("file:///kept", "report").await;
    let fact = Fact {
        text: "the report is late".into(),
        collection: "work".into(),
        ..Default::default()
    };
    let change = FactChange {
        change: Some(fact_change::Change::Add(fact)),
    };
    client
        .apply_facts(ApplyFactsRequest { changes: vec![change] })
        .await
        .unwrap();
    let deleted = client
        .delete_collection(DeleteCollectionRequest { name: "work".into() })
        .await
        .unwrap();
    assert_eq!(deleted.documents, 3);
    assert_eq!(names(client).await, [("default".into(), 1, 1)]);
    assert_eq!(client.find("report").await.len(), 1);
    assert!(client.facts(true).await.is_empty());
    assert_eq!(fixture.gauge("chunks"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_listed_by_name_in_pages() {
    let fixture = start().await;
    for name in ["c", "a", "b"] {
        fixture.client.create_collection(named(name)).await.unwrap();
    }
    let page = async |token: &str| {
        let request = ListCollectionsRequest {
            page_size: 2,
            page_token: token.into(),
        };
        let page = fixture.client.list_collections(request).await.unwrap();
        (
            page.collections
                .into_iter()
                .map(|collection| collection.name)
                .collect::<String>(),
            page.next_page_token,
        )
    };
    let (first, token) = page("").await;
    assert_eq!(first, "ab");
    assert_eq!(page(&token).await, ("c".into(), String::new()));
}
