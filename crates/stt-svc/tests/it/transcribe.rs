//! Recordings with a scripted engine.

use std::time::Duration;

use solo_audio::{SampleRate, wav};
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::transcribe_request::Payload as In;
use solo_proto::stt::v1::transcribe_response::Payload as Out;
use solo_proto::stt::v1::{ListModelsRequest, Segment, TranscribeConfig, TranscribeResponse, TranscribeSummary};
use solo_testkit::wait_for;
use tonic::Code;

use crate::scripted::Script;
use crate::talk::{raw, refusal, silence, tone, transcribe, transcribe_raw};

const PATIENCE: Duration = Duration::from_secs(10);

fn detect() -> TranscribeConfig {
    TranscribeConfig::default()
}

fn speech() -> Vec<u8> {
    wav::encode(&[silence(500), tone(1_000), silence(500)].concat(), SampleRate::SPEECH)
}

fn segments(answers: &[TranscribeResponse]) -> Vec<Segment> {
    let segment = |answer: &TranscribeResponse| match &answer.payload {
        Some(Out::Segment(segment)) => Some(segment.clone()),
        _ => None,
    };
    answers.iter().filter_map(segment).collect()
}

fn summary(answers: &[TranscribeResponse]) -> TranscribeSummary {
    match answers.last().and_then(|answer| answer.payload.clone()) {
        Some(Out::Summary(summary)) => summary,
        other => panic!("the summary comes last, found {other:?}"),
    }
}

#[tokio::test]
async fn a_recording_comes_back_as_segments_with_times_and_a_summary() {
    let script = Script::saying(&["one", "two"]);
    let harness = script.serve("").await;
    let samples = [silence(1_000), tone(1_000), silence(1_000), tone(500), silence(500)].concat();
    let answers = transcribe(&harness, detect(), &wav::encode(&samples, SampleRate::SPEECH))
        .await
        .unwrap();
    let found = segments(&answers);
    assert_eq!(
        found.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>(),
        ["one", "two"]
    );
    for (segment, (start, end)) in found.iter().zip([(800, 2_200), (2_800, 3_700)]) {
        assert!(
            segment.start_ms.abs_diff(start) <= 32 && segment.end_ms.abs_diff(end) <= 64,
            "{segment:?}"
        );
    }
    let all = summary(&answers);
    assert_eq!(
        (all.text.as_str(), all.language.as_str(), all.duration_ms),
        ("one two", "de", 4_000)
    );
    assert_eq!(all.model, "whisper-base");
    assert!(all.real_time_factor >= 0.0);
    let progress: Vec<u64> = answers
        .iter()
        .filter_map(|answer| match &answer.payload {
            Some(Out::Progress(progress)) => Some(progress.done_ms),
            _ => None,
        })
        .collect();
    assert_eq!((progress.first(), progress.last()), (Some(&0), Some(&4_000)));
    assert!(progress.is_sorted());
    // The language is detected once and then kept.
    let languages: Vec<Option<String>> = script
        .requests()
        .iter()
        .map(|request| request.language.clone())
        .collect();
    assert_eq!(languages, [None, Some("de".into())]);
    let gauges = harness.context().status.snapshot().gauges;
    assert!(
        gauges.iter().any(|gauge| gauge.name == "real_time_factor"),
        "{gauges:?}"
    );
}

#[tokio::test]
async fn silence_has_no_words_and_is_never_decoded() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    let answers = transcribe(&harness, detect(), &wav::encode(&silence(3_000), SampleRate::SPEECH))
        .await
        .unwrap();
    assert!(segments(&answers).is_empty());
    assert_eq!(
        (summary(&answers).text.as_str(), summary(&answers).duration_ms),
        ("", 3_000)
    );
    assert!(script.requests().is_empty());
}

#[tokio::test]
async fn words_that_are_not_believed_are_no_segment() {
    let script = Script::saying(&["[MUSIC]", "two"]);
    let harness = script.serve("").await;
    let samples = [tone(500), silence(1_000), tone(500)].concat();
    let answers = transcribe(&harness, detect(), &wav::encode(&samples, SampleRate::SPEECH))
        .await
        .unwrap();
    assert_eq!(summary(&answers).text, "two");
}

#[tokio::test]
async fn raw_samples_need_their_rate_and_channels() {
    let script = Script::saying(&["raw"]);
    let harness = script.serve("").await;
    let bytes = solo_audio::pcm::to_s16le(&tone(1_000));
    let config = |format| TranscribeConfig {
        format: Some(format),
        ..TranscribeConfig::default()
    };
    let answers = transcribe(&harness, config(raw(16_000, 1)), &bytes).await.unwrap();
    assert_eq!(summary(&answers).text, "raw");
    for (format, wanted) in [
        (raw(0, 1), "BAD_SAMPLE_RATE"),
        (raw(4_000_000, 1), "BAD_SAMPLE_RATE"),
        (raw(16_000, 7), "TOO_MANY_CHANNELS"),
        (raw(16_000, 0), "NO_CHANNELS"),
        (
            AudioFormat {
                encoding: 99,
                ..raw(16_000, 1)
            },
            "UNKNOWN_ENUM",
        ),
        (
            AudioFormat {
                encoding: Encoding::Opus.into(),
                ..raw(48_000, 1)
            },
            "UNKNOWN_FORMAT",
        ),
    ] {
        let status = transcribe(&harness, config(format), &bytes).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, wanted.into()), "{format:?}");
    }
}

