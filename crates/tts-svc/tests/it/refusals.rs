//! What is refused, with which code, reason and words; and that the service speaks on afterwards.

use futures::stream;
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::tts::v1::{SpeakRequest, SynthesizeRequest, VoiceConfig};
use solo_service::StartupError;
use solo_service::error::Fault;
use tonic::{Code, Status};

use crate::fake::{Fake, config, delta, flush, hear, ssml, start, text};

async fn refusal(fake: &mut Fake, request: SynthesizeRequest) -> Status {
    match fake.client.synthesize(request).await {
        Err(status) => status,
        Ok(answers) => hear(answers.into_inner())
            .await
            .expect_err("it should have been refused"),
    }
}

fn voice(change: impl FnOnce(&mut VoiceConfig)) -> SynthesizeRequest {
    let mut config = VoiceConfig::default();
    change(&mut config);
    text("Hello.", config)
}

fn format(encoding: Encoding, sample_rate_hz: u32, channels: u32) -> SynthesizeRequest {
    voice(|voice| {
        voice.format = Some(AudioFormat {
            encoding: encoding.into(),
            sample_rate_hz,
            channels,
        })
    })
}

#[tokio::test]
async fn every_fault_has_its_own_message() {
    let mut fake = start("max_text_chars = 20").await.unwrap();
    let none = VoiceConfig::default;
    let cases = [
        (
            text("", none()),
            Code::InvalidArgument,
            "TEXT_EMPTY",
            "the text is empty",
        ),
        (
            text(" \n", none()),
            Code::InvalidArgument,
            "TEXT_EMPTY",
            "the text is empty",
        ),
        (
            SynthesizeRequest::default(),
            Code::InvalidArgument,
            "TEXT_EMPTY",
            "neither text nor ssml",
        ),
        (
            text(&"é".repeat(21), none()),
            Code::InvalidArgument,
            "TEXT_TOO_LONG",
            "20 characters",
        ),
        (
            ssml("<speak><mark/></speak>"),
            Code::InvalidArgument,
            "TEXT_TOO_LONG",
            "20 characters",
        ),
        (
            ssml("<speak>a</p>"),
            Code::InvalidArgument,
            "SSML_INVALID",
            "ssml, line 1, column",
        ),
        (ssml("<x/>"), Code::InvalidArgument, "SSML_INVALID", "<speak> is wanted"),
        (ssml(" "), Code::InvalidArgument, "TEXT_EMPTY", "the text is empty"),
        (
            voice(|voice| voice.voice = "nobody".into()),
            Code::NotFound,
            "VOICE_UNKNOWN",
            "amy, joe, karl, gone, koko",
        ),
        (
            voice(|voice| voice.voice = "gone".into()),
            Code::NotFound,
            "VOICE_NOT_INSTALLED",
            "solo models pull gone",
        ),
        (
            voice(|voice| voice.speed = 9.0),
            Code::InvalidArgument,
            "OUT_OF_RANGE",
            "voice.speed is 9; 0.5 to 2",
        ),
        (
            voice(|voice| voice.volume = Some(-1.0)),
            Code::InvalidArgument,
            "OUT_OF_RANGE",
            "voice.volume is -1; 0 to 2",
        ),
        (
            format(Encoding::Detect, 0, 0),
            Code::InvalidArgument,
            "ENCODING_UNSUPPORTED",
            "ENCODING_DETECT",
        ),
        (
            format(Encoding::S16le, 7, 1),
            Code::InvalidArgument,
            "SAMPLE_RATE_UNSUPPORTED",
            "7 Hz",
        ),
        (
            format(Encoding::Opus, 22_050, 1),
            Code::InvalidArgument,
            "SAMPLE_RATE_UNSUPPORTED",
            "8000, 12000, 16000, 24000, 48000",
        ),
        (
            format(Encoding::S16le, 0, 2),
            Code::InvalidArgument,
            "CHANNELS_UNSUPPORTED",
            "2 were asked for",
        ),
    ];
    for (request, code, reason, words) in cases {
        let status = refusal(&mut fake, request.clone()).await;
        let fault = Fault::from(&status);
        assert_eq!(
            (status.code(), fault.reason.as_str()),
            (code, reason),
            "{request:?}: {status:?}"
        );
        assert!(status.message().contains(words), "{request:?}: {}", status.message());
    }
    hear(
        fake.client
            .synthesize(text("Still here.", none()))
            .await
            .unwrap()
            .into_inner(),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn markup_that_is_not_supported_is_refused_by_name_and_place() {
    let mut fake = start("").await.unwrap();
    let status = refusal(&mut fake, ssml("<speak>Hello\n<audio src=\"x.wav\"/></speak>")).await;
    let fault = Fault::from(&status);
    assert_eq!(
        (status.code(), fault.reason.as_str()),
        (Code::InvalidArgument, "SSML_UNSUPPORTED")
    );
    assert_eq!(
        status.message(),
        "ssml, line 2, column 1: <audio> is not supported; supported are speak, p, s, break, emphasis, say-as, prosody and sub"
    );
    assert_eq!(
        fake.journal.texts.lock().unwrap().len(),
        1,
        "nothing but the warm-up was spoken"
    );
}

#[tokio::test]
async fn a_stream_of_text_must_follow_the_protocol() {
    let mut fake = start("max_text_chars = 20").await.unwrap();
    let open = || config(VoiceConfig::default());
    let cases = [
        (vec![delta("Hello.")], "PROTOCOL", "must be config, found text_delta"),
        (vec![flush()], "PROTOCOL", "must be config, found flush"),
        (vec![], "PROTOCOL", "must be config, found the end of the stream"),
        (vec![open(), open()], "PROTOCOL", "config was sent twice"),
        (vec![open(), SpeakRequest::default()], "PROTOCOL", "without payload"),
        (
            vec![open(), delta("Hello there, "), delta("this is too long.")],
            "TEXT_TOO_LONG",
            "20 characters",
        ),
    ];
    for (requests, reason, words) in cases {
        let status = match fake.client.speak(stream::iter(requests)).await {
            Err(status) => status,
            Ok(answers) => hear(answers.into_inner()).await.unwrap_err(),
        };
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Fault::from(&status).reason, reason, "{status:?}");
        assert!(status.message().contains(words), "{}", status.message());
    }
    let silence = hear(fake.client.speak(stream::iter([open()])).await.unwrap().into_inner())
        .await
        .unwrap();
    assert_eq!(
        (silence.marks.len(), silence.summary.samples),
        (0, 0),
        "no text is a speech without sound"
    );
}

#[tokio::test]
async fn a_failing_engine_is_an_internal_error_without_its_secrets() {
    let mut fake = start("").await.unwrap();
    let status = refusal(&mut fake, text("This is broken.", VoiceConfig::default())).await;
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("secret"), "{}", status.message());
    hear(
        fake.client
            .synthesize(text("Still here.", VoiceConfig::default()))
            .await
            .unwrap()
            .into_inner(),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_configuration_is_refused_with_all_its_faults() {
    let fault = |result: Result<Fake, StartupError>| match result {
        Err(StartupError::Config(message)) => message,
        Err(other) => panic!("not a fault of configuration: {other}"),
        Ok(_) => panic!("it should have been refused"),
    };
    let two = fault(start("voice = \"\"\nspeed = 9.0").await);
    assert!(two.contains("tts.voice") && two.contains("tts.speed"), "{two}");
    let engine = fault(start("engine = \"festival\"").await);
    assert!(engine.contains("festival") && engine.contains("piper"), "{engine}");
    let other = fault(start("engine = \"kokoro\"").await);
    assert!(
        other.contains("tts.engine") && other.contains("\"joe\" is spoken by \"piper\""),
        "{other}"
    );
    let words = fault(start("first_unit_words = 0").await);
    assert!(words.contains("tts.first_unit_words"), "{words}");
    let key = fault(start("vioce = \"joe\"").await);
    assert!(key.contains("vioce"), "{key}");
    let unknown = fault(start("voice = \"nobody\"").await);
    assert!(
        unknown.contains("tts.voice") && unknown.contains("amy, joe"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_voice_that_is_not_installed_keeps_the_service_from_starting() {
    match start("voice = \"gone\"").await {
        Err(StartupError::MissingModel { message }) => assert!(message.contains("solo models pull gone"), "{message}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should not have started"),
    }
}
