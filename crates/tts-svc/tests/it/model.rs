//! With the real voice, ONNX Runtime and espeak-ng.

use std::time::{Duration, Instant};

use futures::stream;
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{ListVoicesRequest, VoiceConfig};
use solo_service::testing::Harness;
use solo_service::{CancelToken, StartupError};
use solo_testkit::{models_dir, require_model};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tts_svc::engine::espeak::{Phonemiser, find_data};
use tts_svc::engine::kokoro::Kokoro;
use tts_svc::engine::piper::Piper;
use tts_svc::engine::{EngineError, Made, SynthesisError, Synthesizer, Utterance, collect};

use crate::fake::{config, delta, hear, next, text};

const VOICE: &str = "piper-en-us-joe";
const THREE: &str = "The capital of France is Paris. It lies on the river Seine, in the north of the country. \
    About two million people live there.";

async fn start() -> (Harness, TtsServiceClient<Channel>) {
    require_model(VOICE, "voice.onnx");
    let harness = Harness::start(tts_svc::DEFINITION, &global(&models_dir()), tts_svc::build)
        .await
        .unwrap();
    let client = TtsServiceClient::new(harness.channel().await);
    (harness, client)
}

fn global(models: &std::path::Path) -> String {
    format!("[global]\nmodels_dir = {:?}", models.to_str().unwrap())
}

