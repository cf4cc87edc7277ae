//! Where a unit ends: the rules, each looking only at the text.

use super::MAX_UNIT_BYTES;

/// A line shorter than this was broken on purpose, not to fit a page.
const SHORT_LINE_CHARS: usize = 40;

/// Abbreviations that a name or a number follows: never the end of a sentence.
const NEVER_LAST: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "capt", "sgt", "lt", "rev", "hon", "sen", "rep", "gov",
    "pres", "vs", "cf", "viz", "approx", "ca", "fig", "figs", "eq", "resp", "incl",
];
/// Abbreviations only where a number follows: "no. 5", but "No. That is wrong."
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "nr", "vol", "ch", "p", "pp", "sec", "art", "par", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
    "sep", "sept", "oct", "nov", "dec",
];

/// What a scan found.
pub(super) enum Verdict {
    /// The unit ends before this byte.
    Cut(usize),
    /// No boundary before this byte; from there on the text to come decides.
    Wait(usize),
}

/// What one position says.
enum Here {
    Cut(usize),
    Nothing,
    /// The text to come decides.
    Unknown,
}

/// When a clause is enough.
#[derive(Clone, Copy)]
pub(super) struct Early<'a> {
    /// Once it has so many words.
    pub(super) words: usize,
    /// And, where no mark ends it, before one of these, in lower case.
    pub(super) before: &'a [String],
}

/// A look at the text that no unit holds yet.
pub(super) struct Scan<'a> {
    pub(super) text: &'a str,
    /// No text will follow.
    pub(super) complete: bool,
    /// A clause is enough.
    pub(super) early: Option<Early<'a>>,
    /// The text begins a line.
    pub(super) line_start: bool,
}

/// True when a unit's text is a fenced block of code; `line_start` says that it begins a line.
pub(super) fn is_code(text: &str, line_start: bool) -> bool {
    let body = text.trim_start();
    body.starts_with("```") && begins_line(text, text.len() - body.len(), line_start)
}

/// Number of words: runs without white space that have a letter or a digit.
pub(super) fn words(text: &str) -> usize {
    text.split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .count()
}

fn begins_line(text: &str, at: usize, line_start: bool) -> bool {
    match text[..at].rfind('\n') {
        Some(newline) => text[newline..at].trim().is_empty(),
        None => line_start && text[..at].trim().is_empty(),
    }
}

