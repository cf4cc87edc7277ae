//! Words that are not said as they are written: sums of money, dates, abbreviations; numbers stand in [`numbers`].
//!
//! espeak-ng reads most numbers well (cardinals, ordinals, decimals, percent, "10:30"); those are left to it.

use super::traced::Word;
use super::{address, numbers};

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Abbreviations, in small letters and with their full stop, and what is said.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("mr.", "Mister"),
    ("mrs.", "Missus"),
    ("ms.", "Ms"),
    ("dr.", "Doctor"),
    ("prof.", "Professor"),
    ("gen.", "General"),
    ("capt.", "Captain"),
    ("sgt.", "Sergeant"),
    ("lt.", "Lieutenant"),
    ("gov.", "Governor"),
    ("a.m.", "AM"),
    ("p.m.", "PM"),
    ("e.g.", "for example"),
    ("i.e.", "that is"),
    ("etc.", "et cetera"),
    ("vs.", "versus"),
    ("cf.", "compare"),
    ("approx.", "approximately"),
    ("fig.", "figure"),
    ("eq.", "equation"),
    ("incl.", "including"),
];

/// Replaces words that are not said as they are written. `english`: words may be put in.
pub(super) fn say(words: Vec<Word>, english: bool) -> Vec<Word> {
    let mut said = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let here = Here {
            previous: at.checked_sub(1).map(|at| words[at].text.as_str()),
            word: &words[at].text,
            next: words.get(at + 1).map(|word| word.text.as_str()),
        };
        let (text, taken) = if english {
            english_words(&here)
        } else {
            (here.word.to_owned(), 1)
        };
        let from = words[at].from.start..words[at + taken - 1].from.end;
        said.extend(text.split_whitespace().map(|text| Word {
            text: text.to_owned(),
            from: from.clone(),
        }));
        at += taken;
    }
    said
}

/// A word and those beside it.
pub(super) struct Here<'a> {
    pub(super) previous: Option<&'a str>,
    pub(super) word: &'a str,
    pub(super) next: Option<&'a str>,
}

/// What is said of a word, and how many words that takes.
fn english_words(here: &Here<'_>) -> (String, usize) {
    money(here.word, here.next)
        .or_else(|| numbers::say(here))
        .unwrap_or_else(|| (word(here.word, here.next), 1))
}

fn word(word: &str, next: Option<&str>) -> String {
    let head = word.len() - word.trim_start_matches(|c: char| !c.is_alphanumeric()).len();
    let (before, rest) = word.split_at(head);
    if let Some(stops) = rest.strip_prefix("C#")
        && !stops.contains(char::is_alphanumeric)
    {
        return format!("{before}C sharp{stops}");
    }
    // What follows the last letter, digit or full stop of the word.
    let tail = rest.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '.');
    let after = &rest[tail.len()..];
    let last = next.is_none() && after.is_empty();
    let stop = if last { "." } else { "" };
    let lower = tail.to_lowercase();
    let bare = tail.trim_end_matches('.');
    let said = if let Some((_, said)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
        format!("{said}{stop}")
    } else if lower == "no." && next.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
        "number".to_owned()
    } else if lower == "st." {
        let name = next.is_some_and(|next| next.starts_with(char::is_uppercase));
        format!("{}{stop}", if name { "Saint" } else { "Street" })
    } else if is_initials(tail) {
        // "U.S.", "p.m.", "J.": the letters, without stops that would be heard as the end of a sentence.
        let letters: Vec<&str> = bare.split('.').map(letter).collect();
        format!("{}{stop}", letters.join(" "))
    } else if address::is_mail(bare) {
        format!("{}{}", address::say_mail(bare, true), &tail[bare.len()..])
    } else if let Some(date) = date(tail) {
        date
    } else {
        tail.to_owned()
    };
    format!("{before}{said}{after}")
}

/// A letter on its own: "A" would be read as the article.
pub(crate) fn letter(letter: &str) -> &str {
    if letter.eq_ignore_ascii_case("a") { "ay" } else { letter }
}

fn is_initials(word: &str) -> bool {
    let Some(letters) = word.strip_suffix('.') else {
        return false;
    };
    let single = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    letters.split('.').all(single)
        && (letters.contains('.') || (letters != "I" && letters.starts_with(char::is_uppercase)))
}

/// "2026-11-23" → "November 23, 2026".
pub(super) fn date(word: &str) -> Option<String> {
    let bare = word.strip_suffix('.').unwrap_or(word);
    let mut parts = bare.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, width: usize| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    let name = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let day: u8 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    Some(format!("{name} {day}, {year}{}", &word[bare.len()..]))
}

/// "$3.50" → "3 dollars and 50 cents", "€2 million" → "2 million euros"; how many words were taken.
fn money(word: &str, next: Option<&str>) -> Option<(String, usize)> {
    let head = word.len() - word.trim_start_matches(['(', ',']).len();
    let (before, rest) = word.split_at(head);
    let sign = rest.chars().next()?;
    let (one, many, cents) = match sign {
        '$' => ("dollar", "dollars", "cents"),
        '€' => ("euro", "euros", "cents"),
        '£' => ("pound", "pounds", "pence"),
        '¥' => ("yen", "yen", "sen"),
        '₹' => ("rupee", "rupees", "paise"),
        _ => return None,
    };
    let rest = &rest[sign.len_utf8()..];
    let amount = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
    let after = &rest[amount.len()..];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
    let (whole, fraction) = amount
        .split_once('.')
        .map_or((amount, None), |(whole, rest)| (whole, Some(rest)));
    if !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) || after.starts_with(char::is_alphabetic) {
        return None;
    }
    if let Some(next) = next.filter(|_| after.is_empty()) {
        let scale = next.trim_end_matches(|c: char| !c.is_alphabetic());
        if ["hundred", "thousand", "million", "billion", "trillion"].contains(&scale) {
            return Some((format!("{before}{amount} {scale} {many}{}", &next[scale.len()..]), 2));
        }
    }
    let unit = if whole == "1" && fraction.is_none_or(|fraction| fraction.len() == 2) {
        one
    } else {
        many
    };
    let sum = match fraction {
        Some("00") | None => format!("{whole} {unit}"),
        Some(fraction) if fraction.len() == 2 && whole == "0" => {
            format!("{} {cents}", fraction.trim_start_matches('0'))
        }
        Some(fraction) if fraction.len() == 2 => {
            format!("{whole} {unit} and {} {cents}", fraction.trim_start_matches('0'))
        }
        Some(_) => format!("{amount} {unit}"),
    };
    Some((format!("{before}{sum}{after}"), 1))
}
