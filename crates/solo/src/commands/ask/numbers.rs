//! Which numbers of a JSON text a double would change.
//!
//! A double says the number 0.1 when the shortest text that means that double is "0.1". So each number, as it is written,
//! is held against the shortest text of its double; both as digits and a power of ten. This is what a reader at the other
//! end would print, too.

/// A number that would be another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) line: usize,
    pub(super) column: usize,
    /// As it is written.
    pub(super) written: String,
    /// What it would become.
    pub(super) becomes: String,
}

/// The first number in a valid JSON text that would be changed.
pub(super) fn changed(json: &str) -> Option<Changed> {
    let bytes = json.as_bytes();
    let (mut at, mut in_text) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .map_or(bytes.len(), |length| at + length);
                let written = &json[at..end];
                if let Some(becomes) = other(written) {
                    let before = &json[..at];
                    return Some(Changed {
                        line: before.matches('\n').count() + 1,
                        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
                        written: written.to_owned(),
                        becomes,
                    });
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// What a number would become, if it is not itself.
fn other(written: &str) -> Option<String> {
    let double: f64 = written.parse().ok()?;
    let shortest = format!("{double:e}");
    (canonical(written) != canonical(&shortest)).then(|| format!("{double}"))
}

/// Digits without zeros around them, and the power of ten that they are multiplied by.
fn canonical(number: &str) -> (bool, String, i64) {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let used = digits.trim_end_matches('0');
    if used.is_empty() {
        return (negative, String::new(), 0);
    }
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    let power = exponent.saturating_sub(fraction.len() as i64);
    (
        negative,
        used.to_owned(),
        power.saturating_add((digits.len() - used.len()) as i64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_doubles_can_say_are_left_alone() {
        let text =
            r#"{"a": [0, -0, 1, -1.5, 0.1, 1e23, 1E-7, 100, 9007199254740992, 1.0, 2.50e+2, 18014398509481984]}"#;
        assert_eq!(changed(text), None);
        assert_eq!(changed(r#""9007199254740993 \" 9007199254740993""#), None);
    }

    #[test]
    fn the_others_are_found() {
        let found = changed("{\n  \"x\": 1,\n  \"maximum\": 9007199254740993}").unwrap();
        assert_eq!((found.line, found.column), (3, 14));
        assert_eq!(
            (found.written.as_str(), found.becomes.as_str()),
            ("9007199254740993", "9007199254740992")
        );
        assert!(changed("[0.10000000000000000001]").is_some());
        assert!(changed("[12345678901234567890]").is_some());
        assert!(changed("1e-400").is_some());
    }
}
