//! Configuration and start: what is wrong is said once, with the remedy.

use solo_service::testing::Harness;
use solo_service::{StartupError, exit};
use stt_svc::Config;

async fn refused(overrides: &str) -> StartupError {
    match Harness::start(stt_svc::DEFINITION, overrides, |config: Config, context| {
        stt_svc::build(config, context)
    })
    .await
    {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

fn models(name: &str, file: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(name)).unwrap();
    std::fs::write(folder.path().join(name).join("ggml.bin"), file).unwrap();
    let config = format!(
        "[global]\nmodels_dir = {:?}\n[stt]\nvad = {{ engine = \"level\" }}\nturn_end = {{ model = \"\" }}\n",
        folder.path().display().to_string()
    );
    (folder, config)
}

#[tokio::test]
async fn all_faults_of_the_configuration_are_named_at_once() {
    let error = refused("[stt]\nqueue = 0\nnonsense = 1\nvad = { threshold = 3.0 }\n").await;
    assert_eq!(error.exit_code(), exit::CONFIG);
    let text = error.to_string();
    for wanted in ["stt.nonsense", "stt.queue", "stt.vad.threshold"] {
        assert!(text.contains(wanted), "{wanted} is missing in: {text}");
    }
}

#[tokio::test]
async fn an_unknown_engine_is_named_together_with_those_there_are() {
    let error = refused("[stt]\nengine = \"parrot\"\n").await;
    assert_eq!(error.exit_code(), exit::CONFIG);
    assert!(
        error.to_string().contains("parrot") && error.to_string().contains("whisper"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_model_names_the_command_that_brings_it() {
    let (_folder, config) = models("other", b"");
    let error = refused(&config).await;
    assert_eq!(error.exit_code(), exit::MISSING_MODEL);
    assert!(error.to_string().contains("solo models pull whisper-base"), "{error}");
}

#[tokio::test]
async fn a_damaged_model_names_the_file_and_the_remedy() {
    let (_folder, config) = models("whisper-base", &b"this is no model at all".repeat(1_000));
    let error = refused(&config).await;
    assert_eq!(error.exit_code(), exit::MISSING_MODEL);
    let text = error.to_string();
    assert!(
        text.contains("ggml.bin") && text.contains("solo models pull whisper-base"),
        "{text}"
    );
}

#[tokio::test]
async fn a_model_of_another_kind_is_refused() {
    let (_folder, config) = models("other", b"");
    let error = refused(&format!("{config}model = \"qwen2.5-coder-0.5b\"\n")).await;
    let text = error.to_string();
    assert!(text.contains("qwen2.5-coder-0.5b"), "{text}");
    assert_eq!(error.exit_code(), exit::CONFIG, "{text}");
    let error = refused(&format!("{config}model = \"whisper-colossal\"\n")).await;
    assert!(error.to_string().contains("whisper-base"), "{error}");
}
