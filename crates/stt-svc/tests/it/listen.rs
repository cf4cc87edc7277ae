//! Live audio with a scripted engine.

use std::time::Duration;

use solo_proto::audio::v1::AudioChunk;
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_request::Payload as In;
use solo_proto::stt::v1::listen_response::Payload as Out;
use solo_proto::stt::v1::rejected_transcript::Reason;
use solo_proto::stt::v1::voice_activity::Kind;
use solo_proto::stt::v1::{ListenConfig, ListenControl, ListenRequest, TranscribeConfig, VadConfig};
use solo_testkit::wait_for;
use tonic::Code;

use crate::scripted::Script;
use crate::talk::{Live, refusal, silence, tone};

const PATIENCE: Duration = Duration::from_secs(10);

fn automatic() -> ListenConfig {
    ListenConfig {
        auto_finalize: true,
        ..ListenConfig::default()
    }
}

fn kind(message: &Out) -> String {
    match message {
        Out::Started(_) => "listening".into(),
        Out::VoiceActivity(voice) => format!("{:?}", voice.kind()).to_lowercase(),
        Out::Partial(partial) => format!("partial {}|{}", partial.stable_text, partial.unstable_text),
        Out::TurnEnd(_) => "turn end".into(),
        Out::Candidate(candidate) => format!("candidate {}", candidate.text),
        Out::Final(last) => format!("final {}", last.text),
        Out::Rejected(rejected) => format!("rejected {:?}", rejected.reason()),
    }
}

fn kinds(messages: &[Out]) -> Vec<String> {
    messages.iter().map(kind).collect()
}

#[tokio::test]
async fn a_sentence_is_heard_from_its_start_to_its_final() {
    let script = Script::saying(&["turn on the light"]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, automatic()).await;
    live.say(&[silence(500), tone(1_000), silence(600)].concat()).await;
    let Out::VoiceActivity(started) = live.next().await else {
        panic!("voice starts first")
    };
    assert_eq!(started.kind(), Kind::Started);
    assert!(started.sample.abs_diff(8_000) <= 512, "{started:?}");
    assert!(started.heard_samples > started.sample);
    let Out::VoiceActivity(ended) = live.next().await else {
        panic!("then it ends")
    };
    assert_eq!(ended.kind(), Kind::Ended);
    assert!(ended.sample.abs_diff(24_000) <= 512, "{ended:?}");
    assert!(
        ended.heard_samples - ended.sample >= 4_800,
        "300 ms of silence: {ended:?}"
    );
    let Out::Final(words) = live.next().await else {
        panic!("then the words come")
    };
    assert_eq!(
        (words.text.as_str(), words.language.as_str()),
        ("turn on the light", "en")
    );
    assert!((words.confidence - 0.9).abs() < 1e-6);
    assert!(
        words.start_sample < 8_000 && words.end_sample == ended.sample,
        "{words:?}"
    );
    assert!(live.finish().await.unwrap().is_empty());
    let requests = script.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].language.as_deref(), Some("en"));
    harness.stop().await.unwrap();
}

/// Silence ends an utterance after 300 ms; after 100 ms somebody may have finished.
fn pausing() -> ListenConfig {
    ListenConfig {
        candidate_ms: 100,
        ..automatic()
    }
}

