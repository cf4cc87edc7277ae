//! Numbers that espeak-ng does not read as a person would: times on the hour, years, decades, fractions, ranges, numbers
//! with a unit, Roman numerals. English only.

use super::words::{Here, MONTHS};

/// Units after a number: as written, one of it, several of it.
const UNITS: &[(&str, &str, &str)] = &[
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("ft", "foot", "feet"),
    ("l", "liter", "liters"),
    ("L", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mph", "mile per hour", "miles per hour"),
    ("km/h", "kilometer per hour", "kilometers per hour"),
    ("m/s", "meter per second", "meters per second"),
    ("kB", "kilobyte", "kilobytes"),
    ("KB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("ms", "millisecond", "milliseconds"),
    ("s", "second", "seconds"),
    ("sec", "second", "seconds"),
    ("min", "minute", "minutes"),
    ("h", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("W", "watt", "watts"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("USD", "US dollar", "US dollars"),
    ("EUR", "euro", "euros"),
    ("GBP", "pound", "pounds"),
];

/// Parts from halves to tenths: one, several.
const PARTS: [(&str, &str); 9] = [
    ("half", "halves"),
    ("third", "thirds"),
    ("quarter", "quarters"),
    ("fifth", "fifths"),
    ("sixth", "sixths"),
    ("seventh", "sevenths"),
    ("eighth", "eighths"),
    ("ninth", "ninths"),
    ("tenth", "tenths"),
];

const DECADES: [&str; 10] = [
    "hundreds",
    "tens",
    "twenties",
    "thirties",
    "forties",
    "fifties",
    "sixties",
    "seventies",
    "eighties",
    "nineties",
];

/// Words before a number of four digits that make it a year.
const BEFORE_YEARS: &[&str] = &[
    "in", "since", "until", "till", "before", "after", "around", "circa", "during", "year", "by", "from", "of", "late",
    "early",
];

/// Names of rulers: a Roman numeral behind them counts them.
const RULERS: &[&str] = &[
    "Alexander",
    "Benedict",
    "Catherine",
    "Charles",
    "Edward",
    "Elizabeth",
    "Francis",
    "Frederick",
    "George",
    "Gregory",
    "Henry",
    "James",
    "John",
    "Leo",
    "Louis",
    "Mary",
    "Napoleon",
    "Nicholas",
    "Paul",
    "Philip",
    "Pius",
    "Richard",
    "William",
];

/// What is said of a word that is such a number, and how many words that takes.
pub(super) fn say(here: &Here<'_>) -> Option<(String, usize)> {
    let head = here.word.len() - here.word.trim_start_matches(['(', '\'', ',']).len();
    let (before, rest) = here.word.split_at(head);
    let body = rest.trim_end_matches([',', ';', ':', '.', '!', '?', ')', '\'']);
    let after = &rest[body.len()..];
    // Decades of a century before units: "1990s" are no seconds, "30s" are.
    let (said, taken) = decade(body)
        .filter(|_| body.len() > 4)
        .map(|said| (said, 1))
        .or_else(|| with_unit(body, after, here.next))
        .or_else(|| time(body, here.next).map(|said| (said, 1)))
        .or_else(|| calendar(body).map(|said| (said, 1)))
        .or_else(|| fraction(body, here.previous).map(|said| (said, 1)))
        .or_else(|| range(body).map(|said| (said, 1)))
        .or_else(|| year(body, here).map(|said| (said, 1)))
        .or_else(|| decade(body).map(|said| (said, 1)))
        .or_else(|| roman(body, here.previous).map(|said| (said, 1)))
        .or_else(|| counted(body).map(|said| (said, 1)))?;
    let after = if taken == 2 {
        let next = here.next.unwrap_or_default();
        &next[next.trim_end_matches([',', ';', ':', '.', '!', '?', ')', '\'']).len()..]
    } else {
        after
    };
    Some((format!("{before}{said}{after}"), taken))
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".,".contains(&byte))
}

/// Digits alone, at most this many.
fn digits(text: &str, most: usize) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// "5 km", "5km", "5pm".
fn with_unit(body: &str, after: &str, next: Option<&str>) -> Option<(String, usize)> {
    let number = body.trim_end_matches(|c: char| c.is_alphabetic() || c == '/');
    let number = if is_number(number) { number } else { return None };
    let own = &body[number.len()..];
    let named = |name: &str| {
        let unit = UNITS.iter().find(|(short, ..)| *short == name)?;
        Some(if number == "1" { unit.1 } else { unit.2 })
    };
    if !own.is_empty() {
        return match own.to_lowercase().as_str() {
            "am" => Some((format!("{number} AM"), 1)),
            "pm" => Some((format!("{number} PM"), 1)),
            _ => named(own).map(|unit| (format!("{number} {unit}"), 1)),
        };
    }
    if !after.is_empty() {
        return None;
    }
    let name = next?.trim_end_matches([',', ';', ':', '.', '!', '?', ')', '\'']);
    named(name).map(|unit| (format!("{number} {unit}"), 2))
}

/// "9:00" is on the hour, "10:05" is five past; "10:30" is left.
fn time(body: &str, next: Option<&str>) -> Option<String> {
    let lower = body.to_lowercase();
    let (clock, half) = match lower.strip_suffix("am").or(lower.strip_suffix("pm")) {
        Some(clock) if lower.ends_with("am") => (clock, " AM"),
        Some(clock) => (clock, " PM"),
        None => (lower.as_str(), ""),
    };
    let (hours, minutes) = clock.split_once(':')?;
    let (hour, minute) = (digits(hours, 2)?, digits(minutes, 2)?);
    if minutes.len() != 2 || hour > 24 || minute > 59 {
        return None;
    }
    let half_follows = !half.is_empty()
        || next.is_some_and(|next| {
            let letters: String = next.chars().filter(char::is_ascii_alphabetic).collect();
            ["am", "pm"].contains(&letters.to_lowercase().as_str())
        });
    Some(match minute {
        0 if half_follows => format!("{hour}{half}"),
        0 => format!("{hour} o'clock"),
        1..=9 => format!("{hour} oh {minute}{half}"),
        _ if half.is_empty() => return None,
        _ => format!("{hour} {minute}{half}"),
    })
}

/// "11/23/2026" → "November 23, 2026", as it is written in the United States.
fn calendar(body: &str) -> Option<String> {
    let mut parts = body.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let (day, year) = (digits(day, 2)?, digits(year, 4)?);
    let name = MONTHS.get(digits(month, 2)?.checked_sub(1)? as usize)?;
    (1..=31)
        .contains(&day)
        .then(|| format!("{name} {day}, {}", pairs(year)))
}

/// "3/4" → "3 quarters"; after a number "and 3 quarters".
fn fraction(body: &str, previous: Option<&str>) -> Option<String> {
    let (above, below) = body.split_once('/')?;
    let (above, below) = (digits(above, 2)?, digits(below, 2)?);
    let (one, many) = PARTS.get((below as usize).checked_sub(2)?)?;
    if above == 0 || above >= below {
        return None;
    }
    let said = if above == 1 {
        format!("one {one}")
    } else {
        format!("{above} {many}")
    };
    Some(if previous.is_some_and(is_number) {
        format!("and {said}")
    } else {
        said
    })
}

/// "5-10" → "5 to 10".
fn range(body: &str) -> Option<String> {
    let (low, high) = body.split_once('-')?;
    let percent = high.ends_with('%');
    let bare = high.trim_end_matches('%');
    let (from, to) = (digits(low, 6)?, digits(bare, 6)?);
    (from < to).then(|| {
        let year = |number: u32, text: &str| {
            let is_year = low.len() == 4 && bare.len() == 4 && (1100..2100).contains(&number);
            if is_year { pairs(number) } else { text.to_owned() }
        };
        let percent = if percent { "%" } else { "" };
        format!("{} to {}{percent}", year(from, low), year(to, bare))
    })
}

fn year(body: &str, here: &Here<'_>) -> Option<String> {
    let year = digits(body, 4).filter(|year| (1100..2100).contains(year))?;
    let previous = here.previous?.trim_end_matches([',', '.']);
    let month = |word: &str| MONTHS.contains(&word);
    let day = here.previous?.ends_with(',') && digits(previous, 2).is_some_and(|day| (1..=31).contains(&day));
    let said_before = BEFORE_YEARS.contains(&previous.to_lowercase().as_str()) || month(previous) || day;
    // "in 1500 steps": something is counted.
    let counts = here.word.len() == body.len()
        && here.next.is_some_and(|next| {
            next.starts_with(char::is_lowercase) && next.ends_with('s') && !["was", "is", "as", "has"].contains(&next)
        });
    (said_before && !counts).then(|| pairs(year))
}

/// A year as it is said: "1999" is "19 99", "1905" is "19 oh 5", "1900" is "19 hundred", "2005" stays.
pub(crate) fn pairs(year: u32) -> String {
    match (year / 100, year % 100) {
        _ if !(1100..2100).contains(&year) || (2000..2010).contains(&year) => year.to_string(),
        (century, 0) => format!("{century} hundred"),
        (century, rest @ 1..=9) => format!("{century} oh {rest}"),
        (century, rest) => format!("{century} {rest}"),
    }
}

/// "1990s" → "19 nineties", "80s" → "eighties".
fn decade(body: &str) -> Option<String> {
    let number = body.strip_suffix('s')?.trim_end_matches(['\'', '’']);
    let years = digits(number, 4).filter(|years| years % 10 == 0)?;
    let name = DECADES[(years / 10 % 10) as usize];
    match number.len() {
        2 if years >= 20 => Some(name.to_owned()),
        4 if (1100..2100).contains(&years) && years != 2000 => Some(format!("{} {name}", years / 100)),
        4 if years == 2000 => Some("2 thousands".to_owned()),
        _ => None,
    }
}

/// "Henry VIII" is the eighth, "Chapter IV" is four. Only behind a name, and not a single letter.
fn roman(body: &str, previous: Option<&str>) -> Option<String> {
    let previous = previous?;
    if body.len() < 2 || !previous.starts_with(char::is_uppercase) {
        return None;
    }
    let value = roman_value(body)?;
    Some(if RULERS.contains(&previous) {
        format!("the {value}{}", ordinal_suffix(value))
    } else {
        value.to_string()
    })
}

/// Numerals up to 39, written as they should be: longer ones are rather words ("MIX", "CIVIL").
fn roman_value(text: &str) -> Option<u32> {
    let digit = |c| match c {
        'I' => Some(1),
        'V' => Some(5),
        'X' => Some(10),
        _ => None,
    };
    let digits: Vec<u32> = text.chars().map(digit).collect::<Option<_>>()?;
    let value: i64 = digits
        .iter()
        .enumerate()
        .map(|(at, digit)| {
            let smaller = digits.get(at + 1).is_some_and(|next| digit < next);
            i64::from(*digit) * if smaller { -1 } else { 1 }
        })
        .sum();
    let value = u32::try_from(value).ok().filter(|value| (1..40).contains(value))?;
    let ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];
    let written = format!("{}{}", "X".repeat((value / 10) as usize), ones[(value % 10) as usize]);
    (written == text).then_some(value)
}

/// "st", "nd", "rd" or "th".
pub(crate) fn ordinal_suffix(number: u32) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

/// "#1" → "number 1".
fn counted(body: &str) -> Option<String> {
    body.strip_prefix('#')
        .filter(|number| is_number(number))
        .map(|number| format!("number {number}"))
}
