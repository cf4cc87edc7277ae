//! Interruptions: what was heard is what is kept.

use solo_proto::agent::v1::TurnState;
use solo_testkit::llm::message_text;
use solo_testkit::{Gate, LlmScript};
use tonic::Code;

use crate::support::Setup;

#[tokio::test]
async fn an_interrupted_reply_is_cut_between_characters() {
    let setup = Setup::start().await;
    setup.llm.script(LlmScript::text("Grüße aus Köln 👋 und mehr."));
    let mut talk = setup.talk().await;
    talk.ask("t1", "Hallo.").await;
    let within_the_wave = "Grüße aus Köln ".len() + 2;
    talk.heard("t1", within_the_wave, true);
    talk.ask("t2", "Was?").await;
    let stored = setup.get(&talk.dialogue).await;
    assert_eq!(stored.turns[0].reply, "Grüße aus Köln ");
    assert_eq!(stored.turns[0].state(), TurnState::Interrupted);
    let request = setup.llm.requests()[1].message.clone();
    assert_eq!(
        message_text(&request.messages[2]),
        "Grüße aus Köln … (the user interrupted here)"
    );
}

#[tokio::test]
async fn hearing_a_part_without_interrupting_confirms_nothing() {
    let setup = Setup::start().await;
    setup.llm.script(LlmScript::text("One two three."));
    let mut talk = setup.talk().await;
    talk.ask("t1", "Count.").await;
    talk.heard("t1", 3, false);
    talk.ask("t2", "Next.").await;
    let turn = &setup.get(&talk.dialogue).await.turns[0];
    assert_eq!(
        (turn.reply.as_str(), turn.state()),
        ("One two three.", TurnState::Unconfirmed)
    );
    talk.heard("t1", 999, false);
    talk.ask("t3", "Next.").await;
    assert_eq!(setup.get(&talk.dialogue).await.turns[0].state(), TurnState::Heard);
}

#[tokio::test]
async fn interrupting_a_running_turn_stops_the_model() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("Once upon a ").then_gate(&gate).then_text("time."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Tell me a story.");
    talk.wait_text("upon a").await;
    gate.reached().await;
    talk.heard("t1", 0, false);
    talk.heard("t1", "Once".len(), true);
    let failed = talk.answer("t1").await;
    assert_eq!(failed.failure().code, Code::Cancelled as u32);
    assert_eq!(failed.failure().reason, "INTERRUPTED");
    setup.llm.wait_cancelled(1).await;
    let turn = &setup.get(&talk.dialogue).await.turns[0];
    assert_eq!((turn.reply.as_str(), turn.state()), ("Once", TurnState::Interrupted));
    setup.wait_gauge("running_turns", 0.0).await;
    assert_eq!(talk.ask("t2", "And now?").await.reply(), "Hello there.");
}

#[tokio::test]
async fn another_commit_replaces_the_turn_that_runs() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("Let me ").then_gate(&gate));
    setup.llm.script(LlmScript::text("Sure."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Tell me a story.");
    talk.wait_text("me").await;
    gate.reached().await;
    talk.commit("t2", "No, a song.");
    assert_eq!(talk.answer("t1").await.failure().reason, "INTERRUPTED");
    assert_eq!(talk.answer("t2").await.reply(), "Sure.");
    setup.llm.wait_cancelled(1).await;
    let stored = setup.get(&talk.dialogue).await.turns;
    assert_eq!(
        (stored[0].reply.as_str(), stored[0].state()),
        ("Let me", TurnState::Interrupted)
    );
    assert_eq!(stored[1].state(), TurnState::Unconfirmed);
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_model_and_keeps_what_was_said() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("Half a ").then_gate(&gate).then_text("reply."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Speak.");
    talk.wait_text("a").await;
    gate.reached().await;
    let dialogue = talk.dialogue.clone();
    drop(talk);
    setup.llm.wait_cancelled(1).await;
    setup.wait_gauge("open_streams", 0.0).await;
    setup.wait_gauge("running_turns", 0.0).await;
    let turn = &setup.get(&dialogue).await.turns[0];
    assert_eq!((turn.reply.as_str(), turn.state()), ("Half a", TurnState::Interrupted));
}

#[tokio::test]
async fn hearing_an_unknown_turn_is_a_fault_of_that_turn_alone() {
    let setup = Setup::start().await;
    let mut talk = setup.talk().await;
    talk.heard("nobody", 3, true);
    let failed = talk.answer("nobody").await;
    assert_eq!(
        (failed.failure().code, failed.failure().reason.as_str()),
        (Code::NotFound as u32, "TURN_NOT_FOUND")
    );
    assert_eq!(talk.ask("t1", "Hello.").await.reply(), "Hello there.");
}
