//! What words mean for the turn before anybody understands them: stop, go on, more to come, or an echo of the assistant itself.

/// Share of the words that an echo has in common with what is being spoken, in the same order.
const ECHO_SHARE: f64 = 0.6;

/// Lower case words without punctuation; apostrophes stay.
fn plain(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().replace('’', "'"))
        .collect()
}

/// True when one of the `phrases` occurs in the text, word for word.
pub(crate) fn holds_any(text: &str, phrases: &[String]) -> bool {
    let words = plain(text);
    phrases
        .iter()
        .map(|phrase| plain(phrase))
        .any(|phrase| !phrase.is_empty() && words.windows(phrase.len()).any(|window| window == phrase))
}

/// True when the text is made of the `phrases` and nothing else; the longest are taken first. Not of an empty text.
pub(crate) fn is_only(text: &str, phrases: &[String]) -> bool {
    is_made_of(text, phrases, |_| false)
}

/// True when somebody only shows that they listen, by one of the `nods` or by humming, for which everybody has a spelling of
/// their own ("mm-hmm", "Mhmm", "uh-huh").
pub(crate) fn is_nod(text: &str, nods: &[String]) -> bool {
    is_made_of(text, nods, |word| word.chars().all(|c| matches!(c, 'm' | 'h' | 'u')))
}

/// True when the text is made of the `phrases` and of words that are `passed` over.
fn is_made_of(text: &str, phrases: &[String], passed: impl Fn(&str) -> bool) -> bool {
    let mut phrases: Vec<Vec<String>> = phrases.iter().map(|phrase| plain(phrase)).collect();
    phrases.retain(|phrase| !phrase.is_empty());
    phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
    let words = plain(text);
    let mut rest = words.as_slice();
    while !rest.is_empty() {
        match phrases.iter().find(|phrase| rest.starts_with(phrase)) {
            Some(phrase) => rest = &rest[phrase.len()..],
            None if passed(&rest[0]) => rest = &rest[1..],
            None => return false,
        }
    }
    !words.is_empty()
}

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As a sentence does.
    Whole,
    /// In the middle of nothing, but without a sentence's end: recognition writes one where it hears one.
    Bare,
    /// Something is missing.
    Open,
}

/// How a text ends, where nobody has finished after one of the `open` words.
pub(crate) fn ending(text: &str, open: &[String]) -> Ending {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || ['"', '\'', '”', '’', '»', ')'].contains(&c));
    let goes_on = ["...", "…", "-", "–", "—", ",", ":", ";"]
        .iter()
        .any(|mark| text.ends_with(mark));
    let word = plain(text).pop().unwrap_or_default();
    if goes_on || open.iter().any(|open| open.eq_ignore_ascii_case(&word)) {
        Ending::Open
    } else if text.ends_with(['.', '?', '!', '。', '？', '！', '।', '؟']) {
        Ending::Whole
    } else {
        Ending::Bare
    }
}

/// True when a text ends as a question does.
pub(crate) fn asks(text: &str) -> bool {
    text.trim_end().ends_with(['?', '？', '؟'])
}

/// True when two texts have the same words, whatever their punctuation and case.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left.split_whitespace().eq(right.split_whitespace())
}

/// True when there is a letter or a digit.
pub(crate) fn any(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// True when most of the words are those of `spoken`, in the same order: the microphone hears the loudspeaker.
pub(crate) fn is_echo(text: &str, spoken: &str) -> bool {
    let (words, spoken) = (plain(text), plain(spoken));
    if words.is_empty() || spoken.is_empty() {
        return false;
    }
    common(&words, &spoken) as f64 / words.len() as f64 >= ECHO_SHARE
}

/// Length of the longest common subsequence.
fn common(left: &[String], right: &[String]) -> usize {
    let mut row = vec![0_usize; right.len() + 1];
    for word in left {
        let mut diagonal = 0;
        for (column, other) in right.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if word == other {
                diagonal + 1
            } else {
                above.max(row[column])
            };
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_stop_word_counts_as_a_word_and_not_as_letters() {
        let stops = list(&["stop", "be quiet"]);
        assert!(holds_any("Stop!", &stops));
        assert!(holds_any("please be quiet now", &stops));
        assert!(!holds_any("unstoppable", &stops));
        assert!(!holds_any("be very quiet", &stops));
        assert!(!holds_any("", &stops));
        assert!(!holds_any("anything", &list(&["", "..."])));
    }

    #[test]
    fn nothing_but_these() {
        let nods = list(&["mhm", "uh", "uh huh", "yeah"]);
        assert!(is_only("Mhm.", &nods));
        assert!(is_only("Uh-huh, yeah", &nods));
        assert!(!is_only("yeah but", &nods));
        assert!(!is_only("", &nods));
        assert!(!is_only("...", &nods));
    }

    #[test]
    fn humming_is_a_nod_in_any_spelling() {
        let nods = list(&["yeah"]);
        for text in ["Mm-hmm.", "Mhmm", "mmm", "Uh-huh.", "Hm, yeah.", "Huh?"] {
            assert!(is_nod(text, &nods), "{text}");
        }
        for text in ["Mm, no.", "home", "who?", "", "..."] {
            assert!(!is_nod(text, &nods), "{text}");
        }
        assert!(!is_only("Mm-hmm.", &nods), "elsewhere it counts as it stands");
    }

    #[test]
    fn what_is_missing_is_missed() {
        let open = list(&["the", "and", "How"]);
        for text in ["What is the?", "bread and", "The", "to be...", "self-", "First,", "how"] {
            assert_eq!(ending(text, &open), Ending::Open, "{text}");
        }
        for text in ["What is the time?", "Stop!", "He said \"no.\" ", "はい。", "Breathe."] {
            assert_eq!(ending(text, &open), Ending::Whole, "{text}");
        }
        for text in ["ten of clubs", "breathe", "", "7"] {
            assert_eq!(ending(text, &open), Ending::Bare, "{text}");
        }
    }

    #[test]
    fn an_echo_has_the_words_of_the_voice() {
        let spoken = "The capital of France is Paris, which lies on the Seine.";
        assert!(is_echo("capital of France is Paris", spoken));
        assert!(is_echo("Capital a France is Paris which", spoken));
        assert!(!is_echo("What about Berlin?", spoken));
        assert!(!is_echo("Paris Paris Paris is it the capital", spoken));
        assert!(!is_echo("", spoken));
        assert!(!is_echo("anything", ""));
    }
}
