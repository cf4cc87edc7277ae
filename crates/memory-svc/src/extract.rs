//! What a document's bytes say: its media type, its text, its title, its outline. Pure.
//!
//! Each format becomes an arm here and, when it needs a parser of its own, a file beside it. What is not understood is
//! refused by name rather than taken in as noise.

use crate::chunk::{self, Heading};
use crate::error::Error;
use crate::names::{DocumentUri, shorten};

/// What is understood, as people are told it.
const SUPPORTED: &str = "text/plain and text/markdown, in UTF-8";
/// Longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Longest title that is made of a text's first words, in characters.
const FIRST_WORDS_CHARS: usize = 60;

/// Media types that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// text/plain
    Plain,
    /// text/markdown
    Markdown,
}

impl MediaType {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "text/plain",
            Self::Markdown => "text/markdown",
        }
    }
}

/// A document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The text; byte ranges of chunks and citations refer to it.
    pub text: String,
    /// Its headings.
    pub headings: Vec<Heading>,
    /// Its title.
    pub title: String,
}

/// Finds the media type: what is `declared`, else what the URI's ending says, else plain text if it is text at all.
pub fn media_type(declared: &str, uri: &DocumentUri, content: &[u8]) -> Result<MediaType, Error> {
    let unsupported = |what: &str| {
        let message = format!("{what} cannot be taken in; supported are {SUPPORTED}");
        Error::invalid("header.media_type", "UNSUPPORTED_MEDIA_TYPE", message)
    };
    if !declared.is_empty() {
        let (name, parameters) = declared.split_once(';').unwrap_or((declared, ""));
        check_charset(parameters)?;
        return match name.trim().to_ascii_lowercase().as_str() {
            "text/plain" => Ok(MediaType::Plain),
            "text/markdown" | "text/x-markdown" => Ok(MediaType::Markdown),
            _ => Err(unsupported(&format!("media type `{}`", shorten(declared)))),
        };
    }
    match extension(uri.as_str()).as_str() {
        "md" | "markdown" | "mdown" => return Ok(MediaType::Markdown),
        extension @ ("html" | "htm" | "pdf" | "docx" | "epub" | "csv" | "json" | "eml" | "doc" | "odt" | "rtf") => {
            return Err(unsupported(&format!("a .{extension} file")));
        }
        _ => {}
    }
    match content {
        [b'%', b'P', b'D', b'F', ..] => Err(unsupported("a PDF file")),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Err(unsupported("a ZIP archive (DOCX, EPUB)")),
        _ => Ok(MediaType::Plain),
    }
}

/// Reads a document's text.
///
/// `title` is used as it is unless it is empty; then a Markdown text's first heading is taken, else the file's name, else
/// the text's first words.
pub fn extract(media_type: MediaType, content: Vec<u8>, uri: &DocumentUri, title: &str) -> Result<Extracted, Error> {
    let text = decode(content)?;
    if text.trim().is_empty() {
        return Err(Error::invalid("data", "EMPTY_DOCUMENT", "the document has no text"));
    }
    let headings = match media_type {
        MediaType::Plain => Vec::new(),
        MediaType::Markdown => chunk::markdown(&text),
    };
    let title = title.trim();
    let title = if title.is_empty() {
        let named = headings
            .iter()
            .filter(|heading| !heading.title.is_empty())
            .min_by_key(|heading| heading.level);
        named
            .map(|heading| heading.title.clone())
            .or_else(|| file_name(uri))
            .unwrap_or_else(|| first_words(&text))
    } else {
        title.chars().take(MAX_TITLE_CHARS).collect()
    };
    Ok(Extracted { text, headings, title })
}

/// The beginning of a text's first line, cut at a word.
pub fn first_words(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let mut words = String::new();
    for word in line.split_whitespace() {
        let gap = usize::from(!words.is_empty());
        if words.chars().count() + gap + word.chars().count() > FIRST_WORDS_CHARS {
            if words.is_empty() {
                words.extend(word.chars().take(FIRST_WORDS_CHARS));
            }
            words.push('…');
            break;
        }
        words.extend((gap == 1).then_some(' '));
        words.push_str(word);
    }
    words
}