#[tokio::test]
async fn the_words_of_a_pause_are_those_of_its_final_and_decoded_once() {
    let script = Script::saying(&["turn on the light"]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, pausing()).await;
    live.say(&[tone(1_000), silence(200)].concat()).await;
    let mut heard = Vec::new();
    while heard.last().map(kind).as_deref() != Some("candidate turn on the light") {
        heard.push(live.next().await);
    }
    assert_eq!(kinds(&heard), ["started", "paused", "candidate turn on the light"]);
    live.say(&silence(400)).await;
    heard.extend(live.finish().await.unwrap());
    assert_eq!(kinds(&heard)[3..], ["ended", "final turn on the light"]);
    let (Out::Candidate(candidate), Out::Final(last)) = (&heard[2], &heard[4]) else {
        panic!("{heard:?}")
    };
    assert_eq!(candidate.end_sample, last.end_sample);
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn words_that_are_there_before_the_pause_is_one_are_held_until_it_is() {
    let script = Script::saying(&["turn on the light"]);
    let harness = script.serve("").await;
    let config = ListenConfig {
        candidate_ms: 200,
        partial_interval_ms: 5_000,
        ..automatic()
    };
    let mut live = Live::open(&harness, config).await;
    live.say(&[tone(1_000), silence(120)].concat()).await;
    wait_for("the first silent moment to be decoded", PATIENCE, async || {
        !script.requests().is_empty()
    })
    .await;
    live.say(&silence(130)).await;
    let mut heard = Vec::new();
    while heard.last().map(kind).as_deref() != Some("candidate turn on the light") {
        heard.push(live.next().await);
    }
    assert_eq!(kinds(&heard), ["started", "paused", "candidate turn on the light"]);
    assert_eq!(script.requests().len(), 1, "once");
}

#[tokio::test]
async fn who_goes_on_after_a_pause_is_decoded_as_a_whole() {
    let script = Script::saying(&["turn on", "turn on the light"]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, pausing()).await;
    live.say(&[tone(1_000), silence(200)].concat()).await;
    let mut heard = Vec::new();
    while heard.last().map(kind).as_deref() != Some("candidate turn on") {
        heard.push(live.next().await);
    }
    live.say(&[tone(500), silence(200)].concat()).await;
    while heard.last().map(kind).as_deref() != Some("candidate turn on the light") {
        heard.push(live.next().await);
    }
    live.control(Action::Finalize).await;
    heard.extend(live.finish().await.unwrap());
    assert_eq!(
        kinds(&heard)[3..],
        [
            "resumed",
            "paused",
            "candidate turn on the light",
            "ended",
            "final turn on the light"
        ]
    );
    assert_eq!(script.requests().len(), 2);
    assert!(script.requests()[1].samples.len() > script.requests()[0].samples.len());
}

#[tokio::test]
async fn who_goes_on_cancels_the_words_of_the_pause() {
    let script = Script::saying(&["never heard", "all of it"]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, pausing()).await;
    script.hold();
    live.say(&[tone(1_000), silence(200)].concat()).await;
    wait_for("the pause to be decoded", PATIENCE, async || script.is_busy()).await;
    live.say(&tone(300)).await;
    wait_for("that to be cancelled", PATIENCE, async || script.cancelled() == 1).await;
    script.release();
    live.say(&silence(500)).await;
    let heard = live.finish().await.unwrap();
    // The script's first answer was never given.
    assert_eq!(
        kinds(&heard).last().map(String::as_str),
        Some("final never heard"),
        "{heard:?}"
    );
    assert!(kinds(&heard).contains(&"resumed".to_owned()));
}

#[tokio::test]
async fn without_auto_finalize_words_come_when_they_are_asked_for() {
    let script = Script::saying(&["first second", "third"]);
    let harness = script.serve("").await;
    let config = ListenConfig {
        language: "de".into(),
        hot_words: vec!["Solo".into()],
        ..ListenConfig::default()
    };
    let mut live = Live::open(&harness, config).await;
    live.say(&[tone(500), silence(400), tone(500), silence(400)].concat())
        .await;
    for wanted in ["started", "ended", "started", "ended"] {
        assert_eq!(kind(&live.next().await), wanted);
    }
    assert!(script.requests().is_empty());
    live.control(Action::Finalize).await;
    assert_eq!(kind(&live.next().await), "final first second");
    live.say(&tone(500)).await;
    live.control(Action::Finalize).await;
    let rest = [
        kind(&live.next().await),
        kind(&live.next().await),
        kind(&live.next().await),
    ];
    assert_eq!(rest, ["started", "ended", "final third"]);
    let requests = script.requests();
    assert_eq!(requests[0].language.as_deref(), Some("de"));
    assert!(requests[0].prompt.contains("Solo"), "{:?}", requests[0].prompt);
}

#[tokio::test]
async fn nothing_voiced_is_never_decoded() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, ListenConfig::default()).await;
    live.say(&silence(2_000)).await;
    live.control(Action::Finalize).await;
    let Out::Rejected(rejected) = live.next().await else {
        panic!("it is rejected")
    };
    assert_eq!(rejected.reason(), Reason::NoVoice);
    assert_eq!((rejected.start_sample, rejected.end_sample), (0, 31_999));
    live.say(&tone(500)).await;
    live.control(Action::Reset).await;
    live.control(Action::Finalize).await;
    assert_eq!(
        kinds(&live.finish().await.unwrap()),
        ["started", "ended", "rejected NoVoice"]
    );
    assert!(script.requests().is_empty());
}