/// Root mean square, 0 to 1.
fn loudness(samples: &[i16]) -> f64 {
    let squares: f64 = samples
        .iter()
        .map(|sample| (f64::from(*sample) / 32_768.0).powi(2))
        .sum();
    (squares / samples.len() as f64).sqrt()
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_a_short_greeting_is_heard() {
    let (harness, mut client) = start().await;
    let request = text("Hello from Solo.", VoiceConfig::default());
    let heard = hear(client.synthesize(request).await.unwrap().into_inner())
        .await
        .unwrap();
    assert_eq!(heard.header.voice, VOICE);
    assert_eq!(heard.header.format.unwrap().sample_rate_hz, 22_050);
    let seconds = heard.samples.len() as f64 / 22_050.0;
    println!(
        "{seconds:.2} s, loudness {:.3}, {:?}",
        loudness(&heard.samples),
        heard.summary
    );
    assert!((0.5..=3.0).contains(&seconds), "{seconds} s");
    assert!(loudness(&heard.samples) > 0.03);
    assert_eq!(heard.texts("Hello from Solo."), ["Hello from Solo."]);
    let status = harness.context().status.snapshot();
    assert_eq!((status.engine.as_str(), status.model.as_str()), ("piper", VOICE));
    let voices = client
        .list_voices(ListVoicesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .voices;
    assert!(voices[0].installed && voices[0].active);
    assert_eq!(
        (voices[0].sample_rate_hz, voices[0].language.as_str()),
        (22_050, "en-US")
    );
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_three_sentences_are_marked_and_faster_than_speech() {
    let (_harness, mut client) = start().await;
    let heard = hear(
        client
            .synthesize(text(THREE, VoiceConfig::default()))
            .await
            .unwrap()
            .into_inner(),
    )
    .await
    .unwrap();
    assert_eq!(heard.marks.len(), 3);
    assert_eq!(heard.texts(THREE).concat(), THREE);
    assert!(heard.marks.iter().all(|mark| mark.end_sample > mark.start_sample));
    println!(
        "{:.2} s of speech, first audio after {} ms, real-time factor {:.3}",
        heard.samples.len() as f64 / 22_050.0,
        heard.summary.first_audio_ms,
        heard.summary.real_time_factor
    );
    assert!(heard.summary.real_time_factor < 1.0);
    let slow = VoiceConfig {
        speed: 0.5,
        ..VoiceConfig::default()
    };
    let slow = hear(client.synthesize(text(THREE, slow)).await.unwrap().into_inner())
        .await
        .unwrap();
    let ratio = slow.samples.len() as f64 / heard.samples.len() as f64;
    assert!(
        (1.6..=2.4).contains(&ratio),
        "half the speed lasts {ratio} times as long"
    );
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_the_first_audio_comes_before_the_last_word_is_written() {
    let (_harness, mut client) = start().await;
    let (say, said) = mpsc::unbounded_channel();
    let (head, tail) = THREE.split_at(60);
    say.send(config(VoiceConfig::default())).unwrap();
    say.send(delta(head)).unwrap();
    let mut answers = client
        .speak(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    while !matches!(next(&mut answers).await.unwrap(), Some(Payload::Audio(_))) {}
    say.send(delta(tail)).unwrap();
    drop(say);
    let mut last = None;
    while let Some(payload) = next(&mut answers).await.unwrap() {
        last = Some(payload);
    }
    assert!(matches!(last, Some(Payload::Summary(summary)) if summary.samples > 22_050));
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_markup_numbers_and_pictures_are_spoken_without_failing() {
    let (_harness, mut client) = start().await;
    let odd = "## Prices 🎉\n- **Bread** costs $3.50 [1]\n- see https://example.com/a?b\n```\nx = 1\n```\nnaïve Größe 你好 \u{0} \u{7}.";
    let requests = [config(VoiceConfig::default()), delta(odd)];
    let heard = hear(client.speak(stream::iter(requests)).await.unwrap().into_inner())
        .await
        .unwrap();
    assert_eq!(heard.texts(odd).concat(), odd);
    assert!(heard.samples.len() > 3 * 22_050);
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_a_cancelled_synthesis_ends_at_once() {
    require_model(VOICE, "voice.onnx");
    let mut voice = Piper::load(&models_dir(), VOICE, "", 1).unwrap();
    let long = "word and another ".repeat(60);
    let cancel = CancelToken::new();
    let stopper = cancel.clone();
    let (begun, go) = std::sync::mpsc::channel();
    let asked = std::thread::spawn(move || {
        go.recv().unwrap();
        // Long enough for the graph to run, far shorter than it takes.
        std::thread::sleep(Duration::from_millis(50));
        stopper.cancel();
        Instant::now()
    });
    begun.send(()).unwrap();
    let result = collect(&mut voice, &utterance(&long, 0.5), &cancel);
    let ended = Instant::now();
    let late = ended - asked.join().unwrap();
    println!("stopped {late:?} after it was asked to");
    assert!(
        matches!(result, Err(SynthesisError::Cancelled)),
        "{:?}",
        result.map(|samples| samples.len())
    );
    assert!(late < Duration::from_millis(500), "{late:?}");
    let still = collect(&mut voice, &utterance("Still here.", 1.0), &CancelToken::new()).unwrap();
    assert!(still.len() > 5_000);
}

fn utterance(text: &str, speed: f32) -> Utterance<'_> {
    Utterance {
        text,
        speed,
        soon: false,
    }
}

/// What a voice makes of a text: its length, the starts of its words, its runs.
fn made(voice: &mut dyn Synthesizer, utterance: &Utterance<'_>) -> (usize, Vec<usize>, Vec<Vec<f32>>) {
    let (mut length, mut starts, mut runs) = (0, Vec::new(), Vec::new());
    voice
        .synthesize(utterance, &CancelToken::new(), &mut |made| {
            match made {
                Made::Length { samples, words } => (length, starts) = (samples, words),
                Made::Samples(samples) => runs.push(samples),
            }
            Ok(())
        })
        .unwrap();
    (length, starts, runs)
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_pieces_fit_together_and_words_have_their_time() {
    require_model(VOICE, "voice.onnx");
    let mut voice = Piper::load(&models_dir(), VOICE, "", 2).unwrap();
    let text = "The capital of France is Paris, and it lies on the river Seine in the north of the country.";
    let soon = Utterance {
        text,
        speed: 1.0,
        soon: true,
    };
    let begun = Instant::now();
    let mut first = None;
    voice
        .synthesize(&soon, &CancelToken::new(), &mut |_| {
            first.get_or_insert_with(|| begun.elapsed());
            Ok(())
        })
        .unwrap();
    println!("first piece after {first:?}, all after {:?}", begun.elapsed());
    let (length, starts, runs) = made(&mut voice, &soon);
    assert_eq!(runs.iter().map(Vec::len).sum::<usize>(), length);
    assert!(runs.len() >= 3 && runs[0].len() < 22_050 / 4, "{}", runs[0].len());
    // A cut that did not fit would be a jump: no step between neighbours is larger at a seam than anywhere else.
    let whole = runs.concat();
    let step = |at: usize| (whole[at] - whole[at - 1]).abs();
    let largest = (1..whole.len()).map(step).fold(0.0, f32::max);
    let mut at = 0;
    for run in &runs[..runs.len() - 1] {
        at += run.len();
        assert!(step(at) < largest * 0.9, "{} of at most {largest}", step(at));
    }
    assert_eq!(starts.len(), text.split(' ').count());
    assert!(starts.is_sorted() && starts[18] < length);
    // "Paris," is over and "and" begins near the middle third.
    let share = starts[6] as f32 / length as f32;
    assert!((0.25..0.5).contains(&share), "{share}");
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_kokoro_speaks_as_loud_and_as_long_as_it_should() {
    require_model("kokoro-82m", "model.onnx");
    require_model("kokoro-en-us-heart", "voice.bin");
    let mut voice = Kokoro::load(&models_dir(), "kokoro-en-us-heart", "", 2).unwrap();
    assert_eq!(
        (voice.facts().sample_rate.hz(), voice.facts().language.as_str()),
        (24_000, "en-US")
    );
    let (length, words, runs) = made(
        &mut voice,
        &utterance("The quick brown fox jumps over the lazy dog.", 1.0),
    );
    assert_eq!((runs.len(), runs[0].len(), words.len()), (1, length, 0));
    let seconds = length as f64 / 24_000.0;
    let loud = loudness(&solo_audio::pcm::to_i16(&runs[0]));
    println!("{seconds:.2} s, loudness {loud:.3}");
    assert!((2.0..4.5).contains(&seconds), "{seconds} s");
    assert!((0.05..0.2).contains(&loud), "{loud}");
    let (slower, ..) = made(
        &mut voice,
        &utterance("The quick brown fox jumps over the lazy dog.", 0.7),
    );
    let ratio = slower as f64 / length as f64;
    assert!((1.25..1.7).contains(&ratio), "{ratio}");
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_phonemes_are_those_of_the_language() {
    let data = find_data("").unwrap();
    let english = Phonemiser::new(&data, "en-us").unwrap();
    assert_eq!(english.phonemes("Hello from Solo").unwrap(), "həlˈoʊ fɹʌm sˈoʊloʊ");
    assert_eq!(english.phonemes("").unwrap(), "");
    assert!(!english.phonemes("100%, naïve").unwrap().contains(','));
    let german = Phonemiser::new(&data, "de").unwrap();
    assert_ne!(german.phonemes("Hallo").unwrap(), english.phonemes("Hallo").unwrap());
    let nobody = Phonemiser::new(&data, "xx-nowhere").unwrap_err().to_string();
    assert!(nobody.contains("xx-nowhere"), "{nobody}");
    let missing = find_data("/nowhere").unwrap_err().to_string();
    assert!(
        missing.contains("/nowhere") && missing.contains("apt-get install espeak-ng-data"),
        "{missing}"
    );
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_missing_and_damaged_files_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |result: Result<Harness, StartupError>| match result {
        Err(error @ StartupError::MissingModel { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should not have started"),
    };
    let start = async || Harness::start(tts_svc::DEFINITION, &global(folder.path()), tts_svc::build).await;
    let missing = refused(start().await);
    assert!(missing.contains("solo models pull piper-en-us-joe"), "{missing}");

    let place = |model: &str, file: &str, bytes: &[u8]| {
        let to = folder.path().join(model);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(to.join(file), bytes).unwrap();
    };
    let real = |model: &str, file: &str| std::fs::read(require_model(model, file)).unwrap();
    place(
        "onnxruntime",
        "libonnxruntime.so",
        &real("onnxruntime", "libonnxruntime.so"),
    );
    place(VOICE, "voice.onnx.json", b"{ \"audio\": ");
    place(VOICE, "voice.onnx", &real(VOICE, "voice.onnx")[..1_000_000]);
    let json = refused(start().await);
    assert!(
        json.contains("voice.onnx.json") && json.contains("solo models verify"),
        "{json}"
    );
    place(VOICE, "voice.onnx.json", &real(VOICE, "voice.onnx.json"));
    let truncated = refused(start().await);
    assert!(
        truncated.contains("voice.onnx of model") && truncated.contains("solo models verify"),
        "{truncated}"
    );
    println!("{missing}\n{json}\n{truncated}");
    let load = Piper::load(&models_dir(), VOICE, "/nowhere", 1);
    assert!(matches!(load, Err(EngineError::Espeak(_))));
}
