//! Holds the code to docs/service-graph.txt, and heavy libraries to their rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const LEAVES: [&str; 5] = ["wake-svc", "stt-svc", "tts-svc", "llm-svc", "memory-svc"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The calls that the sources make: every client is made by `context.upstream("…")`.
fn calls() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(crates()).unwrap().flatten() {
        let service = entry.file_name().into_string().unwrap();
        if !(service == "gateway" || service.ends_with("-svc")) {
            continue;
        }
        for file in sources(&entry.path().join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            for call in text.split("upstream(\"").skip(1) {
                found.insert(format!("{service} -> {}", call.split('"').next().unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_service_graph_is_what_the_file_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/service-graph.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let written: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(written, calls());
    for leaf in LEAVES {
        assert!(
            !written.iter().any(|call| call.starts_with(leaf)),
            "{leaf} is a leaf, but calls somebody"
        );
    }
    assert!(
        !written.iter().any(|call| call.ends_with("-> gateway")),
        "nobody calls the gateway"
    );
}

#[test]
fn heavy_libraries_stay_in_their_rooms() {
    let rooms: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("lancedb", ["memory-svc"].as_slice()),
        ("whisper-rs", &["stt-svc"]),
        ("llama-cpp-2", &["llm-svc"]),
        ("candle-core", &["llm-svc", "memory-svc", "stt-svc"]),
        ("espeak-rs-sys", &["tts-svc"]),
    ]);
    for entry in std::fs::read_dir(crates()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap();
        for (library, allowed) in &rooms {
            let used = manifest
                .lines()
                .any(|line| line.split(['.', ' ', '=']).next() == Some(library));
            assert!(
                !used || allowed.contains(&name.as_str()),
                "{library} may not enter {name}"
            );
        }
    }
}

#[test]
fn one_binary_never_holds_two_copies_of_ggml() {
    let manifest = |name: &str| std::fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
    for (name, others) in [
        ("llm-svc", ["stt-svc", "whisper-rs"]),
        ("stt-svc", ["llm-svc", "llama-cpp-2"]),
    ] {
        let manifest = manifest(name);
        for other in others {
            assert!(!manifest.contains(other), "{name} would link {other}");
        }
    }
}

#[test]
fn every_service_has_its_image_and_its_way_through_the_gateway() {
    let read = |file: &str| std::fs::read_to_string(crates().join("..").join(file)).unwrap();
    let has_all = |file: &str, mark: &dyn Fn(&str) -> String, services: &[&str]| {
        let text = read(file);
        for service in services {
            assert!(text.contains(&mark(service)), "{file} does not know {service}");
        }
    };
    let named = |service: &str| format!("{service} ");
    has_all(
        "compose.yaml",
        &|service| format!("\n  {service}:\n"),
        &solo_tests::SERVICES,
    );
    has_all("docker/images.sh", &named, &solo_tests::SERVICES);
    has_all("docker/binaries.sh", &named, &solo_tests::SERVICES);
    has_all(
        "docker/service.Dockerfile",
        &|service| service.to_owned(),
        &solo_tests::SERVICES,
    );
    has_all(
        "deploy/compose.observability.yaml",
        &|service| format!("  {service}: *traced"),
        &solo_tests::SERVICES,
    );
    let behind: Vec<&str> = solo_tests::SERVICES
        .into_iter()
        .filter(|service| *service != "gateway")
        .collect();
    has_all(
        "crates/gateway/src/edge/forward.rs",
        &|service| format!("\"{service}\""),
        &behind,
    );
}
