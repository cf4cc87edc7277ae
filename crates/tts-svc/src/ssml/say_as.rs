//! `say-as`: what is said of text that is read as a number, a date or letters. The words are English; what espeak-ng reads
//! well ("21st", "1,234") is handed on as it is.

use crate::normalise::{MONTHS, letter, ordinal_suffix, phone_digits, year_pairs};

/// Interpretations that are followed.
const KINDS: &str = "cardinal, number, ordinal, characters, spell-out, verbatim, digits, date, time, telephone, currency, fraction and unit";

/// Why text cannot be read so.
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) unsupported: bool,
}

/// What is said of `text`.
pub(super) fn said(kind: &str, format: Option<&str>, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if format.is_some() && !["date", "time"].contains(&kind) {
        return Err(Problem {
            text: format!("the attribute \"format\" is not supported with interpret-as=\"{kind}\""),
            unsupported: true,
        });
    }
    let wrong = |wanted: &str| Problem {
        text: format!("\"{text}\" cannot be read as {kind}; {wanted} is wanted"),
        unsupported: false,
    };
    match kind {
        "cardinal" | "number" => number(text).ok_or_else(|| wrong("a number")),
        "ordinal" => {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            let number: u32 = digits.parse().map_err(|_| wrong("a whole number"))?;
            let rest = &text[digits.len()..];
            if rest.is_empty() || rest == ordinal_suffix(number) {
                Ok(format!("{number}{}", ordinal_suffix(number)))
            } else {
                Err(wrong("a whole number"))
            }
        }
        "characters" | "spell-out" | "verbatim" => Ok(spelt(text)),
        "digits" => {
            let digits: Vec<String> = text.chars().filter(char::is_ascii_digit).map(String::from).collect();
            if digits.is_empty() || text.contains(char::is_alphabetic) {
                Err(wrong("digits"))
            } else {
                Ok(digits.join(" "))
            }
        }
        "date" => date(text, format.unwrap_or_default()).ok_or_else(|| {
            wrong("a date in the order that `format` says (mdy, dmy, ymd, md, dm, ym, my or y), or 2026-11-23")
        }),
        "time" => match format {
            None | Some("hms12" | "hms24") => time(text).ok_or_else(|| wrong("a time like 10:05 or 2:30pm")),
            Some(other) => Err(Problem {
                text: format!("format is \"{other}\"; hms12 or hms24 is wanted for a time"),
                unsupported: false,
            }),
        },
        "telephone" => {
            let groups: Vec<&str> = text
                .split(|c: char| !c.is_ascii_digit())
                .filter(|group| !group.is_empty())
                .collect();
            if groups.is_empty() || text.contains(char::is_alphabetic) {
                Err(wrong("a telephone number"))
            } else {
                let plus = if text.starts_with('+') { "plus " } else { "" };
                Ok(format!("{plus}{}", phone_digits(&groups)))
            }
        }
        "currency" if text.contains(|c: char| c.is_ascii_digit()) => Ok(text.to_owned()),
        "currency" => Err(wrong("a sum like $3.50 or 5 EUR")),
        "fraction" => {
            let parts = text.split_once('/');
            let number = |part: &str| part.trim().parse::<u32>().ok();
            match parts.and_then(|(above, below)| Some((number(above)?, number(below)?))) {
                Some((above, below)) if below > 10 || above >= below => Ok(format!("{above} over {below}")),
                Some((above, below)) => Ok(format!("{above}/{below}")),
                None => Err(wrong("a fraction like 3/4")),
            }
        }
        "unit" if text.contains(|c: char| c.is_ascii_digit()) => Ok(text.to_owned()),
        "unit" => Err(wrong("a number with a unit, like 5km")),
        other => Err(Problem {
            text: format!("interpret-as is \"{other}\", which is not supported; supported are {KINDS}"),
            unsupported: true,
        }),
    }
}

fn number(text: &str) -> Option<String> {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = bare.starts_with(|c: char| c.is_ascii_digit())
        && bare.bytes().all(|byte| byte.is_ascii_digit() || b",. ".contains(&byte));
    let minus = if text.starts_with('-') { "minus " } else { "" };
    digits.then(|| format!("{minus}{}", bare.replace(' ', "")))
}

/// Letters one by one, as capitals, so that "a" is the letter and not the article; signs by name where they have one.
fn spelt(text: &str) -> String {
    let named = |c: char| match c {
        '.' => "dot".to_owned(),
        '-' => "dash".to_owned(),
        '_' => "underscore".to_owned(),
        '/' => "slash".to_owned(),
        '@' => "at".to_owned(),
        '#' => "hash".to_owned(),
        '*' => "star".to_owned(),
        '+' => "plus".to_owned(),
        ':' => "colon".to_owned(),
        c => letter(&c.to_uppercase().collect::<String>()).to_owned(),
    };
    let characters: Vec<String> = text.chars().filter(|c| !c.is_whitespace()).map(named).collect();
    characters.join(" ")
}

fn date(text: &str, format: &str) -> Option<String> {
    let parts: Vec<&str> = text
        .split(['/', '-', '.', ' '])
        .filter(|part| !part.is_empty())
        .collect();
    let order = match format {
        "" if parts.first().is_some_and(|part| part.len() == 4) => "ymd",
        "" => "mdy",
        "mdy" | "dmy" | "ymd" | "md" | "dm" | "ym" | "my" | "y" => format,
        _ => return None,
    };
    if parts.len() != order.len() {
        return None;
    }
    let value = |wanted: char| {
        let at = order.find(wanted)?;
        parts[at].parse::<u32>().ok()
    };
    let month = match value('m') {
        Some(month) => Some(*MONTHS.get((month as usize).checked_sub(1)?)?),
        None if order.contains('m') => return None,
        None => None,
    };
    let day = value('d');
    if order.contains('d') && !day.is_some_and(|day| (1..=31).contains(&day)) {
        return None;
    }
    let year = match value('y') {
        Some(year) if year <= 9999 => Some(year_pairs(year)),
        _ if order.contains('y') => return None,
        _ => None,
    };
    Some(match (month, day, year) {
        (Some(month), Some(day), Some(year)) => format!("{month} {day}{}, {year}", ordinal_suffix(day)),
        (Some(month), Some(day), None) => format!("{month} {day}{}", ordinal_suffix(day)),
        (Some(month), None, Some(year)) => format!("{month} {year}"),
        (None, None, Some(year)) => year,
        _ => return None,
    })
}

/// Checked here, said by the rules for plain text.
fn time(text: &str) -> Option<String> {
    let lower = text.to_lowercase().replace(['.', ' '], "");
    let clock = lower.trim_end_matches("am").trim_end_matches("pm");
    let half = &lower[clock.len()..];
    let parts: Vec<&str> = clock.split(':').collect();
    let limits = [24_u32, 59, 59];
    let fits = (1..=3).contains(&parts.len())
        && (parts.len() > 1 || !half.is_empty())
        && parts
            .iter()
            .zip(limits)
            .all(|(part, most)| part.len() <= 2 && part.parse::<u32>().is_ok_and(|number| number <= most));
    let spoken = match half {
        "" => "",
        "am" => " AM",
        _ => " PM",
    };
    fits.then(|| match parts[..] {
        [hours, minutes, seconds] => format!(
            "{hours}:{minutes}{spoken} and {} seconds",
            seconds.trim_start_matches('0')
        ),
        _ => format!("{clock}{spoken}"),
    })
}
