//! What leaves by itself: facts, their past and notes, once they are as old as the configuration wants.

use std::time::Duration;

use fact_change::Change;
use serde_json::Value;
use solo_proto::memory::v1::*;
use solo_testkit::wait_for;

use crate::exchange::{changed, fact, learn};
use crate::support::*;

const RULES: &str = "[memory.retention]\nfacts_days = 30\npast_facts_days = 30\nnotes_days = 30";

fn days_ago(days: i64) -> Value {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    then.to_string().into()
}

/// Lines of which those that `which` picks have another time.
fn aged(lines: &str, which: impl Fn(&Value) -> bool, field: &str, days: i64) -> String {
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let is_document = record.get("document").is_some();
        let value = if is_document {
            &mut record["document"]
        } else {
            &mut record
        };
        if which(value) {
            value[field] = days_ago(days);
        }
        format!("{record}\n")
    };
    lines.lines().map(line).collect()
}

#[tokio::test]
async fn what_is_too_old_leaves_and_nothing_else() {
    let old = start().await;
    for (uri, text) in [
        ("note:old", "an old note"),
        ("note:new", "a new note"),
        ("file:///old.txt", "an old file"),
    ] {
        old.client.put(uri, text).await;
    }
    learn(&old.client, Change::Add(fact("told long ago"))).await;
    let moved = learn(&old.client, Change::Add(fact("lives in Bern"))).await;
    let supersede = SupersedeFact {
        id: moved.id,
        expected_version: 1,
        fact: Some(fact("lives in Basel")),
    };
    learn(&old.client, Change::Supersede(supersede)).await;
    let (file, _) = old.client.export().await.unwrap();
    let is_old = |line: &Value| line["uri"].as_str().is_some_and(|uri| uri.contains("old"));
    let file = changed(&file, "documents.jsonl", |it| aged(it, is_old, "updated_at", 31));
    let file = changed(&file, "facts.jsonl", |it| {
        let told = aged(it, |line| line["text"] == "told long ago", "created_at", 31);
        aged(&told, |line| line["text"] == "lives in Bern", "ended_at", 31)
    });

    let new = start_with(RULES).await;
    new.client.import(&file).await.unwrap();
    assert_eq!(
        (new.client.documents().await.len(), new.client.facts(true).await.len()),
        (3, 3)
    );
    let new = new.restart_with(RULES).await;
    let patience = Duration::from_secs(20);
    wait_for("the old note leaves", patience, async || {
        new.client.documents().await.len() < 3
    })
    .await;
    let mut uris: Vec<String> = new
        .client
        .documents()
        .await
        .into_iter()
        .map(|document| document.uri)
        .collect();
    uris.sort();
    assert_eq!(uris, ["file:///old.txt", "note:new"]);
    let facts: Vec<String> = new.client.facts(true).await.into_iter().map(|fact| fact.text).collect();
    assert_eq!(facts, ["lives in Basel"]);
    assert!(
        new.client
            .find("told long ago")
            .await
            .iter()
            .all(|hit| hit.text != "told long ago")
    );
    let problems = new.client.verify(VerifyRequest {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}
