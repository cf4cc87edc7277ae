//! Addresses of the web and of mail, as a person would say them.

/// The address that the text begins with, closing punctuation left out: "https://…", "www.…".
pub(super) fn of_web(text: &str) -> Option<&str> {
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
pub(super) fn say(address: &str, english: bool) -> String {
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

/// Whether a word is an address of mail: "name@example.org".
pub(super) fn is_mail(word: &str) -> bool {
    let part = |part: &str, others: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    word.split_once('@').is_some_and(|(name, host)| {
        part(name, "._-+") && part(host, ".-") && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
    })
}

/// An address of mail as it is said: "name at example dot org".
pub(super) fn say_mail(address: &str, english: bool) -> String {
    if !english {
        return address.to_owned();
    }
    let signs = [
        ('@', " at "),
        ('.', " dot "),
        ('-', " dash "),
        ('_', " underscore "),
        ('+', " plus "),
    ];
    address
        .chars()
        .map(|c| {
            let said = signs.iter().find(|(sign, _)| *sign == c);
            said.map_or_else(|| c.to_string(), |(_, said)| (*said).to_owned())
        })
        .collect()
}
