//! Whole turns.

use solo_proto::agent::v1::turn_status::Stage;
use solo_proto::agent::v1::{DialogueMode, OpenDialogue, TurnState};
use solo_proto::llm::v1::{FinishReason, Role};
use solo_testkit::llm::{MODEL, message_text};
use solo_testkit::{Gate, LlmScript, LlmStep, hit};
use tonic::Code;

use crate::support::{Setup, Talk};

#[tokio::test]
async fn a_dialogue_goes_on_turn_after_turn() {
    let setup = Setup::start().await;
    setup
        .llm
        .script(LlmScript::text("Hello Ada. How are you?"))
        .script(LlmScript::text("You are Ada."));
    let mut talk = setup.talk().await;
    assert!(talk.opened.created && talk.opened.turns == 0);
    let first = talk.ask("t1", "I am Ada.").await;
    assert_eq!(first.reply(), "Hello Ada. How are you?");
    assert_eq!(first.stages, [Stage::Recalling, Stage::Recalled, Stage::Thinking]);
    let done = first.done.as_ref().expect("done");
    assert_eq!((done.model.as_str(), done.finish_reason()), (MODEL, FinishReason::Stop));
    assert!(done.usage.expect("usage").completion_tokens == 5);
    let times = done.times.expect("times");
    assert!(times.recalled_ms <= times.first_token_ms && times.first_token_ms <= times.first_sentence_ms);
    assert!(times.first_sentence_ms.expect("a sentence") <= times.done_ms);

    assert_eq!(talk.ask("t2", "Who am I?").await.reply(), "You are Ada.");
    let request = setup.llm.requests()[1].message.clone();
    let texts: Vec<(Role, String)> = request
        .messages
        .iter()
        .map(|message| (message.role(), message_text(message)))
        .collect();
    assert_eq!(texts[1], (Role::User, "I am Ada.".into()));
    assert_eq!(texts[2], (Role::Assistant, "Hello Ada. How are you?".into()));
    assert!(texts[3].1.ends_with("\nWho am I?"), "{texts:?}");
    assert_eq!(request.cache_hint, talk.dialogue);

    let stored = setup.get(&talk.dialogue).await;
    let dialogue = stored.dialogue.expect("a dialogue");
    assert_eq!((dialogue.title.as_str(), dialogue.turns), ("I am Ada.", 2));
    let replies: Vec<&str> = stored.turns.iter().map(|turn| turn.reply.as_str()).collect();
    assert_eq!(replies, ["Hello Ada. How are you?", "You are Ada."]);
    assert!(stored.turns.iter().all(|turn| turn.state() == TurnState::Unconfirmed));
}

#[tokio::test]
async fn half_closing_lets_the_turn_finish_and_ends_the_stream() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("One ").then_gate(&gate).then_text("two."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Count.");
    talk.half_close();
    gate.reached().await;
    gate.open();
    assert_eq!(talk.answer("t1").await.reply(), "One two.");
    assert!(talk.next().await.expect("a clean end").is_none());
    setup.wait_gauge("open_streams", 0.0).await;
}

#[tokio::test]
async fn what_is_recalled_is_used_cited_and_named() {
    let setup = Setup::start().await;
    setup.memory.set_hits(vec![
        hit(
            "Spare keys",
            "The spare keys are in the blue tin on the kitchen shelf.",
            0.7,
        ),
        hit("Dentist", "The dentist is called Miller.", 0.4),
        hit("Far away", "Penguins cannot fly.", 0.1),
    ]);
    setup
        .llm
        .script(LlmScript::text("They are in the blue tin on the kitchen shelf."));
    let mut talk = setup.talk().await;
    let answer = talk.ask("t1", "Where did I put my spare keys?").await;
    assert_eq!(
        answer.reply(),
        "They are in the blue tin on the kitchen shelf. I have that from your note “Spare keys”."
    );
    assert_eq!(answer.citations.len(), 1);
    let citation = answer.citations[0].citation.as_ref().expect("a citation");
    assert_eq!(
        (citation.title.as_str(), citation.uri.as_str()),
        ("Spare keys", "note:spare-keys")
    );
    assert!((answer.citations[0].score - 0.7).abs() < 1e-6 && answer.citations[0].number == 1);

    let prompt = setup.llm.requests()[0]
        .message
        .messages
        .last()
        .map(message_text)
        .expect("a prompt");
    assert!(
        prompt.contains("[1] Spare keys: The spare keys are in the blue tin"),
        "{prompt}"
    );
    assert!(!prompt.contains("Penguins"), "too far from the question: {prompt}");
    let stored = setup.get(&talk.dialogue).await;
    assert_eq!(stored.turns[0].citations, answer.citations);
    talk.ask("t2", "Thank you.").await;
    let history = setup.llm.requests()[1].message.messages.clone();
    let told = message_text(&history[2]);
    assert_eq!(
        told, "They are in the blue tin on the kitchen shelf.",
        "the model is not taught to name sources"
    );
    let search = &setup.memory.searches()[0];
    assert_eq!(search.principal(), Some("local"));
    assert!(search.header("grpc-timeout").is_some(), "the deadline travels");
}

