//! Turns by voice over gRPC.

use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::chime::Kind;
use solo_proto::gateway::v1::converse_request::Payload as In;
use solo_proto::gateway::v1::converse_response::Payload as Out;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::*;
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_proto::stt::v1::rejected_transcript::Reason;
use solo_proto::stt::v1::{PartialTranscript, RejectedTranscript, VoiceActivity, voice_activity};
use solo_testkit::stt::final_text;
use solo_testkit::{Cue, ListenCue, wait_for};

use crate::world::{PATIENCE, Talk, World, format};

fn activity(kind: voice_activity::Kind, sample: u64) -> Said {
    Said::VoiceActivity(VoiceActivity {
        kind: kind.into(),
        sample,
        heard_samples: sample,
    })
}

/// An utterance that ends by itself: voice from `start` to `end`, noticed 6,400 samples (400 ms) later.
fn by_itself(text: &str, start: u64, end: u64) -> Vec<ListenCue> {
    let partial = PartialTranscript {
        stable_text: "what".into(),
        unstable_text: "time".into(),
        end_sample: end,
    };
    vec![
        ListenCue::say(Cue::Samples(start), activity(voice_activity::Kind::Started, start)),
        ListenCue::say(Cue::Samples(start + 1), Said::Partial(partial)),
        ListenCue::say(Cue::Samples(end + 6400), activity(voice_activity::Kind::Ended, end)),
        ListenCue::say(Cue::Now, Said::Final(final_text(text, start, end))),
    ]
}

fn keyword() -> OpenSession {
    OpenSession {
        audio_in: format(16_000, 1),
        audio_out: format(16_000, 1),
        wake_mode: WakeMode::Keyword.into(),
        ..OpenSession::default()
    }
}

fn chimes(talk: &Talk) -> Vec<Kind> {
    let chime = |message: &ConverseResponse| match &message.payload {
        Some(Out::Chime(chime)) => Some(chime.kind()),
        _ => None,
    };
    talk.seen.iter().filter_map(chime).collect()
}

#[tokio::test]
async fn a_keyword_begins_a_turn_and_silence_ends_it() {
    let world = World::new().await;
    world.wake.detect_at(16_000);
    // Samples of the listening's own stream, which begins where the keyword ended; silence is noticed at the very last one.
    world.stt.listen(by_itself("Jarvis, what time is it?", 1600, 29_600));
    world.agent.reply("It is noon.");
    let mut talk = world.talk(keyword()).await;
    talk.silence(48_000).await;
    let wake = talk
        .until("the keyword", |payload| {
            if let Out::Wake(wake) = payload {
                Some(wake.clone())
            } else {
                None
            }
        })
        .await;
    assert_eq!((wake.keyword.as_str(), wake.at_ms), ("hey_jarvis", 1000));
    let summary = talk.summary().await;
    assert_eq!(
        summary.transcript, "what time is it?",
        "the keyword's own words are not part of it"
    );
    assert_eq!(summary.reply, "It is noon.");
    talk.phase(TurnPhase::Idle).await;
    assert_eq!(chimes(&talk), [Kind::Wake]);
    assert_eq!(
        talk.phases(),
        [
            TurnPhase::Listening,
            TurnPhase::Deciding,
            TurnPhase::Thinking,
            TurnPhase::Speaking,
            TurnPhase::Idle
        ]
    );
    assert_eq!(
        world.stt.samples(),
        36_000,
        "from a little before the end of the keyword on, and nothing is lost"
    );
    let config = &world.stt.configs()[0].message;
    assert!(config.auto_finalize);
    assert_eq!(config.vad.as_ref().unwrap().silence_ms, Some(1_200));
    assert_eq!(config.candidate_ms, 96);
    let stages = summary.stages.unwrap();
    let order = [
        stages.endpoint,
        stages.stt,
        stages.llm_first_token,
        stages.tts_first_audio,
        summary.voice_to_voice_ms,
    ];
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?}");
    let partial = talk.seen.iter().find_map(|message| {
        if let Some(Out::Partial(partial)) = &message.payload {
            Some(partial.clone())
        } else {
            None
        }
    });
    assert_eq!(partial.unwrap().unstable_text, "time");
    assert_eq!(talk.samples().len(), 11 * 320);
}

