//! What a document's bytes say: its text, its title, its outline, its pages.
//!
//! - [`detect`]: which [`Format`] it has.
//! - [`extract`]: its text, by one file a format: `text` (plain text, Markdown), `source` (source code), `html`, `pdf`, `docx`,
//!   `epub`, `table` (CSV), `json`, `mail`. What has structure becomes Markdown, so that headings are found in one way; source
//!   code keeps its text, and its definitions are its headings.
//! - [`outline`]: where its headings and pages are.
//! - [`title`]: what it is called.
//!
//! What is not understood is refused with the reason ([`Refusal`]) rather than taken in as noise.
//!
//! Pure: bytes in, text out; no files, no processes, no configuration, and no clock but the one by which `source` gives up.
//! That is not enough to be safe: the parsers are other people's, and whoever wrote a document may have meant harm. They
//! panic on malformed PDFs, recurse as deep as a document is nested, and unpack what is packed, so memory-svc calls
//! [`extract`] in a process with little memory, little time and no files, on a stack of [`STACK_BYTES`].

mod docx;
mod epub;
mod html;
mod json;
mod mail;
mod media_type;
pub mod outline;
mod pdf;
mod refusal;
mod source;
mod table;
mod text;

use serde::{Deserialize, Serialize};

pub use media_type::{Format, MediaType, detect};
pub use outline::{Heading, Outline};
pub use refusal::{Refusal, shorten};
pub use source::Language;

/// Begins the URI of a note, which has no name of its own.
pub const NOTE_SCHEME: &str = "note:";
/// Stack for [`extract`]: parsers recurse, into nested elements, into nested lists.
pub const STACK_BYTES: usize = 64 << 20;
/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 200;
/// Longest title that is made of a text's first words, in characters.
const FIRST_WORDS_CHARS: usize = 60;

/// A document's text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The text; byte ranges of chunks and citations refer to it.
    pub text: String,
    /// Its headings and pages.
    pub outline: Outline,
    /// The title that the document gives itself.
    pub title: Option<String>,
    /// What was left out, in sentences.
    pub warnings: Vec<String>,
}

impl Extracted {
    /// A text whose headings are Markdown's.
    fn markdown(text: String) -> Self {
        let headings = outline::markdown(&text);
        Self {
            title: first_of_highest(&headings),
            outline: Outline {
                headings,
                pages: Vec::new(),
            },
            text,
            warnings: Vec::new(),
        }
    }

    /// The same, called `title`.
    fn titled(self, title: Option<String>) -> Self {
        let title = title.filter(|title| !title.trim().is_empty()).or(self.title);
        Self { title, ..self }
    }
}

/// Reads a document of any format. `max_text_bytes`: longest text. A title that it gives itself has at most
/// [`MAX_TITLE_CHARS`].
///
/// # Errors
/// A document that cannot be read, with the reason.
pub fn extract(format: Format, content: Vec<u8>, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let Format {
        media_type,
        charset,
        language,
    } = format;
    let mut extracted = match media_type {
        MediaType::Plain => Extracted {
            text: text::decode(content, charset)?,
            ..Extracted::default()
        },
        MediaType::Code => source::extract(text::decode(content, charset)?, language),
        MediaType::Markdown => Extracted::markdown(text::decode(content, charset)?),
        MediaType::Html => html::extract(&content, charset)?,
        MediaType::Pdf => pdf::extract(&content, max_text_bytes)?,
        MediaType::Docx => docx::extract(content, max_text_bytes)?,
        MediaType::Epub => epub::extract(content, max_text_bytes)?,
        MediaType::Csv => table::extract(text::decode(content, charset)?, max_text_bytes)?,
        MediaType::Json => json::extract(&text::decode(content, charset)?, max_text_bytes)?,
        MediaType::JsonLines => json::extract_lines(&text::decode(content, charset)?, max_text_bytes)?,
        MediaType::Mail => mail::extract(&content)?,
    };
    if extracted.text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    if extracted.text.len() > max_text_bytes {
        return Err(Refusal::TextTooLong { limit: max_text_bytes });
    }
    if let Some(title) = &mut extracted.title {
        *title = one_line(title, MAX_TITLE_CHARS);
    }
    Ok(extracted)
}

/// What a document is called: as it is `given`, else as it calls itself, else by its file's name, else by its first words.
pub fn title(given: &str, extracted: &Extracted, uri: &str) -> String {
    let given = one_line(given, MAX_TITLE_CHARS);
    let named = (!given.is_empty()).then_some(given);
    named
        .or_else(|| extracted.title.clone().filter(|title| !title.is_empty()))
        .or_else(|| file_name(uri))
        .unwrap_or_else(|| first_words(&extracted.text))
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

/// A text that grows up to a limit: formats that unpack can be made to unpack without end.
struct Bounded {
    text: String,
    limit: usize,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
        }
    }

    fn push(&mut self, more: &str) -> Result<(), Refusal> {
        if self.text.len() + more.len() > self.limit {
            return Err(Refusal::TextTooLong { limit: self.limit });
        }
        self.text.push_str(more);
        Ok(())
    }

    /// Ends a paragraph, unless there is nothing to end.
    fn paragraph(&mut self) -> Result<(), Refusal> {
        self.text.truncate(self.text.trim_end().len());
        if self.text.is_empty() {
            return Ok(());
        }
        self.push("\n\n")
    }
}

/// The first heading of the highest level.
fn first_of_highest(headings: &[Heading]) -> Option<String> {
    let named = headings.iter().filter(|heading| !heading.title.is_empty());
    named
        .min_by_key(|heading| heading.level)
        .map(|heading| heading.title.clone())
}

/// A text without line breaks and double blanks, at most `chars` long.
pub fn one_line(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(chars).collect()
}

/// The last part of a URI's path, without query and fragment.
fn last_part(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

fn file_name(uri: &str) -> Option<String> {
    let name = last_part(uri);
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    (!uri.starts_with(NOTE_SCHEME) && !name.is_empty()).then(|| one_line(&decoded, MAX_TITLE_CHARS))
}

#[cfg(test)]
mod tests;