impl Scan<'_> {
    /// Looks for the first boundary; `scanned` bytes are known to hold none.
    pub(super) fn from(&self, scanned: usize) -> Verdict {
        let Some(body) = self.text.find(|c: char| !c.is_whitespace()) else {
            return Verdict::Wait(0);
        };
        if begins_line(self.text, body, self.line_start) {
            let ticks = self.text[body..].bytes().take_while(|byte| *byte == b'`').count();
            if ticks >= 3 {
                return self.code_end(body, scanned);
            }
            if ticks > 0 && body + ticks == self.text.len() && !self.complete {
                return Verdict::Wait(0);
            }
        }
        let from = scanned.max(body);
        for (at, c) in self.text[from..].char_indices().map(|(index, c)| (from + index, c)) {
            if at - body >= MAX_UNIT_BYTES {
                return Verdict::Cut(self.forced(body, at));
            }
            let here = match c {
                '\n' => self.newline(at),
                '.' | '!' | '?' | '…' => self.sentence(at),
                '。' | '！' | '？' => self.full_width(at + c.len_utf8()),
                ',' | ';' | ':' | '—' | '–' => self.clause(at, c),
                ' ' if at > body => self.opened(at),
                _ => Here::Nothing,
            };
            match here {
                Here::Cut(end) => return Verdict::Cut(end),
                Here::Unknown => return Verdict::Wait(at),
                Here::Nothing => {}
            }
        }
        Verdict::Wait(self.text.len())
    }

    /// The end of a fenced block: after the line of back-ticks that closes it.
    fn code_end(&self, body: usize, scanned: usize) -> Verdict {
        let mut from = scanned.max(body);
        while let Some(newline) = self.text[from..].find('\n').map(|index| from + index) {
            let line = self.text[newline + 1..].trim_start_matches([' ', '\t']);
            let start = self.text.len() - line.len();
            if let Some(rest) = line.strip_prefix("```") {
                let after = rest.trim_start_matches('`');
                if after.is_empty() && !self.complete {
                    return Verdict::Wait(newline);
                }
                return Verdict::Cut(start + (line.len() - after.len()));
            }
            if "```".starts_with(line) && !self.complete {
                return Verdict::Wait(newline);
            }
            from = newline + 1;
        }
        Verdict::Wait(self.text.len())
    }

    /// Lines end a unit at a blank line, around headings, list items, tables and code, and where they are short.
    fn newline(&self, at: usize) -> Here {
        let next = self.text[at + 1..].trim_start_matches([' ', '\t', '\r']);
        let line = self.text[..at].rsplit('\n').next().unwrap_or_default().trim();
        let mut chars = next.chars();
        let marked = match (chars.next(), chars.next(), chars.next()) {
            (None, ..) => None,
            (Some('\n' | '#' | '>' | '|' | '•'), ..) => Some(true),
            (Some('-' | '*' | '+'), None, _) => None,
            (Some('-'), Some('-'), _) | (Some('-' | '*' | '+'), Some(' '), _) => Some(true),
            (Some('`'), None, _) | (Some('`'), Some('`'), None) => None,
            (Some('`'), Some('`'), Some('`')) => Some(true),
            (Some('0'..='9'), ..) => numbered(next),
            _ => Some(false),
        };
        match marked {
            Some(true) => Here::Cut(at),
            None if !self.complete => Here::Unknown,
            _ if line.is_empty() => Here::Nothing,
            _ if line.chars().count() < SHORT_LINE_CHARS || line.starts_with(['#', '|', '>']) || is_item(line) => {
                Here::Cut(at)
            }
            _ => Here::Nothing,
        }
    }

    /// A full stop, an exclamation or question mark, and what closes behind it; then white space; then no small letter.
    fn sentence(&self, at: usize) -> Here {
        let run = self.text[at..].trim_start_matches(['.', '!', '?', '…']);
        if run.is_empty() && !self.complete {
            return Here::Unknown;
        }
        let Some(end) = self.closed(self.text.len() - run.len()) else {
            return Here::Unknown;
        };
        let mut next = None;
        for (index, c) in self.text[end..].char_indices() {
            match c {
                '\n' => {
                    return if self.abbreviated(at, end, '\n') {
                        Here::Nothing
                    } else {
                        Here::Cut(end)
                    };
                }
                c if c.is_whitespace() => {}
                // Not separated from what follows: 3.14, example.com, "etc.,".
                _ if index == 0 => return Here::Nothing,
                c => {
                    next = Some(c);
                    break;
                }
            }
        }
        match next {
            None if self.complete => Here::Nothing,
            None => Here::Unknown,
            Some(next) if next.is_lowercase() || self.abbreviated(at, end, next) => Here::Nothing,
            Some(_) => Here::Cut(end),
        }
    }

    /// Full-width marks end a sentence without white space behind them.
    fn full_width(&self, end: usize) -> Here {
        match self.closed(end) {
            Some(end) if end < self.text.len() => Here::Cut(end),
            Some(_) if self.complete => Here::Nothing,
            _ => Here::Unknown,
        }
    }

    /// Skips closing quotes, brackets, emphasis and citations like [1]; `None` when more may come.
    fn closed(&self, mut at: usize) -> Option<usize> {
        loop {
            let rest = &self.text[at..];
            match rest.chars().next() {
                None => return self.complete.then_some(at),
                Some(c) if "\"')]}»”’」』*_`".contains(c) => at += c.len_utf8(),
                Some('[') => {
                    let inside = rest[1..].trim_start_matches(|c: char| c.is_ascii_digit() || ", ^–-".contains(c));
                    match inside.chars().next() {
                        Some(']') if inside.len() + 1 < rest.len() => at = self.text.len() - inside.len() + 1,
                        None if !self.complete => return None,
                        _ => return Some(at),
                    }
                }
                Some(_) => return Some(at),
            }
        }
    }

    /// True when the full stop at `at` belongs to an abbreviation, an initial or the number of a list item.
    fn abbreviated(&self, at: usize, end: usize, next: char) -> bool {
        if &self.text[at..end] != "." {
            return false;
        }
        let before = self.text[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let token = before.trim_start_matches(|c: char| !c.is_alphanumeric());
        let lower = token.to_lowercase();
        let mut letters = token.chars();
        match (letters.next(), letters.next()) {
            (Some(only), None) if only.is_alphabetic() => only != 'I',
            (Some(_), _) if token.bytes().all(|byte| byte.is_ascii_digit()) => {
                token.len() <= 3 && begins_line(self.text, at - token.len(), self.line_start)
            }
            (Some(_), _) if token.contains('.') => {
                !matches!(lower.as_str(), "a.m" | "p.m") && token.split('.').all(|part| part.chars().count() <= 2)
            }
            _ => {
                NEVER_LAST.contains(&lower.as_str()) || (next.is_numeric() && BEFORE_NUMBERS.contains(&lower.as_str()))
            }
        }
    }

    fn clause(&self, at: usize, c: char) -> Here {
        if self.early.is_none_or(|early| words(&self.text[..at]) < early.words) {
            return Here::Nothing;
        }
        let end = at + c.len_utf8();
        match self.text[end..].chars().next() {
            Some(next) if next.is_whitespace() => Here::Cut(end),
            None if !self.complete => Here::Unknown,
            _ => Here::Nothing,
        }
    }

    /// The space before a word that opens a clause ("because"), where the one before it ends without a mark.
    fn opened(&self, at: usize) -> Here {
        let Some(early) = self.early else { return Here::Nothing };
        if !self.text[..at].ends_with(char::is_alphanumeric) || words(&self.text[..at]) < early.words {
            return Here::Nothing;
        }
        let rest = &self.text[at + 1..];
        let word = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
        let whole = word.len() < rest.len();
        match early.before.iter().find(|opener| opener.starts_with(word)) {
            Some(_) if !whole && !self.complete => Here::Unknown,
            Some(_) if rest[word.len()..].starts_with(' ') && early.before.iter().any(|opener| opener == word) => {
                Here::Cut(at)
            }
            _ => Here::Nothing,
        }
    }

    /// Where to cut a sentence that is too long: behind its last clause, else before its last space, else here.
    fn forced(&self, body: usize, at: usize) -> usize {
        let text = &self.text[body..at];
        let clause = text
            .char_indices()
            .zip(text.chars().skip(1))
            .filter(|((_, c), next)| ",;:—–)".contains(*c) && next.is_whitespace())
            .map(|((index, c), _)| index + c.len_utf8())
            .last()
            .filter(|index| *index > MAX_UNIT_BYTES / 3);
        body + clause
            .or_else(|| text.rfind(char::is_whitespace))
            .filter(|index| *index > 0)
            .unwrap_or(text.len())
    }
}

/// Whether a line that begins with a digit is a numbered item ("2. ", "10) "); `None` when more text must say.
fn numbered(line: &str) -> Option<bool> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    if line.len() - rest.len() > 3 {
        return Some(false);
    }
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (None, _) | (Some('.' | ')'), None) => None,
        (Some('.' | ')'), Some(' ')) => Some(true),
        _ => Some(false),
    }
}

fn is_item(line: &str) -> bool {
    ["- ", "* ", "+ ", "• "].iter().any(|marker| line.starts_with(marker))
        || (line.starts_with(|c: char| c.is_ascii_digit()) && numbered(line) == Some(true))
}
