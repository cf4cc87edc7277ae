//! What a speech gives, in which order, and how it ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream;
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::speech_mark::Kind;
use solo_proto::tts::v1::{ListVoicesRequest, VoiceConfig};
use solo_service::error::Fault;
use solo_testkit::wait_for;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::fake::{Fake, RATE, SAMPLES_A_BYTE, config, delta, flush, hear, next, ssml, start, text};

/// What marks of a plain text always do.
fn tile(heard: &crate::fake::Heard, words: &str) {
    assert_eq!(heard.texts(words).concat(), words, "marks tile the text");
}

const THREE: &str = "One is here. Two is longer, a bit. And three!";

async fn spoken(fake: &mut Fake, words: &str, voice: VoiceConfig) -> crate::fake::Heard {
    hear(fake.client.synthesize(text(words, voice)).await.unwrap().into_inner())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_text_is_spoken_sentence_by_sentence() {
    let mut fake = start("pause_ms = 100").await.unwrap();
    let heard = spoken(&mut fake, THREE, VoiceConfig::default()).await;
    assert_eq!(heard.header.voice, "joe");
    assert_eq!(heard.header.format.unwrap().sample_rate_hz, 22_050);
    assert_eq!(
        heard.texts(THREE),
        ["One is here.", " Two is longer, a bit.", " And three!"]
    );
    for (mark, text) in heard
        .marks
        .iter()
        .zip(["One is here.", "Two is longer, a bit.", "And three!"])
    {
        assert_eq!(
            (mark.end_sample - mark.start_sample) as usize,
            text.len() * SAMPLES_A_BYTE
        );
    }
    // 100 ms of silence between sentences, none after the last.
    let first = heard.marks[0].end_sample as usize;
    assert!(heard.samples[first..first + 2205].iter().all(|sample| *sample == 0));
    assert_eq!(heard.marks[1].start_sample as usize, first + 2205);
    assert_eq!(heard.summary.samples, heard.marks[2].end_sample);
    let status = fake.harness.context().status.snapshot();
    assert_eq!((status.engine.as_str(), status.model.as_str()), ("piper", "joe"));
    let gauges: Vec<_> = status.gauges.iter().map(|gauge| gauge.name.as_str()).collect();
    assert_eq!(gauges, ["first_audio_ms", "real_time_factor"]);
    tile(&heard, THREE);
    assert_eq!(
        *fake.journal.soon.lock().unwrap(),
        [true, true, false, false],
        "the warm-up and the first sentence are wanted soon"
    );
}

#[tokio::test]
async fn words_are_marked_where_the_voice_knows_when_it_says_them() {
    let mut fake = start("").await.unwrap();
    let words = "It costs **$5**. Yes";
    let heard = spoken(&mut fake, words, VoiceConfig::default()).await;
    let said: Vec<_> = heard
        .words
        .iter()
        .map(|mark| &words[mark.text_start as usize..mark.text_end as usize])
        .collect();
    // "5 dollars." are two words for one that was written.
    assert_eq!(said, ["It", "costs", "$5**.", "$5**.", "Yes"]);
    let starts: Vec<_> = heard
        .words
        .iter()
        .map(|mark| mark.start_sample as usize / SAMPLES_A_BYTE)
        .collect();
    assert_eq!(starts[..4], [0, 3, 9, 11]);
    assert!(
        heard
            .words
            .windows(2)
            .all(|pair| pair[0].end_sample <= pair[1].start_sample)
    );
    let karl = VoiceConfig {
        voice: "karl".into(),
        ..VoiceConfig::default()
    };
    assert!(spoken(&mut fake, words, karl).await.words.is_empty());
}

#[tokio::test]
async fn the_first_samples_leave_while_the_rest_of_their_unit_is_made() {
    let mut fake = start("").await.unwrap();
    let request = text("We are half-way there.", VoiceConfig::default());
    let mut answers = fake.client.synthesize(request).await.unwrap().into_inner();
    while !matches!(next(&mut answers).await.unwrap(), Some(Payload::Audio(_))) {}
    // The voice waits for this: the sample above came before the second half.
    fake.journal.go_on.store(true, Ordering::SeqCst);
    let mut last = None;
    while let Some(payload) = next(&mut answers).await.unwrap() {
        last = Some(payload);
    }
    assert!(matches!(last, Some(Payload::Summary(summary)) if summary.samples as usize == 22 * SAMPLES_A_BYTE));
}

#[tokio::test]
async fn how_long_the_first_unit_is_can_be_configured() {
    let comma = "If you look closely, you see it.";
    let word = "You can see it if you look.";
    for (configured, words, units) in [
        ("", comma, 2),
        ("first_unit_words = 5", comma, 1),
        ("", word, 2),
        ("first_unit_before = []", word, 1),
    ] {
        let mut fake = start(configured).await.unwrap();
        let heard = spoken(&mut fake, words, VoiceConfig::default()).await;
        assert_eq!(heard.marks.len(), units, "{configured}: {words}");
    }
}

#[tokio::test]
async fn a_clause_that_ends_without_a_mark_keeps_the_voice_up_and_no_pause_follows() {
    let mut fake = start("").await.unwrap();
    let heard = spoken(&mut fake, "You can see it if you look.", VoiceConfig::default()).await;
    assert_eq!(
        fake.journal.texts.lock().unwrap()[1..],
        ["You can see it,", "if you look."]
    );
    let (first, second) = (&heard.marks[0], &heard.marks[1]);
    assert_eq!(second.start_sample, first.end_sample, "no pause between the two");
}

#[tokio::test]
async fn a_voice_of_the_other_engine_can_be_asked_for() {
    let mut fake = start("").await.unwrap();
    let koko = VoiceConfig {
        voice: "koko".into(),
        ..VoiceConfig::default()
    };
    assert_eq!(spoken(&mut fake, "Hello.", koko).await.header.voice, "koko");
}

#[tokio::test]
async fn marked_up_text_is_spoken_as_it_says() {
    let mut fake = start("pause_ms = 0").await.unwrap();
    let document = "<speak>Hello there.<break time=\"500ms\"/><prosody rate=\"200%\" volume=\"50\">Fast, \
        <say-as interpret-as=\"characters\">tv</say-as></prosody> and on.</speak>";
    let heard = hear(fake.client.synthesize(ssml(document)).await.unwrap().into_inner())
        .await
        .unwrap();
    assert_eq!(
        fake.journal.texts.lock().unwrap()[1..],
        ["Hello there.", "Fast, T V,", "and on."]
    );
    assert_eq!(fake.journal.speeds.lock().unwrap()[1..], [1.0, 2.0, 1.0]);
    assert_eq!(
        heard.texts(document),
        [
            "Hello there.",
            "Fast, <say-as interpret-as=\"characters\">tv</say-as>",
            " and on."
        ]
    );
    let (first, second) = (&heard.marks[0], &heard.marks[1]);
    assert_eq!(second.start_sample - first.end_sample, 11_025, "half a second");
    let sample = |mark: &solo_proto::tts::v1::SpeechMark| heard.samples[mark.start_sample as usize];
    assert!(sample(second).abs_diff(sample(first) / 2) <= 1);
    assert_eq!(
        heard.marks[2].start_sample, second.end_sample,
        "no pause within a sentence"
    );
}

#[tokio::test]
async fn speech_is_sent_in_the_format_that_was_asked_for() {
    let mut fake = start("").await.unwrap();
    let mut sent = async |encoding: Encoding, sample_rate_hz| {
        let format = AudioFormat {
            encoding: encoding.into(),
            sample_rate_hz,
            channels: 1,
        };
        let voice = VoiceConfig {
            format: Some(format),
            ..VoiceConfig::default()
        };
        let mut answers = fake
            .client
            .synthesize(text("Hello there.", voice))
            .await
            .unwrap()
            .into_inner();
        let (mut hz, mut samples, mut bytes) = (0, 0, Vec::new());
        while let Some(payload) = next(&mut answers).await.unwrap() {
            match payload {
                Payload::Header(header) => {
                    let format = header.format.unwrap();
                    assert_eq!(format.encoding(), encoding);
                    hz = format.sample_rate_hz;
                }
                Payload::Audio(chunk) => bytes.extend(chunk.data),
                Payload::Summary(summary) => samples = summary.samples as usize,
                Payload::Mark(_) => {}
            }
        }
        (hz, samples, bytes)
    };
    let (hz, samples, bytes) = sent(Encoding::Wav, 44_100).await;
    let wav = solo_audio::wav::read(&bytes).unwrap();
    assert_eq!(
        (hz, wav.sample_rate.hz(), wav.mono_i16().len()),
        (44_100, 44_100, samples)
    );
    let (hz, samples, bytes) = sent(Encoding::S16le, 8_000).await;
    assert_eq!((hz, bytes.len()), (8_000, 2 * samples));
    let (hz, samples, bytes) = sent(Encoding::Opus, 0).await;
    assert_eq!(
        (hz, samples),
        (24_000, (12 * SAMPLES_A_BYTE * 24_000).div_ceil(RATE as usize))
    );
    assert!(bytes.starts_with(b"OggS") && bytes.len() < samples);
}

#[tokio::test]
async fn marks_say_where_the_original_text_stands_though_other_words_are_spoken() {
    let mut fake = start("").await.unwrap();
    let words = "**Paris** is it [1]. 🎉\n\nSee https://a.org.";
    let heard = spoken(&mut fake, words, VoiceConfig::default()).await;
    assert_eq!(heard.texts(words).concat(), words);
    assert_eq!(
        fake.journal.texts.lock().unwrap()[1..],
        ["Paris is it.", "See a dot org."]
    );
    let silent: Vec<_> = heard
        .marks
        .iter()
        .filter(|mark| mark.start_sample == mark.end_sample)
        .collect();
    assert_eq!(silent.len(), 1, "the emoji has a mark and no sound");
}

#[tokio::test]
async fn text_without_any_sound_is_marked_and_summed_up() {
    let mut fake = start("").await.unwrap();
    let heard = spoken(&mut fake, "🙂", VoiceConfig::default()).await;
    assert_eq!((heard.marks.len(), heard.samples.len()), (1, 0));
    assert_eq!(heard.summary.real_time_factor, 0.0);
}

#[tokio::test]
async fn speed_volume_and_rate_are_honoured() {
    let mut fake = start("").await.unwrap();
    let format = AudioFormat {
        sample_rate_hz: 16_000,
        ..AudioFormat::default()
    };
    let voice = VoiceConfig {
        speed: 2.0,
        volume: Some(0.5),
        format: Some(format),
        ..VoiceConfig::default()
    };
    let heard = spoken(&mut fake, "Twenty two bytes long.", voice).await;
    assert_eq!(heard.header.format.unwrap().sample_rate_hz, 16_000);
    assert_eq!(
        heard.samples.len(),
        (22 * SAMPLES_A_BYTE / 2 * 16_000_usize).div_ceil(22_050)
    );
    let middle = heard.samples[heard.samples.len() / 2];
    assert!(
        (8180..=8204).contains(&middle),
        "half of half of full scale, found {middle}"
    );
    let loud = VoiceConfig {
        volume: Some(2.0),
        ..VoiceConfig::default()
    };
    assert_eq!(spoken(&mut fake, "Loud.", loud).await.samples[0], i16::MAX);
}

#[tokio::test]
async fn the_first_sentence_is_heard_before_the_last_is_written() {
    let mut fake = start("").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    say.send(config(VoiceConfig::default())).unwrap();
    say.send(delta("One is here. Tw")).unwrap();
    let mut answers = fake
        .client
        .speak(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Header(_))));
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Mark(mark)) if mark.text_end == 12));
    while !matches!(next(&mut answers).await.unwrap(), Some(Payload::Audio(_))) {}
    say.send(delta("o is longer, a bit. And three!")).unwrap();
    drop(say);
    let mut marks = 1;
    let mut last = None;
    while let Some(payload) = next(&mut answers).await.unwrap() {
        marks += usize::from(matches!(&payload, Payload::Mark(mark) if mark.kind() == Kind::Unit));
        last = Some(payload);
    }
    assert_eq!(marks, 3);
    assert!(matches!(last, Some(Payload::Summary(_))));
}

