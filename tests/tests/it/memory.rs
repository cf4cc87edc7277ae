//! What Solo remembers, over spawned services and with real models: a folder's documents, cited by page; what a person told.

use solo_tests::{Stack, kill_9, wait_until};

/// A line of the survey that no model knows by itself.
const QUESTION: &str = "Where was the rare blue salamander seen?";

fn citation_page(answer: &serde_json::Value) -> Option<u64> {
    answer["citations"].as_array()?.first()?["page"].as_u64()
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn a_document_in_a_watched_folder_is_answered_from_with_its_page_and_gone_with_it() {
    let stack = Stack::up_with("[memory.watch]\nsettle_ms = 100\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("survey.pdf");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/documents/survey.pdf");
    std::fs::copy(fixture, &file).unwrap();
    let path = folder.path().display().to_string();
    let watched = stack.json(&["watch", "add", &path, "--json"]);
    assert_eq!(
        (&watched[0]["state"], &watched[0]["files"]),
        (&"following".into(), &1.into()),
        "{watched}"
    );
    let answer = stack.json(&["ask", QUESTION, "--json"]);
    let reply = answer["reply"].as_str().unwrap();
    assert!(reply.contains("mill bridge"), "{answer}");
    assert!(reply.contains("page 3 of “Wildlife Survey”"), "{answer}");
    assert_eq!(citation_page(&answer), Some(3), "{answer}");
    // A service that was killed goes on with its folders.
    kill_9(stack.pid("memory-svc"));
    std::fs::remove_file(&file).unwrap();
    wait_until("the document is gone", || {
        let found = stack.layout.solo(&["search", "blue salamander", "--json"]);
        found.status.success() && String::from_utf8_lossy(&found.stdout).trim() == "[]"
    });
    let answer = stack.json(&["ask", QUESTION, "--json"]);
    assert_eq!(citation_page(&answer), None, "{answer}");
    stack.solo(&["memory", "verify"]);
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn what_a_person_tells_is_remembered_once_and_forgotten_when_they_want_it() {
    let stack = Stack::up();
    for told in [
        "My sister is called Anna.",
        "My sister's name is Anna.",
        "Anna is my sister.",
        "I have a sister, and her name is Anna.",
        "By the way, my sister is named Anna.",
        "What is the capital of France?",
    ] {
        stack.json(&["ask", told, "--json"]);
    }
    let reply = |question: &str| {
        let answer = stack.json(&["ask", question, "--json"]);
        answer["reply"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        reply("What do you know about me?"),
        "You told me: My sister is called Anna."
    );
    assert_eq!(stack.json(&["forget", "--list", "--json"]).as_array().unwrap().len(), 1);
    assert!(reply("What is my sister called?").contains("Anna"));
    assert_eq!(
        reply("Forget what I said about my sister."),
        "I have forgotten “My sister is called Anna”."
    );
    assert_eq!(
        reply("What do you know about me?"),
        "You have not told me anything about you yet."
    );
}
