use serde_json::json;

use super::*;
use crate::embedding::Identity;

fn manifest() -> Record {
    let identity = Identity {
        model: "minilm".into(),
        dimension: 2,
    };
    Record::Manifest(Manifest::new(&identity, 1))
}

fn document(text: &str) -> DocumentRecord {
    serde_json::from_value(json!({
        "id": "0190c42a-5a5f-7000-8000-000000000001",
        "collection": "default",
        "uri": "file:///a.txt",
        "title": "A",
        "media_type": "text/plain",
        "version": 3,
        "bytes": text.len(),
        "content_sha256": hex::encode([7; 32]),
        "metadata": { "author": "me" },
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:06.000001Z",
        "chunks": [{
            "start": 0, "end": text.len(), "heading": "", "page": 2, "text": text,
            // 1.0 and -0.5
            "vector": "AACAPwAAAL8=",
        }],
    }))
    .unwrap()
}

fn written(records: &[Record]) -> File {
    let mut writer = Writer::new(tempfile::tempfile().unwrap());
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap()
}

fn read_all(file: File, longest: u64) -> (Vec<Record>, Result<(), SnapshotError>) {
    let mut records = Vec::new();
    let done = read(file, longest, |record| {
        records.push(record);
        true
    });
    (records, done)
}

/// An archive with one entry.
fn archive(entry: &str, content: &str) -> File {
    let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
    zip.start_file(entry, SimpleFileOptions::default()).unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap()
}

#[test]
fn what_is_written_is_read_and_vectors_lose_nothing() {
    let original = document("a text with a\nbreak and “quotes”");
    let file = written(&[manifest(), Record::Document(Box::new(original.clone()))]);
    let (records, done) = read_all(file, 1 << 20);
    done.unwrap();
    let [Record::Manifest(manifest), Record::Document(found)] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!((manifest.identity().dimension, manifest.documents), (2, 1));
    assert_eq!(**found, original);
    let draft = original.checked().unwrap();
    assert_eq!(draft.chunks[0].vector, [1.0, -0.5]);
    assert_eq!(draft.history.unwrap().version, 3);
}

#[test]
fn what_is_no_exported_memory_says_so() {
    let mut text = tempfile::tempfile().unwrap();
    text.write_all(b"no archive at all").unwrap();
    text.rewind().unwrap();
    let strange = json!({
        "format": "other", "version": 1, "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    let newer = json!({
        "format": "solo-memory", "version": 9, "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    for (file, wanted) in [
        (text, "no exported memory"),
        (archive("other.txt", "hello"), "it has no manifest.json"),
        (archive("manifest.json", "{"), "manifest.json, line 1"),
        (archive("manifest.json", &strange.to_string()), "its format is `other`"),
        (archive("manifest.json", &newer.to_string()), "version 9"),
    ] {
        let (records, done) = read_all(file, 1 << 20);
        let told = done.unwrap_err().to_string();
        assert!(told.contains(wanted) && records.is_empty(), "{told}");
    }
}

#[test]
fn a_line_has_a_longest_length() {
    let long = Record::Document(Box::new(document(&"x".repeat(5000))));
    let (records, done) = read_all(written(&[manifest(), long]), 4000);
    let told = done.unwrap_err().to_string();
    assert!(
        told.contains("documents.jsonl, line 1: it is longer than 4000 bytes"),
        "{told}"
    );
    assert_eq!(records.len(), 1);
}

#[test]
fn pieces_must_be_the_whole_of_a_text() {
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(document("twelve bytes")).unwrap();
        change(&mut value);
        let record: DocumentRecord = serde_json::from_value(value).unwrap();
        record.checked().unwrap_err().to_string()
    };
    assert!(broken(&|it| it["chunks"] = json!([])).contains("one piece at least"));
    for (field, value) in [("start", 3), ("end", 11), ("end", 13)] {
        let told = broken(&|it| it["chunks"][0][field] = json!(value));
        assert!(told.contains("piece 0"), "{field}: {told}");
    }
    assert!(broken(&|it| it["uri"] = json!("")).contains("empty"));
    assert!(broken(&|it| it["collection"] = json!("No Name")).contains("names no collection"));
    assert!(broken(&|it| it["content_sha256"] = json!("ab")).contains("SHA-256"));
}
