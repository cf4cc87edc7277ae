//! Documents that need a parser: read in a process of their own, cited by page, stopped when they take too much.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use solo_proto::memory::v1::*;
use solo_service::ErrorCode;
use zip::write::SimpleFileOptions;

use crate::support::*;
use crate::{pdf_damage, pdf_fixture};

/// Why a PDF may be refused.
const PDF_REFUSALS: [&str; 5] = [
    "BROKEN_DOCUMENT",
    "NO_TEXT_LAYER",
    "ENCRYPTED_DOCUMENT",
    "DOCUMENT_TOO_COMPLEX",
    "TEXT_TOO_LONG",
];

fn header(uri: &str) -> DocumentHeader {
    DocumentHeader {
        uri: uri.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_of_300_pages_is_cited_by_page_and_leaves_nothing_behind() {
    let fixture = start().await;
    let client = &fixture.client;
    let lines: Vec<String> = (1..=300)
        .map(|page| format!("Chapter {page}: the animal of this page is number{page}."))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = pdf_fixture::of_pages(&lines, &[("Beginning", 1), ("The second half", 151)]);
    let put = client
        .put_with(header("file:///books/animals.pdf"), &file)
        .await
        .unwrap();
    assert_eq!((put.document.chunks, put.embedded), (300, 300));
    assert_eq!(put.document.media_type, "application/pdf");
    assert_eq!(put.document.title, "A made document");
    for page in [1, 150, 233, 300] {
        let hits = client.find(&format!("number{page}")).await;
        let cited = citation(&hits[0]);
        assert_eq!(cited.page, page);
        assert_eq!(cited.heading, if page <= 150 { "Beginning" } else { "The second half" });
        let passage = client
            .get_passage(GetPassageRequest {
                document_id: cited.document.clone(),
                range: cited.range,
                context_bytes: 0,
            })
            .await
            .unwrap();
        assert_eq!(passage.text, cited.text);
    }
    client.delete(&[&put.document.id]).await.unwrap();
    assert!(client.find("number233").await.is_empty());
    let by_words = SearchRequest {
        mode: SearchMode::Text.into(),
        ..query("number233")
    };
    assert!(client.search(by_words).await.unwrap().hits.is_empty());
    assert_eq!((fixture.gauge("documents"), fixture.gauge("chunks")), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_embedded_again() {
    let fixture = start().await;
    let client = &fixture.client;
    let paragraph = |n: usize, word: &str| format!("## Section {n}\n\n{}\n\n", words(&format!("{word}{n}x"), 60));
    let text: String = (0..10).map(|n| paragraph(n, "a")).collect();
    let first = client.put("file:///n.md", &text).await;
    assert_eq!(first.embedded, first.document.chunks);
    let changed = text.replace(&paragraph(4, "a"), &paragraph(4, "b"));
    let second = client.put("file:///n.md", &changed).await;
    assert_eq!((second.document.version, second.embedded), (2, 1));
    assert!(citation(&client.find("b4x7").await[0]).heading.contains("Section 4"));
    // Another name for the same content, as after a rename.
    let copy = client.put("file:///renamed.md", &changed).await;
    assert_eq!(copy.embedded, 0);
    assert_ne!(copy.document.id, second.document.id);
    client.delete(&[&second.document.id]).await.unwrap();
    assert_eq!(citation(&client.find("b4x7").await[0]).uri, "file:///renamed.md");
    // Somebody else's content is not looked at.
    let theirs = client.of("eve").put("file:///renamed.md", &changed).await;
    assert_eq!(theirs.embedded, theirs.document.chunks);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_at_two_paths_is_found_once() {
    let fixture = start().await;
    for uri in ["file:///a.txt", "file:///b.txt"] {
        fixture.client.put(uri, "the key is under the mat").await;
    }
    assert_eq!(fixture.client.documents().await.len(), 2);
    assert_eq!(fixture.client.find("key under the mat").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parser_left_out_is_said() {
    let fixture = start().await;
    let mail = "Subject: Map\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee there.\r\n--b\r\n\
                Content-Disposition: attachment; filename=map.pdf\r\n\r\nxx\r\n--b--\r\n";
    let put = fixture
        .client
        .put_with(header("file:///m.eml"), mail.as_bytes())
        .await
        .unwrap();
    assert!(put.warnings[0].contains("map.pdf"), "{:?}", put.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_code_is_cited_by_definition() {
    let fixture = start().await;
    let program = "use std::fs;\n\nimpl Store {\n    /// Opens the tulip file.\n    fn open(&self) {}\n\n    fn close(&self) {}\n}\n";
    let put = fixture.client.put("file:///src/store.rs", program).await;
    let document = &put.document;
    assert_eq!(
        (document.title.as_str(), document.media_type.as_str(), document.chunks),
        ("store.rs", "text/x-source", 3)
    );
    assert!(put.warnings.is_empty(), "{:?}", put.warnings);
    let hits = fixture.client.find("Opens the tulip file.").await;
    assert_eq!(citation(&hits[0]).heading, "impl Store › fn open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_its_grammar_cannot_cope_with_is_a_text() {
    let fixture = start_with("[memory.extract]\ntimeout_s = 1\n").await;
    // The scanner looks for the end of each of these.
    let program = format!("// the key is under the mat\n{}", "r#\"".repeat(100_000));
    let put = fixture.client.put("file:///slow.rs", &program).await;
    assert!(
        put.warnings[0].contains("its definitions") && put.warnings[0].contains("more than 1 seconds"),
        "{:?}",
        put.warnings
    );
    let hits = fixture.client.find("the key is under the mat").await;
    assert!(hits[0].text.starts_with("// the key is under the mat"));
    // As much of it as is shown at once.
    let shown = fixture.client.text_of(&put.document.id).await.unwrap();
    assert!(shown.len() > 200_000 && program.starts_with(&shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_too_much_is_stopped_and_nothing_else_is_lost() {
    let fixture = start_with("[memory.extract]\nmemory_mb = 96\ntimeout_s = 2\n").await;
    let client = &fixture.client;
    client.put("file:///safe.txt", "the key is under the mat").await;
    let refuse = async |uri: &str, content: &[u8], reason: &str, told: &str| {
        let message = refused(
            client.put_with(header(uri), content).await,
            ErrorCode::InvalidArgument,
            reason,
        );
        assert!(message.contains(told), "{message}");
    };
    // Ten million numbers take sixteen times their room as values.
    let many = format!("[[0]{}]", ",[0]".repeat(5_000_000));
    refuse("file:///a.json", many.as_bytes(), "DOCUMENT_TOO_COMPLEX", "96 MB").await;
    let deep = "<div>".repeat(3_000_000);
    refuse("file:///b.html", deep.as_bytes(), "DOCUMENT_TOO_COMPLEX", "memory").await;
    let mut bomb = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    bomb.start_file("word/document.xml", SimpleFileOptions::default())
        .unwrap();
    for _ in 0..1024 {
        bomb.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap().into_inner();
    refuse("file:///c.docx", &bomb, "DOCUMENT_TOO_COMPLEX", "96 MB").await;
    let locked = pdf_fixture::encrypted("A secret.", "password");
    refuse("file:///l.pdf", &locked, "ENCRYPTED_DOCUMENT", "qpdf").await;
    refuse("file:///d.pdf", b"%PDF-1.4 nothing follows", "BROKEN_DOCUMENT", "PDF").await;
    let mut laughs = String::from("<!DOCTYPE l [<!ENTITY a0 \"lol\">");
    for n in 1..30 {
        let before = n - 1;
        write!(laughs, "<!ENTITY a{n} \"{}\">", format!("&a{before};").repeat(10)).unwrap();
    }
    laughs.push_str("]><l>&a29;</l>");
    client
        .put_with(header("file:///e.xml"), laughs.as_bytes())
        .await
        .unwrap();
    assert_eq!(
        client.documents().await.len(),
        2,
        "laughs are read as the text that they are"
    );
    assert_eq!(
        citation(&client.find("key under the mat").await[0]).uri,
        "file:///safe.txt"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_too_long_is_stopped() {
    let fixture = start_with("[memory.extract]\ntimeout_s = 1\n").await;
    let page = format!("<table>{}", "<tr><td><b>x<i>y<p>".repeat(400_000));
    let refusal = fixture.client.put_with(header("file:///a.html"), page.as_bytes()).await;
    let message = refused(refusal, ErrorCode::InvalidArgument, "DOCUMENT_TOO_COMPLEX");
    assert!(message.contains("more than 1 seconds"), "{message}");
}

/// Puts a damaged PDF. True: it was read; false: it was refused as one may be.
async fn is_read(client: &Client, name: &str, pdf: &[u8]) -> bool {
    let put = client.put_with(header(&format!("file:///{name}")), pdf);
    let Ok(put) = tokio::time::timeout(Duration::from_secs(60), put).await else {
        panic!("{name} is read without end");
    };
    match put {
        Ok(put) => {
            assert!(put.document.chunks > 0, "{name}");
            true
        }
        Err(status) => {
            let (code, reason) = fault(&status);
            let told = status.message();
            assert_eq!(code, ErrorCode::InvalidArgument, "{name}: {told}");
            assert!(PDF_REFUSALS.contains(&reason.as_str()), "{name}: {reason}: {told}");
            // What is said where a process ended and left no word why.
            assert!(!told.contains("its parser died"), "{name}: {told}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pdfs_are_read_or_refused_with_a_known_reason_and_the_next_one_is_read() {
    let fixture = start_with("[memory.extract]\nmemory_mb = 128\ntimeout_s = 2\nprocesses = 4\n").await;
    let client = &fixture.client;
    let first = "Alpha stands first. ".repeat(8);
    let (lines, bookmarks) = (
        [first.as_str(), "Beta follows.", "Gamma is last."],
        [("Greek", 2), ("Late", 3)],
    );
    let wholes = [
        pdf_fixture::of_pages(&lines, &bookmarks),
        pdf_fixture::packed(&lines, &bookmarks),
        pdf_fixture::encrypted("No secret.", ""),
    ];
    let damaged = pdf_damage::corpus(&wholes, 150, &mut StdRng::seed_from_u64(1));
    let outcomes: Vec<bool> = stream::iter(&damaged)
        .map(|(name, pdf)| is_read(client, name, pdf))
        .buffer_unordered(4)
        .collect()
        .await;
    assert!(outcomes.contains(&true), "damage that does not matter is got over");
    assert!(outcomes.contains(&false), "damage that does is found");
    let last = pdf_fixture::of_pages(&["Omega comes after them all."], &[]);
    client.put_with(header("file:///whole.pdf"), &last).await.unwrap();
    let hits = client.find("Omega comes after them all.").await;
    assert_eq!(citation(&hits[0]).uri, "file:///whole.pdf");
}