#[tokio::test]
async fn any_deltas_speak_the_same() {
    let mut fake = start("").await.unwrap();
    let whole = spoken(&mut fake, THREE, VoiceConfig::default()).await;
    let letters = THREE.split_inclusive(|_: char| true).map(delta);
    let requests: Vec<_> = std::iter::once(config(VoiceConfig::default())).chain(letters).collect();
    let heard = hear(fake.client.speak(stream::iter(requests)).await.unwrap().into_inner())
        .await
        .unwrap();
    assert_eq!((heard.marks, heard.samples), (whole.marks, whole.samples));
}

#[tokio::test]
async fn a_flush_speaks_what_is_there() {
    let mut fake = start("").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    for request in [config(VoiceConfig::default()), delta("Let me look"), flush()] {
        say.send(request).unwrap();
    }
    let mut answers = fake
        .client
        .speak(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Header(_))));
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Mark(mark)) if mark.text_end == 11));
}

#[tokio::test]
async fn a_listener_who_leaves_stops_the_engine() {
    let mut fake = start("").await.unwrap();
    let answers = fake
        .client
        .synthesize(text("This goes on forever.", VoiceConfig::default()))
        .await
        .unwrap();
    let second = Duration::from_secs(10);
    wait_for("the engine to run", second, async || {
        fake.journal.running.load(Ordering::SeqCst)
    })
    .await;
    drop(answers);
    wait_for("the engine to be stopped", second, async || {
        fake.journal.cancelled.load(Ordering::SeqCst)
    })
    .await;
    assert_eq!(
        spoken(&mut fake, "Still here.", VoiceConfig::default())
            .await
            .marks
            .len(),
        1
    );
}