#[tokio::test]
async fn bad_requests_are_refused_each_in_its_own_words_and_the_service_goes_on() {
    let script = Script::saying(&[]);
    let harness = script.serve("max_seconds = 2\nmax_bytes = 100000\n").await;
    let config = |config| In::Config(config);
    let mut seven = speech();
    seven[22] = 7;
    let mut no_rate = speech();
    no_rate[24..28].fill(0);
    let truncated = speech()[..30_000].to_vec();
    let long = wav::encode(&tone(2_500), SampleRate::SPEECH);
    let unknown_task = TranscribeConfig { task: 9, ..detect() };
    let unknown_model = TranscribeConfig {
        model: "whisper-huge".into(),
        ..detect()
    };
    let table: Vec<(&str, Vec<In>, Code, &str)> = vec![
        ("nothing at all", vec![], Code::InvalidArgument, "BAD_SEQUENCE"),
        (
            "data first",
            vec![In::Data(vec![1])],
            Code::InvalidArgument,
            "BAD_SEQUENCE",
        ),
        (
            "config twice",
            vec![config(detect()), config(detect())],
            Code::InvalidArgument,
            "BAD_SEQUENCE",
        ),
        ("no bytes", vec![config(detect())], Code::InvalidArgument, "EMPTY_AUDIO"),
        (
            "0 Hz",
            vec![config(detect()), In::Data(no_rate)],
            Code::InvalidArgument,
            "BAD_SAMPLE_RATE",
        ),
        (
            "7 channels",
            vec![config(detect()), In::Data(seven)],
            Code::InvalidArgument,
            "TOO_MANY_CHANNELS",
        ),
        (
            "truncated",
            vec![config(detect()), In::Data(truncated)],
            Code::InvalidArgument,
            "TRUNCATED_AUDIO",
        ),
        (
            "too long",
            vec![config(detect()), In::Data(long)],
            Code::InvalidArgument,
            "AUDIO_TOO_LONG",
        ),
        (
            "too large",
            vec![config(detect()), In::Data(vec![0; 100_001])],
            Code::InvalidArgument,
            "AUDIO_TOO_LONG",
        ),
        (
            "a huge piece",
            vec![config(detect()), In::Data(vec![0; 1_048_577])],
            Code::InvalidArgument,
            "MESSAGE_TOO_LARGE",
        ),
        (
            "text",
            vec![config(detect()), In::Data(vec![b'a'; 9_999])],
            Code::InvalidArgument,
            "UNKNOWN_FORMAT",
        ),
        (
            "unknown task",
            vec![config(unknown_task)],
            Code::InvalidArgument,
            "UNKNOWN_ENUM",
        ),
        (
            "unknown model",
            vec![config(unknown_model)],
            Code::NotFound,
            "UNKNOWN_MODEL",
        ),
    ];
    for (name, messages, code, reason) in table {
        let status = transcribe_raw(&harness, messages).await.expect_err(name);
        assert_eq!(refusal(&status), (code, reason.into()), "{name}: {status:?}");
        assert!(status.message().len() > 20, "{name}: {}", status.message());
    }
    assert!(!transcribe(&harness, detect(), &speech()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let script = Script::saying(&[]);
    let harness = script.serve("queue = 1\n").await;
    script.hold();
    let file = speech();
    let first = async { transcribe(&harness, detect(), &file).await };
    let second = async {
        wait_for("the engine to be busy", PATIENCE, async || script.is_busy()).await;
        transcribe(&harness, detect(), &file).await
    };
    let third = async {
        let depth = || harness.context().status.snapshot().queue.map_or(0, |queue| queue.depth);
        // Before the engine is busy it is the first that waits.
        wait_for("the queue to be full", PATIENCE, async || {
            script.is_busy() && depth() == 1
        })
        .await;
        let refused = transcribe(&harness, detect(), &file).await.unwrap_err();
        script.release();
        refused
    };
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!(refusal(&third), (Code::ResourceExhausted, "QUEUE_FULL".into()));
    assert_eq!(
        (
            summary(&first.unwrap()).text.as_str(),
            summary(&second.unwrap()).text.as_str()
        ),
        ("words", "words")
    );
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_decode() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    script.hold();
    let file = speech();
    let mut call = Box::pin(transcribe(&harness, detect(), &file));
    tokio::select! {
        outcome = &mut call => panic!("the engine stands still, but an answer came: {outcome:?}"),
        () = wait_for("the engine to be busy", PATIENCE, async || script.is_busy()) => {}
    }
    drop(call);
    wait_for("the decode to be cancelled", PATIENCE, async || script.cancelled() == 1).await;
}

#[tokio::test]
async fn the_models_are_listed_the_active_one_first() {
    let script = Script::saying(&[]);
    let harness = script.serve("").await;
    let mut client = SttServiceClient::new(harness.channel().await);
    let models = client
        .list_models(ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models;
    assert!(models.len() >= 2, "{models:?}");
    assert_eq!((models[0].id.as_str(), models[0].active), ("whisper-base", true));
    assert!(models[1..].iter().all(|model| !model.active));
    let tiny = models.iter().find(|model| model.id == "whisper-tiny.en").unwrap();
    assert_eq!(tiny.languages, ["en"]);
}
