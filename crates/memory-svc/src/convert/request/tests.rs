//! What is read, and what is refused.

use super::super::answer::{fields, value_of};
use super::*;

fn metadata(value: prost_types::Value) -> proto::DocumentHeader {
    let fields = [("k".to_owned(), value)].into_iter().collect();
    proto::DocumentHeader {
        metadata: Some(Struct { fields }),
        ..Default::default()
    }
}

#[test]
fn metadata_comes_back_as_it_went() {
    let value = value_of(serde_json::json!({"a": [1.5, true, null, "x"], "b": {"c": -3.0}}));
    let kept = upload(metadata(value.clone())).unwrap().metadata;
    assert_eq!(fields(kept).fields["k"], value);
}

#[test]
fn metadata_is_bounded_and_finite() {
    let refused = |value: Value| upload(metadata(value_of(value))).err();
    assert!(refused(Value::String("x".repeat(MAX_METADATA_BYTES))).is_some());
    let infinite = prost_types::Value {
        kind: Some(Kind::NumberValue(f64::INFINITY)),
    };
    assert!(upload(metadata(infinite)).is_err());
}

#[test]
fn unknown_enum_values_are_named() {
    let search = |mode: i32, kind: i32| {
        let filter = Some(proto::SearchFilter {
            kind,
            ..Default::default()
        });
        let query = Some(proto::search_request::Query::Text("x".into()));
        super::search(proto::SearchRequest {
            mode,
            filter,
            query,
            ..Default::default()
        })
    };
    assert!(search(0, 0).is_ok());
    assert!(search(17, 0).unwrap_err().to_string().contains("17"));
    assert!(search(0, 9).unwrap_err().to_string().contains('9'));
    assert_eq!(search(2, 0).unwrap().mode, Some(Mode::Text));
}

#[test]
fn times_survive_the_trip() {
    let proto = ProtoTimestamp {
        seconds: -5,
        nanos: 123_456_000,
    };
    let read = maybe_time(Some(proto), "t").unwrap().unwrap();
    assert_eq!(read.as_microsecond(), -5_000_000 + 123_456);
    assert!(
        maybe_time(
            Some(ProtoTimestamp {
                seconds: i64::MAX,
                nanos: 0
            }),
            "t"
        )
        .is_err()
    );
}