#[tokio::test]
async fn a_restart_lets_a_speech_finish_and_ends_one_that_has_not_begun() {
    let mut fake = start("").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    let (idle, nothing) = mpsc::unbounded_channel();
    for request in [config(VoiceConfig::default()), delta("One is here. Two")] {
        say.send(request).unwrap();
    }
    idle.send(config(VoiceConfig::default())).unwrap();
    let mut answers = fake
        .client
        .speak(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    let mut idle_answers = fake
        .client
        .speak(UnboundedReceiverStream::new(nothing))
        .await
        .unwrap()
        .into_inner();
    while !matches!(next(&mut answers).await.unwrap(), Some(Payload::Audio(_))) {}
    assert!(matches!(
        next(&mut idle_answers).await.unwrap(),
        Some(Payload::Header(_))
    ));

    fake.harness.begin_stop();
    let ended = next(&mut idle_answers).await.unwrap_err();
    assert_eq!(Fault::from(&ended).reason, "DRAINING");
    say.send(delta(" is the last.")).unwrap();
    drop(say);
    let mut last = None;
    while let Some(payload) = next(&mut answers).await.unwrap() {
        last = Some(payload);
    }
    assert!(matches!(last, Some(Payload::Summary(_))), "{last:?}");
    fake.harness.stop().await.unwrap();
}

#[tokio::test]
async fn voices_are_listed_with_the_configured_one_first() {
    let mut fake = start("").await.unwrap();
    let mut list = async |language: &str| {
        let request = ListVoicesRequest {
            language: language.into(),
        };
        let voices = fake.client.list_voices(request).await.unwrap().into_inner().voices;
        voices
            .into_iter()
            .map(|voice| (voice.id, voice.active))
            .collect::<Vec<_>>()
    };
    let named = |voices: &[(&str, bool)]| {
        voices
            .iter()
            .map(|(id, active)| (id.to_string(), *active))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list("").await,
        named(&[
            ("joe", true),
            ("amy", false),
            ("karl", false),
            ("gone", false),
            ("koko", false)
        ])
    );
    assert_eq!(
        list("en").await,
        named(&[("joe", true), ("amy", false), ("koko", false)])
    );
    assert_eq!(list("de-DE").await, named(&[("karl", false)]));
    assert!(list("xx").await.is_empty());
}
