//! With microWakeWord's models and TensorFlow Lite.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use solo_audio::SampleRate;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_proto::wake::v1::{ListKeywordsRequest, WakeEvent};
use solo_service::StartupError;
use solo_service::testing::Harness;
use solo_testkit::noise::{Noise, RATE, amplified};
use solo_testkit::{fixture, models_dir, require_model};
use tonic::transport::Channel;

use crate::fake::{chunks, config, keyword, listen};

const MODEL: &str = "micro-hey-jarvis";

fn overrides(models: &Path, more: &str) -> String {
    format!("[global]\nmodels_dir = {:?}\n[wake]\n{more}", models.to_str().unwrap())
}

async fn start(more: &str) -> (Harness, WakeServiceClient<Channel>) {
    require_model(MODEL, "model.tflite");
    let harness = Harness::start(wake_svc::DEFINITION, &overrides(&models_dir(), more), wake_svc::build)
        .await
        .unwrap();
    let client = WakeServiceClient::new(harness.channel().await);
    (harness, client)
}

fn samples(path: impl AsRef<Path>) -> Vec<i16> {
    solo_audio::wav::read_speech(&fs::read(path).unwrap()).unwrap()
}

async fn heard(client: &mut WakeServiceClient<Channel>, samples: &[i16]) -> Vec<WakeEvent> {
    let requests = [vec![config(vec![])], chunks(0, samples, 1600)].concat();
    listen(client, requests).await.unwrap().1
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_a_recorded_hey_jarvis_is_heard_once() {
    let (_harness, mut client) = start("").await;
    let phrase = samples(fixture("audio/hey_jarvis.wav"));
    let lead = 16_000;
    let stream = [vec![0; lead], phrase.clone(), vec![0; 32_000]].concat();
    let wakes = heard(&mut client, &stream).await;
    println!("{wakes:?}");
    assert_eq!(wakes.len(), 1);
    assert_eq!(wakes[0].keyword, "hey_jarvis");
    assert!(wakes[0].score >= 0.97);
    let end = wakes[0].end_sample as usize;
    assert!(
        (lead + phrase.len() / 3..lead + phrase.len() + 16_000).contains(&end),
        "heard at {end}"
    );
    assert!(wakes[0].start_sample < wakes[0].end_sample);
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_every_spoken_fixture_wakes_once() {
    let (_harness, mut client) = start("").await;
    for name in ["hey_jarvis_capital_of_france", "hey_jarvis_where_are_my_keys"] {
        let wakes = heard(&mut client, &samples(fixture(&format!("audio/{name}.wav")))).await;
        println!("{name}: {wakes:?}");
        assert_eq!(wakes.len(), 1, "{name}");
    }
    assert!(
        heard(&mut client, &samples(fixture("audio/question_only.wav")))
            .await
            .is_empty()
    );
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_a_child_is_heard_at_a_slower_speed() {
    // The recorded phrase, spoken by somebody whose voice is higher by a fifth.
    let child = solo_audio::resample_i16(
        &samples(fixture("audio/hey_jarvis.wav")),
        SampleRate::new(19_200).unwrap(),
        SampleRate::SPEECH,
    );
    let stream = [vec![0; 16_000], child, vec![0; 32_000]].concat();
    let (_harness, mut client) = start("speeds = [1.0]").await;
    assert_eq!(heard(&mut client, &stream).await, [], "as it is, nothing is heard");
    let (_harness, mut client) = start("").await;
    let wakes = heard(&mut client, &stream).await;
    println!("{wakes:?}");
    assert_eq!(wakes.len(), 1);
    assert!((16_000..64_000).contains(&wakes[0].end_sample), "{wakes:?}");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_speech_without_the_keyword_and_silence_wake_nothing() {
    let (_harness, mut client) = start("keywords = [\"hey_jarvis\", \"okay_nabu\", \"alexa\", \"hey_mycroft\"]").await;
    let mut stream = vec![0; 16_000];
    for entry in fs::read_dir(fixture("audio/librivox")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wav") {
            stream.extend(samples(path));
        }
    }
    let started = Instant::now();
    assert_eq!(heard(&mut client, &stream).await, []);
    let seconds = stream.len() as f64 / 16_000.0;
    let share = started.elapsed().as_secs_f64() / seconds * 100.0;
    println!("{seconds:.1} s of speech, four keywords, transport included: {share:.2} % of one core");
    assert!(seconds > 20.0);
}

/// Half an hour of what is heard in rooms where nobody speaks, at the levels of a room and much louder.
#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_half_an_hour_without_speech_wakes_nothing() {
    let keywords = "keywords = [\"hey_jarvis\", \"okay_nabu\", \"alexa\", \"hey_mycroft\"]";
    let oww = "engine = \"open-wake-word\"\naccept_noncommercial_licence = true";
    require_model("oww-hey-jarvis", "model.onnx");
    for (overrides, half) in [(keywords, 0), (oww, 1)] {
        let (_harness, mut client) = start(overrides).await;
        let mut seconds = 0;
        for noise in Noise::ALL {
            // Each engine hears sound of its own: 15 kinds of 60 s at three levels are 45 minutes.
            let samples = noise.samples(Duration::from_secs(60), half);
            for gain in [-12.0, 0.0, 12.0] {
                let wakes = heard(&mut client, &amplified(&samples, gain)).await;
                assert_eq!(wakes, [], "{overrides}: {} {gain:+} dB", noise.name());
                seconds += samples.len() / RATE;
            }
        }
        assert!(seconds >= 30 * 60, "{seconds}");
    }
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_open_wake_word_hears_the_same_once_its_licence_is_accepted() {
    require_model("oww-hey-jarvis", "model.onnx");
    let choice = "engine = \"open-wake-word\"\n";
    let refused = Harness::start(wake_svc::DEFINITION, &overrides(&models_dir(), choice), wake_svc::build).await;
    let refused = refused.err().expect("the licence is not accepted").to_string();
    assert!(
        refused.contains("wake.accept_noncommercial_licence") && refused.contains("CC BY-NC-SA"),
        "{refused}"
    );

    let (harness, mut client) = start(&format!("{choice}accept_noncommercial_licence = true")).await;
    assert_eq!(harness.context().status.snapshot().engine, "open-wake-word");
    let listed = client
        .list_keywords(ListKeywordsRequest {})
        .await
        .unwrap()
        .into_inner()
        .keywords;
    assert_eq!(
        (listed.len(), listed[0].licence.as_str(), listed[0].installed),
        (1, "CC-BY-NC-SA-4.0", true)
    );
    for name in ["hey_jarvis_capital_of_france", "hey_jarvis_where_are_my_keys"] {
        let wakes = heard(&mut client, &samples(fixture(&format!("audio/{name}.wav")))).await;
        println!("{name}: {wakes:?}");
        assert_eq!(wakes.len(), 1, "{name}");
    }
    let mut stream = samples(fixture("audio/question_only.wav"));
    for clip in ["0870", "0880", "0890", "0920", "0930"] {
        stream.extend(samples(fixture(&format!("audio/librivox/{clip}.wav"))));
    }
    let started = Instant::now();
    assert_eq!(heard(&mut client, &stream).await, []);
    let share = started.elapsed().as_secs_f64() / (stream.len() as f64 / 16_000.0) * 100.0;
    println!("transport included: {share:.2} % of one core");
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_keywords_are_listed_and_chosen_by_request() {
    let (_harness, mut client) = start("").await;
    let listed = client
        .list_keywords(ListKeywordsRequest {})
        .await
        .unwrap()
        .into_inner()
        .keywords;
    assert_eq!(
        (listed[0].keyword.as_str(), listed[0].active, listed[0].installed),
        ("hey_jarvis", true, true)
    );
    assert_eq!(listed.len(), 4);
    let stream = [samples(fixture("audio/hey_jarvis.wav")), vec![0; 16_000]].concat();
    let requests = [vec![config(vec![keyword("alexa")])], chunks(0, &stream, 1600)].concat();
    let (started, wakes) = listen(&mut client, requests).await.unwrap();
    assert_eq!((started.keywords, wakes), (vec!["alexa".to_owned()], vec![]));
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_missing_and_damaged_files_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |more: &str| {
        let overrides = overrides(folder.path(), more);
        match Harness::start(wake_svc::DEFINITION, &overrides, wake_svc::build).await {
            Err(error @ StartupError::MissingModel { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it should not have started"),
        }
    };
    let missing = refused("").await;
    assert!(missing.contains("solo models pull micro-hey-jarvis"), "{missing}");
    let place = |file: &str, bytes: &[u8]| {
        fs::create_dir_all(folder.path().join(MODEL)).unwrap();
        fs::write(folder.path().join(MODEL).join(file), bytes).unwrap();
    };
    place(
        "model.tflite",
        &fs::read(require_model(MODEL, "model.tflite")).unwrap()[..20_000],
    );
    place("config.json", b"{");
    let json = refused("").await;
    assert!(
        json.contains("config.json") && json.contains("solo models verify"),
        "{json}"
    );
    place("config.json", &fs::read(require_model(MODEL, "config.json")).unwrap());
    let library = refused("tflite_library = \"/nowhere/lib.so\"").await;
    assert!(
        library.contains("/nowhere/lib.so") && library.contains("wake.tflite_library"),
        "{library}"
    );
    let truncated = refused("").await;
    assert!(
        truncated.contains("model.tflite") && truncated.contains("solo models verify"),
        "{truncated}"
    );
    println!("{missing}\n{json}\n{library}\n{truncated}");
}
