//! Regenerates the contracts with protox and tonic-prost-build (no protoc) and compares them with what is committed.
//! `SOLO_BLESS=1` (what `cargo make proto` sets) writes them instead.

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;

const AREAS: [&str; 10] = [
    "agent", "audio", "events", "gateway", "llm", "memory", "status", "stt", "tts", "wake",
];

#[test]
fn generated_code_matches_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated");
    if std::env::var_os("SOLO_BLESS").is_some() {
        generate(&committed);
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    let (fresh, committed) = (read_folder(fresh.path()), read_folder(&committed));
    let stale: Vec<_> = fresh
        .keys()
        .chain(committed.keys())
        .filter(|name| fresh.get(*name) != committed.get(*name))
        .collect();
    assert!(
        stale.is_empty(),
        "generated code is stale: run `cargo make proto` and commit {stale:?}"
    );
}

fn generate(out: &Path) {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../proto")
        .canonicalize()
        .unwrap();
    let files = AREAS.map(|area| format!("solo/{area}/v1/{area}.proto"));
    let mut set = protox::Compiler::new([&protos])
        .unwrap()
        .include_source_info(true)
        .include_imports(true)
        .open_files(files)
        .unwrap()
        .file_descriptor_set();
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(set.clone())
        .unwrap();
    for file in &mut set.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptor.bin"), set.encode_to_vec()).unwrap();
}

fn read_folder(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "google.protobuf.rs")
        .map(|entry| (entry.file_name().into(), std::fs::read(entry.path()).unwrap()))
        .collect()
}
