//! Wyoming as it should go: what Home Assistant and satellites do.

use serde_json::json;
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_proto::stt::v1::{PartialTranscript, RejectedTranscript, rejected_transcript};
use solo_testkit::stt::final_text;
use solo_testkit::{Cue, Gate, ListenCue, wait_for};

use crate::world::{PATIENCE, World};
use crate::wyoming_client::Client;

fn words(text: &str) -> ListenCue {
    ListenCue::say(Cue::Control(Action::Finalize), Said::Final(final_text(text, 0, 16_000)))
}

#[tokio::test]
async fn an_utterance_of_any_format_becomes_words() {
    let world = World::new().await;
    world.stt.listen(vec![words("turn on the light")]);
    let mut client = Client::to(&world, "stt").await;
    let mut heard = 0;
    // One second each, in chunks that cut samples in half.
    for (rate, channels, size) in [(16_000, 1, 2048), (8_000, 1, 333), (44_100, 2, 4097), (48_000, 1, 1)] {
        let bytes = (rate * channels * 2) as usize / if size == 1 { 100 } else { 1 };
        client.say("transcribe", json!({ "language": "en-GB" })).await;
        client.audio(rate, channels, bytes, size).await;
        client.say("audio-stop", json!({})).await;
        let transcript = client.expect("transcript").await;
        assert_eq!(transcript.data["text"], "turn on the light");
        assert_eq!(transcript.data["language"], "en");
        let samples = world.stt.samples() - heard;
        heard += samples;
        let wanted = bytes as u64 * 16_000 / u64::from(rate * channels * 2);
        assert!(samples.abs_diff(wanted) <= 1, "{rate} Hz: {samples} of {wanted}");
    }
    let configs = world.stt.configs();
    assert!(configs.iter().all(|config| config.message.language == "en"
        && !config.message.auto_finalize
        && config.message.candidate_ms == 200));
    assert_eq!(configs[0].metadata.get("solo-principal").unwrap(), "local");
    assert_eq!(world.stt.controls(), [Action::Finalize; 4]);
}

#[tokio::test]
async fn names_and_terms_are_hints_as_far_as_stt_svc_takes_them() {
    let world = World::new().await;
    world.stt.listen(vec![words("yes")]);
    let mut client = Client::to(&world, "stt").await;
    let names: Vec<String> = (0..99).map(|name| format!("lamp {name}")).collect();
    let terms = ["x".repeat(101), "cosy".into(), "bright".into()];
    let wanted = json!({ "transcript_names": names, "transcript_terms": terms, "vad_sensitivity": "relaxed" });
    client.say("transcribe", wanted).await;
    client.audio(16_000, 1, 320, 320).await;
    client.say("audio-stop", json!({ "timestamp": 10 })).await;
    client.expect("transcript").await;
    let hints = &world.stt.configs()[0].message.hot_words;
    assert_eq!(
        (hints.len(), hints[0].as_str(), hints[99].as_str()),
        (100, "lamp 0", "cosy")
    );
}

#[tokio::test]
async fn nothing_understood_is_an_empty_text() {
    let world = World::new().await;
    let rejected = RejectedTranscript {
        reason: rejected_transcript::Reason::NoVoice.into(),
        ..RejectedTranscript::default()
    };
    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Rejected(rejected),
    )]);
    let mut client = Client::to(&world, "stt").await;
    client.audio(16_000, 1, 3200, 320).await;
    client.say("audio-stop", json!({})).await;
    assert_eq!(client.expect("transcript").await.data["text"], "");
}

#[tokio::test]
async fn words_that_are_sure_are_streamed_where_that_is_configured() {
    let world = World::with("gateway.wyoming.partial_interval_ms = 300").await;
    let partial = |stable: &str| {
        let partial = PartialTranscript {
            stable_text: stable.into(),
            unstable_text: "perhaps".into(),
            end_sample: 0,
        };
        ListenCue::say(Cue::Now, Said::Partial(partial))
    };
    world.stt.listen(vec![
        partial(""),
        partial("turn on"),
        partial("turn on the"),
        words("turn on the light"),
    ]);
    let mut client = Client::to(&world, "stt").await;
    client.audio(16_000, 1, 6400, 640).await;
    client.expect("transcript-start").await;
    assert_eq!(client.expect("transcript-chunk").await.data["text"], "turn on");
    assert_eq!(client.expect("transcript-chunk").await.data["text"], " the");
    client.say("audio-stop", json!({})).await;
    assert_eq!(client.expect("transcript-chunk").await.data["text"], " light");
    assert_eq!(client.expect("transcript").await.data["text"], "turn on the light");
    client.expect("transcript-stop").await;
}

#[tokio::test]
async fn a_text_becomes_audio() {
    let world = World::new().await;
    let mut client = Client::to(&world, "tts").await;
    for voice in [
        json!(null),
        json!({ "name": "fake-voice" }),
        json!({ "language": "en" }),
    ] {
        let text = "Good morning. All is well.";
        client.say("synthesize", json!({ "text": text, "voice": voice })).await;
        let start = client.expect("audio-start").await;
        assert_eq!(
            (&start.data["rate"], &start.data["width"], &start.data["channels"]),
            (&json!(22_050), &json!(2), &json!(1))
        );
        let mut bytes = 0;
        let stop = loop {
            let event = client.next().await.unwrap();
            if event.kind != "audio-chunk" {
                break event;
            }
            assert_eq!(event.data["timestamp"], bytes as u64 / 2 * 1000 / 22_050);
            bytes += event.payload.len();
        };
        // The fake hums 20 ms for each byte of a sentence.
        assert_eq!((stop.kind.as_str(), bytes), ("audio-stop", 25 * 441 * 2));
        assert_eq!(stop.data["timestamp"], 500);
    }
}

