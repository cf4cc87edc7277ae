//! Examples have every field, and whatever is no longer understood is noticed.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use solo_proto::DESCRIPTOR_POOL;

use super::{examples, record, recorded, replay, spoken};
use crate::breaks::ours;
use crate::contracts;

const TALK: &str = "
    import \"google/protobuf/duration.proto\";
    import \"google/protobuf/struct.proto\";
    import \"google/protobuf/timestamp.proto\";
    service Talk { rpc Say(Ask) returns (stream Answer); }
    message Ask {
        string text = 1;
        repeated int64 numbers = 2;
        oneof how { Style style = 3; bool plainly = 4; Empty silently = 5; }
        map<string, Style> styles = 6;
        google.protobuf.Struct more = 7;
        repeated Ask earlier = 8;
    }
    message Empty {}
    message Style { float rate = 1; optional uint32 pitch = 2; Mood mood = 3; }
    enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GLAD = 1; }
    message Answer {
        bytes audio = 1;
        google.protobuf.Timestamp at = 2;
        google.protobuf.Duration length = 3;
        sint32 shift = 4;
        double weight = 5;
        fixed64 size = 6;
        map<uint32, float> scores = 7;
    }";

#[test]
fn examples_have_every_field() {
    for contracts in [contracts(TALK), DESCRIPTOR_POOL.clone()] {
        let (mut wanted, mut had) = (BTreeSet::new(), BTreeSet::new());
        for name in spoken(&contracts) {
            let message = contracts.get_message_by_name(&name).unwrap();
            fields_of(&message, &mut wanted);
            for example in examples(&message, &[]) {
                fields_in(&example, &mut had);
            }
        }
        let missing: Vec<_> = wanted.difference(&had).collect();
        assert!(!wanted.is_empty() && missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn the_contracts_of_today_understand_what_they_would_record() {
    for contracts in [contracts(TALK), DESCRIPTOR_POOL.clone()] {
        let records = record(&contracts);
        assert_eq!(recorded(&records), spoken(&contracts));
        assert_eq!(replay(&records, &contracts), [""; 0]);
        assert!(records == record(&contracts), "the same examples each time");
    }
}

#[test]
fn what_is_no_longer_understood_is_noticed() {
    let records = record(&contracts(TALK));
    let after = |old: &str, new: &str| -> DescriptorPool {
        assert!(TALK.contains(old));
        contracts(&TALK.replace(old, new))
    };
    for (old, new, said) in [
        ("Ask", "Question", "p.Ask: the message is gone"),
        ("string text = 1;", "", "field 1 of p.Ask is unknown"),
        ("float rate = 1;", "", "field 1 of p.Style is unknown"),
        ("string text = 1;", "uint32 text = 1;", "it no longer decodes"),
        (
            "repeated int64 numbers = 2;",
            "int64 numbers = 2;",
            "it no longer decodes",
        ),
        ("string text = 1;", "string words = 1;", "its JSON was"),
        ("string text = 1;", "bytes text = 1;", "its JSON was"),
        ("uint32 pitch = 2;", "int32 pitch = 2;", "its JSON was"),
        ("MOOD_GLAD", "MOOD_MERRY", "its JSON was"),
        ("sint32 shift = 4;", "int32 shift = 4;", "its JSON was"),
    ] {
        let lost = replay(&records, &after(old, new));
        assert!(lost.iter().any(|why| why.contains(said)), "{old} → {new}: {lost:?}");
    }
}

#[test]
fn additions_are_understood() {
    let records = record(&contracts(TALK));
    let more = TALK
        .replace("string text = 1;", "string text = 1; optional string language = 20;")
        .replace("Empty silently = 5;", "Empty silently = 5; Mood sung = 21;")
        .replace("MOOD_GLAD = 1;", "MOOD_GLAD = 1; MOOD_SAD = 2;");
    assert_eq!(replay(&records, &contracts(&more)), [""; 0]);
}

/// The names of all of our fields that a message may hold, at any depth.
fn fields_of(message: &MessageDescriptor, names: &mut BTreeSet<String>) {
    for field in message.fields() {
        // A map's key and value come with the map.
        if !message.is_map_entry() && !names.insert(field.full_name().to_owned()) {
            continue;
        }
        if let Kind::Message(inner) = field.kind()
            && ours(inner.package_name())
        {
            fields_of(&inner, names);
        }
    }
}

/// The names of all fields that a message holds, at any depth.
fn fields_in(message: &DynamicMessage, names: &mut BTreeSet<String>) {
    for (field, value) in message.fields() {
        names.insert(field.full_name().to_owned());
        match value {
            Value::Message(inner) => fields_in(inner, names),
            Value::List(items) => items
                .iter()
                .filter_map(Value::as_message)
                .for_each(|inner| fields_in(inner, names)),
            Value::Map(entries) => entries
                .values()
                .filter_map(Value::as_message)
                .for_each(|inner| fields_in(inner, names)),
            _ => {}
        }
    }
}
