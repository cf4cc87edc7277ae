//! Real weights, real speech: Whisper base and Silero on LibriVox recordings.

use std::path::Path;
use std::time::Duration;

use solo_audio::{SampleRate, resample_i16, wav};
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Heard;
use solo_proto::stt::v1::transcribe_response::Payload as Out;
use solo_proto::stt::v1::{ListenConfig, TranscribeConfig, TranscribeSummary};
use solo_service::testing::Harness;
use solo_testkit::{noise as sounds, require_model, wait_for};
use stt_svc::Config;

use crate::talk::{Live, transcribe};
use crate::wer::{errors, normalise, wer};

const LIBRIVOX: &str = "/usr/share/pocketsphinx/test/data/librivox";
const SENTENCE: &str = "he was not an ill disposed young man";

async fn serve(overrides: &str) -> Harness {
    require_model("silero-vad", "silero_vad.onnx");
    require_model("smart-turn-v3", "model.onnx");
    require_model("onnxruntime", "libonnxruntime.so");
    let models = require_model("whisper-base", "ggml.bin");
    let models = models.parent().and_then(Path::parent).unwrap();
    let config = format!(
        "[global]\nmodels_dir = {:?}\n[stt]\n{overrides}",
        models.display().to_string()
    );
    Harness::start(stt_svc::DEFINITION, &config, |config: Config, context| {
        stt_svc::build(config, context)
    })
    .await
    .expect("the service starts")
}

/// The clips with what is said in them.
fn librivox() -> Vec<(Vec<u8>, String)> {
    let folder = Path::new(LIBRIVOX);
    let transcription = std::fs::read_to_string(folder.join("transcription")).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: run `apt-get install pocketsphinx-testdata`",
            folder.display()
        )
    });
    let clips = transcription.lines().filter_map(|line| {
        let (words, id) = line.rsplit_once(" (")?;
        let words = words.replace("<s>", "").replace("</s>", "");
        let clip = std::fs::read(folder.join(format!("{}.wav", id.trim_end_matches(')')))).expect("the clip is there");
        Some((clip, words.trim().to_owned()))
    });
    let clips: Vec<_> = clips.collect();
    assert_eq!(clips.len(), 5);
    clips
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

async fn summary(harness: &Harness, config: TranscribeConfig, file: &[u8]) -> TranscribeSummary {
    let answers = transcribe(harness, config, file).await.expect("it is transcribed");
    match answers.last().and_then(|answer| answer.payload.clone()) {
        Some(Out::Summary(summary)) => summary,
        other => panic!("the summary comes last, found {other:?}"),
    }
}

