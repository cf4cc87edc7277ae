//! Services that go away in the middle of a turn.

use solo_proto::gateway::v1::chime::Kind;
use solo_proto::gateway::v1::converse_response::Payload as Out;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::*;
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_testkit::server::serve_at;
use solo_testkit::stt::final_text;
use solo_testkit::{AgentScript, AgentStep, Cue, Gate, ListenCue, wait_for};
use tonic::{Code, Status};

use crate::world::{PATIENCE, Talk, World, format};

fn speaking() -> OpenSession {
    OpenSession {
        audio_out: format(16_000, 1),
        ..OpenSession::default()
    }
}

fn sorry(talk: &Talk) -> usize {
    let is_sorry = |message: &&ConverseResponse| matches!(&message.payload, Some(Out::Chime(chime)) if chime.kind() == Kind::Sorry && chime.data.len() > 10_000);
    talk.seen.iter().filter(is_sorry).count()
}

#[tokio::test]
async fn without_a_voice_the_reply_comes_in_writing_with_a_recorded_sorry() {
    let mut world = World::with("").await;
    world.servers.tts.take().unwrap().stop().await;
    let mut talk = world.talk(speaking()).await;
    talk.say("Hello?", true).await;
    let summary = talk.summary().await;
    assert_eq!(
        (summary.reply.as_str(), talk.shown().as_str()),
        ("Hello there.", "Hello there.")
    );
    let error = talk.seen.iter().find_map(|message| {
        if let Some(Out::Error(error)) = &message.payload {
            Some(error.clone())
        } else {
            None
        }
    });
    let error = error.unwrap();
    assert_eq!(
        (error.service.as_str(), error.code, error.reason.as_str()),
        ("tts-svc", 14, "NOT_SERVING")
    );
    assert!(error.message.contains("solo logs tts-svc"), "{}", error.message);
    assert_eq!(sorry(&talk), 1);
    wait_for("what was read", PATIENCE, async || world.agent.heard().len() == 1).await;
    assert_eq!(
        (world.agent.heard()[0].text_bytes, world.agent.heard()[0].interrupted),
        (12, false)
    );
    world.idle().await;
}

#[tokio::test]
async fn a_voice_that_breaks_in_the_middle_is_told_and_the_text_goes_on() {
    let world = World::new().await;
    world.tts.fail_after(
        1,
        Status::internal("internal error (request 7; the service's log has the details)"),
    );
    world.agent.reply("One two. Three four. Five.");
    let mut talk = world.talk(speaking()).await;
    talk.say("Count.", true).await;
    assert_eq!(talk.error().await.service, "tts-svc");
    assert_eq!(talk.summary().await.reply, "One two. Three four. Five.");
    assert_eq!(sorry(&talk), 1);
}

#[tokio::test]
async fn a_voice_that_comes_back_before_a_sound_is_used() {
    let mut world = World::with("gateway.timeouts.connect_ms = 15000").await;
    let gate = Gate::closed();
    world.tts.hold_at(&gate);
    let mut talk = world.talk(speaking()).await;
    talk.say("Hello?", true).await;
    gate.reached().await;
    let server = world.servers.tts.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    gate.open();
    world.servers.tts = Some(serve_at(addr, world.tts.service()).await);
    talk.summary().await;
    assert_eq!(talk.samples().len(), 12 * 320, "all of it is spoken, once");
    assert_eq!(sorry(&talk), 0);
}

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_a_turn_is_named_and_the_next_turn_works() {
    let mut world = World::with("gateway.timeouts.connect_ms = 15000").await;
    let gate = Gate::closed();
    world.agent.script(AgentScript::text("Let me").then_gate(&gate));
    let mut talk = world.talk(speaking()).await;
    talk.say("Think!", true).await;
    talk.until("words", |payload| matches!(payload, Out::Reply(_)).then_some(()))
        .await;
    gate.reached().await;
    let server = world.servers.agent.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    let error = talk.error().await;
    assert_eq!(
        (error.service.as_str(), error.code),
        ("agent-svc", Code::Unavailable as u32)
    );
    assert!(!error.request_id.is_empty());
    assert_eq!(talk.summary().await.reply, "Let me");
    talk.phase(TurnPhase::Idle).await;
    assert_eq!(sorry(&talk), 1);
    world.idle().await;

    gate.open();
    world.servers.agent = Some(serve_at(addr, world.agent.service()).await);
    talk.say("Again.", false).await;
    assert_eq!(talk.summary().await.reply, "Hello there.");
}

