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

fn document() -> DocumentRecord {
    serde_json::from_value(json!({
        "id": "0190c42a-5a5f-7000-8000-000000000001",
        "collection": "default",
        "uri": "file:///a.txt",
        "title": "A",
        "media_type": "text/plain",
        "version": 3,
        "bytes": 12,
        "content_sha256": hex::encode([7; 32]),
        "metadata": { "author": "me" },
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:06.000001Z",
        "pieces": 1,
    }))
    .unwrap()
}

fn piece(start: usize, text: &str) -> PieceRecord {
    serde_json::from_value(json!({
        "start": start, "end": start + text.len(), "heading": "", "page": 2, "text": text,
        // 1.0 and -0.5
        "vector": "AACAPwAAAL8=",
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
    let mut file = zip.finish().unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn what_is_written_is_read_and_vectors_lose_nothing() {
    let text = "a text with a\nbreak and “quotes”";
    let (original, part) = (document(), piece(0, text));
    let file = written(&[
        manifest(),
        Record::Document(Box::new(original.clone())),
        Record::Piece(part.clone()),
    ]);
    let (records, done) = read_all(file, 1 << 20);
    done.unwrap();
    let [
        Record::Manifest(manifest),
        Record::Document(found),
        Record::Piece(inside),
    ] = records.as_slice()
    else {
        panic!("{records:?}");
    };
    assert_eq!((manifest.identity().dimension, manifest.documents), (2, 1));
    assert_eq!((&**found, inside), (&original, &part));
    let draft = original.checked(vec![part]).unwrap();
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
        (archive("other.txt", "hello"), "it begins with other.txt"),
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
    let long = Record::Piece(piece(0, &"x".repeat(5000)));
    let (records, done) = read_all(
        written(&[manifest(), Record::Document(Box::new(document())), long]),
        4000,
    );
    let told = done.unwrap_err().to_string();
    assert!(
        told.contains("documents.jsonl, line 2: it is longer than 4000 bytes"),
        "{told}"
    );
    assert_eq!(records.len(), 2);

    let mut large = serde_json::to_value(document()).unwrap();
    large["metadata"] = json!({ "a": vec![0; 1 << 20] });
    let large = Record::Document(Box::new(serde_json::from_value(large).unwrap()));
    let (records, done) = read_all(written(&[manifest(), large]), 1 << 30);
    assert!(
        done.unwrap_err()
            .to_string()
            .contains("line 1: it is longer than 2097152 bytes")
    );
    assert_eq!(records.len(), 1);
}

#[test]
fn a_file_that_was_cut_off_gives_what_was_before() {
    let mut records = vec![manifest()];
    for _ in 0..200 {
        records.extend([
            Record::Document(Box::new(document())),
            Record::Piece(piece(0, "twelve bytes")),
        ]);
    }
    let file = written(&records);
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let (found, done) = read_all(file, 1 << 20);
    let told = done.unwrap_err().to_string();
    assert!(told.contains("documents.jsonl, line"), "{told}");
    assert!(found.len() < records.len(), "{}", found.len());
    assert!(matches!(found[0], Record::Manifest(_)));
}

#[test]
fn pieces_must_be_the_whole_of_a_text() {
    let told = |pieces: &[(usize, &str)]| {
        let mut record = document();
        record.pieces = pieces.len() as u32;
        let pieces = pieces.iter().map(|(start, text)| piece(*start, text)).collect();
        record
            .checked(pieces)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert_eq!(told(&[(0, "twelve bytes")]), "");
    assert_eq!(told(&[(0, "twelve by"), (7, "bytes"), (12, "!")]), "");
    assert!(told(&[]).contains("0 pieces of 0"));
    assert!(
        told(&[(3, "twelve bytes")]).contains("piece 0"),
        "a beginning is missing"
    );
    assert!(told(&[(0, "twelve"), (7, "bytes")]).contains("piece 1"), "a hole");
    assert!(
        told(&[(0, "twelve bytes"), (0, "twelve")]).contains("piece 1"),
        "it ends before the one before"
    );
    assert!(
        told(&[(0, "twelve by"), (7, "other")]).contains("piece 1"),
        "both say something else"
    );
    assert!(
        told(&[(0, "zwölf"), (3, "\u{b6}lf")]).contains("piece 1"),
        "the middle of a character"
    );
    let mut few = document();
    few.pieces = 2;
    assert!(
        few.checked(vec![piece(0, "a")])
            .unwrap_err()
            .to_string()
            .contains("1 pieces of 2")
    );
}

#[test]
fn what_a_document_says_of_itself_is_checked() {
    let broken = |field: &str, value: serde_json::Value| {
        let mut record = serde_json::to_value(document()).unwrap();
        record[field] = value;
        let record: DocumentRecord = serde_json::from_value(record).unwrap();
        record.checked(vec![piece(0, "twelve bytes")]).unwrap_err().to_string()
    };
    assert!(broken("uri", json!("")).contains("empty"));
    assert!(broken("collection", json!("No Name")).contains("names no collection"));
    assert!(broken("content_sha256", json!("ab")).contains("SHA-256"));
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    assert!(broken("metadata", json!({ "a": deep })).contains("deeper"));
}
