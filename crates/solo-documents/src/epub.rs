//! EPUB 2 and 3, by rbook: the chapters in reading order, each as HTML is read.

use std::collections::HashMap;
use std::io::Cursor;

use rbook::Epub;

use super::{Bounded, Extracted, Refusal, html};

/// Reads a book.
pub(super) fn extract(bytes: Vec<u8>, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let broken = |error: &dyn std::fmt::Display| Refusal::broken("EPUB", error);
    let book = Epub::options()
        .read(Cursor::new(bytes))
        .map_err(|error| broken(&error))?;
    let mut names = chapter_names(&book);
    let mut text = Bounded::new(max_text_bytes);
    for chapter in book.reader() {
        let chapter = chapter.map_err(|error| broken(&error))?;
        let content = html::to_markdown(chapter.content())?;
        // Many books write their chapters' names as pictures, or as bold paragraphs.
        if let Some(name) = names.remove(chapter.manifest_entry().id())
            && !content.lines().any(|line| line.starts_with('#'))
        {
            text.push(&format!("# {name}\n\n"))?;
        }
        text.push(&content)?;
        text.paragraph()?;
    }
    let title = book.metadata().title().map(|title| title.value().to_owned());
    Ok(Extracted::markdown(text.text).titled(title))
}

/// What the table of contents calls each file, by its identifier in the manifest.
fn chapter_names(book: &Epub) -> HashMap<String, String> {
    let mut names = HashMap::new();
    let Some(contents) = book.toc().contents() else {
        return names;
    };
    for entry in contents.flatten() {
        if let Some(file) = entry.manifest_entry() {
            let name = super::one_line(entry.label(), 200);
            if !name.is_empty() {
                names.entry(file.id().to_owned()).or_insert(name);
            }
        }
    }
    names
}
