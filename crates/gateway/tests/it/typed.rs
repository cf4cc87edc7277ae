//! Turns in writing over gRPC.

use solo_proto::agent::v1::ReplyCitation;
use solo_proto::agent::v1::converse_request::Payload as Asked;
use solo_proto::gateway::v1::converse_response::Payload as Out;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::*;
use solo_proto::memory::v1::Citation;
use solo_testkit::{AgentScript, AgentStep, Gate, wait_for};

use crate::world::{PATIENCE, World, format};

#[tokio::test]
async fn a_turn_and_the_next_go_into_one_dialogue() {
    let world = World::new().await;
    let citation = ReplyCitation {
        number: 1,
        citation: Some(Citation {
            title: "Keys".into(),
            ..Citation::default()
        }),
        score: 0.8,
    };
    world.agent.script(
        AgentScript::text("They are on the hook. ")
            .then(AgentStep::Citation(citation))
            .then_text("Look there."),
    );
    let mut talk = world
        .talk(OpenSession {
            locale: "en-GB".into(),
            time_zone: "Europe/London".into(),
            ..Default::default()
        })
        .await;
    talk.say("Where are my keys?", false).await;
    let summary = talk.summary().await;
    talk.phase(TurnPhase::Idle).await;
    assert_eq!(summary.reply, "They are on the hook. Look there.");
    assert_eq!(summary.reply, talk.shown());
    assert_eq!(
        (summary.transcript.as_str(), summary.dialogue_id.as_str()),
        ("Where are my keys?", "dialogue-1")
    );
    assert_eq!((summary.prompt_tokens, summary.interrupted), (10, false));
    let stages = summary.stages.unwrap();
    assert!(stages.recall.is_some() && stages.llm_first_token.is_some() && stages.llm_first_sentence.is_some());
    assert_eq!(
        (
            stages.endpoint,
            stages.stt,
            stages.tts_first_audio,
            summary.voice_to_voice_ms
        ),
        (None, None, None, None)
    );
    assert_eq!(talk.phases(), [TurnPhase::Thinking, TurnPhase::Idle]);
    assert!(
        talk.seen
            .iter()
            .any(|message| matches!(&message.payload, Some(Out::Citation(cited)) if cited.number == 1))
    );
    let turn_ids: Vec<_> = talk.seen[1..talk.seen.len() - 1]
        .iter()
        .map(|message| message.turn_id.clone())
        .collect();
    assert!(
        turn_ids.iter().all(|id| *id == turn_ids[0] && id.len() == 36),
        "{turn_ids:?}"
    );

    wait_for("what was heard", PATIENCE, async || world.agent.heard().len() == 1).await;
    let heard = &world.agent.heard()[0];
    assert_eq!(
        (heard.turn_id.as_str(), heard.text_bytes, heard.interrupted),
        (turn_ids[0].as_str(), 33, false)
    );

    talk.say("Thanks.", false).await;
    assert_eq!(talk.summary().await.dialogue_id, "dialogue-1");
    let received = world.agent.received();
    assert!(
        received.iter().all(|recorded| recorded.principal() == Some("local")),
        "the gateway says who asks"
    );
    let opens: Vec<_> = received
        .iter()
        .filter_map(|recorded| {
            if let Some(Asked::Open(open)) = &recorded.message.payload {
                Some(open)
            } else {
                None
            }
        })
        .collect();
    assert_eq!((opens[0].dialogue_id.as_str(), opens[0].locale.as_str()), ("", "en-GB"));
    assert_eq!(
        (opens[1].dialogue_id.as_str(), opens[1].time_zone.as_str()),
        ("dialogue-1", "Europe/London")
    );
    world.idle().await;
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer_and_then_the_end() {
    let world = World::new().await;
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("Hello?", false).await;
    talk.half_close();
    assert_eq!(talk.summary().await.reply, "Hello there.");
    talk.end().await.unwrap();
}

#[tokio::test]
async fn a_reply_is_spoken_with_marks_at_the_clients_rate() {
    let world = World::new().await;
    world.agent.reply("One two. Three four.");
    let mut talk = world
        .talk(OpenSession {
            audio_out: format(48_000, 1),
            ..Default::default()
        })
        .await;
    talk.say("Count.", true).await;
    let summary = talk.summary().await;
    assert!(summary.stages.unwrap().tts_first_audio.is_some());
    assert_eq!(summary.voice_to_voice_ms, None, "nobody spoke");
    // 19 spoken bytes of 20 ms each.
    assert_eq!(talk.samples().len(), 19 * 960);
    let at = |text_start| {
        let mark = |message: &ConverseResponse| match &message.payload {
            Some(Out::Mark(mark)) if mark.text_start == text_start => Some(mark.start_sample),
            _ => None,
        };
        talk.seen.iter().find_map(mark)
    };
    assert_eq!((at(0), at(9)), (Some(0), Some(8 * 960)));
    let phases = [TurnPhase::Thinking, TurnPhase::Speaking];
    assert_eq!(talk.phases(), phases);
    let first = |wanted: fn(&Out) -> bool| {
        talk.seen
            .iter()
            .position(|message| message.payload.as_ref().is_some_and(wanted))
    };
    let speaking = first(|payload| matches!(payload, Out::State(state) if state.phase() == TurnPhase::Speaking));
    assert!(speaking < first(|payload| matches!(payload, Out::Audio(_))));
    let pieces = talk.seen.iter().filter_map(|message| {
        if let Some(Out::Audio(chunk)) = &message.payload {
            Some(chunk.data.len())
        } else {
            None
        }
    });
    assert!(pieces.max().unwrap() <= 9600, "at most 100 ms a message");
    world.idle().await;
}

#[tokio::test]
async fn an_interrupted_reply_reports_what_was_heard() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.agent.script(
        AgentScript::text("One two. Three four. Five")
            .then_gate(&gate)
            .then_text(" six."),
    );
    let mut talk = world
        .talk(OpenSession {
            audio_out: format(22_050, 1),
            ..Default::default()
        })
        .await;
    talk.control(Control::Played(Played { samples: 0 })).await;
    talk.say("Count.", true).await;
    gate.reached().await;
    let enough = 14 * 441;
    let mut samples = 0;
    while samples < enough {
        samples += talk
            .until("audio", |payload| {
                if let Out::Audio(chunk) = payload {
                    Some(chunk.data.len() / 2)
                } else {
                    None
                }
            })
            .await;
    }
    // "One two. Three" has been played: 14 bytes.
    talk.control(Control::Played(Played { samples: 13 * 441 + 50 })).await;
    talk.control(Control::Interrupt(Interrupt {})).await;
    let summary = talk.summary().await;
    assert!(summary.interrupted);
    talk.phase(TurnPhase::Idle).await;
    wait_for("what was heard", PATIENCE, async || world.agent.heard().len() == 1).await;
    let heard = &world.agent.heard()[0];
    assert_eq!((heard.text_bytes, heard.interrupted), (14, true));
    wait_for("the agent to stop", PATIENCE, async || world.agent.cancelled() == 1).await;
    wait_for("the voice to stop", PATIENCE, async || world.tts.cancelled() == 1).await;
    world.idle().await;
    gate.open();

    talk.say("And now?", false).await;
    assert_eq!(talk.summary().await.reply, "Hello there.");
}

