//! What is said of a text that was written to be seen: the words of it, without the marks.
//!
//! A reply of a language model is Markdown more often than not. Read as it stands it would be full of asterisks, so this
//! turns each unit into plain words: markup, emoji and citations like [1] go, links keep their label, addresses and sums of
//! money are said as a person would, a block of code is only mentioned. What is left may be empty; such a unit is not
//! spoken. The order is fixed: lines (headings, items, tables), marks within a line, then words.
//!
//! Words that are put in ("dot", "dollars") are English; for other languages such text is left to the phonemiser.

mod markdown;
mod words;

use crate::units::{Unit, UnitKind};

/// What is said of a unit, by a voice of this language (BCP 47). Empty when there is nothing to say.
pub fn spoken(unit: &Unit, language: &str) -> String {
    let english = language == "en" || language.starts_with("en-");
    let text = match unit.kind {
        UnitKind::Code if english => "Code block.".to_owned(),
        UnitKind::Code => String::new(),
        UnitKind::Prose => {
            let lines: Vec<_> = unit.text.lines().map(|line| markdown::line(line, english)).collect();
            let text = tidy(&words::say(&lines.join(" "), english));
            // A comma at the end of a clause lets the voice stay up; one that a bracket left behind would, too.
            if unit.text.trim_end().ends_with([',', ';', ':', '—', '–']) {
                text
            } else {
                text.trim_end_matches([',', ';']).to_owned()
            }
        }
    };
    if text.chars().any(char::is_alphanumeric) {
        text
    } else {
        String::new()
    }
}

/// One space between words, none before punctuation, no punctuation at the front, no two pauses in a row.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let glued = chars.peek().is_some_and(|next| next.is_alphanumeric());
        let last = out.trim_end().chars().last();
        match c {
            c if c.is_whitespace() || c.is_control() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            // ".5", "10:30": part of a word.
            ',' | ';' | ':' | '.' | '!' | '?' if glued => out.push(c),
            ',' | ';' | ':' if last.is_none_or(|last| ",;:.!?".contains(last)) => {}
            ',' | ';' | ':' | '.' | '!' | '?' => {
                out.truncate(out.trim_end().len());
                if "!?.".contains(c) {
                    out.truncate(out.trim_end_matches([',', ';', ':']).len());
                }
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests;
