//! What a person tells is learnt, told back, and forgotten when they want it.

use solo_proto::agent::v1::ListDialoguesRequest;
use solo_testkit::llm::message_text;
use solo_testkit::{LlmScript, wait_for};

use crate::support::*;

const LEARNING: &str = "learn_facts = true";

/// A service whose model answers every question so, and writes down whatever it is shown as one fact.
async fn learning() -> Setup {
    let setup = Setup::with(LEARNING).await;
    setup.llm.respond_with(|request| match &request.response_format {
        Some(_) => {
            let said = request.messages.last().map(message_text).unwrap_or_default();
            LlmScript::text(&serde_json::json!({ "facts": [said] }).to_string())
        }
        None => LlmScript::text("I see."),
    });
    setup
}

fn facts(setup: &Setup) -> Vec<String> {
    setup.memory.facts().into_iter().map(|(_, fact)| fact.text).collect()
}

#[tokio::test]
async fn what_is_told_is_learnt_once_and_told_back() {
    let setup = learning().await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "My dentist is Doctor Blue.").await;
    talk.ask("t2", "What is the capital of France?").await;
    talk.ask("t3", "My dentist's name is Doctor Blue!").await;
    let answer = talk.ask("t4", "What do you know about me?").await;
    assert_eq!(answer.reply(), "You told me: My dentist is Doctor Blue.");
    let (owner, fact) = setup.memory.facts().remove(0);
    assert_eq!(
        (owner.as_str(), fact.provenance),
        ("local", format!("{}/t1", talk.dialogue))
    );
    let read = setup
        .llm
        .requests()
        .into_iter()
        .filter(|request| request.message.response_format.is_some());
    assert_eq!(read.count(), 2, "a question is not read");
    talk.ask("t5", "My dentist is Doctor Green now.").await;
    let answer = talk.ask("t6", "What do you remember about me?").await;
    assert_eq!(answer.reply(), "You told me: My dentist is Doctor Green.");
    assert_eq!(
        setup.memory.facts()[0].1.version,
        2,
        "the new one took the old one's place"
    );
}

#[tokio::test]
async fn that_is_forgotten_which_was_said_last_here() {
    let setup = learning().await;
    let mut talk = setup.talk().await;
    let nothing = talk.ask("t0", "Forget that.").await;
    assert_eq!(nothing.reply(), "I have kept nothing of what you said here.");
    talk.ask("t1", "My sister is called Anna.").await;
    talk.ask("t2", "I work at the harbour.").await;
    let answer = talk.ask("t3", "Please forget that.").await;
    assert_eq!(answer.reply(), "I have forgotten “I work at the harbour”.");
    assert_eq!(facts(&setup), ["My sister is called Anna."]);
    let answer = talk.ask("t4", "Forget what I said about my sister.").await;
    assert_eq!(answer.reply(), "I have forgotten “My sister is called Anna”.");
    let answer = talk.ask("t5", "What do you know about me?").await;
    assert_eq!(answer.reply(), "You have not told me anything about you yet.");
}

#[tokio::test]
async fn everything_is_deleted_only_after_a_second_word() {
    let setup = learning().await;
    setup.talk().await.ask("t1", "My sister is called Anna.").await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "I work at the harbour.").await;
    wait_for("facts", PATIENCE, async || facts(&setup).len() == 2).await;
    let early = talk.ask("t2", "Yes, delete everything.").await;
    assert_eq!(early.reply(), "I see.", "nobody asked");
    let asked = talk.ask("t3", "Delete everything about me.").await;
    assert!(asked.reply().contains("for good"), "{}", asked.reply());
    talk.ask("t4", "What time is it?").await;
    talk.ask("t5", "Yes, delete everything.").await;
    assert_eq!(facts(&setup).len(), 2, "something else came between");
    talk.ask("t6", "Delete everything about me.").await;
    let done = talk.ask("t7", "Yes, delete everything.").await;
    assert!(
        done.reply().contains("2 facts and 1 other conversations"),
        "{}",
        done.reply()
    );
    assert!(facts(&setup).is_empty());
    let left = setup.get(&talk.dialogue).await;
    let turns: Vec<&str> = left.turns.iter().map(|turn| turn.id.as_str()).collect();
    assert_eq!(turns, ["t7"]);
    let list = setup
        .client()
        .await
        .list_dialogues(ListDialoguesRequest::default())
        .await;
    assert!(
        list.unwrap().into_inner().dialogues.is_empty(),
        "one in which nothing was ever said is not listed"
    );
}

#[tokio::test]
async fn a_wish_is_done_when_it_is_said_and_not_when_it_is_drafted() {
    let setup = learning().await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "My sister is called Anna.").await;
    wait_for("the fact", PATIENCE, async || facts(&setup).len() == 1).await;
    talk.draft("Forget that.");
    talk.draft("Forget that. No, keep it.");
    let answer = talk.ask("t2", "Forget that. No, keep it.").await;
    assert_eq!(answer.reply(), "I see.");
    assert_eq!(facts(&setup).len(), 1);
}

#[tokio::test]
async fn a_memory_that_is_gone_is_said_and_nothing_is_said_to_be_forgotten() {
    let setup = learning().await;
    let mut talk = setup.talk().await;
    setup.memory.fail_with(Some(tonic::Status::internal("broken")));
    let answer = talk.ask("t1", "Forget that.").await;
    assert!(answer.done.is_none() && answer.failed.is_some());
}