#[tokio::test]
async fn a_second_question_takes_the_place_of_the_first() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.agent.script(AgentScript::text("Well").then_gate(&gate));
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("First?", false).await;
    gate.reached().await;
    talk.until("the first words", |payload| {
        matches!(payload, Out::Reply(_)).then_some(())
    })
    .await;
    talk.say("Second?", false).await;
    let first = talk.summary().await;
    assert!(first.interrupted && first.reply == "Well");
    let second = talk.summary().await;
    assert_eq!(
        (second.transcript.as_str(), second.reply.as_str()),
        ("Second?", "Hello there.")
    );
    assert_eq!(second.dialogue_id, first.dialogue_id);
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_and_the_conversation_goes_on() {
    let world = World::new().await;
    let mut talk = world.talk(OpenSession::default()).await;
    talk.say("  ", false).await;
    assert_eq!(talk.error().await.reason, "EMPTY_TEXT");
    talk.silence(100).await;
    assert_eq!(talk.error().await.reason, "NO_AUDIO_IN");
    talk.control(Control::Listen(Listen {})).await;
    assert_eq!(talk.error().await.reason, "NO_AUDIO_IN");
    talk.send(converse_request::Payload::Open(OpenSession::default())).await;
    assert_eq!(talk.error().await.reason, "ALREADY_OPEN");
    talk.send(converse_request::Payload::Control(SessionControl { control: None }))
        .await;
    assert_eq!(talk.error().await.reason, "EMPTY_CONTROL");
    talk.say("Speak!", true).await;
    assert_eq!(talk.error().await.reason, "NO_AUDIO_OUT");
    assert_eq!(talk.summary().await.reply, "Hello there.");
}

#[tokio::test]
async fn a_wrong_opening_is_refused_with_its_reason() {
    let world = World::new().await;
    let mut talk = world
        .talk(OpenSession {
            audio_in: format(16_000, 7),
            ..Default::default()
        })
        .await;
    let status = talk.end().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("7 channels"), "{status}");
}

#[tokio::test]
async fn there_are_only_so_many_seats() {
    let world = World::with("gateway.limits.max_sessions = 1").await;
    let mut first = world.talk(OpenSession::default()).await;
    first.next().await;
    let mut second = world.talk(OpenSession::default()).await;
    let status = second.end().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.message().contains("gateway.limits.max_sessions"), "{status}");
}
