//! Services die, are restarted, are stopped: the turn says so or goes on, and the next one works.

use solo_tests::{SERVICES, Stack, is_alive, kill_9, wait_until};

use crate::conversation::Conversation;

const LONG: &str = "Count from one to thirty in words, separated by commas.";
const SHORT: &str = "Say hello.";

async fn a_turn_works(stack: &Stack) {
    let mut conversation = Conversation::open(stack.layout.port("gateway")).await;
    conversation.ask(SHORT, true).await;
    let outcome = conversation.until_end().await.unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    assert!(!outcome.reply.is_empty() && outcome.audio_bytes > 0, "{outcome:?}");
}

/// Kills a service in the middle of a spoken reply; gives the turn's end as the client sees it.
async fn kill_in_mid_turn(stack: &Stack, service: &str) -> Result<crate::conversation::Outcome, tonic::Status> {
    let before = stack.pid(service);
    let mut conversation = Conversation::open(stack.layout.port("gateway")).await;
    conversation.ask(LONG, true).await;
    // A voice that has said nothing is replayed, and nobody notices: it must have begun.
    if service == "tts-svc" {
        conversation.until_audio().await;
    } else {
        conversation.until_reply().await;
    }
    kill_9(before);
    let outcome = conversation.until_end().await;
    wait_until(&format!("{service} is restarted"), || {
        stack
            .ps(service)
            .is_some_and(|row| row["state"] == "serving" && row["pid"] != before)
    });
    let restarts = stack.ps(service).unwrap()["restarts"].as_u64().unwrap();
    assert!(restarts >= 1, "{service}: {restarts}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn a_killed_service_is_named_restarted_and_forgiven() {
    let stack = Stack::up();
    a_turn_works(&stack).await;

    // Those that the reply hangs on: the turn ends and names them.
    for service in ["llm-svc", "agent-svc"] {
        let outcome = kill_in_mid_turn(&stack, service).await.unwrap();
        let error = outcome
            .error
            .as_ref()
            .unwrap_or_else(|| panic!("{service}: no error: {outcome:?}"));
        assert_eq!(error.service, service, "{error:?}");
        assert!(!error.message.is_empty() && !error.reason.is_empty(), "{error:?}");
        a_turn_works(&stack).await;
    }

    // The voice: the reply arrives in writing, with an apology that needs no voice.
    let outcome = kill_in_mid_turn(&stack, "tts-svc").await.unwrap();
    assert!(outcome.sorry, "no apology: {outcome:?}");
    assert_eq!(outcome.error.as_ref().unwrap().service, "tts-svc");
    assert!(outcome.summary.is_some(), "the reply was lost: {outcome:?}");
    a_turn_works(&stack).await;

    // Those that have done their part, or have none in a written turn: the turn goes on.
    for service in ["memory-svc", "stt-svc", "wake-svc"] {
        let outcome = kill_in_mid_turn(&stack, service).await.unwrap();
        assert!(
            outcome.error.is_none() && outcome.summary.is_some(),
            "{service}: {outcome:?}"
        );
        a_turn_works(&stack).await;
    }

    // The edge itself: the conversation breaks off, and can be opened again.
    assert!(kill_in_mid_turn(&stack, "gateway").await.is_err());
    a_turn_works(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn a_restart_lets_the_running_turn_finish() {
    let stack = Stack::up();
    for service in ["llm-svc", "tts-svc", "agent-svc"] {
        let before = stack.pid(service);
        let mut conversation = Conversation::open(stack.layout.port("gateway")).await;
        conversation.ask(LONG, true).await;
        conversation.until_reply().await;
        let (restarted, outcome) = tokio::join!(
            tokio::task::spawn_blocking({
                let mut restart = stack.layout.command("solo");
                restart.args(["restart", service]);
                move || restart.output().unwrap()
            }),
            conversation.until_end()
        );
        let outcome = outcome.unwrap();
        assert!(
            outcome.error.is_none() && outcome.audio_bytes > 0,
            "{service}: {outcome:?}"
        );
        let restarted = restarted.unwrap();
        assert!(
            restarted.status.success(),
            "{service}: {}",
            String::from_utf8_lossy(&restarted.stderr)
        );
        assert_ne!(stack.pid(service), before, "{service} was not restarted");
        a_turn_works(&stack).await;
    }
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn killing_the_runner_leaves_nothing_running() {
    let mut stack = Stack::up();
    let pids: Vec<u32> = SERVICES.iter().map(|service| stack.pid(service)).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    stack.kill_runner();
    wait_until("all services have ended", || !pids.iter().any(|pid| is_alive(*pid)));
}
