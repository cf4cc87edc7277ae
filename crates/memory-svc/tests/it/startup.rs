//! What keeps the service from starting, and what it says then.

use solo_service::StartupError;
use solo_service::testing::Harness;

use crate::support::*;

async fn refused_start(folder: &std::path::Path, loader: memory_svc::embedding::Loader) -> StartupError {
    start_in(folder, "", loader).await.err().expect("it does not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_model_is_refused_with_the_remedy() {
    let fixture = start().await;
    fixture.client.put("file:///a", "text").await;
    fixture.harness.stop().await.unwrap();
    let error = refused_start(fixture.folder.path(), loader_with("other", WordVectors)).await;
    assert_eq!(error.exit_code(), 64);
    let message = error.to_string();
    for part in [
        "\"words\" (384 dimensions)",
        "\"other\"",
        "memory.embedding.model",
        "solo memory reembed other",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let harness = start_in(fixture.folder.path(), "", loader()).await.unwrap();
    assert_eq!(
        Client::new(harness.channel().await).documents().await.len(),
        1,
        "the store was left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_belongs_to_one_process() {
    let fixture = start().await;
    let error = refused_start(fixture.folder.path(), loader()).await;
    assert_eq!(error.exit_code(), 69);
    assert!(error.to_string().contains("open in another process"), "{error}");
}

#[cfg(not(feature = "s3"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_refused_by_builds_that_reach_none() {
    let error = refused_start(std::path::Path::new("s3://bucket/folder"), loader()).await;
    assert_eq!(error.exit_code(), 64);
    assert!(error.to_string().contains("--features s3"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_did_not_end_is_taken_up() {
    let fixture = start().await;
    fixture.harness.stop().await.unwrap();
    std::fs::remove_dir_all(fixture.folder.path().join("meta.lance")).unwrap();
    std::fs::remove_dir_all(fixture.folder.path().join("facts.lance")).unwrap();
    let harness = start_in(fixture.folder.path(), "", loader()).await.unwrap();
    Client::new(harness.channel().await).put("file:///a", "text").await;
}

/// Starts as the program does, with models in `models`.
async fn start_for_real(models: &std::path::Path, engine: &str) -> StartupError {
    let store = models.join("store");
    let overrides = format!(
        "[global]\nmodels_dir = {models:?}\n[memory]\npath = {store:?}\n[memory.embedding]\nengine = {engine:?}\n"
    );
    Harness::start(memory_svc::DEFINITION, &overrides, memory_svc::build)
        .await
        .err()
        .expect("it does not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model_names_the_command() {
    let folder = tempfile::tempdir().unwrap();
    for engine in ["onnx", "candle"] {
        let error = start_for_real(folder.path(), engine).await;
        assert_eq!(error.exit_code(), 66);
        assert!(error.to_string().contains("solo models pull minilm-l6-v2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_model_names_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("minilm-l6-v2");
    std::fs::create_dir(&model).unwrap();
    crate::engine::write_tiny_model(&model);
    let weights = model.join("model.safetensors");
    for damage in [
        b"not safetensors".to_vec(),
        std::fs::read(&weights).unwrap()[..2000].to_vec(),
    ] {
        std::fs::write(&weights, damage).unwrap();
        let error = start_for_real(folder.path(), "candle").await;
        assert_eq!(error.exit_code(), 66);
        let message = error.to_string();
        assert!(message.contains("solo models verify minilm-l6-v2"), "{message}");
        assert!(message.contains("model.safetensors"), "{message}");
    }
}
