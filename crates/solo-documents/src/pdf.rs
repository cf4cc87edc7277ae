//! PDF, by lopdf and pdf-extract: the text layer page by page, the outline as headings.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, Object, PlainTextOutput, output_doc_page};

use super::{Bounded, Extracted, Heading, Outline, Refusal, one_line};

/// Pages that are named in a warning.
const NAMED_PAGES: usize = 10;
/// Longest heading, in characters.
const MAX_HEADING_CHARS: usize = 200;

/// Reads a PDF.
pub(super) fn extract(bytes: &[u8], max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let mut document = Document::load_mem(bytes).map_err(|error| unreadable(&error))?;
    // An empty password is what readers try, too: such a document only forbids printing.
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err(encrypted());
    }
    let numbers: Vec<u32> = document.get_pages().keys().copied().collect();
    let mut text = Bounded::new(max_text_bytes);
    let (mut pages, mut unread) = (Vec::with_capacity(numbers.len()), Vec::new());
    let mut problem = String::new();
    for number in &numbers {
        pages.push(text.text.len());
        match page(&document, *number) {
            Ok(content) => {
                text.push(&content)?;
                text.paragraph()?;
            }
            Err(error) => {
                unread.push(*number);
                problem = error;
            }
        }
    }
    if text.text.trim().is_empty() {
        return Err(match (numbers.len(), unread.len()) {
            (0, _) => Refusal::broken("PDF", "it has no pages"),
            (pages, 0) => Refusal::Scanned { pages },
            _ => Refusal::broken("PDF", problem),
        });
    }
    let headings = headings(&document, &pages);
    Ok(Extracted {
        title: title(&document),
        outline: Outline { headings, pages },
        text: text.text,
        warnings: warning(&unread, &problem).into_iter().collect(),
    })
}

fn unreadable(error: &pdf_extract::Error) -> Refusal {
    match error {
        pdf_extract::Error::Decryption(_) | pdf_extract::Error::InvalidPassword => encrypted(),
        error => Refusal::broken("PDF", error),
    }
}

fn encrypted() -> Refusal {
    Refusal::Encrypted { what: "PDF".into() }
}

/// The text of a page. The parser gives up on some malformed pages with a panic; the others are read all the same.
fn page(document: &Document, number: u32) -> Result<String, String> {
    let mut text = String::new();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut output = PlainTextOutput::new(&mut text);
        output_doc_page(document, &mut output, number)
    }));
    match read {
        Ok(Ok(())) => Ok(tidy(&text)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its content makes no sense".into()),
    }
}

/// Lines without blanks at their ends, paragraphs one empty line apart. Zero bytes are what some fonts call a blank.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.replace('\0', " ").lines() {
        let line = line.trim();
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !tidy.is_empty() {
            tidy.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        tidy.push_str(line);
    }
    tidy
}

/// The outline's entries, each at the beginning of its page.
fn headings(document: &Document, pages: &[usize]) -> Vec<Heading> {
    // It panics on outlines that lead nowhere.
    let Ok(Ok(outline)) = catch_unwind(AssertUnwindSafe(|| document.get_toc())) else {
        return Vec::new();
    };
    let mut headings: Vec<Heading> = outline
        .toc
        .into_iter()
        .filter_map(|entry| {
            let start = *pages.get(entry.page.checked_sub(1)?)?;
            Some(Heading {
                span: start..start,
                level: u8::try_from(entry.level.max(1)).unwrap_or(u8::MAX),
                title: one_line(&entry.title, MAX_HEADING_CHARS),
            })
        })
        .collect();
    headings.sort_by_key(|heading| heading.span.start);
    headings
}

fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let info = match info {
        Object::Reference(id) => document.get_dictionary(*id).ok()?,
        info => info.as_dict().ok()?,
    };
    let title = info.get(b"Title").ok()?;
    let title = pdf_extract::decode_text_string(title).ok()?;
    Some(title).filter(|title| !title.trim().is_empty())
}

fn warning(unread: &[u32], problem: &str) -> Option<String> {
    if unread.is_empty() {
        return None;
    }
    let named: Vec<String> = unread.iter().take(NAMED_PAGES).map(u32::to_string).collect();
    let more = if unread.len() > NAMED_PAGES { ", …" } else { "" };
    let problem = one_line(problem, 200);
    Some(format!(
        "{} pages could not be read ({}{more}): {problem}",
        unread.len(),
        named.join(", ")
    ))
}
