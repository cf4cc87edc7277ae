//! What Solo is for: a question asked, in writing or aloud, and answered.

use solo_tests::{Stack, fixture, word_error_rate, words};

#[test]
#[ignore = "needs models: cargo make test-models"]
fn a_written_question_is_answered() {
    let stack = Stack::up();
    let answer = stack.json(&[
        "ask",
        "What is the capital of France? Answer in one sentence.",
        "--json",
    ]);
    assert!(answer["reply"].as_str().unwrap().contains("Paris"), "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{answer}");
    let dialogue = answer["dialogue"].as_str().unwrap();
    let next = stack.json(&[
        "ask",
        "And which river flows through it?",
        "--dialogue",
        dialogue,
        "--json",
    ]);
    assert_eq!(next["dialogue"], dialogue);
    assert!(next["reply"].as_str().unwrap().contains("Seine"), "{next}");
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn a_spoken_question_is_answered_aloud() {
    let stack = Stack::up();
    let question = fixture("hey_jarvis_capital_of_france.wav");
    let out = stack.layout.folder.path().join("reply.wav").display().to_string();
    let turn = stack.json(&["talk", "--in", &question, "--out", &out, "--json"]);
    assert_eq!(turn["wake"]["keyword"], "hey_jarvis", "{turn}");
    assert!(turn["wake"]["score"].as_f64().unwrap() > 0.5, "{turn}");
    assert!(
        words(turn["transcript"].as_str().unwrap()).ends_with(&words("capital of France")),
        "{turn}"
    );
    let reply = turn["reply"].as_str().unwrap();
    assert!(reply.contains("Paris"), "{turn}");
    for stage in [
        "endpoint",
        "stt",
        "recall",
        "llm_first_token",
        "llm_first_sentence",
        "tts_first_audio",
    ] {
        assert!(turn["stages_ms"][stage].is_i64(), "{stage} is absent: {turn}");
    }
    assert!(turn["voice_to_voice_ms"].as_i64().unwrap() > 0, "{turn}");
    // One word is too short to measure a word error rate by: the next test does, on whole sentences.
    let heard = stack.json(&["transcribe", &out, "--json"]);
    assert!(!heard["text"].as_str().unwrap().is_empty(), "{heard}");
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn a_remembered_fact_answers_a_spoken_question_and_is_named() {
    let stack = Stack::up();
    stack.solo(&[
        "remember",
        "The spare keys are in the blue tin on the kitchen shelf.",
        "--title",
        "Spare keys",
    ]);
    let found = stack.json(&["search", "where are the spare keys", "--json"]);
    assert!(found[0]["text"].as_str().unwrap().contains("blue tin"), "{found}");
    let out = stack.layout.folder.path().join("reply.wav").display().to_string();
    let turn = stack.json(&[
        "talk",
        "--in",
        &fixture("hey_jarvis_where_are_my_keys.wav"),
        "--out",
        &out,
        "--json",
    ]);
    let reply = turn["reply"].as_str().unwrap().to_lowercase();
    assert!(reply.contains("blue tin"), "{turn}");
    assert!(
        reply.contains("spare keys"),
        "the reply does not name its source: {turn}"
    );
    assert_eq!(turn["citations"][0]["title"], "Spare keys", "{turn}");

    let heard = stack.json(&["transcribe", &out, "--json"]);
    let rate = word_error_rate(&reply, heard["text"].as_str().unwrap());
    assert!(rate <= 0.2, "word error rate {rate}: said {reply:?}, heard {heard}");
}
