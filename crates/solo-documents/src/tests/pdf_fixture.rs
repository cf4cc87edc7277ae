//! PDFs, made here. memory-svc's tests have this file, too.

use pdf_extract::content::{Content, Operation};
use pdf_extract::encryption::{EncryptionState, EncryptionVersion, Permissions};
use pdf_extract::{Bookmark, Document, Object, Stream, dictionary};

/// A PDF whose pages hold a line each (none where it is empty), with bookmarks to pages counted from 1.
pub fn of_pages(lines: &[&str], bookmarks: &[(&str, usize)]) -> Vec<u8> {
    saved(document(lines, bookmarks))
}

/// The same as newer programs write it: compressed, its objects in a stream, a stream of cross-references for a table.
pub fn packed(lines: &[&str], bookmarks: &[(&str, usize)]) -> Vec<u8> {
    let mut document = document(lines, bookmarks);
    document.compress();
    let mut bytes = Vec::new();
    document.save_modern(&mut bytes).expect("memory takes everything");
    bytes
}

/// A PDF of one page that opens with a password.
pub fn encrypted(line: &str, password: &str) -> Vec<u8> {
    let mut document = document(&[line], &[]);
    document.trailer.set(
        "ID",
        vec![
            Object::string_literal("0123456789abcdef"),
            Object::string_literal("0123456789abcdef"),
        ],
    );
    let version = EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password: password,
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).expect("a key");
    document.encrypt(&state).expect("an encrypted document");
    saved(document)
}

fn saved(mut document: Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).expect("memory takes everything");
    bytes
}

fn document(lines: &[&str], bookmarks: &[(&str, usize)]) -> Document {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font",
        "Subtype" => "Type1",
        "BaseFont" => "Helvetica",
    });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut pages = Vec::new();
    for line in lines {
        let operations = vec![
            Operation::new("BT", vec![]),
            Operation::new("Tf", vec!["F1".into(), 12.into()]),
            Operation::new("Td", vec![50.into(), 700.into()]),
            Operation::new("Tj", vec![Object::string_literal(*line)]),
            Operation::new("ET", vec![]),
        ];
        let content = Content { operations }.encode().expect("operations");
        let content = document.add_object(Stream::new(dictionary! {}, content));
        pages.push(document.add_object(dictionary! {
            "Type" => "Page",
            "Parent" => tree,
            "Contents" => content,
            "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        }));
    }
    for (title, page) in bookmarks {
        let bookmark = Bookmark::new((*title).to_owned(), [0.0; 3], 0, pages[page - 1]);
        document.add_bookmark(bookmark, None);
    }
    let kids: Vec<Object> = pages.iter().map(|page| (*page).into()).collect();
    let count = i64::try_from(kids.len()).expect("few pages");
    document.objects.insert(
        tree,
        Object::Dictionary(dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count }),
    );
    let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => tree };
    if let Some(outline) = document.build_outline() {
        catalog.set("Outlines", outline);
    }
    let catalog = document.add_object(catalog);
    let info = document.add_object(dictionary! { "Title" => Object::string_literal("A made document") });
    document.trailer.set("Root", catalog);
    document.trailer.set("Info", info);
    document
}
