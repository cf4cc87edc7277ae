//! DOCX (ECMA-376): paragraphs, headings, tables, notes, as Markdown. A ZIP archive of XML, read by zip and quick-xml, which
//! expands no entities but XML's five.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Bounded, Extracted, Refusal};

/// Markup takes several times the room of the text; parts larger than so many times the longest text are not read.
const MARKUP_PER_TEXT: usize = 16;
/// Markdown has six levels of headings.
const DEEPEST_LEVEL: u8 = 6;

type Archive = ZipArchive<Cursor<Vec<u8>>>;

/// Reads a document.
pub(super) fn extract(bytes: Vec<u8>, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    // An encrypted one is no archive but an old Office container.
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return Err(Refusal::Encrypted {
            what: "DOCX file".into(),
        });
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let limit = max_text_bytes.saturating_mul(MARKUP_PER_TEXT);
    let levels = match part(&mut archive, "word/styles.xml", limit)? {
        Some(styles) => heading_levels(&styles)?,
        None => HashMap::new(),
    };
    let body = part(&mut archive, "word/document.xml", limit)?
        .ok_or_else(|| Refusal::broken("DOCX file", "it has no word/document.xml"))?;
    let mut text = Bounded::new(max_text_bytes);
    paragraphs(&body, &levels, &mut text)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(notes) = part(&mut archive, notes, limit)? {
            text.paragraph()?;
            paragraphs(&notes, &levels, &mut text)?;
        }
    }
    let title = match part(&mut archive, "docProps/core.xml", limit)? {
        Some(properties) => core_title(&properties)?,
        None => None,
    };
    Ok(Extracted::markdown(text.text).titled(title))
}

fn broken(error: ZipError) -> Refusal {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => Refusal::Encrypted {
            what: "DOCX file".into(),
        },
        error => Refusal::broken("DOCX file", error),
    }
}

/// A part of the archive, unpacked up to `limit` bytes.
fn part(archive: &mut Archive, name: &str, limit: usize) -> Result<Option<String>, Refusal> {
    let file = match archive.by_name(name) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(broken(error)),
    };
    let mut content = String::new();
    let read = file.take(limit as u64 + 1).read_to_string(&mut content);
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::OutOfMemory => Refusal::OutOfMemory,
        _ => Refusal::broken("DOCX file", format!("{name}: {error}")),
    })?;
    if content.len() > limit {
        return Err(Refusal::TextTooLong {
            limit: limit / MARKUP_PER_TEXT,
        });
    }
    Ok(Some(content))
}

fn xml_error(error: impl std::fmt::Display) -> Refusal {
    Refusal::broken("DOCX file", error)
}

/// The attribute of that local name, whatever its prefix.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().flatten();
    let mut found = found.filter(|attribute| attribute.key.local_name().as_ref() == name);
    Some(found.next()?.value.to_string())
}

/// Which styles are headings, and of which level: style identifiers are translated ("berschrift1"), their names are not.
fn heading_levels(styles: &str) -> Result<HashMap<String, u8>, Refusal> {
    let mut levels = HashMap::new();
    let mut style = None;
    let mut reader = Reader::from_str(styles);
    loop {
        match reader.read_event().map_err(xml_error)? {
            Event::Start(element) if element.local_name().as_ref() == "style" => {
                style = attribute(&element, "styleId");
            }
            Event::Empty(element) | Event::Start(element) if element.local_name().as_ref() == "name" => {
                let name = attribute(&element, "val").unwrap_or_default().to_lowercase();
                let level = match name.as_str() {
                    "title" => Some(1),
                    name => name.strip_prefix("heading ").and_then(|level| level.parse::<u8>().ok()),
                };
                if let (Some(style), Some(level)) = (&style, level) {
                    levels.insert(style.clone(), level.clamp(1, DEEPEST_LEVEL));
                }
            }
            Event::Eof => return Ok(levels),
            _ => {}
        }
    }
}

/// Writes the paragraphs of a part.
fn paragraphs(xml: &str, levels: &HashMap<String, u8>, text: &mut Bounded) -> Result<(), Refusal> {
    let mut reader = Reader::from_str(xml);
    let (mut paragraph, mut level, mut listed) = (String::new(), None, false);
    // Depth in tables, and whether what is read now is text.
    let (mut tables, mut in_text) = (0_usize, false);
    loop {
        match reader.read_event().map_err(xml_error)? {
            Event::Start(element) => match element.local_name().as_ref() {
                "t" => in_text = true,
                "tbl" => tables += 1,
                _ => {}
            },
            Event::Empty(element) => match element.local_name().as_ref() {
                "pStyle" => level = attribute(&element, "val").and_then(|style| levels.get(&style)).copied(),
                "numId" => listed = true,
                "tab" => paragraph.push('\t'),
                "br" | "cr" => paragraph.push('\n'),
                _ => {}
            },
            Event::Text(piece) if in_text => paragraph.push_str(&piece.xml10_content()),
            Event::GeneralRef(name) if in_text => match name.resolve_char_ref().map_err(xml_error)? {
                Some(character) => paragraph.push(character),
                None => paragraph.push_str(quick_xml::escape::resolve_xml_entity(&name.xml10_content()).unwrap_or(" ")),
            },
            Event::End(element) => match element.local_name().as_ref() {
                "t" => in_text = false,
                "p" if tables > 0 => paragraph.push(' '),
                "p" => {
                    write(paragraph.trim(), level, listed, text)?;
                    (level, listed) = (None, false);
                    paragraph.clear();
                }
                // Cells and rows of a table.
                "tc" => paragraph.push_str("| "),
                "tr" => {
                    let row = paragraph.trim().trim_end_matches('|').trim_end();
                    if !row.is_empty() {
                        text.push(row)?;
                        text.push("\n")?;
                    }
                    paragraph.clear();
                }
                "tbl" => {
                    tables = tables.saturating_sub(1);
                    text.paragraph()?;
                    (level, listed) = (None, false);
                }
                _ => {}
            },
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn write(paragraph: &str, level: Option<u8>, listed: bool, text: &mut Bounded) -> Result<(), Refusal> {
    if paragraph.is_empty() {
        return Ok(());
    }
    match level {
        Some(level) => {
            text.push(&"#".repeat(level.into()))?;
            text.push(" ")?;
            text.push(&paragraph.replace('\n', " "))?;
        }
        None => {
            if listed {
                text.push("- ")?;
            }
            text.push(paragraph)?;
        }
    }
    text.push(if listed { "\n" } else { "\n\n" })
}

/// `dc:title` of the document's properties.
fn core_title(properties: &str) -> Result<Option<String>, Refusal> {
    let mut reader = Reader::from_str(properties);
    let mut title: Option<String> = None;
    let mut inside = false;
    loop {
        match reader.read_event().map_err(xml_error)? {
            Event::Start(element) if element.local_name().as_ref() == "title" => inside = true,
            Event::End(element) if element.local_name().as_ref() == "title" => return Ok(title),
            Event::Text(piece) if inside => title.get_or_insert_default().push_str(&piece.xml10_content()),
            Event::Eof => return Ok(title),
            _ => {}
        }
    }
}
