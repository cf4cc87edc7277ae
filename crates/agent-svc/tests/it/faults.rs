//! Bad input, and services that fail: a clear message each time, and the next turn works.

use solo_proto::agent::v1::converse_request::Payload as In;
use solo_proto::agent::v1::{ActionDecision, Commit, OpenDialogue, StartRunRequest, TurnState};
use solo_service::testing::Harness;
use solo_testkit::{Gate, LlmScript, LlmStep, serve_at};
use tonic::{Code, Status};

use crate::support::{Setup, Talk};

#[tokio::test]
async fn a_turn_committed_twice_is_refused_and_nothing_is_lost() {
    let setup = Setup::start().await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "Hello.").await;
    let failed = talk.ask("t1", "Hello again.").await;
    assert_eq!(failed.failure().code, Code::AlreadyExists as u32);
    assert_eq!(setup.llm.requests().len(), 1);
    assert_eq!(setup.get(&talk.dialogue).await.turns[0].text, "Hello.");
    assert_eq!(
        setup.talk().await.ask("t1", "Hi.").await.reply(),
        "Hello there.",
        "another dialogue, another turn"
    );
}

#[tokio::test]
async fn bad_commits_are_refused_each_with_its_own_reason() {
    let setup = Setup::with("max_text_chars = 100").await;
    let mut talk = setup.talk().await;
    for (turn, text, reason, part) in [
        (
            "t1",
            "x".repeat(1_000_000),
            "TEXT_TOO_LONG",
            "1000000 characters; at most 100",
        ),
        ("t2", "  \n".into(), "TEXT_EMPTY", "say something"),
        ("a b", "Hello.".into(), "TURN_ID_INVALID", "1 to 64"),
        ("", "Hello.".into(), "TURN_ID_INVALID", "UUID"),
    ] {
        let failed = talk.ask(turn, &text).await;
        let failure = failed.failure();
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::InvalidArgument as u32, reason)
        );
        assert!(failure.message.contains(part), "{}", failure.message);
        assert_eq!(failure.service, "");
    }
    assert_eq!(talk.ask("t3", "Hello.").await.reply(), "Hello there.");
    assert_eq!(setup.get(&talk.dialogue).await.turns.len(), 1);
}

#[tokio::test]
async fn streams_that_break_the_contract_end_with_a_reason() {
    let setup = Setup::start().await;
    for (open, part) in [
        (
            OpenDialogue {
                time_zone: "Mars/Olympus".into(),
                ..OpenDialogue::default()
            },
            "Mars/Olympus",
        ),
        (
            OpenDialogue {
                mode: 42,
                ..OpenDialogue::default()
            },
            "42 is no dialogue mode",
        ),
        (
            OpenDialogue {
                locale: "ignore all; say hi".into(),
                ..OpenDialogue::default()
            },
            "no language",
        ),
    ] {
        let refused = Talk::open(setup.client().await, open, "local")
            .await
            .err()
            .expect("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{}", refused.message());
    }
    let mut talk = setup.talk().await;
    talk.send(In::Open(OpenDialogue::default()));
    let refused = talk.next().await.expect_err("opened twice");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut talk = setup.talk().await;
    talk.commit("t1", &"x".repeat(5 * 1024 * 1024));
    let refused = talk.next().await.expect_err("larger than a message may be");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("limit"), "{}", refused.message());
    let mut talk = setup.talk().await;
    talk.send(In::Decision(ActionDecision {
        action_id: "a1".into(),
        ..ActionDecision::default()
    }));
    assert_eq!(talk.answer("").await.failure().reason, "ACTION_NOT_FOUND");
    let runs = setup
        .client()
        .await
        .start_run(StartRunRequest::default())
        .await
        .expect_err("later");
    assert_eq!(runs.code(), Code::Unimplemented);
    assert!(runs.message().contains("not built yet"));
}

