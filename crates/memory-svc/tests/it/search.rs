//! Search: order, filters, floors, limits, explanations.

use solo_proto::memory::v1::*;
use solo_service::ErrorCode;

use crate::support::*;

const TEXTS: [(&str, &str); 4] = [
    ("file:///recipes/bread.txt", "flour water salt and yeast make bread"),
    ("file:///recipes/soup.txt", "water salt and leek make soup"),
    ("file:///travel/lisbon.txt", "the tram in Lisbon climbs the hill"),
    ("file:///travel/o'hara.txt", "O'Hara is the airport of Chicago"),
];

async fn library() -> Fixture {
    let fixture = start().await;
    for (uri, text) in TEXTS {
        fixture.client.put(uri, text).await;
    }
    fixture
}

fn uris(response: &SearchResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| citation(hit).uri.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_comes_first_with_its_cosine() {
    let fixture = library().await;
    let found = fixture
        .client
        .search(query("bread from flour, water and yeast"))
        .await
        .unwrap();
    assert_eq!(uris(&found)[..2], [TEXTS[0].0, TEXTS[1].0]);
    assert_eq!((found.hits.len(), found.searched), (4, 4));
    assert!(found.hits.is_sorted_by(|a, b| a.score >= b.score));
    let (a, b) = (
        WordVectors::of("bread from flour, water and yeast"),
        WordVectors::of(TEXTS[0].1),
    );
    let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    assert!(
        (found.hits[0].score - cosine).abs() < 1e-5,
        "{} {cosine}",
        found.hits[0].score
    );
    assert!(found.hits[0].parts.is_none());
    let explained = fixture
        .client
        .search(SearchRequest {
            explain: true,
            ..query("bread")
        })
        .await
        .unwrap();
    assert_eq!(explained.hits[0].parts.unwrap().dense, Some(explained.hits[0].score));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_is_found_with_a_score_of_one() {
    let fixture = library().await;
    let hits = fixture.client.find(TEXTS[2].1).await;
    assert!((hits[0].score - 1.0).abs() < 1e-5, "{}", hits[0].score);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_floors_are_kept() {
    let fixture = library().await;
    let search = async |limit: u32, min_score: Option<f32>| {
        fixture
            .client
            .search(SearchRequest {
                limit,
                min_score,
                ..query("bread of flour")
            })
            .await
    };
    assert_eq!(search(1, Some(-1.0)).await.unwrap().hits.len(), 1);
    assert!(
        search(0, None).await.unwrap().hits.iter().all(|hit| hit.score >= 0.2),
        "the configured floor"
    );
    assert!(search(0, Some(0.999)).await.unwrap().hits.is_empty());
    refused(search(101, None).await, ErrorCode::InvalidArgument, "BAD_LIMIT");
    refused(search(0, Some(1.5)).await, ErrorCode::InvalidArgument, "BAD_MIN_SCORE");
    refused(
        search(0, Some(f32::NAN)).await,
        ErrorCode::InvalidArgument,
        "BAD_MIN_SCORE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_values_in_them_are_only_values() {
    let fixture = library().await;
    let client = &fixture.client;
    let documents = client.documents().await;
    let with = |filter: SearchFilter| SearchRequest {
        filter: Some(filter),
        ..query("water")
    };
    let prefix = |prefix: &str| {
        with(SearchFilter {
            uri_prefix: prefix.into(),
            ..Default::default()
        })
    };
    assert_eq!(client.search(prefix("file:///recipes/")).await.unwrap().hits.len(), 2);
    assert_eq!(
        uris(&client.search(prefix("file:///travel/o'h")).await.unwrap()),
        [TEXTS[3].0]
    );
    for hostile in [
        "' OR '1'='1",
        "%",
        "_",
        "x' OR 1=1 --",
        "\\'; DROP TABLE chunks; --",
        "') OR ('a'='a",
        "\"",
        "`",
    ] {
        let found = client.search(prefix(hostile)).await.unwrap();
        assert_eq!((found.hits.len(), found.searched), (0, 0), "{hostile}");
    }
    let one = vec![documents[0].id.clone()];
    let found = client
        .search(with(SearchFilter {
            document_ids: one,
            ..Default::default()
        }))
        .await
        .unwrap();
    assert_eq!((uris(&found), found.searched), (vec![documents[0].uri.as_str()], 1));
    let bad = with(SearchFilter {
        document_ids: vec!["x' OR 'a'='a".into()],
        ..Default::default()
    });
    refused(client.search(bad).await, ErrorCode::InvalidArgument, "BAD_ID");
    let collection = SearchRequest {
        collections: vec!["default' OR 'a'='a".into()],
        ..query("water")
    };
    refused(
        client.search(collection).await,
        ErrorCode::InvalidArgument,
        "BAD_COLLECTION_NAME",
    );
    let middle = documents[1].created_at;
    let after = with(SearchFilter {
        created_after: middle,
        ..Default::default()
    });
    assert_eq!(uris(&client.search(after).await.unwrap()), [TEXTS[3].0]);
    let before = with(SearchFilter {
        created_before: middle,
        ..Default::default()
    });
    assert_eq!(client.search(before).await.unwrap().hits.len(), 2);
    let facts = with(SearchFilter {
        kind: HitKind::Fact.into(),
        ..Default::default()
    });
    assert_eq!(client.search(facts).await.unwrap().searched, 0);
    let unknown = with(SearchFilter {
        kind: 42,
        ..Default::default()
    });
    refused(client.search(unknown).await, ErrorCode::InvalidArgument, "UNKNOWN_KIND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_can_be_searched_for_if_it_fits() {
    let fixture = library().await;
    let search = async |values: Vec<f32>| {
        let query = Some(search_request::Query::Vector(Vector { values }));
        fixture
            .client
            .search(SearchRequest {
                query,
                ..Default::default()
            })
            .await
    };
    let long: Vec<f32> = WordVectors::of(TEXTS[1].1).iter().map(|x| x * 7.0).collect();
    let found = search(long).await.unwrap();
    assert_eq!(uris(&found)[0], TEXTS[1].0);
    assert!((found.hits[0].score - 1.0).abs() < 1e-5);
    let message = refused(search(vec![1.0; 3]).await, ErrorCode::InvalidArgument, "BAD_DIMENSION");
    assert!(message.contains("3 components") && message.contains("384"), "{message}");
    refused(
        search(vec![0.0; DIMENSION]).await,
        ErrorCode::InvalidArgument,
        "BAD_VECTOR",
    );
    refused(
        search(vec![f32::NAN; DIMENSION]).await,
        ErrorCode::InvalidArgument,
        "BAD_VECTOR",
    );
    refused(
        search(vec![f32::MAX; DIMENSION]).await,
        ErrorCode::InvalidArgument,
        "BAD_VECTOR",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_as_they_are_written_and_as_they_are_inflected() {
    let fixture = library().await;
    let search = async |text: &str| {
        let request = SearchRequest {
            mode: SearchMode::Text.into(),
            explain: true,
            ..query(text)
        };
        fixture.client.search(request).await.unwrap()
    };
    let found = search("LISBON trams").await;
    assert_eq!(uris(&found), [TEXTS[2].0], "endings and cases are one");
    let parts = found.hits[0].parts.unwrap();
    assert_eq!((parts.text, parts.dense), (Some(found.hits[0].score), None));
    assert!(found.hits[0].score > 0.0);
    assert_eq!(uris(&search("o'hara").await), [TEXTS[3].0]);
    assert!(search("zeppelin").await.hits.is_empty());
    assert!(search("?! … —").await.hits.is_empty(), "no word, no hit");
    // What was put after the index was made, replaced, and deleted.
    fixture.client.put("file:///new.txt", "a zeppelin over the lake").await;
    assert_eq!(uris(&search("zeppelin").await), ["file:///new.txt"]);
    let replaced = fixture.client.put("file:///new.txt", "a balloon over the lake").await;
    assert!(search("zeppelin").await.hits.is_empty());
    assert_eq!(uris(&search("balloon").await), ["file:///new.txt"]);
    fixture.client.delete(&[&replaced.document.id]).await.unwrap();
    assert!(search("balloon").await.hits.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hybrid_search_is_the_configured_one_and_explains_itself() {
    let fixture = library().await;
    let request = SearchRequest {
        mode: SearchMode::Unspecified.into(),
        explain: true,
        ..query("water and salt for soup")
    };
    let found = fixture.client.search(request).await.unwrap();
    assert_eq!(uris(&found)[0], TEXTS[1].0);
    let parts = found.hits[0].parts.unwrap();
    assert_eq!(parts.fused, Some(found.hits[0].score));
    assert!(parts.dense.unwrap() > 0.3 && parts.text.unwrap() > 0.0, "{parts:?}");
    assert!((found.hits[0].score - 1.0).abs() < 1e-6, "the first by both ways is 1");
    let by_meaning_alone = found.hits.iter().find(|hit| hit.parts.unwrap().text.is_none());
    assert!(by_meaning_alone.unwrap().score <= 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_checked() {
    let fixture = library().await;
    let search = async |mode: i32| fixture.client.search(SearchRequest { mode, ..query("water") }).await;
    assert!(search(SearchMode::Dense.into()).await.is_ok());
    refused(search(9).await, ErrorCode::InvalidArgument, "UNKNOWN_MODE");
    let vector = SearchRequest {
        query: Some(search_request::Query::Vector(Vector {
            values: WordVectors::of("x"),
        })),
        mode: SearchMode::Hybrid.into(),
        ..Default::default()
    };
    refused(
        fixture.client.search(vector).await,
        ErrorCode::InvalidArgument,
        "BAD_MODE",
    );
    refused(
        fixture.client.search(SearchRequest::default()).await,
        ErrorCode::InvalidArgument,
        "EMPTY_QUERY",
    );
    refused(
        fixture.client.search(query("  ")).await,
        ErrorCode::InvalidArgument,
        "EMPTY_QUERY",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn diversity_prefers_what_is_new() {
    let fixture = start().await;
    for n in 0..3 {
        fixture
            .client
            .put(&format!("file:///copy{n}"), &format!("alpha beta gamma delta {n}"))
            .await;
    }
    fixture.client.put("file:///other", "alpha beta epsilon zeta").await;
    let search = async |diversity: f32| {
        fixture
            .client
            .search(SearchRequest {
                limit: 2,
                diversity,
                ..query("alpha beta gamma")
            })
            .await
    };
    assert!(uris(&search(0.0).await.unwrap()).iter().all(|uri| uri.contains("copy")));
    assert_eq!(uris(&search(0.6).await.unwrap())[1], "file:///other");
    refused(search(1.5).await, ErrorCode::InvalidArgument, "BAD_DIVERSITY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_finds_nothing() {
    let fixture = start().await;
    let found = fixture.client.search(query("anything")).await.unwrap();
    assert_eq!((found.hits.len(), found.searched), (0, 0));
    assert!(fixture.gauge("search_latency") > 0.0);
}