#[tokio::test]
async fn a_turn_that_the_agent_gives_up_names_the_culprit() {
    let world = World::new().await;
    let failed = solo_proto::agent::v1::TurnFailed {
        code: 14,
        reason: "NOT_SERVING".into(),
        message: "llm-svc: it is not serving; see `solo ps` and `solo logs llm-svc`".into(),
        service: "llm-svc".into(),
    };
    world
        .agent
        .script(AgentScript::default().then(AgentStep::FailTurn(failed)));
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("Hello?", false).await;
    let error = talk.error().await;
    assert_eq!(
        (error.service.as_str(), error.reason.as_str(), error.code),
        ("llm-svc", "NOT_SERVING", 14)
    );
    talk.phase(TurnPhase::Idle).await;
    talk.say("Hello?", false).await;
    assert_eq!(talk.summary().await.reply, "Hello there.");
}

#[tokio::test]
async fn ears_that_are_gone_are_named_and_the_next_turn_works() {
    let mut world = World::with("gateway.timeouts.connect_ms = 300").await;
    let server = world.servers.stt.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    let open = OpenSession {
        audio_in: format(16_000, 1),
        ..speaking()
    };
    let mut talk = world.talk(open).await;
    talk.control(Control::Listen(Listen {})).await;
    talk.silence(3200).await;
    assert_eq!(talk.error().await.service, "stt-svc");
    talk.phase(TurnPhase::Idle).await;
    assert_eq!(sorry(&talk), 1);
    world.idle().await;

    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Final(final_text("back", 0, 1600)),
    )]);
    world.servers.stt = Some(serve_at(addr, world.stt.service()).await);
    wait_for("stt-svc to be found again", PATIENCE, async || {
        crate::http::get(world.http, "/readyz").await.json()["degraded"]
            .as_array()
            .is_some_and(Vec::is_empty)
    })
    .await;
    talk.control(Control::Listen(Listen {})).await;
    talk.silence(3200).await;
    talk.control(Control::EndOfSpeech(EndOfSpeech {})).await;
    assert_eq!(talk.summary().await.transcript, "back");
}

#[tokio::test]
async fn audio_is_sent_once_more_to_ears_that_had_said_nothing() {
    let mut world = World::with("gateway.timeouts.connect_ms = 15000").await;
    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Final(final_text("all of it", 0, 6000)),
    )]);
    let mut talk = world
        .talk(OpenSession {
            audio_in: format(16_000, 1),
            ..Default::default()
        })
        .await;
    talk.control(Control::Listen(Listen {})).await;
    talk.silence(8000).await;
    wait_for("the first half", PATIENCE, async || world.stt.samples() == 8000).await;
    let server = world.servers.stt.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    world.servers.stt = Some(serve_at(addr, world.stt.service()).await);
    talk.silence(8000).await;
    talk.control(Control::EndOfSpeech(EndOfSpeech {})).await;
    assert_eq!(talk.summary().await.transcript, "all of it");
    assert_eq!(world.stt.samples(), 8000 + 16_000);
}

#[tokio::test]
async fn a_deaf_wake_service_is_told_once_and_comes_back() {
    let mut world = World::with("gateway.timeouts.connect_ms = 300").await;
    let server = world.servers.wake.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    let open = OpenSession {
        audio_in: format(16_000, 1),
        wake_mode: WakeMode::Keyword.into(),
        ..Default::default()
    };
    let mut talk = world.talk(open).await;
    assert_eq!(talk.error().await.service, "wake-svc");
    // Writing works all the same.
    talk.say("Hello?", false).await;
    assert_eq!(talk.summary().await.reply, "Hello there.");

    world.wake.detect_at(16_000);
    world.servers.wake = Some(serve_at(addr, world.wake.service()).await);
    wait_for("wake-svc to listen again", PATIENCE, async || {
        talk.silence(160).await;
        world.wake.samples() > 0
    })
    .await;
    talk.silence(16_000).await;
    talk.until("the keyword", |payload| matches!(payload, Out::Wake(_)).then_some(()))
        .await;
    let errors = talk
        .seen
        .iter()
        .filter(|message| matches!(message.payload, Some(Out::Error(_))))
        .count();
    assert_eq!(errors, 1, "once is enough");
}

