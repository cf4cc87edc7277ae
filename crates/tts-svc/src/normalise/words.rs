//! Words that are not said as they are written: addresses, sums of money, dates, abbreviations.

const MONTHS: [&str; 12] = [
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

/// The address that the text begins with, closing punctuation left out: "https://…", "www.…".
pub(super) fn address(text: &str) -> Option<&str> {
    let begins = |prefix: &str| {
        text.get(..prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    let prefix = ["https://", "http://", "www."]
        .into_iter()
        .find(|prefix| begins(prefix))?;
    let end = text
        .find(|c: char| c.is_whitespace() || "<>\"”`|\\".contains(c))
        .unwrap_or(text.len());
    let mut address = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    // A bracket that was opened before the address is closed behind it.
    while address.ends_with([')', ']']) && !address.contains(['(', '[']) {
        address = address[..address.len() - 1].trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']);
    }
    (address.len() > prefix.len()).then_some(address)
}

/// An address as a person would say it: the host, and short parts of the path that are words.
pub(super) fn say_address(address: &str, english: bool) -> String {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let mut parts = address.split('/').filter(|part| !part.is_empty());
    let host = parts.next().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    if !english {
        return host.to_owned();
    }
    let readable = |part: &&str| part.len() <= 24 && part.chars().all(|c| c.is_alphabetic() || "-_".contains(c));
    let mut said = host.replace('.', " dot ");
    for part in parts.take_while(readable).take(2) {
        said.push_str(" slash ");
        said.push_str(&part.replace(['-', '_'], " "));
    }
    said
}

/// Replaces words that are not said as they are written. `english`: words may be put in.
pub(super) fn say(text: &str, english: bool) -> String {
    if !english {
        return text.to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut said = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let scale = words.get(at + 1).copied();
        match money(words[at], scale) {
            Some((sum, taken)) => {
                said.push(sum);
                at += taken;
            }
            None => {
                said.push(word(words[at], scale));
                at += 1;
            }
        }
    }
    said.join(" ")
}

fn word(word: &str, next: Option<&str>) -> String {
    let head = word.len() - word.trim_start_matches(|c: char| !c.is_alphanumeric()).len();
    let (before, rest) = word.split_at(head);
    // What follows the last letter, digit or full stop of the word.
    let tail = rest.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '.');
    let after = &rest[tail.len()..];
    let last = next.is_none() && after.is_empty();
    let stop = if last { "." } else { "" };
    let lower = tail.to_lowercase();
    let said = if let Some((_, said)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
        format!("{said}{stop}")
    } else if lower == "no." && next.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
        "number".to_owned()
    } else if lower == "st." {
        let name = next.is_some_and(|next| next.starts_with(char::is_uppercase));
        format!("{}{stop}", if name { "Saint" } else { "Street" })
    } else if is_initials(tail) {
        // "U.S.", "p.m.", "J.": the letters, without stops that would be heard as the end of a sentence.
        format!("{}{stop}", tail.trim_end_matches('.').replace('.', " "))
    } else if let Some(date) = date(tail) {
        date
    } else {
        tail.to_owned()
    };
    format!("{before}{said}{after}")
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
fn date(word: &str) -> Option<String> {
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
