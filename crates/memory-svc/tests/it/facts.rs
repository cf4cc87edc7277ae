//! Facts: learnt, superseded, retracted, forgotten.

use fact_change::Change;
use prost_types::Timestamp;
use solo_proto::memory::v1::*;
use solo_service::ErrorCode;
use tonic::Status;

use crate::support::*;

fn fact(text: &str) -> Fact {
    Fact {
        text: text.into(),
        confidence: 0.9,
        provenance: "d1/t1".into(),
        ..Default::default()
    }
}

fn add(fact: Fact) -> Change {
    Change::Add(fact)
}

fn supersede(old: &Fact, new: Fact) -> Change {
    Change::Supersede(SupersedeFact {
        id: old.id.clone(),
        expected_version: old.version,
        fact: Some(new),
    })
}

fn retract(old: &Fact) -> Change {
    Change::Retract(RetractFact {
        id: old.id.clone(),
        expected_version: old.version,
    })
}

async fn apply(client: &Client, changes: impl IntoIterator<Item = Change>) -> Result<Vec<Fact>, Status> {
    let changes = changes
        .into_iter()
        .map(|change| FactChange { change: Some(change) })
        .collect();
    Ok(client.apply_facts(ApplyFactsRequest { changes }).await?.facts)
}

async fn learn(client: &Client, text: &str) -> Fact {
    apply(client, [add(fact(text))]).await.unwrap().remove(0)
}

async fn near(client: &Client, text: &str) -> Vec<ScoredFact> {
    client
        .near_facts(NearFactsRequest {
            text: text.into(),
            limit: 0,
        })
        .await
        .unwrap()
        .facts
}

fn texts(facts: &[Fact]) -> Vec<&str> {
    facts.iter().map(|fact| fact.text.as_str()).collect()
}

