//! Every format, read in this process; what only the child process adds is tested with it, in memory-svc.

mod pdf_fixture;

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::*;

const LIMIT: usize = 1 << 20;

fn read(media_type: MediaType, content: &[u8]) -> Result<Extracted, Refusal> {
    extract(media_type.into(), content.to_vec(), LIMIT)
}

fn found(declared: &str, name: &str, head: &[u8]) -> Result<MediaType, String> {
    detect(declared, name, head)
        .map(|format| format.media_type)
        .map_err(|refusal| refusal.to_string())
}

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn headings(extracted: &Extracted) -> Vec<(u8, &str)> {
    let headings = extracted.outline.headings.iter();
    headings
        .map(|heading| (heading.level, heading.title.as_str()))
        .collect()
}

#[test]
fn formats_are_found_by_declaration_then_ending_then_bytes_or_refused_by_name() {
    use MediaType::*;
    for (declared, name, head, wanted) in [
        ("", "file:///a/NOTES.MD?x=1", "x", Markdown),
        ("", "file:///a/notes", "x", Plain),
        ("Text/Markdown; charset=UTF-8", "x.pdf", "x", Markdown),
        ("application/octet-stream", "x.pdf", "x", Pdf),
        ("", "x", "%PDF-1.7", Pdf),
        ("", "x", " <!DOCTYPE HTML><p>", Html),
        ("text/x-python", "x", "x", Code),
        ("", "main.rs", "x", Code),
        ("", "table.tsv", "x", Csv),
        ("", "letter.eml", "x", Mail),
        ("", "data.ndjson", "x", JsonLines),
    ] {
        assert_eq!(found(declared, name, head.as_bytes()), Ok(wanted), "{declared} {name}");
    }
    let book = zipped(&[("mimetype", "application/epub+zip"), ("x", "y")]);
    // Stored without compression, as the format wants it.
    let mut stored = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    stored.start_file("mimetype", options).unwrap();
    stored.write_all(b"application/epub+zip").unwrap();
    assert_eq!(found("", "x", &stored.finish().unwrap().into_inner()), Ok(Epub));
    for (declared, name, head, told) in [
        ("image/png", "x", &b""[..], "image/png"),
        ("", "holiday.jpeg", b"\xFF\xD8", ".jpeg"),
        ("", "x", &book[..], "ZIP"),
        ("", "x", b"\xD0\xCF\x11\xE0\xA1", "DOCX"),
        ("", "x", b"\x7FELF\0", "binary"),
    ] {
        let refused = found(declared, name, head).unwrap_err();
        assert!(refused.contains(told) && refused.contains("Markdown"), "{refused}");
    }
    assert!(
        found("text/plain; charset=klingon", "x", b"x")
            .unwrap_err()
            .contains("klingon")
    );
}

#[test]
fn programming_languages_are_known_by_declaration_then_ending() {
    for (declared, name, wanted) in [
        ("", "file:///src/MAIN.RS", Some(Language::Rust)),
        ("text/x-source", "store.py?x=1", Some(Language::Python)),
        ("text/x-python; charset=utf-8", "store.rs", Some(Language::Python)),
        ("application/javascript", "x", Some(Language::JavaScript)),
        ("text/rust", "x", Some(Language::Rust)),
        ("", "page.tsx", Some(Language::Tsx)),
        ("", "store.h", Some(Language::Cpp)),
        ("", "store.zig", None),
        ("text/plain", "store.rs", None),
        ("text/markdown", "store.c", None),
    ] {
        let format = detect(declared, name, b"x").unwrap();
        assert_eq!(format.language, wanted, "{declared} {name}");
        let is_code = format.media_type == MediaType::Code;
        assert_eq!(format.is_text(), !is_code || wanted.is_none(), "{declared} {name}");
    }
}

