//! What a person wants of the memory itself, said in a turn: to know what is known, to have something forgotten. Pure.
//!
//! These turns are answered without the language model: what is deleted must not depend on how a model reads a sentence.

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// "What do you know about me?"
    TellWhatIsKnown,
    /// "Forget that."
    ForgetLast,
    /// "Forget what I said about my dentist."
    Forget(String),
    /// "Delete everything about me."
    DeleteEverything,
    /// "Yes, delete everything."
    Confirm,
}

const TELL: &[&str] = &[
    "what do you know about me",
    "what do you remember about me",
    "what have you remembered about me",
    "what did you learn about me",
    "what have you learnt about me",
    "what have you learned about me",
    "tell me what you know about me",
    "tell me everything you know about me",
    "what do you have on me",
];
const LAST: &[&str] = &[
    "forget that",
    "forget it",
    "forget this",
    "forget what i just said",
    "forget what i just told you",
    "forget what i said",
    "forget i said that",
    "forget that i said that",
    "don't remember that",
    "do not remember that",
    "delete that from your memory",
];
const EVERYTHING: &[&str] = &[
    "delete everything about me",
    "forget everything about me",
    "erase everything about me",
    "delete everything you know about me",
    "forget everything you know about me",
    "delete all my data",
    "delete everything you have on me",
    "forget everything",
];
const CONFIRM: &[&str] = &[
    "yes delete everything",
    "yes forget everything",
    "yes erase everything",
    "yes delete it all",
];
/// Beginnings of what is to be forgotten. Longer ones first.
const ABOUT: &[&str] = &[
    "forget what i said about ",
    "forget what i told you about ",
    "forget everything about ",
    "forget what you know about ",
    "forget about ",
    "forget that ",
    "delete what you know about ",
];
/// Words around a wish that change nothing about it.
const AROUND: &[&str] = &[
    "please",
    "solo",
    "hey",
    "now",
    "okay",
    "ok",
    "can you",
    "could you",
    "would you",
];

/// What is wanted of the memory, if that is what was said.
pub fn wish(said: &str) -> Option<Wish> {
    let lower = said.to_lowercase().replace('’', "'");
    // A second sentence may take the first back.
    let sentence = lower.trim().trim_end_matches(['.', '!', '?']);
    if sentence.contains(['.', '!', '?']) {
        return None;
    }
    let mut text: String = lower
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' })
        .collect();
    text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let before = text.len();
        for word in AROUND {
            if let Some(rest) = text.strip_prefix(word).filter(|rest| rest.starts_with(' ')) {
                text = rest.trim().to_owned();
            }
            if let Some(rest) = text.strip_suffix(word).filter(|rest| rest.ends_with(' ')) {
                text = rest.trim().to_owned();
            }
        }
        if text.len() == before {
            break;
        }
    }
    let is = |phrases: &[&str]| phrases.contains(&text.as_str());
    if is(TELL) {
        return Some(Wish::TellWhatIsKnown);
    }
    if is(LAST) {
        return Some(Wish::ForgetLast);
    }
    if is(EVERYTHING) {
        return Some(Wish::DeleteEverything);
    }
    if is(CONFIRM) {
        return Some(Wish::Confirm);
    }
    let about = ABOUT.iter().find_map(|beginning| text.strip_prefix(beginning))?;
    (!about.is_empty()).then(|| Wish::Forget(about.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_understood_with_the_words_around_them() {
        for (said, wanted) in [
            ("What do you know about me?", Wish::TellWhatIsKnown),
            (
                "Hey Solo, what do you remember about me, please?",
                Wish::TellWhatIsKnown,
            ),
            ("Forget that.", Wish::ForgetLast),
            ("Please don’t remember that", Wish::ForgetLast),
            (
                "Forget what I said about my dentist!",
                Wish::Forget("my dentist".into()),
            ),
            (
                "Can you forget that my sister is called Anna?",
                Wish::Forget("my sister is called anna".into()),
            ),
            ("Delete everything about me.", Wish::DeleteEverything),
            ("Yes, delete everything.", Wish::Confirm),
        ] {
            assert_eq!(wish(said), Some(wanted), "{said}");
        }
    }

    #[test]
    fn everything_else_is_no_wish() {
        for said in [
            "What do you know about Lisbon?",
            "Did I forget my keys?",
            "Don't forget that I need milk.",
            "I always forget that song.",
            "Forget that. No, keep it.",
            "Yes.",
            "",
        ] {
            assert_eq!(wish(said), None, "{said}");
        }
    }
}