#[tokio::test]
async fn a_reply_that_names_its_source_is_left_alone_and_naming_can_be_switched_off() {
    let hits = || vec![hit("Spare keys", "The spare keys are in the blue tin.", 0.7)];
    let setup = Setup::start().await;
    setup.memory.set_hits(hits());
    setup
        .llm
        .script(LlmScript::text("Your note Spare keys says: in the blue tin [1]."));
    let answer = setup.talk().await.ask("t1", "Where are they?").await;
    assert_eq!(answer.reply(), "Your note Spare keys says: in the blue tin [1].");
    assert_eq!(answer.citations.len(), 1);

    let setup = Setup::with("name_sources = false").await;
    setup.memory.set_hits(hits());
    setup.llm.script(LlmScript::text("In the blue tin."));
    let answer = setup.talk().await.ask("t1", "Where are they?").await;
    assert_eq!(answer.reply(), "In the blue tin.");
    assert_eq!(answer.citations.len(), 1);
}

#[tokio::test]
async fn a_spoken_reply_has_nothing_that_cannot_be_said() {
    let setup = Setup::start().await;
    setup
        .memory
        .set_hits(vec![hit("Spare keys", "The spare keys are in the blue tin.", 0.7)]);
    setup.llm.script(LlmScript::text("They are in the **blue** tin [1]."));
    let open = OpenDialogue {
        mode: DialogueMode::Voice.into(),
        ..OpenDialogue::default()
    };
    let mut talk = setup.open(open).await;
    let answer = talk.ask("t1", "Where are my spare keys?").await;
    assert_eq!(
        answer.reply(),
        "They are in the blue tin. I have that from your note “Spare keys”."
    );
    let request = &setup.llm.requests()[0];
    assert_eq!(request.header("solo-priority"), Some("spoken"));
    assert!(message_text(&request.message.messages[0]).contains("spoken aloud"));
}

#[tokio::test]
async fn memory_is_left_alone_when_nobody_wants_it() {
    let setup = Setup::start().await;
    let open = OpenDialogue {
        without_memory: true,
        model: "other".into(),
        ..OpenDialogue::default()
    };
    let answer = setup.open(open).await.ask("t1", "Hello.").await;
    assert_eq!(answer.stages, [Stage::Thinking]);
    assert_eq!(answer.done.expect("done").times.expect("times").recalled_ms, None);
    assert!(setup.memory.searches().is_empty());
    assert_eq!(setup.llm.requests()[0].message.model, "other");
}

#[tokio::test]
async fn a_reply_that_was_cut_by_its_limit_says_so() {
    let setup = Setup::start().await;
    setup
        .llm
        .script(LlmScript::text("And then").then(LlmStep::Finish(FinishReason::Length)));
    let mut talk = setup.talk().await;
    let answer = talk.ask("t1", "Tell me everything.").await;
    assert_eq!(answer.done.expect("done").finish_reason(), FinishReason::Length);
}

#[tokio::test]
async fn nobody_opens_anothers_dialogue() {
    let setup = Setup::start().await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "This is mine.").await;
    let open = || OpenDialogue {
        dialogue_id: talk.dialogue.clone(),
        ..OpenDialogue::default()
    };
    let refused = Talk::open(setup.client().await, open(), "eve")
        .await
        .err()
        .expect("not hers");
    assert_eq!(refused.code(), Code::NotFound);
    let absent = OpenDialogue {
        dialogue_id: "no-such".into(),
        ..OpenDialogue::default()
    };
    let refused = Talk::open(setup.client().await, absent, "local")
        .await
        .err()
        .expect("not there");
    assert_eq!(refused.code(), Code::NotFound);
    let again = Talk::open(setup.client().await, open(), "local").await.expect("mine");
    assert!(!again.opened.created && again.opened.turns == 1);
    assert_eq!(setup.llm.requests()[0].principal(), Some("local"));
}

#[tokio::test]
async fn turns_are_confirmed_or_cut_by_what_was_heard_and_survive_a_restart() {
    let setup = Setup::start().await;
    setup
        .llm
        .script(LlmScript::text("First."))
        .script(LlmScript::text("Second."));
    let mut talk = setup.talk().await;
    talk.ask("t1", "One?").await;
    talk.heard("t1", "First.".len(), false);
    talk.ask("t2", "Two?").await;
    let dialogue = talk.dialogue.clone();
    drop(talk);
    let setup = setup.restart().await;
    let stored = setup.get(&dialogue).await;
    let states: Vec<TurnState> = stored.turns.iter().map(|turn| turn.state()).collect();
    assert_eq!(states, [TurnState::Heard, TurnState::Unconfirmed]);
    let mut talk = setup.resume(&dialogue).await;
    assert_eq!(talk.opened.turns, 2);
    talk.ask("t3", "Three?").await;
    let request = setup.llm.requests().pop().expect("a request").message;
    assert_eq!(request.messages.len(), 6, "system, two exchanges, the question");
    assert_eq!((setup.gauge("dialogues"), setup.gauge("turns")), (1.0, 3.0));
}
