use serde_json::json;

use super::*;

fn record() -> DocumentRecord {
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

fn piece(start: u64, text: &str) -> PieceRecord {
    PieceRecord {
        start,
        end: start + text.len() as u64,
        heading: String::new(),
        page: 2,
        text: text.to_owned(),
        vector: Vector(vec![1.0, -0.5]),
    }
}

fn document(record: DocumentRecord, pieces: Vec<PieceRecord>) -> Result<DocumentDraft, Error> {
    let mut arriving = Arriving::new(record);
    for piece in pieces {
        arriving.add(piece, 1000)?;
    }
    arriving.draft()
}

/// How many pieces are taken, none longer than `limit` bytes together with those before, and why no more are.
fn taken(pieces: impl Iterator<Item = PieceRecord>, limit: usize) -> (usize, String) {
    let mut arriving = Arriving::new(record());
    for (index, piece) in pieces.enumerate() {
        if let Err(error) = arriving.add(piece, limit) {
            assert_eq!(arriving.pieces.len(), index, "what is refused is not kept");
            return (index, error.to_string());
        }
    }
    (arriving.pieces.len(), String::new())
}

#[test]
fn a_piece_is_checked_before_the_next_comes() {
    let (count, told) = taken([piece(0, "twelve"), piece(7, "bytes")].into_iter(), 1000);
    assert!(count == 1 && told.contains("piece 1 of file:///a.txt"), "{told}");
    let mut headed = piece(6, " bytes");
    headed.heading = "h".repeat(MAX_LABEL_BYTES + 1);
    let (count, told) = taken([piece(0, "twelve"), headed].into_iter(), 1000);
    assert!(count == 1 && told.contains("the heading has 4097 bytes"), "{told}");
}

#[test]
fn a_document_takes_no_more_memory_than_is_allowed() {
    let (count, told) = taken((0..).map(|index| piece(index * 100, &"x".repeat(100))), 1000);
    assert!(count == 20 && told.contains("longer than 1000 bytes"), "{count} {told}");
    // What has no text takes room, too.
    let (count, told) = taken((0..).map(|_| piece(0, "")), 1000);
    assert!(count < 200 && told.contains("16 times 1000 bytes"), "{count} {told}");
    let headed = (0..).map(|_| PieceRecord {
        heading: "h".repeat(MAX_LABEL_BYTES),
        ..piece(0, "")
    });
    let (count, told) = taken(headed, 1000);
    assert!(count == 3 && told.contains("16 times 1000 bytes"), "{count} {told}");
    let wide = (0..).map(|_| PieceRecord {
        vector: Vector(vec![1.0; 1024]),
        ..piece(0, "")
    });
    let (count, told) = taken(wide, 1000);
    assert!(count == 3 && told.contains("16 times 1000 bytes"), "{count} {told}");
}

#[test]
fn a_document_is_what_its_lines_say() {
    let draft = document(record(), vec![piece(0, "twelve bytes")]).unwrap();
    assert_eq!(draft.chunks[0].vector, [1.0, -0.5]);
    assert_eq!(draft.history.unwrap().version, 3);
}

#[test]
fn pieces_must_be_the_whole_of_a_text() {
    let told = |pieces: &[(u64, &str)], counted: u32| {
        let mut record = record();
        record.pieces = counted;
        let pieces = pieces.iter().map(|(start, text)| piece(*start, text)).collect();
        let refused = document(record, pieces).err();
        refused.map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(told(&[(0, "twelve by"), (7, "bytes"), (12, "!")], 3), "");
    assert!(told(&[(0, "twelve"), (7, "bytes")], 2).contains("piece 1"), "a hole");
    assert!(told(&[], 0).contains("0 pieces of 0"));
    assert!(told(&[(0, "a")], 2).contains("1 pieces of 2"));
}

#[test]
fn what_a_document_says_of_itself_is_checked() {
    let broken = |field: &str, value: Value| {
        let mut record = serde_json::to_value(record()).unwrap();
        record[field] = value;
        let record: DocumentRecord = serde_json::from_value(record).unwrap();
        document(record, vec![piece(0, "twelve bytes")])
            .unwrap_err()
            .to_string()
    };
    assert!(broken("uri", json!("")).contains("empty"));
    assert!(broken("collection", json!("No Name")).contains("names no collection"));
    assert!(broken("content_sha256", json!("ab")).contains("SHA-256"));
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    assert!(broken("metadata", json!({ "a": deep })).contains("deeper"));
}
