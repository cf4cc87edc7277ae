//! What is refused, with which code, reason and words; and that the service listens on afterwards.

use solo_proto::wake::v1::{DetectRequest, KeywordConfig};
use solo_service::StartupError;
use solo_service::error::Fault;
use tonic::Code;

use crate::fake::{Fake, audio, block, bytes, config, keyword, listen, start};

#[tokio::test]
async fn every_fault_has_its_own_message() {
    let mut fake = start("").await.unwrap();
    let open = || config(vec![]);
    let threshold = |value| {
        config(vec![KeywordConfig {
            threshold: Some(value),
            ..keyword("alpha")
        }])
    };
    let long = KeywordConfig {
        refractory_ms: Some(60_001),
        ..keyword("alpha")
    };
    let count = KeywordConfig {
        trigger_count: Some(21),
        ..keyword("alpha")
    };
    let cases = [
        (
            vec![],
            Code::InvalidArgument,
            "PROTOCOL",
            "must be config, found the end of the stream",
        ),
        (
            vec![audio(0, &[0; 160])],
            Code::InvalidArgument,
            "PROTOCOL",
            "must be config, found audio",
        ),
        (
            vec![DetectRequest::default()],
            Code::InvalidArgument,
            "PROTOCOL",
            "found a message without payload",
        ),
        (
            vec![open(), open()],
            Code::InvalidArgument,
            "PROTOCOL",
            "config was sent twice",
        ),
        (
            vec![open(), DetectRequest::default()],
            Code::InvalidArgument,
            "PROTOCOL",
            "without payload",
        ),
        (
            vec![config(vec![keyword("nobody")])],
            Code::NotFound,
            "KEYWORD_UNKNOWN",
            "alpha, beta, gone",
        ),
        (
            vec![config(vec![keyword("gone")])],
            Code::NotFound,
            "KEYWORD_NOT_INSTALLED",
            "solo models pull micro-gone",
        ),
        (
            vec![config(vec![keyword("alpha"); 2])],
            Code::InvalidArgument,
            "KEYWORDS",
            "\"alpha\" is asked for twice",
        ),
        (
            vec![config(vec![keyword("alpha"); 17])],
            Code::InvalidArgument,
            "KEYWORDS",
            "17 keywords",
        ),
        (
            vec![threshold(1.5)],
            Code::InvalidArgument,
            "OUT_OF_RANGE",
            "is 1.5; 0.0 to 1.0",
        ),
        (
            vec![threshold(f32::NAN)],
            Code::InvalidArgument,
            "OUT_OF_RANGE",
            "is NaN",
        ),
        (
            vec![config(vec![count])],
            Code::InvalidArgument,
            "OUT_OF_RANGE",
            "trigger_count of \"alpha\" is 21; 1 to 20",
        ),
        (vec![config(vec![long])], Code::InvalidArgument, "OUT_OF_RANGE", "60001"),
        (
            vec![open(), bytes(0, vec![])],
            Code::InvalidArgument,
            "AUDIO_CHUNK",
            "is empty",
        ),
        (
            vec![open(), bytes(0, vec![0; 161])],
            Code::InvalidArgument,
            "AUDIO_CHUNK",
            "161 bytes; an even number",
        ),
        (
            vec![open(), bytes(0, vec![0; 3202])],
            Code::InvalidArgument,
            "AUDIO_CHUNK",
            "3202 bytes; 3200 are the most",
        ),
        (
            vec![open(), audio(0, &[0; 160]), audio(0, &[0; 160])],
            Code::InvalidArgument,
            "AUDIO_CHUNK",
            "begins at sample 0, the one before it ended at 160",
        ),
    ];
    for (requests, code, reason, words) in cases {
        let status = listen(&mut fake.client, requests).await.unwrap_err();
        let fault = Fault::from(&status);
        assert_eq!(
            (status.code(), fault.reason.as_str()),
            (code, reason),
            "{words}: {status:?}"
        );
        assert!(status.message().contains(words), "{words}: {}", status.message());
    }
    let (_, wakes) = listen(&mut fake.client, vec![open(), audio(0, &block(0, 990))])
        .await
        .unwrap();
    assert_eq!(wakes.len(), 1, "it listens on");
}

#[tokio::test]
async fn a_failing_engine_is_an_internal_error_without_its_secrets() {
    let mut fake = start("").await.unwrap();
    let broken = vec![config(vec![]), audio(0, &block(9, 0))];
    let status = listen(&mut fake.client, broken).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("secret"), "{}", status.message());
    listen(&mut fake.client, vec![config(vec![])]).await.unwrap();
}

#[tokio::test]
async fn a_configuration_is_refused_with_all_its_faults() {
    let fault = |result: Result<Fake, StartupError>| match result {
        Err(StartupError::Config(message)) => message,
        Err(other) => panic!("not a fault of configuration: {other}"),
        Ok(_) => panic!("it should have been refused"),
    };
    let two = fault(start("keywords = []\nrefractory_ms = 99999").await);
    assert!(
        two.contains("wake.keywords") && two.contains("wake.refractory_ms"),
        "{two}"
    );
    let engine = fault(start("engine = \"snowboy\"").await);
    assert!(
        engine.contains("snowboy") && engine.contains("micro-wake-word"),
        "{engine}"
    );
    let counts = fault(start("keywords = [\"alpha=x21\"]\ntrigger_count = 0").await);
    assert!(counts.contains("alpha=x21") && counts.contains("1 to 20"), "{counts}");
    let nothing = fault(start("engine = \"porcupine\"\nkeywords = [\"alpha=x2\"]").await);
    for key in [
        "porcupine.library",
        "porcupine.parameters",
        "porcupine.keyword_files",
        "speaks once",
    ] {
        assert!(nothing.contains(key), "{key}: {nothing}");
    }
    let secret = "c2VjcmV0LXNlY3JldA==";
    let key = fault(
        start(&format!(
            "engine = \"porcupine\"\nporcupine.access_key_env = \"{secret}\""
        ))
        .await,
    );
    assert!(key.contains("not the key itself") && !key.contains(secret), "{key}");
    let threshold = fault(start("keywords = [\"alpha=7\"]").await);
    assert!(
        threshold.contains("alpha=7") && threshold.contains("0.0 to 1.0"),
        "{threshold}"
    );
    let unknown = fault(start("keywords = [\"nobody\"]").await);
    assert!(
        unknown.contains("wake.keywords") && unknown.contains("alpha, beta"),
        "{unknown}"
    );
    match start("keywords = [\"gone\"]").await {
        Err(StartupError::MissingModel { message }) => assert!(message.contains("solo models pull micro-gone")),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should not have started"),
    }
}
