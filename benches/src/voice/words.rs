//! Word errors: the fewest substitutions, deletions and insertions that make one text of the other (Levenshtein distance on
//! words, as in NIST's sclite). How a number is written is no error.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

/// Lower case, without punctuation; hyphens part words, apostrophes do not; small numbers in words.
pub fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace('-', " ")
        .replace("mr.", "mister")
        .replace("mr ", "mister ")
        .replace("colour", "color")
        .split_whitespace()
        .map(|word| {
            let word: String = word.chars().filter(|c| c.is_alphanumeric() || *c == '\'').collect();
            match word.parse::<usize>() {
                Ok(number) if number < ONES.len() => ONES[number].to_owned(),
                _ => word,
            }
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Wrong words, and words of the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Errors {
    /// Words that are wrong, missing, or too many.
    pub wrong: usize,
    /// Words that were said.
    pub said: usize,
}

impl Errors {
    /// Of a transcript.
    pub fn of(reference: &str, hypothesis: &str) -> Self {
        let (reference, hypothesis) = (words(reference), words(hypothesis));
        Self {
            wrong: solo_testkit::edits(&reference, &hypothesis),
            said: reference.len(),
        }
    }

    /// Word error rate in percent.
    pub fn percent(self) -> f64 {
        self.wrong as f64 / self.said.max(1) as f64 * 100.0
    }
}

impl std::ops::AddAssign for Errors {
    fn add_assign(&mut self, other: Self) {
        self.wrong += other.wrong;
        self.said += other.said;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let wrong = |reference, hypothesis| Errors::of(reference, hypothesis).wrong;
        assert_eq!(wrong("turn on the light", "Turn on the light."), 0);
        assert_eq!(wrong("turn on the light", "turn the light"), 1);
        assert_eq!(wrong("turn on the light", "burn in the night"), 3);
        assert_eq!(wrong("ill disposed", "ill-disposed"), 0);
        assert_eq!(wrong("mister john", "Mr. John"), 0);
        assert_eq!(wrong("go forward ten meters", "Go forward 10 meters."), 0);
        assert_eq!(wrong("", "thank you"), 2);
        let mut sum = Errors::of("one two three four", "one two three");
        sum += Errors::of("a b c d", "a b c d");
        assert_eq!(sum, Errors { wrong: 1, said: 8 });
        assert!((sum.percent() - 12.5).abs() < 1e-9);
    }
}
