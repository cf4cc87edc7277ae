//! Home Assistant and satellites: the gateway's Wyoming ports, used by the client of the protocol's own Python package.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use solo_tests::{Stack, fixture, words};

use crate::foreign_clients::python;

#[test]
#[ignore = "needs models: cargo make test-models"]
fn the_protocols_own_client_hears_speaks_and_wakes() {
    let stack = Stack::up();
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/wyoming_probe.py");
    let output = Command::new(python())
        .arg(&probe)
        .args(stack.layout.wyoming().map(|port| port.to_string()))
        .args([
            fixture("question_only.wav"),
            fixture("hey_jarvis_where_are_my_keys.wav"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("{said:#}");

    let transcripts = said["transcripts"].as_object().unwrap();
    assert_eq!(transcripts.len(), 4);
    for (format, heard) in transcripts {
        assert_eq!(
            words(heard.as_str().unwrap()),
            words("What is the capital of France?"),
            "{format}: {said}"
        );
    }
    assert_eq!(said["silence"], "", "{said}");

    // Telephone speech lacks what detectors listen for most: of the two recordings this is the one that wakes at 8 kHz too.
    for (rate, detection) in said["detections"].as_object().unwrap() {
        assert_eq!(detection["name"], "hey_jarvis", "{rate} Hz: {said}");
        // The keyword is over after a second; the question goes on for two more.
        assert!(
            (300..2000).contains(&detection["timestamp"].as_i64().unwrap()),
            "{rate} Hz: {said}"
        );
    }
    assert_eq!(said["not_detected"], Value::Null, "{said}");

    let seconds = |key: &str| said[key].as_f64().unwrap();
    assert!((0.4..3.0).contains(&seconds("synthesized_seconds")), "{said}");
    assert!(
        (seconds("synthesized_seconds") - seconds("named_seconds")).abs() < 0.5,
        "{said}"
    );
    assert_eq!(
        words(said["synthesized_says"].as_str().unwrap()),
        words("Good morning"),
        "{said}"
    );
    assert_eq!(
        words(said["written_says"].as_str().unwrap()),
        words("Good morning. It is a fine day"),
        "{said}"
    );

    // What is in use is listed first, and installed.
    assert_eq!(said["models"][0], json!(["whisper-base", true, 99]), "{said}");
    assert_eq!(said["voices"][0], json!(["piper-en-us-joe", true, ["en-US"]]), "{said}");
    assert_eq!(said["keywords"][0], json!(["hey_jarvis", true, "Hey Jarvis"]), "{said}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(said["versions"], json!([version, version, version]));
}
