//! Numbers that are dialled: their digits one by one, a short pause between the groups.

/// The telephone number that the text begins with, as it is said, and its bytes: "+49 30 1234567", "(555) 123-4567",
/// "555-123-4567", "555-1234".
pub(super) fn number(text: &str) -> Option<(String, usize)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || "+()- .".contains(c)))
        .unwrap_or(text.len());
    let written = text[..end].trim_end_matches(|c: char| !c.is_ascii_digit());
    if text[written.len()..].starts_with(char::is_alphanumeric) {
        return None;
    }
    let groups: Vec<&str> = written
        .split(|c: char| !c.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .collect();
    let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits: usize = sizes.iter().sum();
    let dashes = written.chars().all(|c| c.is_ascii_digit() || c == '-');
    let is_phone = if let Some(rest) = written.strip_prefix('+') {
        rest.starts_with(|c: char| c.is_ascii_digit()) && (8..=15).contains(&digits)
    } else if written.starts_with('(') {
        written.as_bytes().get(4) == Some(&b')') && sizes == [3, 3, 4]
    } else {
        dashes && (sizes == [3, 3, 4] || sizes == [3, 4] || sizes == [1, 3, 3, 4])
    };
    is_phone.then(|| {
        let plus = if written.starts_with('+') { "plus " } else { "" };
        (format!("{plus}{}", say_groups(&groups)), written.len())
    })
}

/// Groups of digits, digit by digit.
pub(crate) fn say_groups(groups: &[&str]) -> String {
    let said = groups.iter().map(|group| {
        let digits: Vec<String> = group.chars().map(|digit| digit.to_string()).collect();
        digits.join(" ")
    });
    said.collect::<Vec<_>>().join(", ")
}
