use std::path::Path;

use solo_models::{MissingModel, is_installed, locate, onnx_runtime};

#[test]
fn an_installed_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("piper-en-us-joe");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("voice.onnx.json"), "{}").unwrap();
    let found = locate(dir.path(), "piper-en-us-joe", "config").unwrap();
    assert_eq!(found, folder.join("voice.onnx.json"));
    let model = solo_models::Manifest::embedded().get("piper-en-us-joe").unwrap();
    assert!(!is_installed(dir.path(), model), "voice.onnx is not there");
}

#[test]
fn a_missing_file_names_the_command() {
    let error = locate(Path::new("/nowhere"), "whisper-base", "model").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "model \"whisper-base\" is not installed (looked for {}): run `solo models pull whisper-base`",
            Path::new("/nowhere").join("whisper-base").join("ggml.bin").display()
        )
    );
    assert!(
        onnx_runtime(Path::new("/nowhere"))
            .unwrap_err()
            .to_string()
            .contains("solo models pull onnxruntime")
    );
}

#[test]
fn an_unknown_model_lists_what_there_is() {
    let error = locate(Path::new("/nowhere"), "gpt-9", "model").unwrap_err();
    assert!(matches!(error, MissingModel::Unknown { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("there is no model \"gpt-9\": there is qwen2.5-coder-0.5b, "),
        "{text}"
    );
}

#[test]
fn a_path_is_no_model() {
    for id in ["../../etc", "/etc/passwd", ""] {
        assert!(
            matches!(locate(Path::new("/"), id, "model"), Err(MissingModel::Unknown { .. })),
            "{id}"
        );
    }
}

#[test]
fn a_model_of_another_kind_says_what_it_has() {
    let error = locate(Path::new("/nowhere"), "minilm-l6-v2", "library")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "model \"minilm-l6-v2\" (embedding) has no file for \"library\": it has model, tokenizer, config"
    );
}
