use jiff::Timestamp;

use super::*;
use crate::fact::Fact;

/// A version with a vector of `components`.
fn version(id: u128, number: u32, components: usize) -> FactVersion {
    FactVersion {
        fact: Fact {
            id: Uuid::from_u128(id),
            text: "lives in Bern".into(),
            confidence: 0.9,
            valid_from: None,
            valid_to: None,
            provenance: String::new(),
            version: number,
            created_at: Timestamp::UNIX_EPOCH,
            collection: CollectionName::new("default", "collection").unwrap(),
        },
        ended_at: None,
        vector: vec![0.0; components],
    }
}

#[test]
fn versions_of_a_fact_are_not_torn_apart_but_they_are_not_any_number() {
    let mut waiting = Histories::default();
    waiting.add(version(1, 1, 2)).unwrap();
    // 4 MiB each.
    let refused = (1..100).find_map(|number| {
        let version = version(2, number, 1 << 20);
        assert!(number == 1 || !waiting.are_full(&version));
        waiting.add(version).err().map(|error| (number, error.to_string()))
    });
    let (number, told) = refused.unwrap();
    assert_eq!(number, 16, "{told}");
    assert!(
        told.contains("the versions of fact 00000000-0000-0000-0000-000000000002"),
        "{told}"
    );
    let kept: Vec<u128> = waiting
        .versions
        .iter()
        .map(|version| version.fact.id.as_u128())
        .collect();
    assert_eq!(kept, [1], "what was whole before stays");
}

#[test]
fn facts_are_stored_before_they_are_many_or_large() {
    let mut waiting = Histories::default();
    (0..FACTS).for_each(|index| waiting.add(version(index as u128, 1, 2)).unwrap());
    assert!(waiting.are_full(&version(FACTS as u128, 1, 2)));
    assert!(
        !waiting.are_full(&version(FACTS as u128 - 1, 2, 2)),
        "it is the last one's"
    );
    let mut waiting = Histories::default();
    (0..2).for_each(|index| waiting.add(version(index, 1, 1 << 20)).unwrap());
    assert!(waiting.are_full(&version(2, 1, 2)));
}