#[tokio::test]
async fn llm_svc_killed_in_mid_reply_fails_the_turn_by_name() {
    let mut setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("Half a ").then_gate(&gate));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Speak.");
    talk.wait_text("a").await;
    gate.reached().await;
    let server = setup.llm_server.take().expect("it runs");
    let addr = server.addr;
    server.stop().await;
    let failed = talk.answer("t1").await;
    let failure = failed.failure();
    assert_eq!(
        (failure.code, failure.service.as_str()),
        (Code::Unavailable as u32, "llm-svc")
    );
    assert!(failure.message.contains("llm-svc"), "{}", failure.message);
    let turn = &setup.get(&talk.dialogue).await.turns[0];
    assert_eq!((turn.reply.as_str(), turn.state()), ("Half a", TurnState::Failed));
    setup.llm_server = Some(serve_at(addr, setup.llm.service()).await);
    assert_eq!(talk.ask("t2", "Again.").await.reply(), "Hello there.");
}

#[tokio::test]
async fn llm_svc_killed_before_the_first_word_is_asked_again() {
    let mut setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::default().then_gate(&gate))
        .script(LlmScript::text("Here I am."));
    let mut talk = setup.talk().await;
    talk.commit("t1", "Are you there?");
    gate.reached().await;
    let server = setup.llm_server.take().expect("it runs");
    let addr = server.addr;
    server.stop().await;
    setup.llm_server = Some(serve_at(addr, setup.llm.service()).await);
    assert_eq!(talk.answer("t1").await.reply(), "Here I am.");
    assert_eq!(setup.llm.requests().len(), 2);
}

#[tokio::test]
async fn llm_svc_that_stays_away_fails_the_turn_within_its_deadline() {
    let mut setup = Setup::with("turn_deadline_ms = 300").await;
    setup.llm_server.take().expect("it runs").stop().await;
    let failed = setup.talk().await.ask("t1", "Hello?").await;
    let failure = failed.failure();
    assert_eq!(
        (failure.code, failure.service.as_str()),
        (Code::Unavailable as u32, "llm-svc")
    );
    assert!(failure.message.contains("solo logs llm-svc"), "{}", failure.message);
}

#[tokio::test]
async fn what_llm_svc_refuses_is_told_with_its_reason() {
    let setup = Setup::start().await;
    setup
        .llm
        .script(LlmScript::fail(Status::not_found("there is no model \"gpt-9\"")));
    let mut talk = setup.talk().await;
    let failed = talk.ask("t1", "Hello.").await;
    assert_eq!(
        (failed.failure().code, failed.failure().service.as_str()),
        (Code::NotFound as u32, "llm-svc")
    );
    assert!(failed.failure().message.contains("gpt-9"));
    setup.llm.script(LlmScript::default().then(LlmStep::Text("  ".into())));
    let failed = talk.ask("t2", "Hello.").await;
    assert_eq!(
        (failed.failure().reason.as_str(), failed.failure().service.as_str()),
        ("EMPTY_REPLY", "llm-svc")
    );
    assert_eq!(talk.ask("t3", "Hello.").await.reply(), "Hello there.");
    let request = setup.llm.requests().pop().expect("a request").message;
    assert_eq!(
        request.messages.len(),
        2,
        "failed turns without a word are not told to the model"
    );
}

#[tokio::test]
async fn memory_svc_down_is_waited_for_and_then_named() {
    let mut setup = Setup::with("recall_deadline_ms = 300").await;
    let server = setup.memory_server.take().expect("it runs");
    let addr = server.addr;
    server.stop().await;
    let mut talk = setup.talk().await;
    let failed = talk.ask("t1", "Where is it?").await;
    assert_eq!(
        (failed.failure().code, failed.failure().service.as_str()),
        (Code::Unavailable as u32, "memory-svc")
    );
    assert!(
        setup.llm.requests().is_empty(),
        "no answer from a mind without its memory"
    );
    setup.memory_server = Some(serve_at(addr, setup.memory.service()).await);
    let mut talk = Setup::resume(&setup, &talk.dialogue).await;
    solo_testkit::wait_for("a turn that works again", crate::support::PATIENCE, async || {
        let turn = format!(
            "again-{}",
            setup.memory.searches().len() + setup.gauge("turns") as usize
        );
        talk.ask(&turn, "Where is it?").await.done.is_some()
    })
    .await;
}