#[tokio::test]
async fn words_that_repeat_themselves_get_a_second_look_and_are_then_rejected() {
    let script = Script::saying(&[])
        .then("no no no", 90)
        .then("yes", 1)
        .then("no no no", 90)
        .then("no no no", 90);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, automatic()).await;
    for wanted in ["final yes", "rejected Repetition"] {
        live.say(&[tone(500), silence(400)].concat()).await;
        let heard = [
            kind(&live.next().await),
            kind(&live.next().await),
            kind(&live.next().await),
        ];
        assert_eq!(heard, ["started", "ended", wanted]);
    }
    let windows: Vec<bool> = script.requests().iter().map(|request| request.full_window).collect();
    assert_eq!(windows, [false, true, false, true]);
}

#[tokio::test]
async fn what_the_model_writes_into_nothing_is_rejected() {
    let script = Script::saying(&["[BLANK_AUDIO]", ""]);
    let harness = script.serve("").await;
    let mut live = Live::open(&harness, automatic()).await;
    live.say(&[tone(500), silence(400), tone(500), silence(400)].concat())
        .await;
    let heard = kinds(&live.finish().await.unwrap());
    assert_eq!(
        heard.iter().filter(|kind| *kind == "rejected NoSpeech").count(),
        2,
        "{heard:?}"
    );
}

#[tokio::test]
async fn partial_transcripts_come_while_somebody_speaks_and_stable_words_stay() {
    let script = Script::saying(&["he", "he was not", "he was not an old"]);
    let harness = script.serve("").await;
    let config = ListenConfig {
        partial_interval_ms: 500,
        ..automatic()
    };
    let mut live = Live::open(&harness, config).await;
    live.say(&tone(200)).await;
    assert_eq!(kind(&live.next().await), "started");
    for wanted in ["partial |he", "partial he|was not", "partial he was not|an old"] {
        live.say(&tone(540)).await;
        assert_eq!(kind(&live.next().await), wanted);
    }
    live.say(&silence(400)).await;
    // One more may be due before the silence is long enough.
    let rest = kinds(&live.finish().await.unwrap());
    assert!(rest.ends_with(&["ended".into(), "final words".into()]), "{rest:?}");
    let lengths: Vec<usize> = script.requests().iter().map(|request| request.samples.len()).collect();
    let partials = &lengths[..lengths.len() - 1];
    assert!(
        partials.windows(2).all(|pair| pair[0] < pair[1]),
        "each covers more: {lengths:?}"
    );
}

#[tokio::test]
async fn partial_transcripts_never_wait_for_a_busy_engine() {
    let script = Script::saying(&["of the other stream"]);
    let harness = script.serve("").await;
    script.hold();
    let mut other = Live::open(&harness, automatic()).await;
    other.say(&[tone(500), silence(400)].concat()).await;
    wait_for("the engine to be busy", PATIENCE, async || script.is_busy()).await;
    let mut live = Live::open(
        &harness,
        ListenConfig {
            partial_interval_ms: 100,
            ..automatic()
        },
    )
    .await;
    live.say(&[tone(1_000), silence(400)].concat()).await;
    assert_eq!(kind(&live.next().await), "started");
    assert_eq!(kind(&live.next().await), "ended");
    script.release();
    assert_eq!(kind(&live.next().await), "final words");
    assert_eq!(script.requests().len(), 2, "no partial was decoded");
}

