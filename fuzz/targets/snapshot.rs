//! An exported memory of a stranger: read into records whose pieces make up texts, or refused in a short line without control
//! characters.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use solo_snapshot::{PieceRecord, Record, read};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Longest line of a piece, in bytes.
const LONGEST_PIECE: u64 = 1 << 16;
/// Longest message, in characters: what is quoted of a file is cut.
const MAX_MESSAGE_CHARS: usize = 300;
const MANIFEST: &str = r#"{"format":"solo-memory","version":1,"made_by":"","created_at":"2026-01-02T03:04:05Z","model":"m","dimension":2,"documents":1}"#;
const DOCUMENT: &str = r#"{"document":{"id":"0190c42a-5a5f-7000-8000-000000000001","collection":"default","uri":"note:1","title":"","media_type":"text/plain","version":1,"bytes":1,"content_sha256":"","metadata":{},"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","pieces":1}}"#;

/// An archive of entries: no fuzzer finds out by itself how one is made.
fn archive_of(entries: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, lines) in entries {
        archive
            .start_file(*name, SimpleFileOptions::default())
            .expect("memory takes everything");
        for line in *lines {
            archive.write_all(line).expect("memory takes everything");
            archive.write_all(b"\n").expect("memory takes everything");
        }
    }
    archive.finish().expect("memory takes everything").into_inner()
}

/// The text of a document, as far as its pieces follow each other.
#[derive(Default)]
struct Text {
    text: String,
    last: Option<PieceRecord>,
}

impl Text {
    fn add(&mut self, piece: PieceRecord) {
        if !piece.follows(self.last.as_ref()) {
            return;
        }
        let known = self.text.len() - piece.start as usize;
        self.text.push_str(&piece.text[known..]);
        assert!(self.text.ends_with(&piece.text), "{piece:?}");
        assert_eq!(self.text.len() as u64, piece.end, "{piece:?}");
        self.last = Some(piece);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else {
        return;
    };
    let (manifest, document) = (MANIFEST.as_bytes(), DOCUMENT.as_bytes());
    let file = match choice % 5 {
        0 => content.to_vec(),
        1 => archive_of(&[("manifest.json", &[content])]),
        2 => archive_of(&[("manifest.json", &[manifest]), ("collections.jsonl", &[content])]),
        3 => archive_of(&[("manifest.json", &[manifest]), ("facts.jsonl", &[content])]),
        _ => archive_of(&[
            ("manifest.json", &[manifest]),
            ("documents.jsonl", &[document, content]),
        ]),
    };
    let mut text = Text::default();
    let done = read(file.as_slice(), LONGEST_PIECE, |record| {
        match record {
            Record::Document(_) => text = Text::default(),
            Record::Piece(piece) => text.add(piece),
            Record::Manifest(_) | Record::Collection(_) | Record::Fact(_) => {}
        }
        true
    });
    if let Err(error) = done {
        let message = error.to_string();
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(message.chars().count() <= MAX_MESSAGE_CHARS, "{message}");
    }
});
