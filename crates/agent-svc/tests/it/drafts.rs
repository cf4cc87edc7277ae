//! Replies that are prepared before it is certain that anybody asked.

use solo_proto::agent::v1::OpenDialogue;
use solo_testkit::llm::message_text;
use solo_testkit::{Gate, LlmScript, hit, wait_for};
use tonic::Status;

use crate::support::{PATIENCE, Setup};

#[tokio::test]
async fn an_equal_draft_is_adopted_with_all_that_it_had_ready() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("It is ").then_gate(&gate).then_text("noon."));
    let mut talk = setup.talk().await;
    talk.draft("What time is it?");
    gate.reached().await;
    assert!(
        setup.get(&talk.dialogue).await.turns.is_empty(),
        "a draft leaves no trace"
    );
    talk.commit("t1", "  What time\nis it? ");
    gate.open();
    let answer = talk.answer("t1").await;
    assert_eq!(answer.reply(), "It is noon.");
    assert!(answer.accepted.expect("accepted").draft_adopted);
    let times = answer.done.as_ref().and_then(|done| done.times).expect("times");
    assert_eq!(
        (times.recalled_ms, times.first_token_ms),
        (Some(0), Some(0)),
        "ready before the commit"
    );
    assert_eq!((setup.llm.requests().len(), setup.llm.cancelled()), (1, 0));
    assert_eq!(
        (setup.gauge("drafts_adopted"), setup.gauge("drafts_wasted")),
        (1.0, 0.0)
    );
}

#[tokio::test]
async fn a_draft_that_was_not_meant_is_cancelled_down_to_the_model() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("Wrong").then_gate(&gate));
    setup.llm.script(LlmScript::text("Worse").then_gate(&gate));
    setup.llm.script(LlmScript::text("Right."));
    let mut talk = setup.talk().await;
    talk.draft("What time");
    gate.reached().await;
    talk.draft("What time");
    talk.draft("What time is");
    setup.llm.wait_cancelled(1).await;
    setup.llm.wait_requests(2).await;
    talk.commit("t1", "What time is it?");
    setup.llm.wait_cancelled(2).await;
    let answer = talk.answer("t1").await;
    assert_eq!(answer.reply(), "Right.");
    assert!(!answer.accepted.expect("accepted").draft_adopted);
    assert_eq!(setup.llm.requests().len(), 3, "the same draft twice is one");
    assert_eq!(setup.gauge("drafts_wasted"), 2.0);
    assert_eq!(setup.get(&talk.dialogue).await.turns.len(), 1);
}

#[tokio::test]
async fn an_empty_draft_takes_the_one_before_back() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("Hm").then_gate(&gate));
    let talk = setup.talk().await;
    talk.draft("Well");
    gate.reached().await;
    talk.draft("");
    setup.llm.wait_cancelled(1).await;
}

#[tokio::test]
async fn a_draft_that_failed_is_not_adopted() {
    let setup = Setup::start().await;
    setup.memory.fail_with(Some(Status::internal("broken")));
    let mut talk = setup.talk().await;
    talk.draft("Where is it?");
    setup.wait_gauge("drafts_wasted", 1.0).await;
    setup.memory.fail_with(None);
    let answer = talk.ask("t1", "Where is it?").await;
    assert_eq!(answer.reply(), "Hello there.");
    assert!(!answer.accepted.expect("accepted").draft_adopted);
    assert_eq!(setup.memory.searches().len(), 2);
}

#[tokio::test]
async fn a_draft_is_prepared_on_what_was_really_heard() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("A long story about a dragon."));
    setup.llm.script(LlmScript::text("stale").then_gate(&gate));
    setup.llm.script(LlmScript::text("Fresh."));
    let mut talk = setup.talk().await;
    talk.ask("t1", "Tell me a story.").await;
    talk.draft("Stop.");
    gate.reached().await;
    talk.heard("t1", "A long story".len(), true);
    setup.llm.wait_requests(3).await;
    setup.llm.wait_cancelled(1).await;
    let answer = talk.ask("t2", "Stop.").await;
    assert_eq!(answer.reply(), "Fresh.");
    assert!(answer.accepted.expect("accepted").draft_adopted);
    let request = &setup.llm.requests()[2].message;
    assert_eq!(
        message_text(&request.messages[2]),
        "A long story… (the user interrupted here)"
    );
}

#[tokio::test]
async fn a_draft_during_a_turn_waits_for_its_end() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("One ").then_gate(&gate).then_text("done."));
    setup.llm.script(LlmScript::text("Two."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "First?");
    gate.reached().await;
    talk.draft("Second?");
    gate.open();
    assert_eq!(talk.answer("t1").await.reply(), "One done.");
    setup.llm.wait_requests(2).await;
    let answer = talk.ask("t2", "Second?").await;
    assert!(answer.accepted.as_ref().expect("accepted").draft_adopted);
    assert_eq!(answer.reply(), "Two.");
    let history = &setup.llm.requests()[1].message.messages;
    assert_eq!(
        message_text(&history[2]),
        "One done.",
        "the draft knew the turn before it"
    );
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_draft() {
    let setup = Setup::start().await;
    setup.memory.set_hits(vec![hit("A", "b", 0.9)]);
    let gate = Gate::closed();
    setup.memory.hold_at(&gate);
    let talk = setup.open(OpenDialogue::default()).await;
    talk.draft("Anything?");
    gate.reached().await;
    drop(talk);
    wait_for("the search to be dropped", PATIENCE, async || gate.waiting() == 0).await;
    setup.wait_gauge("open_streams", 0.0).await;
    assert!(setup.llm.requests().is_empty());
}