#[test]
fn text_is_decoded_as_it_says_or_refused_with_the_place() {
    let text = |content: &[u8]| read(MediaType::Plain, content).map(|extracted| extracted.text);
    assert_eq!(text("\u{FEFF}Grüße".as_bytes()).unwrap(), "Grüße");
    assert_eq!(text(b"\xFF\xFEH\0i\0").unwrap(), "Hi");
    for (content, told) in [
        (&b"ab\xFFcd"[..], "byte 2 is not UTF-8"),
        (b"ab\0cd", "byte 2 is 0"),
        (b" \n ", "no text"),
        (b"\xFF\xFEH", "not UTF-16LE"),
    ] {
        let refused = text(content).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    let latin = detect("text/plain; charset=iso-8859-1", "", b"").unwrap();
    assert_eq!(extract(latin, b"Gr\xFC\xDFe".to_vec(), LIMIT).unwrap().text, "Grüße");
}

#[test]
fn messages_show_little_of_hostile_text() {
    assert_eq!(shorten("a\nb"), "a\\nb");
    assert_eq!(shorten(&"x".repeat(500)).chars().count(), 81);
}

#[test]
fn a_long_text_is_refused_with_the_limit() {
    let refused = extract(MediaType::Plain.into(), vec![b'x'; 2000], 1999).unwrap_err();
    assert_eq!(refused, Refusal::TextTooLong { limit: 1999 });
}

#[test]
fn titles_come_from_the_best_place() {
    let called = |media_type, content: &str, name: &str, given: &str| {
        title(given, &read(media_type, content.as_bytes()).unwrap(), name)
    };
    assert_eq!(called(MediaType::Plain, "x", "", " Given "), "Given");
    assert_eq!(called(MediaType::Markdown, "## B\n# A\n", "file:///n.md", ""), "A");
    assert_eq!(
        called(MediaType::Plain, "x", "file:///a/my%20list.txt", ""),
        "my list.txt"
    );
    let program = extract(Language::Python.into(), b"class Store: pass".to_vec(), LIMIT).unwrap();
    assert_eq!(headings(&program), [(1, "class Store")]);
    assert_eq!(title("", &program, "file:///a/store.py"), "store.py");
    assert_eq!(extract(Language::Go.into(), Vec::new(), LIMIT), Err(Refusal::Empty));
    assert_eq!(
        called(MediaType::Plain, "\n My  sister likes tulips. ", "note:1", ""),
        "My sister likes tulips."
    );
    let long = called(MediaType::Plain, &"word ".repeat(40), "note:1", "");
    assert!(
        long.ends_with("word…") && long.chars().count() <= FIRST_WORDS_CHARS + 1,
        "{long}"
    );
}

#[test]
fn a_page_is_what_is_read_of_it() {
    let page = "<html><head><title>Tea &amp; cake</title><style>p{}</style></head><body><nav>Home</nav>\
                <h1>Tea</h1><p>Pour <a href='http://x'>hot water</a> on it.<img src='x' alt='A pot'></p>\
                <h2>Cake</h2><ul><li>Flour</li><li>Eggs</li></ul><script>evil()</script></body></html>";
    let extracted = read(MediaType::Html, page.as_bytes()).unwrap();
    assert_eq!(
        extracted.text,
        "# Tea\n\nPour hot water on it.A pot\n\n## Cake\n\n- Flour\n- Eggs"
    );
    assert_eq!(extracted.title.as_deref(), Some("Tea & cake"));
    assert_eq!(headings(&extracted), [(1, "Tea"), (2, "Cake")]);
}

#[test]
fn pages_are_decoded_as_browsers_do() {
    let text = |page: &[u8]| read(MediaType::Html, page).unwrap().text;
    assert_eq!(text(b"<meta charset='koi8-r'><p>\xD4\xC1\xCB"), "так");
    assert_eq!(text(b"<p>Gr\xFC\xDFe"), "Grüße", "Windows-1252, where nothing is said");
    assert_eq!(text("<p>Grüße".as_bytes()), "Grüße");
}

const DOCUMENT: &str = r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>
<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>The Garden</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Tomatoes </w:t></w:r><w:r><w:t>&amp; beans&#33;</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>
<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>Water</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Plant</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Month</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Kale</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>May</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
</w:body></w:document>"#;
const STYLES: &str =
    r#"<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>"#;

#[test]
fn docx_keeps_headings_lists_tables_and_notes() {
    let footnotes = r#"<w:footnotes xmlns:w="w"><w:footnote><w:p><w:r><w:t>In spring.</w:t></w:r></w:p></w:footnote></w:footnotes>"#;
    let core = r#"<c:coreProperties xmlns:c="c" xmlns:dc="dc"><dc:title>My garden</dc:title></c:coreProperties>"#;
    let file = zipped(&[
        ("word/document.xml", DOCUMENT),
        ("word/styles.xml", STYLES),
        ("word/footnotes.xml", footnotes),
        ("docProps/core.xml", core),
    ]);
    let extracted = read(MediaType::Docx, &file).unwrap();
    assert_eq!(
        extracted.text.trim(),
        "# The Garden\n\nTomatoes & beans!\n\n- Water\nPlant | Month\nKale | May\n\nIn spring."
    );
    assert_eq!(extracted.title.as_deref(), Some("My garden"));
    assert_eq!(headings(&extracted), [(1, "The Garden")]);
}

#[test]
fn broken_docx_are_refused_with_the_reason() {
    for (file, told) in [
        (b"PK\x03\x04nonsense".to_vec(), "broken"),
        (zipped(&[("x", "y")]), "no word/document.xml"),
        (zipped(&[("word/document.xml", "<w:p><w:t>x</w:wrong>")]), "broken"),
        (b"\xD0\xCF\x11\xE0xx".to_vec(), "encrypted"),
    ] {
        let refused = read(MediaType::Docx, &file).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn archives_that_unpack_to_too_much_are_refused() {
    let blank = " ".repeat(64 << 20);
    let bomb = zipped(&[("word/document.xml", &blank)]);
    assert!(bomb.len() < 200_000, "it is a bomb: {} bytes", bomb.len());
    assert_eq!(
        read(MediaType::Docx, &bomb).unwrap_err(),
        Refusal::TextTooLong { limit: LIMIT }
    );
}

#[test]
fn entities_are_not_expanded() {
    let bomb = r#"<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]><w:document xmlns:w="w"><w:p><w:r><w:t>x&b;y</w:t></w:r></w:p></w:document>"#;
    let extracted = read(MediaType::Docx, &zipped(&[("word/document.xml", bomb)])).unwrap();
    assert_eq!(extracted.text.trim(), "x y");
}

#[test]
fn books_are_read_in_their_order_with_their_chapters() {
    let container = r#"<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="b.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"#;
    let package = r#"<package version="3.0" xmlns="http://www.idpf.org/2007/opf" unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">x</dc:identifier><dc:title>A Book</dc:title><dc:language>en</dc:language></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/><item id="two" href="2.xhtml" media-type="application/xhtml+xml"/><item id="one" href="1.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="one"/><itemref idref="two"/></spine></package>"#;
    let nav = r#"<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body><nav epub:type="toc"><ol><li><a href="1.xhtml">The Whale</a></li><li><a href="2.xhtml">The Sea</a></li></ol></nav></body></html>"#;
    let book = zipped(&[
        ("mimetype", "application/epub+zip"),
        ("META-INF/container.xml", container),
        ("b.opf", package),
        ("nav.xhtml", nav),
        ("1.xhtml", "<html><body><p>Call me Ishmael.</p></body></html>"),
        ("2.xhtml", "<html><body><h1>Water</h1><p>It was wet.</p></body></html>"),
    ]);
    let extracted = read(MediaType::Epub, &book).unwrap();
    assert_eq!(
        extracted.text.trim(),
        "# The Whale\n\nCall me Ishmael.\n\n# Water\n\nIt was wet."
    );
    assert_eq!(extracted.title.as_deref(), Some("A Book"));
    assert!(matches!(
        read(MediaType::Epub, &zipped(&[("x", "y")])),
        Err(Refusal::Broken { .. })
    ));
}

#[test]
fn rows_of_tables_say_their_columns() {
    let rows = |table: &str| read(MediaType::Csv, table.as_bytes()).unwrap().text;
    assert_eq!(
        rows("Name,Born,Note\nAda,1815,\"first,\nof all\"\nAlan,1912,\n"),
        "Name: Ada; Born: 1815; Note: first, of all\nName: Alan; Born: 1912\n"
    );
    assert_eq!(rows("a;b\n1,5;2\n"), "a: 1,5; b: 2\n");
    assert_eq!(rows("a\tb\n1\t2\n"), "a: 1; b: 2\n");
    assert_eq!(rows("only one row, here"), "only one row; here");
}

#[test]
fn json_values_keep_their_paths() {
    let json = r#"{"title":"Zoo","tags":["big","old"],"animals":[{"name":"Bo","age":3},{"name":"Mia"}],"x":null}"#;
    let extracted = read(MediaType::Json, json.as_bytes()).unwrap();
    assert_eq!(
        extracted.text,
        "title: Zoo\ntags: big, old\nanimals[0].name: Bo\nanimals[0].age: 3\n\nanimals[1].name: Mia\n\n"
    );
    assert_eq!(extracted.title.as_deref(), Some("Zoo"));
    let lines = read(MediaType::JsonLines, b"{\"a\":1}\n\n{\"a\":2}\n").unwrap();
    assert_eq!(lines.text, "a: 1\n\na: 2\n\n");
    let refused = read(MediaType::JsonLines, b"{\"a\":1}\n{").unwrap_err().to_string();
    assert!(refused.contains("line 2"), "{refused}");
    let deep = "[".repeat(100_000);
    assert!(matches!(
        read(MediaType::Json, deep.as_bytes()),
        Err(Refusal::Broken { .. })
    ));
}

#[test]
fn mails_say_who_wrote_what_to_whom() {
    let mail = "From: Ada <ada@example.org>\r\nTo: bob@example.org\r\nDate: Tue, 3 Mar 2026 10:00:00 +0100\r\n\
                Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
                <p>The <b>key</b> is under the mat.</p>\r\n--b\r\nContent-Type: application/pdf\r\n\
                Content-Disposition: attachment; filename=map.pdf\r\n\r\nxx\r\n--b--\r\n";
    let extracted = read(MediaType::Mail, mail.as_bytes()).unwrap();
    assert_eq!(
        extracted.text,
        "From: Ada <ada@example.org>\nTo: bob@example.org\nDate: 2026-03-03T10:00:00+01:00\nSubject: Grüße\n\
         Attachments: map.pdf\n\nThe **key** is under the mat."
    );
    assert_eq!(extracted.title.as_deref(), Some("Grüße"));
    assert!(extracted.warnings[0].contains("map.pdf"));
}

#[test]
fn pdf_pages_and_bookmarks_are_kept() {
    let (lines, bookmarks) = (["Alpha stands first.", "", "Gamma is the third page."], [("Greek", 3)]);
    for file in [
        pdf_fixture::of_pages(&lines, &bookmarks),
        pdf_fixture::packed(&lines, &bookmarks),
    ] {
        let extracted = read(MediaType::Pdf, &file).unwrap();
        assert_eq!(extracted.text, "Alpha stands first.\n\nGamma is the third page.\n\n");
        let place = extracted.text.find("Gamma").unwrap();
        assert_eq!(extracted.outline.page_of(place), 3);
        assert_eq!(extracted.outline.page_of(0), 1);
        assert_eq!(headings(&extracted), [(1, "Greek")]);
        assert_eq!(extracted.title.as_deref(), Some("A made document"));
    }
}

#[test]
fn pdfs_without_text_and_encrypted_ones_are_refused_with_the_remedy() {
    let scanned = read(MediaType::Pdf, &pdf_fixture::of_pages(&["", ""], &[])).unwrap_err();
    assert_eq!(scanned, Refusal::Scanned { pages: 2 });
    assert!(scanned.to_string().contains("ocrmypdf"));
    let locked = read(MediaType::Pdf, &pdf_fixture::encrypted("A secret.", "password")).unwrap_err();
    assert!(matches!(locked, Refusal::Encrypted { .. }), "{locked:?}");
    let only_marked = read(MediaType::Pdf, &pdf_fixture::encrypted("No secret.", "")).unwrap();
    assert_eq!(only_marked.text.trim(), "No secret.");
    assert!(matches!(
        read(MediaType::Pdf, b"%PDF-1.7 nonsense"),
        Err(Refusal::Broken { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Damage never brings a text with bounds that are not in it.
    #[test]
    fn damaged_documents_are_read_or_refused(
        which in 0..4_usize,
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        place in any::<prop::sample::Index>(),
    ) {
        let (media_type, mut file) = match which {
            0 => (MediaType::Docx, zipped(&[("word/document.xml", DOCUMENT), ("word/styles.xml", STYLES)])),
            1 => (MediaType::Html, b"<h1>A</h1><p>b <i>c</i></p><table><tr><td>d</td></tr></table>".to_vec()),
            2 => (MediaType::Csv, b"a,b\n1,\"2\"\n3,4\n".to_vec()),
            _ => (MediaType::Mail, b"Subject: x\r\nContent-Type: text/plain\r\n\r\nbody".to_vec()),
        };
        let length = file.len();
        file[place.index(length)] = byte;
        file.truncate(1 + cut.index(length));
        if let Ok(extracted) = read(media_type, &file) {
            prop_assert!(!extracted.text.trim().is_empty());
            for heading in &extracted.outline.headings {
                prop_assert!(extracted.text.get(heading.span.clone()).is_some());
            }
        }
    }
}
