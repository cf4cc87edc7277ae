//! Takes what is left of a wake word off a transcript.
//!
//! Listening starts where the keyword ended, but a detector is sure a little before the mouth is done, and so "Jarvis,"
//! may stand before the question. Only words of the keyword itself go, only at the start, only a tail of its phrase.

/// `text` without a tail of `phrase` at its start: of "hey jarvis", both "Hey Jarvis, …" and "Jarvis. …" lose it.
/// A keyword in the middle stays, and so does a text that merely begins alike.
pub fn strip_keyword<'a>(text: &'a str, phrase: &str) -> &'a str {
    let phrase: Vec<String> = phrase
        .split_whitespace()
        .map(plain)
        .filter(|word| !word.is_empty())
        .collect();
    (0..phrase.len())
        .find_map(|start| strip_words(text, &phrase[start..]))
        .unwrap_or_else(|| text.trim())
}

/// The phrase that a person says for a keyword's identifier: "hey_jarvis" is "hey jarvis".
pub fn phrase_of(keyword: &str) -> String {
    keyword.replace(['_', '-'], " ")
}

fn strip_words<'a>(text: &'a str, words: &[String]) -> Option<&'a str> {
    let mut rest = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    for wanted in words {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '\''))
            .unwrap_or(rest.len());
        if plain(&rest[..end]) != *wanted {
            return None;
        }
        rest = rest[end..].trim_start_matches(|c: char| c.is_whitespace() || ",.!?;:…-–—".contains(c));
    }
    Some(rest.trim_end())
}

fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_keyword_and_its_tail_go() {
        for text in [
            "Hey Jarvis, what time is it?",
            "hey, Jarvis! what time is it?",
            "Jarvis. what time is it?",
        ] {
            assert_eq!(strip_keyword(text, "hey jarvis"), "what time is it?", "{text}");
        }
        assert_eq!(strip_keyword("Jarvis.", "hey jarvis"), "");
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "Hey, what time is it?",
            "Who is Jarvis?",
            "Jarvisson is here",
            "",
            "...",
        ] {
            assert_eq!(strip_keyword(text, "hey jarvis"), text, "{text}");
        }
    }

    #[test]
    fn identifiers_become_phrases() {
        assert_eq!(phrase_of("hey_jarvis"), "hey jarvis");
    }
}
