//! What is said of a text that was written to be seen: the words of it, without the marks.
//!
//! A reply of a language model is Markdown more often than not. Read as it stands it would be full of asterisks, so this
//! turns each unit into plain words: markup, emoji and citations like [1] go, links keep their label, addresses and sums of
//! money are said as a person would, a block of code is only mentioned. What is left may be empty; such a unit is not
//! spoken. The order is fixed: lines (headings, items, tables), marks within a line, then words. Every word that is said
//! knows which bytes of the text it stands for, so that marks of words can be sent.
//!
//! Words that are put in ("dot", "dollars") are English; for other languages such text is left to the phonemiser.

mod address;
mod markdown;
mod numbers;
mod phone;
mod traced;
mod words;

pub(crate) use numbers::{ordinal_suffix, pairs as year_pairs};
pub(crate) use phone::say_groups as phone_digits;
pub use traced::Word;
pub(crate) use words::{MONTHS, letter};

use markdown::Slice;
use traced::Traced;

use crate::units::{Unit, UnitKind};

/// Marks that make a voice pause or end.
const STOPS: [char; 6] = [',', ';', ':', '.', '!', '?'];

/// What is said of a unit, by a voice of this language (BCP 47). Empty when there is nothing to say.
pub fn spoken(unit: &Unit, language: &str) -> Vec<Word> {
    let english = language == "en" || language.starts_with("en-");
    let words = match unit.kind {
        UnitKind::Code if english => {
            let mut traced = Traced::default();
            traced.push("Code block.", 0..unit.text.len());
            traced.words()
        }
        UnitKind::Code => Vec::new(),
        UnitKind::Prose => {
            let mut traced = Traced::default();
            let mut from = 0;
            for line in unit.text.split_inclusive('\n') {
                markdown::line(&Slice::new(&unit.text, from..from + line.len()), english, &mut traced);
                from += line.len();
                traced.push(" ", from..from);
            }
            let mut words = tidy(words::say(traced.words(), english));
            // A comma at the end of a clause lets the voice stay up; one that a bracket left behind would, too.
            if !unit.text.trim_end().ends_with([',', ';', ':', '—', '–'])
                && let Some(last) = words.last_mut()
            {
                last.text.truncate(last.text.trim_end_matches([',', ';']).len());
            }
            words
        }
    };
    if words.iter().any(|word| word.text.chars().any(char::is_alphanumeric)) {
        words
    } else {
        Vec::new()
    }
}

/// The text that a voice is given.
pub fn joined(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

/// Punctuation behind its word, none at the front, no two pauses in a row.
fn tidy(words: Vec<Word>) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::with_capacity(words.len());
    for word in words {
        let bare = word.text.trim_start_matches(STOPS);
        // ".5", ":name": part of the word. A mark before a letter was left there by a bracket.
        let part = bare.starts_with(|c: char| c.is_ascii_digit());
        let (front, rest) = if part {
            ("", word.text.as_str())
        } else {
            word.text.split_at(word.text.len() - bare.len())
        };
        if let Some(last) = out.last_mut() {
            stop(&mut last.text, front);
        }
        if rest.is_empty() {
            continue;
        }
        let body = rest.trim_end_matches(STOPS);
        let mut text = body.to_owned();
        stop(&mut text, &rest[body.len()..]);
        out.push(Word { text, from: word.from });
    }
    out
}

/// Adds marks to the end of a word: a full stop takes the place of a comma, a comma after another mark goes.
fn stop(word: &mut String, marks: &str) {
    for mark in marks.chars() {
        match mark {
            ',' | ';' | ':' if word.ends_with(STOPS) => {}
            ',' | ';' | ':' => word.push(mark),
            _ => {
                word.truncate(word.trim_end_matches([',', ';', ':']).len());
                word.push(mark);
            }
        }
    }
}

#[cfg(test)]
mod tests;
