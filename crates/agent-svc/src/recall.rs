//! What memory is asked: the question, with what it refers to. Pure.
//!
//! "How much does it cost?" finds nothing by itself; with the question before it does. Asking the language model to write such
//! a question out would cost a spoken turn its first word, so a rule decides: who says "it", or begins with "and", means what
//! was talked about. The words of English only; a follow-up in another language is asked as it is.

use crate::dialogue::Exchange;

/// Words that mean something said before.
const REFERRING: &[&str] = &[
    "it", "its", "that", "this", "those", "these", "they", "them", "their", "he", "him", "his", "she", "her", "hers",
    "there", "then", "one", "ones", "both", "either", "same", "else", "more", "again", "instead",
];
/// Beginnings of questions that go on with what was said before.
const GOING_ON: &[&str] = &[
    "and ",
    "but ",
    "so ",
    "or ",
    "what about ",
    "how about ",
    "why ",
    "why?",
];
/// Questions of so few words say too little to be about something new.
const FEW_WORDS: usize = 2;
/// Characters of the earlier question that are asked with it.
const EARLIER_CHARS: usize = 300;

/// What memory is asked for `question`, after the exchanges `history`.
pub fn query(question: &str, history: &[Exchange]) -> String {
    let question = question.trim();
    let earlier = history.iter().rev().find(|exchange| !exchange.text.trim().is_empty());
    match earlier {
        Some(earlier) if follows_up(question) => {
            let about: String = earlier.text.trim().chars().take(EARLIER_CHARS).collect();
            format!("{about}\n{question}")
        }
        _ => question.to_owned(),
    }
}

fn follows_up(question: &str) -> bool {
    let lower = question.to_lowercase();
    let words: Vec<&str> = lower
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.len() <= FEW_WORDS
        || GOING_ON.iter().any(|beginning| lower.starts_with(beginning))
        || words.iter().any(|word| REFERRING.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Vec<Exchange> {
        vec![Exchange {
            text: text.into(),
            reply: "It climbs the hill.".into(),
            interrupted: false,
        }]
    }

    #[test]
    fn a_follow_up_is_asked_with_what_it_is_about() {
        let history = after("Tell me about the tram in Lisbon.");
        for question in ["How much does it cost?", "And on Sundays?", "Why?", "What about Porto?"] {
            assert_eq!(
                query(question, &history),
                format!("Tell me about the tram in Lisbon.\n{question}")
            );
        }
    }

    #[test]
    fn a_new_question_is_asked_alone() {
        let history = after("Tell me about the tram in Lisbon.");
        let question = "Where did I put my spare keys?";
        assert_eq!(query(question, &history), question);
        assert_eq!(query("How much does it cost?", &[]), "How much does it cost?");
        assert_eq!(query("How much does it cost?", &after("  ")), "How much does it cost?");
    }

    #[test]
    fn a_long_question_before_is_cut() {
        let long = "x".repeat(2000);
        assert_eq!(query("Why?", &after(&long)).len(), EARLIER_CHARS + 5);
    }
}
