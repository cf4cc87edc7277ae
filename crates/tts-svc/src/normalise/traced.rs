//! What is said, each piece of it with the place of the text that it comes from.

use std::ops::Range;

/// A word as it is said, its punctuation included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What the voice is given.
    pub text: String,
    /// The bytes of the unit's text that it stands for. Several words may stand for the same: "$5" is "5 dollars".
    pub from: Range<usize>,
}

/// Text that is being put together.
#[derive(Debug, Default)]
pub(super) struct Traced {
    characters: Vec<(char, Range<usize>)>,
}

impl Traced {
    /// Appends what is said of these bytes.
    pub(super) fn push(&mut self, said: &str, from: Range<usize>) {
        self.characters.extend(said.chars().map(|c| (c, from.clone())));
    }

    /// Its words: what stands between white space or control characters.
    pub(super) fn words(&self) -> Vec<Word> {
        let blank = |(c, _): &(char, Range<usize>)| c.is_whitespace() || c.is_control();
        let words = self.characters.split(blank).filter(|word| !word.is_empty());
        words
            .map(|word| Word {
                text: word.iter().map(|(c, _)| c).collect(),
                from: word[0].1.start..word[word.len() - 1].1.end,
            })
            .collect()
    }
}