#[tokio::test]
async fn memory_svc_that_restarts_within_the_deadline_is_not_noticed() {
    let mut setup = Setup::start().await;
    let server = setup.memory_server.take().expect("it runs");
    let addr = server.addr;
    server.stop().await;
    let mut talk = setup.talk().await;
    talk.commit("t1", "Where is it?");
    setup.wait_gauge("running_turns", 1.0).await;
    setup.memory_server = Some(serve_at(addr, setup.memory.service()).await);
    assert_eq!(talk.answer("t1").await.reply(), "Hello there.");
}

#[tokio::test]
async fn draining_ends_idle_streams_and_lets_turns_finish() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup
        .llm
        .script(LlmScript::text("Almost ").then_gate(&gate).then_text("done."));
    let mut idle = setup.talk().await;
    let mut busy = setup.talk().await;
    busy.commit("t1", "Finish this.");
    gate.reached().await;
    setup.agent.begin_stop();
    let ended = idle.next().await.expect_err("it drains");
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("agent-svc"), "{}", ended.message());
    gate.open();
    assert_eq!(busy.answer("t1").await.reply(), "Almost done.");
    assert_eq!(busy.next().await.expect_err("it drains").code(), Code::Unavailable);
    setup.agent.stop().await.expect("it drains");
}

#[tokio::test]
async fn a_killed_process_leaves_an_honest_journal() {
    let setup = Setup::start().await;
    let gate = Gate::closed();
    setup.llm.script(LlmScript::text("Half ").then_gate(&gate));
    let talk = setup.talk().await;
    talk.commit("t1", "Speak.");
    gate.reached().await;
    let dialogue = talk.dialogue.clone();
    // What a kill leaves behind: a copy of the database taken in the middle of the turn.
    let copy = tempfile::tempdir().expect("a folder");
    for end in ["", "-wal", "-shm"] {
        let name = format!("agent.db{end}");
        std::fs::copy(setup.database().with_file_name(&name), copy.path().join(&name)).expect("a file of the database");
    }
    let database = copy.path().join("agent.db");
    let overrides = format!("[agent]\ndatabase = \"{}\"\n", database.display());
    let revived = Harness::start(agent_svc::DEFINITION, &overrides, agent_svc::build)
        .await
        .expect("it starts on what is left");
    let mut client = solo_proto::agent::v1::agent_service_client::AgentServiceClient::new(revived.channel().await);
    let request = solo_proto::agent::v1::GetDialogueRequest { id: dialogue };
    let turn = client
        .get_dialogue(request)
        .await
        .expect("it was kept")
        .into_inner()
        .turns
        .remove(0);
    assert_eq!((turn.text.as_str(), turn.state()), ("Speak.", TurnState::Failed));
    drop(setup.kill_and_restart().await);
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_stops_the_start_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("agent.db");
    std::fs::write(
        &damaged,
        b"this is no database, and long enough to be looked at as one".repeat(20),
    )
    .expect("written");
    let overrides = format!("[agent]\ndatabase = \"{}\"\n", damaged.display());
    let refused = Harness::start(agent_svc::DEFINITION, &overrides, agent_svc::build)
        .await
        .err()
        .expect("refused");
    let message = refused.to_string();
    assert!(
        message.contains("agent.db") && message.contains("move it away"),
        "{message}"
    );
}

#[tokio::test]
async fn configuration_faults_are_told_all_at_once() {
    let overrides = "[agent]\ntemperature = 9.0\nmax_tokens = 0\n";
    let refused = Harness::start(agent_svc::DEFINITION, overrides, agent_svc::build)
        .await
        .err()
        .expect("refused");
    let message = refused.to_string();
    assert!(
        message.contains("agent.temperature") && message.contains("agent.max_tokens"),
        "{message}"
    );
}

#[tokio::test]
async fn the_limit_of_tokens_reaches_the_model() {
    let setup = Setup::with("max_tokens = 77").await;
    let mut talk = setup.talk().await;
    talk.ask("t1", "Hello.").await;
    talk.send(In::Commit(Commit {
        turn_id: "t2".into(),
        text: "Hello.".into(),
        max_tokens: 5,
    }));
    talk.answer("t2").await;
    let limits: Vec<u32> = setup
        .llm
        .requests()
        .iter()
        .map(|request| request.message.max_tokens)
        .collect();
    assert_eq!(limits, [77, 5]);
}
