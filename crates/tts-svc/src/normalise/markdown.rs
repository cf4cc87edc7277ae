//! Lines and marks of Markdown (CommonMark 0.31 and the tables of GitHub), as far as they show in speech.

use std::ops::Range;

use super::traced::Traced;
use super::{address, phone};

/// Appends the words of one line, its heading, quote, item or table marks gone.
pub(super) fn line(line: &Slice<'_>, english: bool, out: &mut Traced) {
    let mut line = line.trimmed();
    while let Some(rest) = line.text().strip_prefix('>') {
        line = line.tail(rest.len()).trimmed();
    }
    let heading = line.text().trim_start_matches('#');
    if heading.len() < line.text().len() && heading.starts_with(' ') {
        line = line.tail(heading.len());
        line = line.head(line.text().trim_end().trim_end_matches('#').len()).trimmed();
    }
    let items = ["- [ ] ", "- [x] ", "- [X] ", "- ", "* ", "+ ", "• "];
    if let Some(item) = items.iter().find_map(|marker| line.text().strip_prefix(marker)) {
        line = line.tail(item.len());
    }
    if line.text().chars().all(|c| "#-*_=|: ".contains(c)) {
        return;
    }
    if let Some(row) = line.text().strip_prefix('|') {
        let row = line.tail(row.len());
        let row = row.head(row.text().trim_end_matches('|').len());
        let mut rest = row;
        loop {
            let cell = rest.text().find('|').unwrap_or(rest.text().len());
            inline(&rest.head(cell).trimmed(), english, out);
            if cell == rest.text().len() {
                break;
            }
            out.push(", ", rest.from + cell..rest.from + cell + 1);
            rest = rest.tail(rest.text().len() - cell - 1);
        }
        out.push(".", row.end..row.end);
        return;
    }
    inline(&line, english, out);
}

/// A run of the unit's text that knows where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice<'a> {
    whole: &'a str,
    from: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    pub(super) fn new(whole: &'a str, range: Range<usize>) -> Self {
        Self {
            whole,
            from: range.start,
            end: range.end,
        }
    }

    fn text(&self) -> &'a str {
        &self.whole[self.from..self.end]
    }

    /// Its first bytes.
    fn head(self, bytes: usize) -> Self {
        Self {
            end: self.from + bytes,
            ..self
        }
    }

    /// Its last bytes.
    fn tail(self, bytes: usize) -> Self {
        Self {
            from: self.end - bytes,
            ..self
        }
    }

    fn trimmed(self) -> Self {
        let line = self.tail(self.text().trim_start().len());
        line.head(line.text().trim_end().len())
    }
}

/// Appends the words of a run of text, its emphasis, links, code marks, citations, emoji and odd signs gone.
fn inline(slice: &Slice<'_>, english: bool, out: &mut Traced) {
    let text = slice.text();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let from = slice.from + at;
        let previous = text[..at].chars().last();
        let next = rest[c.len_utf8()..].chars().next();
        if c == '[' || (c == '!' && next == Some('[')) {
            let image = usize::from(c == '!');
            if let Some((label, taken)) = bracket(&rest[image..]) {
                if let Some(label) = label {
                    let start = from + image + 1;
                    inline(&Slice::new(slice.whole, start..start + label), english, out);
                }
                at += image + taken;
                continue;
            }
        }
        let begins = !previous.is_some_and(char::is_alphanumeric);
        let marked = match c {
            '\\' => escape(next),
            '`' => Some(code(rest)),
            '<' => angle(rest, english),
            '(' | '+' | '0'..='9' if begins && english => phone::number(rest),
            _ => None,
        };
        let marked = marked.or_else(|| {
            let web = (c.is_ascii_alphanumeric() && begins)
                .then(|| address::of_web(rest))
                .flatten();
            web.map(|address| (address::say(address, english), address.len()))
        });
        let (words, taken) = marked.unwrap_or_else(|| (plain(c, previous, next, english), c.len_utf8()));
        out.push(&words, from..from + taken);
        at += taken;
    }
}

fn escape(next: Option<char>) -> Option<(String, usize)> {
    next.filter(char::is_ascii_punctuation)
        .map(|next| (next.to_string(), 2))
}

