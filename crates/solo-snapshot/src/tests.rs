use std::io::Cursor;

use serde_json::json;

use super::*;

fn manifest() -> Record {
    let written = "2026-01-02T03:04:05Z".parse().unwrap();
    Record::Manifest(Manifest::new("a test", written, "minilm", 2, 1))
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
        "content_sha256": "07".repeat(32),
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

fn written(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap().into_inner()
}

fn read_all(file: &[u8], longest: u64) -> (Vec<Record>, Result<(), SnapshotError>) {
    let mut records = Vec::new();
    let done = read(file, longest, |record| {
        records.push(record);
        true
    });
    (records, done)
}

/// An archive with one entry.
fn archive(entry: &str, content: &str) -> Vec<u8> {
    archive_of(&[(entry, content)])
}

fn archive_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (entry, content) in entries {
        zip.start_file(*entry, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
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
    let (records, done) = read_all(&file, 1 << 20);
    done.unwrap();
    let [
        Record::Manifest(manifest),
        Record::Document(found),
        Record::Piece(inside),
    ] = records.as_slice()
    else {
        panic!("{records:?}");
    };
    assert_eq!((manifest.dimension, manifest.documents), (2, 1));
    assert_eq!((&**found, inside), (&original, &part));
    assert_eq!(inside.vector, Vector(vec![1.0, -0.5]));
}

#[test]
fn what_is_no_exported_memory_says_so() {
    let strange = json!({
        "format": "other", "version": 1, "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    let newer = json!({
        "format": "solo-memory", "version": 9, "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    for (file, wanted) in [
        (b"no archive at all".to_vec(), "no exported memory"),
        (archive("other.txt", "hello"), "it begins with other.txt"),
        (archive("manifest.json", "{"), "manifest.json, line 1"),
        (archive("manifest.json", &strange.to_string()), "its format is `other`"),
        (archive("manifest.json", &newer.to_string()), "version 9"),
    ] {
        let (records, done) = read_all(&file, 1 << 20);
        let told = done.unwrap_err().to_string();
        assert!(told.contains(wanted) && records.is_empty(), "{told}");
    }
}

#[test]
fn entries_come_once_and_in_order_and_the_manifest_has_one_line() {
    let record = json!({
        "format": "solo-memory", "version": 1, "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    let line = format!("{record}\n");
    let manifest = ("manifest.json", line.as_str());
    let collection = ("collections.jsonl", "{\"name\":\"a\",\"description\":\"\"}\n");
    let (facts, documents) = (("facts.jsonl", ""), ("documents.jsonl", ""));
    let lines = line.repeat(2);
    for (entries, taken, wanted) in [
        (vec![manifest, collection, facts, documents], 2, ""),
        (vec![manifest, documents], 1, ""),
        (
            vec![manifest, facts, collection],
            1,
            "collections.jsonl stands twice in it, or too late",
        ),
        (
            vec![manifest, collection, documents, facts],
            2,
            "facts.jsonl stands twice in it, or too late",
        ),
        (
            vec![("manifest.json", lines.as_str())],
            1,
            "manifest.json, line 2: it has one line",
        ),
        (vec![manifest, ("other.txt", "")], 1, "it has other.txt"),
    ] {
        let (records, done) = read_all(&archive_of(&entries), 1 << 20);
        let told = done.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(wanted) && told.is_empty() == wanted.is_empty(), "{told}");
        assert_eq!(records.len(), taken, "{told}");
    }
    // No writer puts an entry in twice: an archive without its directory, and the entries of another.
    for (first, second) in [
        (vec![manifest, collection], vec![collection]),
        (vec![manifest], vec![manifest]),
    ] {
        let mut file = archive_of(&first);
        let directory = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        file.truncate(directory);
        file.extend(archive_of(&second));
        let (records, done) = read_all(&file, 1 << 20);
        let told = done.unwrap_err().to_string();
        assert!(told.contains("stands twice in it, or too late"), "{told}");
        assert_eq!(records.len(), first.len(), "{told}");
    }
}

#[test]
fn a_line_has_a_longest_length() {
    let long = Record::Piece(piece(0, &"x".repeat(5000)));
    let file = written(&[manifest(), Record::Document(Box::new(document())), long]);
    let (records, done) = read_all(&file, 4000);
    let told = done.unwrap_err().to_string();
    assert!(
        told.contains("documents.jsonl, line 2: it is longer than 4000 bytes"),
        "{told}"
    );
    assert_eq!(records.len(), 2);

    let mut large = serde_json::to_value(document()).unwrap();
    large["metadata"] = json!({ "a": vec![0; 1 << 20] });
    let large = Record::Document(Box::new(serde_json::from_value(large).unwrap()));
    let (records, done) = read_all(&written(&[manifest(), large]), 1 << 30);
    let told = done.unwrap_err().to_string();
    assert!(told.contains("line 1: it is longer than 2097152 bytes"), "{told}");
    assert_eq!(records.len(), 1);
}

#[test]
fn what_is_quoted_of_a_damaged_line_is_short() {
    let strange = json!({
        "format": "solo-memory", "version": "\u{7}".repeat(1 << 17), "made_by": "", "created_at": "2026-01-02T03:04:05Z",
        "model": "m", "dimension": 2, "documents": 0,
    });
    let (_, done) = read_all(&archive("manifest.json", &strange.to_string()), 1 << 20);
    let told = done.unwrap_err().to_string();
    assert!(told.contains("manifest.json, line 1: invalid type"), "{told}");
    assert!(told.len() < 200 && !told.contains(char::is_control), "{told:?}");
}

#[test]
fn what_is_shown_of_a_file_is_escaped_and_short() {
    assert_eq!(shorten("a\u{7}b"), "a\\u{7}b");
    assert_eq!(shorten(&"ä".repeat(80)), "ä".repeat(80));
    assert_eq!(shorten(&"ä".repeat(81)), format!("{}…", "ä".repeat(80)));
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
    let (found, done) = read_all(&file[..file.len() / 2], 1 << 20);
    let told = done.unwrap_err().to_string();
    assert!(told.contains("documents.jsonl, line"), "{told}");
    assert!(found.len() < records.len(), "{}", found.len());
    assert!(matches!(found[0], Record::Manifest(_)));
}

#[test]
fn a_piece_follows_where_both_say_the_same() {
    let follows =
        |first: (usize, &str), second: (usize, &str)| piece(second.0, second.1).follows(Some(&piece(first.0, first.1)));
    assert!(piece(0, "twelve bytes").follows(None));
    assert!(!piece(3, "lve bytes").follows(None), "a beginning is missing");
    assert!(follows((0, "twelve by"), (7, "bytes")));
    assert!(follows((7, "bytes"), (12, "!")));
    assert!(!follows((0, "twelve"), (7, "bytes")), "a hole");
    assert!(
        !follows((0, "twelve bytes"), (0, "twelve")),
        "it ends before the one before"
    );
    assert!(!follows((0, "twelve by"), (7, "other")), "both say something else");
    assert!(!follows((0, "zwölf"), (3, "\u{b6}lf")), "the middle of a character");
    let mut longer = piece(0, "twelve");
    longer.end = 7;
    assert!(!longer.follows(None), "its text is shorter than it says");
}
