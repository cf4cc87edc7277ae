use std::fs;

use solo_models::{FaultKind, Manifest, check, sha256_file};

/// A model with one small file, "abc", in the shape of the real manifest.
fn manifest() -> Manifest {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let text = format!(
        r#"
version = 1
default = ["m"]
[[model]]
id = "m"
kind = "llm"
title = "m"
licence = "MIT"
home = "here"
[[model.file]]
role = "model"
name = "m.bin"
bytes = 3
sha256 = ["{abc}"]
[[model.source]]
registry = "pypi"
download = 3
[[model.source.file]]
install = "m.bin"
package = "m"
version = "1"
path = "m.bin"
sha256 = "{abc}"
"#
    );
    Manifest::parse(&text)
        .expect("a valid manifest")
        .for_target("linux-x86_64")
}

#[test]
fn a_good_a_corrupted_and_a_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest();
    let model = manifest.get("m").unwrap();
    let path = dir.path().join("m").join("m.bin");

    let missing = check(dir.path(), model, |_| {});
    assert!(matches!(missing[0].kind, FaultKind::Missing));
    assert!(
        missing[0]
            .to_string()
            .ends_with("m.bin is missing: run `solo models pull m`"),
        "{}",
        missing[0]
    );

    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "abc").unwrap();
    let mut read = 0;
    assert!(check(dir.path(), model, |n| read += n).is_empty());
    assert_eq!(read, 3);

    fs::write(&path, "abd").unwrap();
    let corrupted = check(dir.path(), model, |_| {});
    assert_eq!(corrupted.len(), 1);
    let text = corrupted[0].to_string();
    assert!(
        text.contains("is corrupted: its 3 bytes have the sha256 a52d159f"),
        "{text}"
    );
    assert!(text.ends_with("run `solo models pull m`"), "{text}");
}

#[test]
fn a_digest_of_more_than_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zeros");
    fs::write(&path, vec![0; 3 << 20]).unwrap();
    let (bytes, sha256) = sha256_file(&path, |_| {}).unwrap();
    assert_eq!(bytes, 3 << 20);
    assert_eq!(
        sha256,
        "bbd05cf6097ac9b1f89ea29d2542c1b7b67ee46848393895f5a9e43fa1f621e5"
    );
}