/// A hiss at -50 dBFS, as quiet rooms have; a fixed seed, so that a failure can be looked at again.
fn noise(samples: usize, amplitude: f32) -> Vec<i16> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..samples).map(|_| (next() * amplitude) as i16).collect()
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_word_error_rate_on_librivox_is_at_most_a_tenth() {
    let harness = serve("").await;
    let (mut wrong, mut words) = (0, 0);
    for (clip, reference) in librivox() {
        let found = summary(
            &harness,
            TranscribeConfig {
                language: "en".into(),
                ..Default::default()
            },
            &clip,
        )
        .await;
        let here = errors(&reference, &found.text);
        println!("{here} errors, RTF {:.2}: {}", found.real_time_factor, found.text);
        wrong += here;
        words += normalise(&reference).len();
    }
    println!("WER {wrong}/{words}");
    assert!(wrong as f64 / words as f64 <= 0.1, "{wrong} errors in {words} words");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_the_language_of_a_recording_is_detected() {
    let harness = serve("").await;
    for (clip, reference) in librivox() {
        let found = summary(&harness, TranscribeConfig::default(), &clip).await;
        assert_eq!(found.language, "en", "{}", found.text);
        assert!(wer(&reference, &found.text) <= 0.2, "{}", found.text);
    }
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_every_format_says_the_same() {
    let harness = serve("").await;
    for name in ["clip.flac", "clip.mp3", "clip.ogg", "clip.m4a", "clip-8k.wav"] {
        let config = TranscribeConfig {
            language: "en".into(),
            ..Default::default()
        };
        let found = summary(&harness, config, &fixture(name)).await;
        println!("{name}: {}", found.text);
        assert!(errors(SENTENCE, &found.text) <= 1, "{name}: {}", found.text);
        assert!(
            found.duration_ms.abs_diff(2_990) < 150,
            "{name}: {} ms",
            found.duration_ms
        );
    }
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_a_long_recording_is_cut_at_pauses_and_its_segments_have_times() {
    let harness = serve("").await;
    let (mut samples, mut reference, mut starts) = (Vec::new(), String::new(), Vec::new());
    for (clip, words) in librivox().into_iter().chain(librivox()) {
        samples.extend(noise(16_000, 20.0));
        starts.push(samples.len() as u64 / 16);
        samples.extend(wav::read_speech(&clip).unwrap());
        reference = format!("{reference} {words}");
    }
    assert!(samples.len() > 45 * 16_000);
    let file = wav::encode(&samples, SampleRate::SPEECH);
    let config = TranscribeConfig {
        language: "en".into(),
        word_times: true,
        ..Default::default()
    };
    let answers = transcribe(&harness, config, &file).await.unwrap();
    let segments: Vec<_> = answers
        .iter()
        .filter_map(|answer| match &answer.payload {
            Some(Out::Segment(segment)) => Some(segment.clone()),
            _ => None,
        })
        .collect();
    let text = segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    println!("{} segments: {text}", segments.len());
    assert!(wer(&reference, &text) <= 0.12, "WER {}: {text}", wer(&reference, &text));
    for start in starts {
        let near = segments.iter().any(|segment| segment.start_ms.abs_diff(start) <= 700);
        assert!(near, "no segment begins near {start} ms: {segments:?}");
    }
    for segment in &segments {
        assert!(
            segment.start_ms < segment.end_ms && segment.avg_logprob < 0.0,
            "{segment:?}"
        );
        assert!(!segment.words.is_empty(), "{segment:?}");
        let joined = segment
            .words
            .iter()
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(errors(&segment.text, &joined), 0, "{segment:?}");
        assert!(segment.words.is_sorted_by_key(|word| word.start_ms), "{segment:?}");
        assert!(
            segment
                .words
                .iter()
                .all(|word| word.start_ms >= segment.start_ms && word.end_ms <= segment.end_ms)
        );
    }
    let done: Vec<u64> = answers
        .iter()
        .filter_map(|answer| match &answer.payload {
            Some(Out::Progress(progress)) => Some(progress.done_ms),
            _ => None,
        })
        .collect();
    assert!(done.len() >= 5 && done.is_sorted(), "{done:?}");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_live_speech_with_silence_around_it_gives_one_final() {
    let harness = serve("").await;
    let (clip, reference) = librivox().swap_remove(1);
    let samples = [
        noise(24_000, 20.0),
        wav::read_speech(&clip).unwrap(),
        noise(32_000, 20.0),
    ]
    .concat();
    let config = ListenConfig {
        auto_finalize: true,
        partial_interval_ms: 500,
        ..ListenConfig::default()
    };
    let mut live = Live::open(&harness, config).await;
    live.say(&samples).await;
    let heard = live.finish().await.unwrap();
    let finals: Vec<_> = heard
        .iter()
        .filter_map(|message| match message {
            Heard::Final(last) => Some(last.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(finals.len(), 1, "{heard:?}");
    println!("final after {} ms of decoding: {}", finals[0].decode_ms, finals[0].text);
    assert!(errors(&reference, &finals[0].text) <= 1, "{}", finals[0].text);
    assert!(
        finals[0].confidence > 0.5 && finals[0].language == "en",
        "{:?}",
        finals[0]
    );
    let clip_end = 24_000 + wav::inspect(&clip).unwrap().len();
    assert!(
        finals[0].start_sample >= 16_000 && finals[0].end_sample <= clip_end + 8_000,
        "{:?}",
        finals[0]
    );
    let rejected = heard
        .iter()
        .filter(|message| matches!(message, Heard::Rejected(_)))
        .count();
    assert_eq!(rejected, 0, "{heard:?}");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_push_to_talk_at_any_rate_gives_the_words() {
    let harness = serve("").await;
    let (clip, reference) = librivox().swap_remove(4);
    let original = wav::read_speech(&clip).unwrap();
    // As the gateway would deliver what a client sent at 48 kHz.
    let there = SampleRate::new(48_000).unwrap();
    let through = resample_i16(
        &resample_i16(&original, SampleRate::SPEECH, there),
        there,
        SampleRate::SPEECH,
    );
    for samples in [original, through] {
        let mut live = Live::open(&harness, ListenConfig::default()).await;
        live.say(&samples).await;
        live.control(Action::Finalize).await;
        let text = loop {
            match live.next().await {
                Heard::Final(last) => break last.text,
                Heard::Rejected(rejected) => panic!("{rejected:?}"),
                _ => {}
            }
        };
        assert!(errors(&reference, &text) <= 1, "{text}");
    }
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_silence_and_noise_give_no_words() {
    let harness = serve("").await;
    let hum: Vec<i16> = (0..160_000)
        .map(|n| ((n as f32 * 0.0471).sin() * 800.0) as i16)
        .collect();
    for (name, samples) in [
        ("silence", vec![0; 160_000]),
        ("a quiet room", noise(160_000, 60.0)),
        ("a loud hiss", noise(160_000, 6_000.0)),
        ("a hum", hum),
    ] {
        let mut live = Live::open(
            &harness,
            ListenConfig {
                auto_finalize: true,
                ..ListenConfig::default()
            },
        )
        .await;
        live.say(&samples).await;
        let heard = live.finish().await.unwrap();
        assert!(
            !heard.iter().any(|message| matches!(message, Heard::Final(_))),
            "{name}: {heard:?}"
        );
        let found = summary(
            &harness,
            TranscribeConfig::default(),
            &wav::encode(&samples, SampleRate::SPEECH),
        )
        .await;
        assert_eq!(found.text, "", "{name}");
    }
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_half_an_hour_without_speech_gives_no_words() {
    let harness = serve("").await;
    let sounds = sounds::medley(Duration::from_secs(30 * 60), 4);
    let config = ListenConfig {
        auto_finalize: true,
        partial_interval_ms: 300,
        candidate_ms: 96,
        ..ListenConfig::default()
    };
    let mut words = Vec::new();
    let (mut voices, mut rejected) = (0, 0);
    // A minute a stream: what is heard is kept until it is read.
    for minute in sounds.chunks(60 * 16_000) {
        let mut live = Live::open(&harness, config.clone()).await;
        live.say(minute).await;
        for message in live.finish().await.unwrap() {
            match message {
                Heard::Final(last) => words.push(last.text),
                Heard::Candidate(candidate) => words.push(candidate.text),
                Heard::Partial(partial) => words.push(partial.unstable_text + &partial.stable_text),
                Heard::Rejected(_) => rejected += 1,
                Heard::VoiceActivity(_) => voices += 1,
                _ => {}
            }
        }
    }
    println!("{voices} changes of voice activity, {rejected} utterances rejected, words: {words:?}");
    assert!(words.is_empty(), "{words:?}");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_a_client_that_goes_away_frees_the_engine() {
    let harness = serve("").await;
    let long = [librivox(), librivox(), librivox()].concat();
    let samples: Vec<i16> = long
        .iter()
        .flat_map(|(clip, _)| wav::read_speech(clip).unwrap())
        .collect();
    let file = wav::encode(&samples, SampleRate::SPEECH);
    let mut call = Box::pin(transcribe(&harness, TranscribeConfig::default(), &file));
    let busy = || {
        harness
            .context()
            .status
            .snapshot()
            .gauges
            .iter()
            .any(|gauge| gauge.name == "real_time_factor")
    };
    tokio::select! {
        _ = &mut call => panic!("a minute of speech takes longer"),
        () = wait_for("the first stretch", Duration::from_secs(60), async || busy()) => {}
    }
    drop(call);
    let started = std::time::Instant::now();
    let found = summary(
        &harness,
        TranscribeConfig {
            language: "en".into(),
            ..Default::default()
        },
        &fixture("clip.flac"),
    )
    .await;
    assert!(errors(SENTENCE, &found.text) <= 1, "{}", found.text);
    println!("answered {} ms after the other left", started.elapsed().as_millis());
}