/// `code` is read as words: "max_len" becomes "max len". A back-tick that nothing closes is dropped.
fn code(text: &str) -> (String, usize) {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let (fence, body) = text.split_at(ticks);
    match body.find(fence) {
        Some(end) => {
            let words: String = body[..end]
                .chars()
                .map(|c| if "_(){}[]<>;\\|".contains(c) { ' ' } else { c })
                .collect();
            (words, 2 * ticks + end)
        }
        None => (String::new(), ticks),
    }
}

/// [label](target) is its label; [1], [2, 3] and [^note] are citations and not read; other brackets go. Bytes of the label
/// that is read, and of the whole.
fn bracket(text: &str) -> Option<(Option<usize>, usize)> {
    let end = text.find(']')?;
    let label = &text[1..end];
    let after = &text[end + 1..];
    let target = match after.chars().next() {
        Some('(') => after.find(')').map(|close| close + 1),
        Some('[') => after.find(']').map(|close| close + 1),
        _ => None,
    };
    let citation = label.starts_with('^') || label.chars().all(|c| c.is_ascii_digit() || ", –-".contains(c));
    if citation && !after.starts_with('(') {
        // "[1][2]": two citations, not a reference link.
        return Some((None, end + 1));
    }
    Some((Some(label.len()), end + 1 + target.unwrap_or(0)))
}

/// <https://…> is an address, <br> and its kind are nothing, "a < b" is left.
fn angle(text: &str, english: bool) -> Option<(String, usize)> {
    let end = text.find('>')?;
    let inside = &text[1..end];
    if let Some(address) = address::of_web(inside).filter(|address| address.len() == inside.len()) {
        return Some((address::say(address, english), end + 1));
    }
    if address::is_mail(inside) {
        return Some((address::say_mail(inside, english), end + 1));
    }
    let name = inside.trim_start_matches('/');
    let tag = name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('<');
    tag.then(|| (" ".to_owned(), end + 1))
}

/// What is said of one character that begins no mark.
fn plain(c: char, previous: Option<char>, next: Option<char>, english: bool) -> String {
    let inside_word = previous.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
    let between_digits = previous.is_some_and(|c| c.is_ascii_digit()) && next.is_some_and(|c| c.is_ascii_digit());
    let said = match c {
        // "3*4" is arithmetic, "*word*" is not.
        '*' if between_digits && english => " times ",
        '*' | '~' | '"' | '“' | '”' | '„' | '«' | '»' | '™' | '®' | '©' => "",
        '_' if inside_word => " ",
        '_' => "",
        '’' | '‘' => "'",
        '…' => "...",
        '–' if between_digits && english => " to ",
        '—' => ", ",
        '–' | '-' if previous.is_none_or(char::is_whitespace) && next.is_some_and(char::is_whitespace) => ", ",
        '(' | ')' | '[' | ']' | '{' | '}' => ", ",
        '|' => ", ",
        '→' | '⇒' if english => " to ",
        '≈' if english => " about ",
        '≤' if english => " at most ",
        '≥' if english => " at least ",
        '≠' if english => " is not ",
        '×' if english => " times ",
        '±' if english => " plus or minus ",
        '°' if english && next == Some('C') => " degrees Celsius ",
        '°' if english && next == Some('F') => " degrees Fahrenheit ",
        'C' | 'F' if previous == Some('°') && !next.is_some_and(char::is_alphanumeric) => "",
        c if is_picture(c) => " ",
        c => return c.to_string(),
    };
    said.to_owned()
}

/// Emoji, dingbats, arrows and what joins or colours them: nothing that has a sound.
fn is_picture(c: char) -> bool {
    matches!(u32::from(c),
        0x2190..=0x21FF | 0x2300..=0x23FF | 0x25A0..=0x27BF | 0x2900..=0x297F | 0x2B00..=0x2BFF
        | 0x200B..=0x200F | 0x20E3 | 0xFE00..=0xFE0F | 0xFEFF | 0xE000..=0xF8FF | 0xE0000..=0xE007F | 0x1F000..=0x1FAFF)
}