#[tokio::test]
async fn a_text_is_spoken_while_it_is_written() {
    let world = World::new().await;
    let mut client = Client::to(&world, "tts").await;
    client.say("synthesize-start", json!({})).await;
    client.say("synthesize-chunk", json!({ "text": "One. Tw" })).await;
    client.expect("audio-start").await;
    // The first sentence is spoken though the text is not complete.
    assert_eq!(client.expect("audio-chunk").await.payload.len(), 4 * 441 * 2);
    client.say("synthesize-chunk", json!({ "text": "o." })).await;
    client.say("synthesize", json!({ "text": "One. Two." })).await;
    client.say("ping", json!({ "text": "still there?" })).await;
    assert_eq!(client.expect("pong").await.data["text"], "still there?");
    client.say("synthesize-stop", json!({})).await;
    assert_eq!(client.expect("audio-chunk").await.payload.len(), 4 * 441 * 2);
    client.expect("audio-stop").await;
    client.expect("synthesize-stopped").await;
    let units: Vec<_> = world.tts.units().into_iter().map(|unit| unit.message).collect();
    assert_eq!(units, ["One.", "Two."], "the whole text is not spoken once more");
}

#[tokio::test]
async fn a_keyword_is_told_with_the_clients_time() {
    let world = World::new().await;
    world.wake.detect_at(16_000);
    let mut client = Client::to(&world, "wake").await;
    client.say("detect", json!({ "names": ["hey_jarvis"] })).await;
    let format = |timestamp: u64| json!({ "rate": 16_000, "width": 2, "channels": 1, "timestamp": timestamp });
    client.say("audio-start", format(70_000)).await;
    for chunk in 0..25 {
        let chunk = gateway::framing::Event {
            payload: vec![0; 3200].into(),
            ..gateway::framing::Event::new("audio-chunk", format(70_000 + chunk * 100))
        };
        client.raw(&chunk.encode()).await;
    }
    let detection = client.expect("detection").await;
    assert_eq!(
        (&detection.data["name"], &detection.data["timestamp"]),
        (&json!("hey_jarvis"), &json!(71_000))
    );
    client.say("audio-stop", json!({})).await;
    // It was detected, so nothing is said at the end; the next stream is too short for the keyword.
    client.audio(16_000, 1, 3200, 3200).await;
    client.say("audio-stop", json!({})).await;
    client.expect("not-detected").await;
    let configs = world.wake.configs();
    assert!(
        configs
            .iter()
            .all(|config| config.message.keywords[0].keyword == "hey_jarvis")
    );
    assert_eq!(world.wake.samples(), 25 * 1600 + 1600);
}

#[tokio::test]
async fn each_port_says_what_it_offers() {
    let world = World::new().await;
    for (port, section, list, name) in [
        ("stt", "asr", "models", "fake-ears"),
        ("tts", "tts", "voices", "fake-voice"),
        ("wake", "wake", "models", "hey_jarvis"),
    ] {
        let mut client = Client::to(&world, port).await;
        client.say("select-program", json!({ "name": "solo" })).await;
        client.say("describe", json!({})).await;
        let info = client.expect("info").await.data;
        for other in ["asr", "tts", "wake", "handle", "intent", "mic", "snd"] {
            assert_eq!(
                info[other].as_array().unwrap().len(),
                usize::from(other == section),
                "{other} of {port}"
            );
        }
        let program = &info[section][0];
        assert_eq!(
            (&program["name"], &program["installed"]),
            (&json!("solo"), &json!(true))
        );
        assert!(program["attribution"]["url"].is_string() && program["version"].is_string());
        let entry = &program[list][0];
        assert_eq!((&entry["name"], &entry["installed"]), (&json!(name), &json!(true)));
        assert!(entry["languages"][0].as_str().unwrap().starts_with("en"), "{entry}");
        assert!(entry["attribution"]["name"].is_string() && entry["version"].is_null());
    }
}

#[tokio::test]
async fn who_hangs_up_ends_the_work() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.tts.hold_at(&gate);
    let mut client = Client::to(&world, "tts").await;
    client.say("synthesize", json!({ "text": "Good morning." })).await;
    gate.reached().await;
    drop(client);
    wait_for("the speech to be dropped", PATIENCE, async || {
        world.tts.cancelled() == 1
    })
    .await;
}

#[tokio::test]
async fn an_utterance_that_is_under_way_outlives_the_order_to_stop() {
    let world = World::new().await;
    world.stt.listen(vec![words("just in time")]);
    let mut idle = Client::to(&world, "stt").await;
    idle.say("ping", json!({})).await;
    idle.expect("pong").await;
    let mut client = Client::to(&world, "stt").await;
    client.audio(16_000, 1, 6400, 640).await;
    client.say("ping", json!({})).await;
    client.expect("pong").await;
    world.gateway.begin_stop();
    assert_eq!(idle.failure().await.0, "DRAINING");
    client.say("audio-stop", json!({})).await;
    assert_eq!(client.expect("transcript").await.data["text"], "just in time");
    assert_eq!(client.failure().await.0, "DRAINING");
}