#[tokio::test]
async fn playback_makes_it_stricter() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    // -40 dBFS is just what the detector by loudness is undecided about.
    let quiet: Vec<i16> = (0..16_000).map(|n| if n % 32 < 16 { 340 } else { -340 }).collect();
    let mut live = Live::open(&harness, ListenConfig::default()).await;
    live.control(Action::PlaybackStarted).await;
    live.say(&quiet).await;
    live.control(Action::Finalize).await;
    assert_eq!(kind(&live.next().await), "rejected NoVoice");
    live.control(Action::PlaybackStopped).await;
    live.say(&quiet).await;
    assert_eq!(kind(&live.next().await), "started");
}

#[tokio::test]
async fn finals_wait_their_turn_however_many_there_are() {
    let script = Script::saying(&[]);
    let harness = script.serve("queue = 1\n").await;
    script.hold();
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut live = Live::open(&harness, automatic()).await;
        live.say(&[tone(300), silence(400)].concat()).await;
        assert_eq!(kind(&live.next().await), "started");
        assert_eq!(kind(&live.next().await), "ended");
        streams.push(live);
    }
    script.release();
    for live in &mut streams {
        assert_eq!(kind(&live.next().await), "final words");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_decode() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    script.hold();
    let mut live = Live::open(&harness, automatic()).await;
    live.say(&[tone(300), silence(400)].concat()).await;
    wait_for("the engine to be busy", PATIENCE, async || script.is_busy()).await;
    drop(live);
    wait_for("the decode to be cancelled", PATIENCE, async || script.cancelled() == 1).await;
    script.release();
    let mut next = Live::open(&harness, automatic()).await;
    next.say(&[tone(300), silence(400)].concat()).await;
    assert_eq!(
        kinds(&next.finish().await.unwrap()),
        ["started", "ended", "final words"]
    );
}