#[tokio::test]
async fn the_tail_of_the_keyword_is_no_question() {
    let world = World::new().await;
    world.wake.detect_at(16_000);
    // The listening begins at 12,000; the keyword's last sound ends 3,000 samples later.
    let tail = RejectedTranscript {
        reason: Reason::NoSpeech.into(),
        text: "This.".into(),
        start_sample: 100,
        end_sample: 3_000,
    };
    let mut cues = vec![
        ListenCue::say(Cue::Samples(100), activity(voice_activity::Kind::Started, 100)),
        ListenCue::say(Cue::Samples(9_400), activity(voice_activity::Kind::Ended, 3_000)),
        ListenCue::say(Cue::Now, Said::Rejected(tail)),
    ];
    cues.extend(by_itself("What time is it?", 12_000, 20_000));
    world.stt.listen(cues);
    let mut talk = world.talk(keyword()).await;
    talk.silence(48_000).await;
    let summary = talk.summary().await;
    assert_eq!(summary.transcript, "What time is it?");
    assert_eq!(
        talk.phases()[..3],
        [TurnPhase::Listening, TurnPhase::Deciding, TurnPhase::Thinking]
    );
    let rejections = talk
        .seen
        .iter()
        .filter(|message| matches!(message.payload, Some(Out::Rejected(_))));
    assert_eq!(rejections.count(), 0);
}

#[tokio::test]
async fn a_client_that_sends_everything_at_once_and_stops_is_answered() {
    let world = World::new().await;
    world.wake.detect_at(16_000);
    // No end of voice is ever noticed: the words are asked for when the input ends.
    world.stt.listen(vec![
        ListenCue::say(Cue::Samples(1600), activity(voice_activity::Kind::Started, 1600)),
        ListenCue::say(
            Cue::Control(Action::Finalize),
            Said::Final(final_text("hello", 1600, 9000)),
        ),
    ]);
    let mut talk = world.talk(keyword()).await;
    talk.silence(32_000).await;
    talk.half_close();
    assert_eq!(talk.summary().await.transcript, "hello");
    talk.end().await.unwrap();
    world.idle().await;
}

#[tokio::test]
async fn a_button_begins_and_ends_a_turn_at_48_khz_in_stereo() {
    let world = World::new().await;
    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Final(final_text("lights on", 0, 7000)),
    )]);
    let open = OpenSession {
        audio_in: format(48_000, 2),
        ..Default::default()
    };
    let mut talk = world.talk(open).await;
    // Before the button nothing is heard.
    talk.silence(9600).await;
    talk.control(Control::Listen(Listen {})).await;
    talk.phase(TurnPhase::Listening).await;
    talk.silence(96_000).await;
    talk.control(Control::EndOfSpeech(EndOfSpeech {})).await;
    let summary = talk.summary().await;
    assert_eq!(summary.transcript, "lights on");
    assert!(summary.stages.unwrap().endpoint.is_some());
    assert_eq!(summary.voice_to_voice_ms, None, "this client plays nothing");
    let heard = world.stt.samples();
    // The resampler had a few milliseconds in hand when the button was pressed.
    assert!(
        (16_000..=16_160).contains(&heard),
        "a second of stereo at 48 kHz is a second, not {heard}"
    );
    assert!(!world.stt.configs()[0].message.auto_finalize);
}

#[tokio::test]
async fn speech_that_is_not_believed_is_told() {
    let world = World::new().await;
    let rejected = RejectedTranscript {
        reason: Reason::Repetition.into(),
        text: "you you you".into(),
        ..Default::default()
    };
    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Rejected(rejected),
    )]);
    let mut talk = world
        .talk(OpenSession {
            audio_in: format(16_000, 1),
            ..Default::default()
        })
        .await;
    talk.control(Control::Listen(Listen {})).await;
    talk.silence(8000).await;
    talk.control(Control::EndOfSpeech(EndOfSpeech {})).await;
    let rejected = talk
        .until("the rejection", |payload| {
            if let Out::Rejected(rejected) = payload {
                Some(rejected.clone())
            } else {
                None
            }
        })
        .await;
    assert_eq!(
        (rejected.reason.as_str(), rejected.text.as_str()),
        ("REPETITION", "you you you")
    );
    talk.phase(TurnPhase::Idle).await;
    assert!(world.agent.commits().is_empty());
    world.idle().await;
}

