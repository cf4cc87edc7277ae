//! Whatever two people put, tell, delete and ask: no query, filter or identifier of one ever returns the other's.

use proptest::prelude::*;
use solo_proto::memory::v1::*;

use crate::support::*;

const USERS: [&str; 2] = ["anna", "eve"];
/// Words that stand in everybody's texts, so that everybody's queries fit everybody's texts.
const SHARED: &str = "the plan for the garden and the harbour";

#[derive(Debug, Clone)]
enum Step {
    Put {
        uri: u8,
        text: u8,
        collection: bool,
    },
    Tell {
        text: u8,
    },
    Delete {
        which: prop::sample::Index,
    },
    Forget {
        which: prop::sample::Index,
    },
    ForgetDialogue,
    Ask {
        text: u8,
        mode: u8,
        theirs: bool,
        prefix: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, any::<u8>(), any::<bool>()).prop_map(|(uri, text, collection)| Step::Put { uri, text, collection }),
        3 => any::<u8>().prop_map(|text| Step::Tell { text }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Delete { which }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Forget { which }),
        1 => Just(Step::ForgetDialogue),
        5 => (any::<u8>(), 0..4_u8, any::<bool>(), any::<bool>())
            .prop_map(|(text, mode, theirs, prefix)| Step::Ask { text, mode, theirs, prefix }),
    ]
}

/// A text that says whose it is.
fn text(user: &str, number: u8) -> String {
    format!("{user}owns word{number} {SHARED}")
}

async fn check(client: &Client, user: &str, other: &str, ids: &[String], step: &Step) {
    let Step::Ask {
        text: number,
        mode,
        theirs,
        prefix,
    } = step
    else {
        return;
    };
    let filter = SearchFilter {
        document_ids: if *theirs { ids.to_vec() } else { Vec::new() },
        uri_prefix: if *prefix { "file:///".into() } else { String::new() },
        ..Default::default()
    };
    let request = SearchRequest {
        mode: i32::from(*mode),
        filter: Some(filter),
        // Asked for in the other's own words.
        ..query(&text(other, *number))
    };
    let foreign = format!("{other}owns");
    let found = client.search(request).await.unwrap();
    for hit in &found.hits {
        assert!(!hit.text.contains(&foreign), "{user} sees {}", hit.text);
    }
    if *theirs && !ids.is_empty() {
        assert!(found.hits.is_empty(), "{user} finds by {other}'s identifiers");
    }
    let near = NearFactsRequest {
        text: text(other, *number),
        limit: 50,
    };
    for near in client.near_facts(near).await.unwrap().facts {
        assert!(!near.fact.unwrap().text.contains(&foreign));
    }
    for id in ids {
        assert!(client.text_of(id).await.is_err() && client.delete(&[id]).await.is_err());
    }
    for document in client.documents().await {
        assert!(!client.text_of(&document.id).await.unwrap().contains(&foreign));
    }
    for fact in client.facts(true).await {
        assert!(!fact.text.contains(&foreign));
    }
}

/// What both find near a text, by identifier.
async fn everything_found(fixture: &Fixture) -> Vec<Hit> {
    let mut found = Vec::new();
    for user in USERS {
        found.extend(fixture.client.of(user).find(&text(user, 0)).await);
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn assert_same(found: Vec<Hit>, wanted: Vec<Hit>) {
    assert_eq!(found.len(), wanted.len());
    for (mut found, wanted) in found.into_iter().zip(wanted) {
        assert!((found.score - wanted.score).abs() < 1e-4, "{found:?} {wanted:?}");
        found.score = wanted.score;
        assert_eq!(found, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn nobody_ever_sees_what_is_the_others(steps in prop::collection::vec((0..2_usize, step()), 10..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fixture = start().await;
            let clients = USERS.map(|user| fixture.client.of(user));
            for client in &clients {
                let name = "work".into();
                client.create_collection(CreateCollectionRequest { name, ..Default::default() }).await.unwrap();
            }
            for (who, step) in &steps {
                let (client, user, other) = (&clients[*who], USERS[*who], USERS[1 - *who]);
                match step {
                    Step::Put { uri, text: number, collection } => {
                        let collection = if *collection { "work" } else { "" };
                        // Both use the same URIs, and now and then the same content.
                        let uri = format!("file:///{uri}.txt");
                        client.put_in(collection, &uri, &text(user, *number)).await.unwrap();
                    }
                    Step::Tell { text: number } => {
                        let fact = Fact { text: text(user, *number), provenance: "d/t".into(), ..Default::default() };
                        let change = Some(fact_change::Change::Add(fact));
                        client.apply_facts(ApplyFactsRequest { changes: vec![FactChange { change }] }).await.unwrap();
                    }
                    Step::Delete { which } => {
                        let documents = client.documents().await;
                        if !documents.is_empty() {
                            client.delete(&[&which.get(&documents).id]).await.unwrap();
                        }
                    }
                    Step::Forget { which } => {
                        let facts = client.facts(false).await;
                        if !facts.is_empty() {
                            let selector = Some(forget_request::Selector::FactId(which.get(&facts).id.clone()));
                            client.forget(ForgetRequest { selector }).await.unwrap();
                        }
                    }
                    Step::ForgetDialogue => {
                        let before = clients[1 - *who].facts(true).await.len();
                        let selector = Some(forget_request::Selector::DialogueId("d".into()));
                        client.forget(ForgetRequest { selector }).await.unwrap();
                        assert!(client.facts(true).await.is_empty());
                        assert_eq!(clients[1 - *who].facts(true).await.len(), before);
                    }
                    Step::Ask { .. } => {
                        let theirs = clients[1 - *who].documents().await;
                        let ids: Vec<String> = theirs.into_iter().map(|document| document.id).collect();
                        check(client, user, other, &ids, step).await;
                    }
                }
            }
            // What is held in memory is what the tables hold, to the last of all these steps.
            let remembered = everything_found(&fixture).await;
            let verified = clients[0].verify(VerifyRequest {}).await.unwrap();
            assert_eq!(verified.problems, Vec::<String>::new());
            let fixture = fixture.restart_with("[memory.search]\nresident_mb = 0\n").await;
            assert_same(everything_found(&fixture).await, remembered);
        });
    }
}
