//! One principal never sees or changes what belongs to another, whatever it asks.

use solo_proto::memory::v1::*;
use solo_service::ErrorCode;

use crate::support::*;

fn add(text: &str) -> ApplyFactsRequest {
    let fact = Fact {
        text: text.into(),
        provenance: "d/t".into(),
        ..Default::default()
    };
    ApplyFactsRequest {
        changes: vec![FactChange {
            change: Some(fact_change::Change::Add(fact)),
        }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_principal_sees_nothing_and_can_delete_nothing() {
    let fixture = start().await;
    let (anna, eve) = (fixture.client.of("anna"), fixture.client.of("eve"));
    anna.create_collection(CreateCollectionRequest {
        name: "work".into(),
        ..Default::default()
    })
    .await
    .unwrap();
    let document = anna
        .put_in("work", "file:///a.txt", "the secret plan")
        .await
        .unwrap()
        .document;
    let fact = anna
        .apply_facts(add("anna has a secret"))
        .await
        .unwrap()
        .facts
        .remove(0);

    let found = eve.search(query("the secret plan")).await.unwrap();
    assert_eq!((found.hits.len(), found.searched), (0, 0));
    let by_id = SearchFilter {
        document_ids: vec![document.id.clone()],
        ..Default::default()
    };
    let by_id = SearchRequest {
        filter: Some(by_id),
        ..query("secret")
    };
    assert_eq!(eve.search(by_id).await.unwrap().searched, 0);
    assert!(eve.documents().await.is_empty() && eve.facts(true).await.is_empty());
    assert!(
        eve.list_collections(ListCollectionsRequest::default())
            .await
            .unwrap()
            .collections
            .is_empty()
    );
    let near = NearFactsRequest {
        text: "secret".into(),
        limit: 50,
    };
    assert!(eve.near_facts(near).await.unwrap().facts.is_empty());
    let get = GetDocumentRequest {
        id: document.id.clone(),
    };
    refused(eve.get_document(get).await, ErrorCode::NotFound, "DOCUMENT_NOT_FOUND");
    refused(
        eve.text_of(&document.id).await,
        ErrorCode::NotFound,
        "DOCUMENT_NOT_FOUND",
    );
    refused(
        eve.put_in("work", "", "x").await,
        ErrorCode::NotFound,
        "COLLECTION_NOT_FOUND",
    );

    refused(
        eve.delete(&[&document.id]).await,
        ErrorCode::NotFound,
        "DOCUMENT_NOT_FOUND",
    );
    let work = DeleteCollectionRequest { name: "work".into() };
    refused(
        eve.delete_collection(work).await,
        ErrorCode::NotFound,
        "COLLECTION_NOT_FOUND",
    );
    let retract = RetractFact {
        id: fact.id.clone(),
        expected_version: 1,
    };
    let retract = FactChange {
        change: Some(fact_change::Change::Retract(retract)),
    };
    let retract = ApplyFactsRequest { changes: vec![retract] };
    refused(eve.apply_facts(retract).await, ErrorCode::NotFound, "FACT_NOT_FOUND");
    let forget = |selector| ForgetRequest {
        selector: Some(selector),
    };
    let one = forget(forget_request::Selector::FactId(fact.id.clone()));
    refused(eve.forget(one).await, ErrorCode::NotFound, "FACT_NOT_FOUND");
    let dialogue = forget(forget_request::Selector::DialogueId("d".into()));
    assert_eq!(eve.forget(dialogue).await.unwrap().facts, 0);
    let all = eve
        .forget(forget(forget_request::Selector::Everything(true)))
        .await
        .unwrap();
    assert_eq!((all.facts, all.documents), (0, 0));

    // The same URI is another document, and putting it leaves anna's alone.
    let own = eve.put("file:///a.txt", "eve's own").await.document;
    assert_ne!(own.id, document.id);
    eve.forget(forget(forget_request::Selector::Everything(true)))
        .await
        .unwrap();
    assert_eq!(anna.documents().await, [document]);
    assert_eq!(anna.facts(true).await, [fact]);
    assert_eq!(anna.find("secret plan").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_principals_are_refused() {
    let fixture = start().await;
    fixture.client.of("anna").put("file:///a", "secret").await;
    for hostile in ["anna' OR 'a'='a", "x\" OR 1=1", "a b", "anna'--", "*", "an%"] {
        let result = fixture.client.of(hostile).search(query("secret")).await;
        assert_eq!(fault(&result.unwrap_err()).0, ErrorCode::InvalidArgument, "{hostile}");
    }
    assert!(
        fixture.client.find("secret").await.is_empty(),
        "nobody named is \"local\", not everybody"
    );
}

/// A made-up history of two principals who use the same names: what each sees is what each did.
#[tokio::test(flavor = "multi_thread")]
async fn two_histories_never_mix() {
    let fixture = start().await;
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut dice = move |sides: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % sides
    };
    let people = ["anna", "eve"];
    let mut books: [std::collections::BTreeMap<String, (String, String)>; 2] = Default::default();
    for step in 0..60 {
        let who = dice(2) as usize;
        let client = fixture.client.of(people[who]);
        let uri = format!("file:///{}", dice(4));
        if dice(4) == 0 {
            let known = books[who].remove(&uri);
            let other = books[1 - who].get(&uri).map(|(id, _)| id.clone());
            if let Some((id, _)) = known {
                assert_eq!(client.delete(&[&id]).await.unwrap(), 1);
            } else if let Some(id) = other {
                refused(client.delete(&[&id]).await, ErrorCode::NotFound, "DOCUMENT_NOT_FOUND");
            }
        } else {
            let text = format!("{} wrote word{step} here", people[who]);
            let id = client.put(&uri, &text).await.document.id;
            books[who].insert(uri, (id, text));
        }
        for (who, book) in books.iter().enumerate() {
            let mut seen: Vec<_> = fixture
                .client
                .of(people[who])
                .find("wrote here")
                .await
                .into_iter()
                .map(|hit| hit.text)
                .collect();
            let mut expected: Vec<_> = book.values().map(|(_, text)| text.clone()).collect();
            seen.sort();
            expected.sort();
            assert_eq!(seen, expected, "{} after step {step}", people[who]);
        }
    }
}
