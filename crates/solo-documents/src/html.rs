//! HTML becomes Markdown, by htmd (html5ever): what is read, without what is clicked.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use htmd::element_handler::Handlers;
use htmd::options::{BulletListMarker, Options};
use htmd::{Element, HtmlToMarkdown};

use super::{Extracted, Refusal};

/// A page's declaration of its character set stands in so many bytes.
const CHARSET_BYTES: usize = 1024;
/// What is not read.
const SKIPPED: [&str; 14] = [
    "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "canvas", "button", "select", "form",
    "title", "math",
];

/// Reads a page.
pub(super) fn extract(bytes: &[u8], charset: Option<&'static Encoding>) -> Result<Extracted, Refusal> {
    let page = decode(bytes, charset);
    let text = to_markdown(&page)?;
    Ok(Extracted::markdown(text).titled(title(&page)))
}

/// A page, or a part of one, as Markdown.
pub(super) fn to_markdown(page: &str) -> Result<String, Refusal> {
    let content = |handlers: &dyn Handlers, element: Element| Some(handlers.walk_children(element.node));
    let picture = |_: &dyn Handlers, element: Element| {
        let described = element.attrs.iter().find(|attribute| &*attribute.name.local == "alt");
        described.map(|attribute| attribute.value.to_string().into())
    };
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    HtmlToMarkdown::builder()
        .options(options)
        .skip_tags(SKIPPED.to_vec())
        // Where a link leads is not what the text says.
        .add_handler(vec!["a"], content)
        .add_handler(vec!["img"], picture)
        .build()
        .convert(page)
        .map_err(|error| Refusal::broken("HTML page", error))
}

/// As browsers decode: the declared character set, the byte order mark's, that of the page's own declaration, UTF-8 where it
/// is, and Windows-1252 where it is not.
pub(super) fn decode(bytes: &[u8], charset: Option<&'static Encoding>) -> String {
    let head = &bytes[..bytes.len().min(CHARSET_BYTES)];
    let encoding = charset.or_else(|| declared(head)).unwrap_or_else(|| {
        if std::str::from_utf8(bytes).is_ok() {
            UTF_8
        } else {
            WINDOWS_1252
        }
    });
    encoding.decode(bytes).0.into_owned()
}

/// The character set of `<meta charset=…>` and its older forms.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let (_, rest) = head.split_once("charset=")?;
    let name: String = rest
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c))
        .collect();
    let encoding = Encoding::for_label(name.as_bytes())?;
    // A page whose declaration could be read is not UTF-16, whatever it says.
    Some(if encoding.is_ascii_compatible() {
        encoding
    } else {
        UTF_8
    })
}

/// What stands in `<title>`.
fn title(page: &str) -> Option<String> {
    // ASCII letters keep their length in lower case, so positions are the same.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    // Its entities mean what they mean in a paragraph.
    to_markdown(&format!("<p>{}</p>", &page[start..end]))
        .ok()
        .map(|title| title.replace('\\', ""))
}