async fn forget(client: &Client, selector: forget_request::Selector) -> Result<ForgetResponse, Status> {
    client
        .forget(ForgetRequest {
            selector: Some(selector),
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_kept_whole_and_found() {
    let fixture = start().await;
    let from = Some(Timestamp {
        seconds: 1_700_000_000,
        nanos: 5_000,
    });
    let given = Fact {
        valid_from: from,
        ..fact("Anna lives in Porto")
    };
    let kept = apply(&fixture.client, [add(given)]).await.unwrap().remove(0);
    assert_eq!(
        (kept.version, kept.confidence, kept.provenance.as_str()),
        (1, 0.9, "d1/t1")
    );
    assert_eq!(
        (kept.valid_from, kept.valid_to, kept.collection.as_str()),
        (from, None, "default")
    );
    let fixture = fixture.restart().await;
    assert_eq!(fixture.client.facts(false).await, std::slice::from_ref(&kept));
    let near = near(&fixture.client, "where does Anna live: in Porto?").await;
    assert_eq!(near[0].fact.as_ref(), Some(&kept));
    assert!(near[0].score > 0.3);
    let hits = fixture.client.find("Porto").await;
    assert_eq!(
        (hits[0].kind(), hits[0].id.as_str(), hits[0].text.as_str()),
        (HitKind::Fact, &*kept.id, &*kept.text)
    );
    assert_eq!(citation(&hits[0]).uri, format!("fact:{}", kept.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn superseding_writes_the_next_version_and_ends_the_last() {
    let fixture = start().await;
    let client = &fixture.client;
    let old = learn(client, "Anna lives in Porto").await;
    let new = apply(client, [supersede(&old, fact("Anna lives in Lisbon"))])
        .await
        .unwrap()
        .remove(0);
    assert_eq!((&new.id, new.version), (&old.id, 2));
    assert_eq!(texts(&client.facts(false).await), ["Anna lives in Lisbon"]);
    let past = client.facts(true).await;
    assert_eq!(texts(&past), ["Anna lives in Lisbon", "Anna lives in Porto"]);
    assert!(past[1].valid_to.is_some() && past[1].version == 1);
    assert_eq!(near(client, "Anna Porto").await.len(), 1, "what is past is not near");
    assert_eq!(client.find("Anna Porto").await.len(), 1);
    assert_eq!(fixture.gauge("facts"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retracting_ends_a_fact() {
    let fixture = start().await;
    let client = &fixture.client;
    let old = learn(client, "Anna lives in Porto").await;
    assert_eq!(
        apply(client, [retract(&old)]).await.unwrap(),
        std::slice::from_ref(&old),
        "as it was"
    );
    assert!(client.facts(false).await.is_empty());
    assert_eq!(client.facts(true).await.len(), 1);
    refused(
        apply(client, [retract(&old)]).await,
        ErrorCode::FailedPrecondition,
        "FACT_ENDED",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_all_or_none() {
    let fixture = start().await;
    let client = &fixture.client;
    let (one, two) = (learn(client, "one").await, learn(client, "two").await);
    let stale = Fact {
        version: 7,
        ..two.clone()
    };
    let result = apply(
        client,
        [add(fact("three")), retract(&one), supersede(&stale, fact("four"))],
    )
    .await;
    let message = refused(result, ErrorCode::FailedPrecondition, "FACT_CHANGED");
    assert!(message.contains("has version 1, not 7"), "{message}");
    assert_eq!(client.facts(true).await, [two.clone(), one.clone()]);
    let absent = Fact {
        id: uuid::Uuid::now_v7().to_string(),
        ..one.clone()
    };
    refused(
        apply(client, [retract(&two), retract(&absent)]).await,
        ErrorCode::NotFound,
        "FACT_NOT_FOUND",
    );
    refused(
        apply(client, [retract(&two), retract(&two)]).await,
        ErrorCode::InvalidArgument,
        "BAD_CHANGES",
    );
    assert_eq!(client.facts(false).await.len(), 2);
    let all = apply(
        client,
        [add(fact("three")), retract(&one), supersede(&two, fact("four"))],
    )
    .await
    .unwrap();
    assert_eq!(texts(&all), ["three", "one", "four"], "in the changes' order");
    assert_eq!(client.facts(false).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_a_fact_at_once_one_must_decide_anew() {
    let fixture = start().await;
    let client = &fixture.client;
    let old = learn(client, "Anna likes tea").await;
    let results = tokio::join!(
        apply(client, [supersede(&old, fact("Anna likes coffee"))]),
        apply(client, [supersede(&old, fact("Anna likes milk"))]),
    );
    let (won, lost): (Vec<_>, Vec<_>) = [results.0, results.1].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    refused(
        lost.into_iter().next().unwrap(),
        ErrorCode::FailedPrecondition,
        "FACT_CHANGED",
    );
    assert_eq!(client.facts(false).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_has_expired_is_past() {
    let fixture = start().await;
    let past = Some(Timestamp {
        seconds: 1_000,
        nanos: 0,
    });
    let future = Some(Timestamp {
        seconds: 4_000_000_000,
        nanos: 0,
    });
    let changes = [
        add(Fact {
            valid_to: past,
            ..fact("Anna is ill")
        }),
        add(Fact {
            valid_to: future,
            ..fact("Anna is away")
        }),
    ];
    apply(&fixture.client, changes).await.unwrap();
    assert_eq!(texts(&fixture.client.facts(false).await), ["Anna is away"]);
    assert_eq!(fixture.client.find("Anna is").await.len(), 1);
    assert_eq!(near(&fixture.client, "Anna is").await.len(), 1);
    assert_eq!(fixture.client.facts(true).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_one_fact_forgets_its_history() {
    let fixture = start().await;
    let client = &fixture.client;
    let old = learn(client, "Anna lives in Porto").await;
    apply(
        client,
        [
            supersede(&old, fact("Anna lives in Lisbon")),
            add(fact("Anna likes tea")),
        ],
    )
    .await
    .unwrap();
    let forgotten = forget(client, forget_request::Selector::FactId(old.id.clone()))
        .await
        .unwrap();
    assert_eq!((forgotten.facts, forgotten.documents), (1, 0));
    assert_eq!(texts(&client.facts(true).await), ["Anna likes tea"]);
    let again = forget(client, forget_request::Selector::FactId(old.id)).await;
    refused(again, ErrorCode::NotFound, "FACT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialogue_can_be_forgotten() {
    let fixture = start().await;
    let client = &fixture.client;
    let told = |provenance: &str, text: &str| {
        add(Fact {
            provenance: provenance.into(),
            ..fact(text)
        })
    };
    apply(client, [told("d1/t1", "a"), told("d1/t2", "b"), told("d10/t1", "c")])
        .await
        .unwrap();
    let forgotten = forget(client, forget_request::Selector::DialogueId("d1".into()))
        .await
        .unwrap();
    assert_eq!(forgotten.facts, 2);
    assert_eq!(texts(&client.facts(true).await), ["c"]);
    let hostile = forget_request::Selector::DialogueId("x' OR 'a'='a".into());
    assert_eq!(forget(client, hostile).await.unwrap().facts, 0);
    assert_eq!(client.facts(true).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_forgotten() {
    let fixture = start().await;
    let client = &fixture.client;
    learn(client, "a").await;
    client.put("file:///a", "text").await;
    let refusal = forget(client, forget_request::Selector::Everything(false)).await;
    refused(refusal, ErrorCode::InvalidArgument, "NOTHING_SELECTED");
    let forgotten = forget(client, forget_request::Selector::Everything(true))
        .await
        .unwrap();
    assert_eq!((forgotten.facts, forgotten.documents), (1, 1));
    assert!(client.documents().await.is_empty() && client.facts(true).await.is_empty());
    assert!(
        client
            .list_collections(ListCollectionsRequest::default())
            .await
            .unwrap()
            .collections
            .is_empty()
    );
    assert_eq!(client.search(query("text")).await.unwrap().searched, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_listed_in_pages() {
    let fixture = start().await;
    for n in 0..5 {
        learn(&fixture.client, &format!("fact {n}")).await;
    }
    let mut request = ListFactsRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = fixture.client.list_facts(request.clone()).await.unwrap();
        seen.extend(page.facts.into_iter().map(|fact| fact.text));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["fact 4", "fact 3", "fact 2", "fact 1", "fact 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_facts_are_refused() {
    let fixture = start().await;
    let client = &fixture.client;
    let refuse = async |fact: Fact, reason: &str| {
        refused(apply(client, [add(fact)]).await, ErrorCode::InvalidArgument, reason);
    };
    refuse(fact(" "), "EMPTY_TEXT").await;
    refuse(fact(&"x".repeat(1001)), "TEXT_TOO_LONG").await;
    refuse(
        Fact {
            confidence: 1.5,
            ..fact("x")
        },
        "BAD_CONFIDENCE",
    )
    .await;
    refuse(
        Fact {
            confidence: f32::NAN,
            ..fact("x")
        },
        "BAD_CONFIDENCE",
    )
    .await;
    refuse(
        Fact {
            provenance: "a\nb".into(),
            ..fact("x")
        },
        "BAD_PROVENANCE",
    )
    .await;
    refused(apply(client, []).await, ErrorCode::InvalidArgument, "BAD_CHANGES");
    let elsewhere = add(Fact {
        collection: "nowhere".into(),
        ..fact("x")
    });
    refused(
        apply(client, [elsewhere]).await,
        ErrorCode::NotFound,
        "COLLECTION_NOT_FOUND",
    );
    assert!(client.facts(true).await.is_empty());
}