/// UTF-8, without a byte order mark and without what only binary files have.
fn decode(content: Vec<u8>) -> Result<String, Error> {
    let not_text = |message: String| Error::invalid("data", "NOT_TEXT", message);
    if content.starts_with(&[0xFF, 0xFE]) || content.starts_with(&[0xFE, 0xFF]) {
        return Err(not_text(
            "the text is UTF-16; UTF-8 is wanted: convert it, for instance with iconv".into(),
        ));
    }
    let mut text = String::from_utf8(content).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        not_text(format!(
            "byte {position} is not UTF-8: convert the text, for instance with iconv"
        ))
    })?;
    if let Some(position) = text.find('\0') {
        return Err(not_text(format!("byte {position} is 0: this is no text")));
    }
    if text.starts_with('\u{FEFF}') {
        text.drain(..'\u{FEFF}'.len_utf8());
    }
    Ok(text)
}

fn check_charset(parameters: &str) -> Result<(), Error> {
    let charset = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find_map(|(key, value)| {
            key.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(other) => {
            let message = format!("charset `{}` is not understood: UTF-8 is wanted", shorten(other));
            Err(Error::invalid("header.media_type", "UNSUPPORTED_CHARSET", message))
        }
    }
}

/// The last part of a URI's path, without query and fragment.
fn last_part(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

fn extension(uri: &str) -> String {
    last_part(uri)
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default()
}

fn file_name(uri: &DocumentUri) -> Option<String> {
    let name = last_part(uri.as_str());
    (!uri.is_note() && !name.is_empty()).then(|| name.chars().take(MAX_TITLE_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> DocumentUri {
        DocumentUri::or_note(text).unwrap()
    }

    fn detect(declared: &str, name: &str, content: &[u8]) -> Result<MediaType, String> {
        media_type(declared, &uri(name), content).map_err(|error| error.to_string())
    }

    #[test]
    fn media_types_are_found_or_refused_by_name() {
        assert_eq!(detect("", "file:///a/NOTES.MD?x=1", b"x"), Ok(MediaType::Markdown));
        assert_eq!(detect("", "file:///a/notes", b"x"), Ok(MediaType::Plain));
        assert_eq!(
            detect("Text/Markdown; charset=UTF-8", "x.pdf", b"x"),
            Ok(MediaType::Markdown)
        );
        for refused in [
            detect("application/pdf", "x", b""),
            detect("", "x.pdf", b""),
            detect("", "x", b"%PDF-1.7"),
        ] {
            let message = refused.unwrap_err();
            assert!(message.contains("text/plain and text/markdown"), "{message}");
        }
        assert!(
            detect("text/plain; charset=latin1", "x", b"x")
                .unwrap_err()
                .contains("latin1")
        );
    }

    #[test]
    fn text_is_utf8_or_refused_with_the_place() {
        let read = |content: &[u8]| extract(MediaType::Plain, content.to_vec(), &uri(""), "");
        assert_eq!(read("\u{FEFF}Grüße".as_bytes()).unwrap().text, "Grüße");
        assert!(read(b"ab\xFFcd").unwrap_err().to_string().contains("byte 2"));
        assert!(read(b"ab\0cd").unwrap_err().to_string().contains("byte 2"));
        assert!(read(b"\xFF\xFEa\0").unwrap_err().to_string().contains("UTF-16"));
        assert!(read(b" \n ").unwrap_err().to_string().contains("no text"));
    }

    #[test]
    fn titles_come_from_the_best_place() {
        let title = |media_type, content: &str, name: &str, given: &str| {
            extract(media_type, content.into(), &uri(name), given).unwrap().title
        };
        assert_eq!(title(MediaType::Plain, "x", "", " Given "), "Given");
        assert_eq!(title(MediaType::Markdown, "## B\n# A\n", "file:///n.md", ""), "A");
        assert_eq!(title(MediaType::Plain, "x", "file:///a/list.txt", ""), "list.txt");
        assert_eq!(
            title(MediaType::Plain, "\n My  sister likes tulips. ", "", ""),
            "My sister likes tulips."
        );
        let long = title(MediaType::Plain, &"word ".repeat(40), "", "");
        assert!(
            long.ends_with("word…") && long.chars().count() <= FIRST_WORDS_CHARS + 1,
            "{long}"
        );
    }
}