#[tokio::test]
async fn silence_after_the_keyword_ends_with_a_notice() {
    let world = World::with("gateway.voice.listen_timeout_ms = 500").await;
    world.wake.detect_at(3200);
    let mut talk = world.talk(keyword()).await;
    talk.silence(8000).await;
    let rejected = talk
        .until("the notice", |payload| {
            if let Out::Rejected(rejected) = payload {
                Some(rejected.clone())
            } else {
                None
            }
        })
        .await;
    assert_eq!(rejected.reason, "NO_VOICE");
    talk.phase(TurnPhase::Idle).await;
}

#[tokio::test]
async fn nothing_is_heard_while_muted() {
    let world = World::new().await;
    let mut talk = world
        .talk(OpenSession {
            audio_in: format(16_000, 1),
            ..Default::default()
        })
        .await;
    talk.control(Control::Listen(Listen {})).await;
    talk.phase(TurnPhase::Listening).await;
    talk.control(Control::Mute(Mute { muted: true })).await;
    talk.phase(TurnPhase::Idle).await;
    talk.control(Control::Listen(Listen {})).await;
    assert_eq!(talk.error().await.reason, "MUTED");
    talk.silence(16_000).await;
    talk.control(Control::Mute(Mute { muted: false })).await;
    talk.control(Control::Listen(Listen {})).await;
    talk.phase(TurnPhase::Listening).await;
    assert_eq!(world.stt.samples(), 0);
}

#[tokio::test]
async fn open_mode_hears_whoever_speaks_again_and_again() {
    let world = World::new().await;
    world.stt.listen(by_itself("hello", 1600, 8000));
    let open = OpenSession {
        audio_in: format(16_000, 1),
        wake_mode: WakeMode::Open.into(),
        ..Default::default()
    };
    let mut talk = world.talk(open).await;
    for _ in 0..2 {
        let listenings = world.stt.configs().len();
        talk.silence(16_000).await;
        assert_eq!(talk.summary().await.transcript, "hello");
        talk.phase(TurnPhase::Idle).await;
        wait_for("listening again", PATIENCE, async || {
            world.stt.configs().len() > listenings
        })
        .await;
    }
}

#[tokio::test]
async fn the_keyword_interrupts_a_reply() {
    let world = World::new().await;
    let gate = solo_testkit::Gate::closed();
    world.wake.detect_at(16_000);
    world
        .agent
        .script(solo_testkit::AgentScript::text("Once upon a time. There").then_gate(&gate));
    let mut talk = world.talk(keyword()).await;
    talk.say("Tell me a story.", true).await;
    talk.phase(TurnPhase::Speaking).await;
    talk.silence(16_000).await;
    assert!(talk.summary().await.interrupted);
    talk.phase(TurnPhase::Listening).await;
    wait_for("what was heard", PATIENCE, async || world.agent.heard().len() == 1).await;
    assert!(world.agent.heard()[0].interrupted);
}

#[tokio::test]
async fn a_client_that_takes_its_echo_out_may_say_what_words_are_read_from() {
    let world = World::new().await;
    let open = |echo_cancelled| OpenSession {
        audio_in: format(16_000, 1),
        audio_out: format(16_000, 1),
        wake_mode: WakeMode::Open.into(),
        echo_cancelled,
        ..OpenSession::default()
    };
    let piece = |data: Vec<u8>, words_data: Vec<u8>| ConverseRequest {
        payload: Some(In::Audio(AudioChunk { data, first_sample: 0 })),
        words_data,
    };
    let mut talk = world.talk(open(true)).await;
    for wrong in [318, 322] {
        talk.send_raw(piece(vec![0; 320], vec![1; wrong])).await;
        assert_eq!(talk.error().await.reason, "BAD_WORDS_DATA", "{wrong} bytes");
    }
    talk.send_raw(piece(vec![0; 320], vec![1; 320])).await;
    // Without any, the audio itself is read, and the same need not be said twice.
    talk.send_raw(piece(vec![2; 320], Vec::new())).await;
    wait_for("the audio to be heard", PATIENCE, async || world.stt.samples() == 320).await;
    assert_eq!(world.stt.words_data(), [vec![1; 320]]);

    let mut other = world.talk(open(false)).await;
    other.send_raw(piece(vec![0; 320], vec![1; 320])).await;
    assert_eq!(
        other.error().await.reason,
        "BAD_WORDS_DATA",
        "the gateway takes the echo out itself"
    );
}
