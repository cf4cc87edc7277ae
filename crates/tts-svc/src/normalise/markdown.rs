//! Lines and marks of Markdown (CommonMark 0.31 and the tables of GitHub), as far as they show in speech.

use super::words;

/// The words of one line, its heading, quote, item or table marks gone.
pub(super) fn line(line: &str, english: bool) -> String {
    let mut text = line.trim();
    while let Some(rest) = text.strip_prefix('>') {
        text = rest.trim_start();
    }
    let heading = text.trim_start_matches('#');
    if heading.len() < text.len() && heading.starts_with(' ') {
        text = heading.trim().trim_end_matches('#');
    }
    if let Some(item) = ["- [ ] ", "- [x] ", "- ", "* ", "+ ", "• "]
        .iter()
        .find_map(|marker| text.strip_prefix(marker))
    {
        text = item;
    }
    if text.chars().all(|c| "#-*_=|: ".contains(c)) {
        return String::new();
    }
    if let Some(row) = text.strip_prefix('|') {
        let cells: Vec<_> = row
            .trim_end_matches('|')
            .split('|')
            .map(|cell| inline(cell.trim(), english))
            .collect();
        return cells.join(", ") + ".";
    }
    inline(text, english)
}

/// The words of a run of text, its emphasis, links, code marks, citations, emoji and odd signs gone.
fn inline(text: &str, english: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let previous = text[..at].chars().last();
        let next = rest[c.len_utf8()..].chars().next();
        let marked = match c {
            '\\' => escape(next),
            '`' => Some(code(rest)),
            '!' if next == Some('[') => bracket(&rest[1..], english).map(|(words, taken)| (words, taken + 1)),
            '[' => bracket(rest, english),
            '<' => angle(rest, english),
            _ if c.is_ascii_alphanumeric() && !previous.is_some_and(char::is_alphanumeric) => {
                words::address(rest).map(|address| (words::say_address(address, english), address.len()))
            }
            _ => None,
        };
        let (words, taken) = marked.unwrap_or_else(|| (plain(c, previous, next, english), c.len_utf8()));
        out.push_str(&words);
        at += taken;
    }
    out
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

/// [label](target) is its label; [1], [2, 3] and [^note] are citations and not read; other brackets go.
fn bracket(text: &str, english: bool) -> Option<(String, usize)> {
    let end = text.find(']')?;
    let label = &text[1..end];
    let after = &text[end + 1..];
    let target = match after.chars().next() {
        Some('(') => after.find(')').map(|close| close + 1),
        Some('[') => after.find(']').map(|close| close + 1),
        _ => None,
    };
    let citation = label.starts_with('^') || label.chars().all(|c| c.is_ascii_digit() || ", –-".contains(c));
    let taken = end + 1 + target.unwrap_or(0);
    match target {
        // "[1][2]": two citations, not a reference link.
        _ if citation && !after.starts_with('(') => Some((String::new(), end + 1)),
        _ => Some((inline(label, english), taken)),
    }
}

/// <https://…> is an address, <br> and its kind are nothing, "a < b" is left.
fn angle(text: &str, english: bool) -> Option<(String, usize)> {
    let end = text.find('>')?;
    let inside = &text[1..end];
    if let Some(address) = words::address(inside).filter(|address| address.len() == inside.len()) {
        return Some((words::say_address(address, english), end + 1));
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