#[tokio::test]
async fn a_restart_lets_the_running_turn_finish_and_ends_idle_conversations() {
    let world = World::new().await;
    let gate = Gate::closed();
    world
        .agent
        .script(AgentScript::text("Wait").then_gate(&gate).then_text(" for it."));
    let mut idle = world.talk(OpenSession::default()).await;
    idle.next().await;
    let mut busy = world.talk(OpenSession::default()).await;
    busy.say("Hello?", false).await;
    gate.reached().await;
    world.gateway.begin_stop();
    let status = idle.end().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("restarting"), "{status}");
    gate.open();
    assert_eq!(busy.summary().await.reply, "Wait for it.");
    assert_eq!(busy.end().await.unwrap_err().code(), Code::Unavailable);
    world.gateway.stop().await.unwrap();
    assert_eq!(world.agent.heard().len(), 1, "what was read is still written down");
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_everything() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.agent.script(AgentScript::text("Let me see").then_gate(&gate));
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("Hello?", false).await;
    gate.reached().await;
    talk.until("words", |payload| {
        matches!(payload, Out::Reply(reply) if reply.delta == "see").then_some(())
    })
    .await;
    drop(talk);
    wait_for("the agent to stop", PATIENCE, async || world.agent.cancelled() == 1).await;
    world.idle().await;
    assert_eq!(world.agent.heard()[0].text_bytes, 10);
}

#[tokio::test]
async fn what_was_heard_is_written_down_by_an_agent_that_was_restarted_meanwhile() {
    let mut world = World::with("gateway.timeouts.connect_ms = 15000").await;
    let mut talk = world.talk(speaking()).await;
    talk.control(Control::Played(Played { samples: 0 })).await;
    talk.say("Hello?", true).await;
    talk.until("the end of the voice", |payload| match payload {
        Out::Audio(chunk) if chunk.first_sample + chunk.data.len() as u64 / 2 == 12 * 320 => Some(()),
        _ => None,
    })
    .await;
    let server = world.servers.agent.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    world.servers.agent = Some(serve_at(addr, world.agent.service()).await);
    talk.control(Control::Played(Played { samples: 12 * 320 })).await;
    talk.summary().await;
    wait_for("what was heard", PATIENCE, async || world.agent.heard().len() == 1).await;
    assert_eq!(world.agent.heard()[0].text_bytes, 12);
    let errors = talk
        .seen
        .iter()
        .filter(|message| matches!(message.payload, Some(Out::Error(_))))
        .count();
    assert_eq!(errors, 0, "the reply was complete: nobody has to be told");
    world.idle().await;
}

#[tokio::test]
async fn a_wake_service_that_is_restarted_misses_no_keyword() {
    let mut world = World::with("gateway.timeouts.connect_ms = 15000").await;
    let open = OpenSession {
        audio_in: format(16_000, 1),
        wake_mode: WakeMode::Keyword.into(),
        ..Default::default()
    };
    let mut talk = world.talk(open).await;
    // A call that broke at once would not be taken for a restart.
    let begun = std::time::Instant::now();
    wait_for("the call to have stood for a while", PATIENCE, async || {
        talk.silence(160).await;
        begun.elapsed() > std::time::Duration::from_millis(700) && world.wake.samples() > 0
    })
    .await;
    talk.silence(16_000).await;
    wait_for("half a keyword", PATIENCE, async || world.wake.samples() >= 16_000).await;
    let server = world.servers.wake.take().unwrap();
    let addr = server.addr;
    server.stop().await;
    // Counted from the start of the new call, which begins with what was heard before.
    world.wake.detect_at(20_000);
    world.servers.wake = Some(serve_at(addr, world.wake.service()).await);
    talk.silence(16_000).await;
    talk.until("the keyword", |payload| matches!(payload, Out::Wake(_)).then_some(()))
        .await;
    let errors = talk
        .seen
        .iter()
        .filter(|message| matches!(message.payload, Some(Out::Error(_))));
    assert_eq!(errors.count(), 0);
}