#[tokio::test]
async fn idle_streams_end_when_the_service_drains_and_busy_ones_finish_first() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    let mut idle = Live::open(&harness, automatic()).await;
    let mut busy = Live::open(&harness, automatic()).await;
    busy.say(&tone(500)).await;
    assert_eq!(kind(&busy.next().await), "started");
    harness.begin_stop();
    let status = idle.try_next().await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unavailable, "DRAINING".into()));
    busy.say(&silence(400)).await;
    assert_eq!(kind(&busy.next().await), "ended");
    assert_eq!(kind(&busy.next().await), "final words");
    let status = busy.try_next().await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unavailable, "DRAINING".into()));
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let script = Script::saying(&[]);
    let harness = script.serve("max_streams = 1\n").await;
    let first = Live::open(&harness, automatic()).await;
    let Err(status) = Live::open_raw(&harness, In::Config(automatic())).await else {
        panic!("it is refused")
    };
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "TOO_MANY_STREAMS".into()));
    assert!(status.message().contains("stt.max_streams"), "{status:?}");
    first.finish().await.unwrap();
    wait_for("the place to be free", PATIENCE, async || {
        Live::open_raw(&harness, In::Config(automatic())).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn every_malformed_message_has_its_own_reason_and_hurts_no_other_stream() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    let mut healthy = Live::open(&harness, automatic()).await;
    let chunk = |data: Vec<u8>, first_sample| In::Audio(AudioChunk { data, first_sample });
    let vad = |vad| {
        In::Config(ListenConfig {
            vad: Some(vad),
            ..automatic()
        })
    };
    let config = |config| In::Config(config);
    let first: Vec<(&str, In, &str)> = vec![
        ("audio first", chunk(vec![0; 640], 0), "BAD_SEQUENCE"),
        (
            "a threshold of 3",
            vad(VadConfig {
                threshold: Some(3.0),
                ..VadConfig::default()
            }),
            "BAD_FIELD",
        ),
        (
            "no number",
            vad(VadConfig {
                threshold: Some(f32::NAN),
                ..VadConfig::default()
            }),
            "BAD_FIELD",
        ),
        (
            "an hour of silence",
            vad(VadConfig {
                silence_ms: Some(3_600_000),
                ..VadConfig::default()
            }),
            "BAD_FIELD",
        ),
        (
            "partials every ms",
            config(ListenConfig {
                partial_interval_ms: 1,
                ..automatic()
            }),
            "BAD_FIELD",
        ),
        (
            "a novel",
            config(ListenConfig {
                prompt: "x".repeat(1_001),
                ..automatic()
            }),
            "BAD_FIELD",
        ),
        (
            "a dictionary",
            config(ListenConfig {
                hot_words: vec!["x".into(); 101],
                ..automatic()
            }),
            "BAD_FIELD",
        ),
        (
            "no language",
            config(ListenConfig {
                language: "klingon".into(),
                ..automatic()
            }),
            "UNKNOWN_LANGUAGE",
        ),
    ];
    for (name, message, wanted) in first {
        let Err(status) = Live::open_raw(&harness, message).await else {
            panic!("{name} is refused")
        };
        assert_eq!(refusal(&status), (Code::InvalidArgument, wanted.into()), "{name}");
    }
    let later: Vec<(&str, In, &str)> = vec![
        ("config again", config(automatic()), "BAD_SEQUENCE"),
        ("half a sample", chunk(vec![0; 641], 0), "ODD_BYTES"),
        ("a second at once", chunk(vec![0; 32_000], 0), "MESSAGE_TOO_LARGE"),
        ("no action", In::Control(ListenControl { action: 0 }), "UNKNOWN_ENUM"),
        (
            "an action of tomorrow",
            In::Control(ListenControl { action: 99 }),
            "UNKNOWN_ENUM",
        ),
    ];
    for (name, message, wanted) in later {
        let mut live = Live::open(&harness, automatic()).await;
        live.send(message).await;
        let status = live.try_next().await.expect_err(name);
        assert_eq!(refusal(&status), (Code::InvalidArgument, wanted.into()), "{name}");
    }
    for words_data in [1, 638, 642] {
        let mut live = Live::open(&harness, automatic()).await;
        live.send_raw(ListenRequest {
            payload: Some(chunk(vec![0; 640], 0)),
            words_data: vec![0; words_data],
        })
        .await;
        let status = live.try_next().await.expect_err("one way of hearing is longer");
        assert_eq!(
            refusal(&status),
            (Code::InvalidArgument, "BAD_FIELD".into()),
            "{words_data}"
        );
    }
    let mut live = Live::open(&harness, automatic()).await;
    live.say(&silence(100)).await;
    live.send(chunk(vec![0; 640], 5)).await;
    let status = live.try_next().await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "AUDIO_OUT_OF_ORDER".into()));
    healthy.say(&[tone(300), silence(400)].concat()).await;
    assert_eq!(
        kinds(&healthy.finish().await.unwrap()),
        ["started", "ended", "final words"]
    );
}

#[tokio::test]
async fn a_configured_language_that_the_model_lacks_keeps_the_service_from_starting() {
    let script = Script::saying(&[]).english_only();
    let Err(error) = script.try_serve("language = \"de\"\n").await else {
        panic!("it does not start")
    };
    assert_eq!(error.exit_code(), solo_service::exit::CONFIG);
    let harness = script.serve("").await;
    let german = In::Config(ListenConfig {
        language: "de".into(),
        ..automatic()
    });
    let Err(status) = Live::open_raw(&harness, german).await else {
        panic!("it is refused")
    };
    assert_eq!(
        refusal(&status),
        (Code::FailedPrecondition, "LANGUAGE_NOT_SUPPORTED".into())
    );
    // A translation is refused with the same reason.
    let task = solo_proto::stt::v1::Task::Translate.into();
    let config = TranscribeConfig {
        task,
        ..TranscribeConfig::default()
    };
    let status = crate::talk::transcribe(&harness, config, &[0; 64]).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::FailedPrecondition, "LANGUAGE_NOT_SUPPORTED".into())
    );
}
