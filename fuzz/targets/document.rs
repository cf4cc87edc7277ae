//! A document of a stranger: read into a text whose headings and pages lie in it, or refused.
//!
//! PDF is left out: its parser panics on odd input. In memory-svc that costs a page, or a process that has nothing else to do;
//! libfuzzer ends at every panic, caught or not. memory-svc's tests damage PDFs instead.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use solo_documents::{Extracted, Format, Language, MAX_TITLE_CHARS, MediaType, STACK_BYTES, extract, title};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const MAX_TEXT_BYTES: usize = 1 << 20;
const FORMATS: [MediaType; 10] = [
    MediaType::Plain,
    MediaType::Markdown,
    MediaType::Code,
    MediaType::Html,
    MediaType::Docx,
    MediaType::Epub,
    MediaType::Csv,
    MediaType::Json,
    MediaType::JsonLines,
    MediaType::Mail,
];

/// A DOCX file whose body is `body`: no fuzzer finds out by itself how a ZIP archive is made.
fn docx_of(body: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive
        .start_file("word/document.xml", SimpleFileOptions::default())
        .expect("memory takes everything");
    archive.write_all(body).expect("memory takes everything");
    archive.finish().expect("memory takes everything").into_inner()
}

fn check(extracted: &Extracted) {
    let Extracted { text, outline, .. } = extracted;
    assert!(text.len() <= MAX_TEXT_BYTES, "{} bytes", text.len());
    assert!(!text.trim().is_empty(), "a text of blanks");
    let mut above = 0;
    for heading in &outline.headings {
        let span = heading.span.clone();
        assert!(text.get(span.clone()).is_some(), "{span:?} of {} bytes", text.len());
        assert!(above <= span.start, "{span:?} before {above}");
        above = span.end;
    }
    assert!(outline.pages.is_sorted(), "{:?}", outline.pages);
    assert!(
        outline.pages.iter().all(|start| text.is_char_boundary(*start)),
        "{:?}",
        outline.pages
    );
    let title = title("", extracted, "note:1");
    assert!(
        (1..=MAX_TITLE_CHARS).contains(&title.chars().count()),
        "the title {title:?}"
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else {
        return;
    };
    let programs = Language::ALL.map(Format::from);
    let mut formats = FORMATS.map(Format::from).into_iter().chain(programs);
    let choices = FORMATS.len() + Language::ALL.len() + 1;
    let (format, content) = match formats.nth(usize::from(choice) % choices) {
        Some(format) => (format, content.to_vec()),
        None => (MediaType::Docx.into(), docx_of(content)),
    };
    // On the stack that memory-svc gives it; libfuzzer's own is smaller.
    let reading = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || extract(format, content, MAX_TEXT_BYTES))
        .expect("a thread");
    if let Ok(extracted) = reading.join().expect("nothing panics") {
        check(&extracted);
    }
});
