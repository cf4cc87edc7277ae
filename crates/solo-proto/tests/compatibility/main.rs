//! One service may be replaced by a newer one while the others stay: what a release said, every later one understands.
//!
//! `releases/<version>/` keeps each release: `descriptor.bin`, its contracts, and `wire.jsonl`, an example of everything that
//! its calls send. Whoever makes a release adds its folder with `cargo make release-contracts` (`SOLO_BLESS=1`), once: a
//! folder that is there is never written again. Until the release is out it may be deleted and made anew.

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

mod breaks;
mod wire;

use std::path::Path;
use std::sync::LazyLock;

use prost_reflect::DescriptorPool;
use solo_proto::{DESCRIPTOR_POOL, FILE_DESCRIPTOR_SET};

struct Release {
    version: String,
    contracts: DescriptorPool,
    wire: String,
}

static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("releases");
    let this = folder.join(env!("CARGO_PKG_VERSION"));
    let kept = releases(&folder);
    // What breaks an earlier release is not kept: it would have to be made good, and the folder is never written again.
    if std::env::var_os("SOLO_BLESS").is_none() || this.exists() || !broken(&kept).is_empty() {
        return kept;
    }
    let wire = wire::record(&DESCRIPTOR_POOL);
    std::fs::create_dir_all(&this).unwrap();
    std::fs::write(this.join("descriptor.bin"), FILE_DESCRIPTOR_SET).unwrap();
    std::fs::write(this.join("wire.jsonl"), wire).unwrap();
    releases(&folder)
});

#[test]
fn a_release_is_kept() {
    assert!(
        !RELEASES.is_empty(),
        "crates/solo-proto/releases holds no release to compare with: `cargo make release-contracts` keeps this one"
    );
}

#[test]
fn nothing_of_a_release_was_broken() {
    let broken = broken(&RELEASES);
    assert!(
        broken.is_empty(),
        "services of earlier releases would not understand this one:\n{}",
        broken.join("\n")
    );
}

#[test]
fn what_a_release_sent_is_still_understood() {
    for release in RELEASES.iter() {
        let version = &release.version;
        assert_eq!(
            wire::recorded(&release.wire),
            wire::spoken(&release.contracts),
            "releases/{version}/wire.jsonl has an example of every request and response"
        );
        let lost = wire::replay(&release.wire, &DESCRIPTOR_POOL);
        assert!(
            lost.is_empty(),
            "releases/{version}/wire.jsonl is not understood any more:\n{}",
            lost.join("\n")
        );
    }
}

/// What the contracts of today break of those of releases, and of which.
fn broken(releases: &[Release]) -> Vec<String> {
    releases
        .iter()
        .flat_map(|release| {
            breaks::breaks(&release.contracts, &DESCRIPTOR_POOL)
                .into_iter()
                .map(move |what| format!("release {}: {what}", release.version))
        })
        .collect()
}

fn releases(folder: &Path) -> Vec<Release> {
    if !folder.exists() {
        return Vec::new();
    }
    let mut releases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| Release {
            version: path.file_name().unwrap().to_string_lossy().into_owned(),
            contracts: DescriptorPool::decode(std::fs::read(path.join("descriptor.bin")).unwrap().as_slice()).unwrap(),
            wire: std::fs::read_to_string(path.join("wire.jsonl")).unwrap(),
        })
        .collect();
    releases.sort_by(|one, other| one.version.cmp(&other.version));
    releases
}

/// Contracts of package `p`, made of these definitions.
fn contracts(definitions: &str) -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("syntax = \"proto3\";\npackage p;\n{definitions}\n");
    std::fs::write(folder.path().join("p.proto"), text).unwrap();
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    if let Err(error) = compiler.open_file("p.proto") {
        panic!("{error}: {definitions}");
    }
    compiler.descriptor_pool()
}
