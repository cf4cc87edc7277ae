use proptest::prelude::*;
use serde_json::json;

use super::*;

const LIMITS: FrameLimits = FrameLimits {
    header: 200,
    data: 100,
    payload: 50,
};

/// All events of `bytes`, which arrive in pieces of `size`.
fn read(bytes: &[u8], size: usize) -> Result<Vec<Event>, FrameError> {
    let mut framer = Framer::new(LIMITS);
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        framer.buffer().extend_from_slice(piece);
        while let Some(event) = framer.next_event()? {
            events.push(event);
        }
    }
    Ok(events)
}

fn refused(bytes: &[u8]) -> FrameError {
    read(bytes, bytes.len()).unwrap_err()
}

#[test]
fn an_event_may_say_its_data_in_the_header_and_after_it() {
    let bytes = b"{\"type\":\"t\",\"data\":{\"a\":1,\"b\":2},\"data_length\":7,\"payload_length\":3}\n{\"b\":3}xyz{\"type\":\"u\"}\n";
    let events = read(bytes, 1).unwrap();
    let first = Event {
        payload: Bytes::from_static(b"xyz"),
        ..Event::new("t", json!({"a": 1, "b": 3}))
    };
    assert_eq!(events, [first, Event::new("u", json!({}))]);
}

#[test]
fn lengths_may_be_absent_null_or_nothing() {
    let bytes = b"{\"type\":\"t\",\"data\":null,\"data_length\":null,\"payload_length\":0}\n";
    assert_eq!(read(bytes, 7).unwrap(), [Event::new("t", json!({}))]);
}

#[test]
fn what_is_no_header_is_refused() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "\n",
        "[]\n",
        "{}\n",
        "{\"type\":1}\n",
        "{\"type\":\"t\",\"payload_length\":-1}\n",
        "{\"type\":\"t\",\"payload_length\":1.5}\n",
        "{\"type\":\"t\",\"data\":[]}\n",
        "{\"type\":\"t\"\n",
    ] {
        assert_eq!(refused(line.as_bytes()).reason(), "BAD_HEADER", "{line}");
    }
    assert_eq!(refused(b"\xff\xfe{\n").reason(), "BAD_HEADER");
}

#[test]
fn what_is_too_long_is_refused_before_it_arrives() {
    assert_eq!(refused(&[b' '; 201]), FrameError::HeaderTooLong { limit: 200 });
    let line = format!("{}{{\"type\":\"t\"}}\n", " ".repeat(200));
    assert_eq!(refused(line.as_bytes()), FrameError::HeaderTooLong { limit: 200 });
    assert_eq!(
        refused(b"{\"type\":\"t\",\"data_length\":101}\n").reason(),
        "DATA_TOO_LONG"
    );
    let huge = refused(b"{\"type\":\"t\",\"payload_length\":18446744073709551615}\n");
    assert_eq!(
        huge.to_string(),
        "18446744073709551615 bytes of payload; at most 50 are taken (gateway.wyoming.max_payload_bytes)"
    );
}

#[test]
fn data_that_is_no_object_is_refused() {
    for data in ["[1]", "{\"a\"", "nul"] {
        let bytes = format!("{{\"type\":\"t\",\"data_length\":{}}}\n{data}", data.len());
        assert_eq!(refused(bytes.as_bytes()).reason(), "BAD_DATA", "{data}");
    }
}

#[test]
fn the_middle_of_an_event_is_known() {
    let mut framer = Framer::new(LIMITS);
    assert!(!framer.is_amid());
    framer
        .buffer()
        .extend_from_slice(b"{\"type\":\"t\",\"payload_length\":2}\n");
    assert_eq!(framer.next_event(), Ok(None));
    assert!(framer.is_amid());
    framer.buffer().extend_from_slice(b"ab");
    assert!(framer.next_event().unwrap().is_some() && !framer.is_amid());
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_events_are_the_same(
        said in prop::collection::vec(("[a-z-]{1,12}", prop::option::of("\\PC{0,10}"), prop::collection::vec(any::<u8>(), 0..50)), 0..8),
        size in 1_usize..300,
    ) {
        let events: Vec<Event> = said
            .into_iter()
            .map(|(kind, text, payload)| Event {
                payload: payload.into(),
                ..Event::new(&kind, text.map_or(Value::Null, |text| json!({ "text": text })))
            })
            .collect();
        let bytes: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        prop_assert_eq!(read(&bytes, size).unwrap(), events);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let _ = read(&bytes, size);
    }
}
