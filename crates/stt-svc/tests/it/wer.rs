//! Word error rate: the fewest substitutions, deletions and insertions that make one text of the other, over the number
//! of words of the reference (Levenshtein distance on words, as in NIST's sclite).

/// Lower case, without punctuation; hyphens part words, apostrophes do not.
pub(crate) fn normalise(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace('-', " ")
        .replace("mr.", "mister")
        .split_whitespace()
        .map(|word| {
            word.chars()
                .filter(|c| c.is_alphanumeric() || *c == '\'')
                .collect::<String>()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Edits between two texts.
pub(crate) fn errors(reference: &str, hypothesis: &str) -> usize {
    solo_testkit::edits(&normalise(reference), &normalise(hypothesis))
}

/// Errors over the words of the reference.
pub(crate) fn wer(reference: &str, hypothesis: &str) -> f64 {
    errors(reference, hypothesis) as f64 / normalise(reference).len().max(1) as f64
}

#[test]
fn known_distances() {
    assert_eq!(errors("turn on the light", "Turn on the light."), 0);
    assert_eq!(errors("turn on the light", "turn the light"), 1);
    assert_eq!(errors("turn on the light", "turn on the red light"), 1);
    assert_eq!(errors("turn on the light", "burn in the night"), 3);
    assert_eq!(errors("ill disposed", "ill-disposed"), 0);
    assert_eq!(errors("mister smith", "Mr. Smith"), 0);
    assert_eq!(errors("", "thank you"), 2);
    assert!((wer("one two three four", "one two three") - 0.25).abs() < 1e-9);
}
