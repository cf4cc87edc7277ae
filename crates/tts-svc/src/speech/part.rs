//! Units to be spoken, each with its place in what the caller sent.

use std::ops::Range;
use std::sync::Arc;

use crate::normalise::{self, Word};
use crate::ssml::Passage;
use crate::units::{Unit, UnitCutter};

/// A unit, and how it is said.
pub(super) struct Part {
    pub(super) unit: Unit,
    /// The passage it belongs to, and where in the whole text that begins; `None` for plain text.
    pub(super) passage: Option<(Arc<Passage>, usize)>,
    /// The sentence goes on after it.
    pub(super) joined: bool,
}

impl Part {
    /// Where bytes of the text that was cut stand in what the caller sent.
    pub(super) fn sent(&self, range: Range<usize>) -> Range<usize> {
        match &self.passage {
            None => range,
            Some((passage, base)) => passage.sent(range.start - base..range.end - base),
        }
    }

    /// What is said of it, each word with its place in what the caller sent.
    pub(super) fn words(&self, language: &str) -> Vec<Word> {
        let mut words = normalise::spoken(&self.unit, language);
        if self.joined
            && let Some(last) = words.last_mut()
            && last.text.ends_with(char::is_alphanumeric)
        {
            // Keeps the voice up.
            last.text.push(',');
        }
        let start = self.unit.range.start;
        for word in &mut words {
            word.from = self.sent(start + word.from.start..start + word.from.end);
        }
        words
    }
}

/// Cuts a passage into units. Its last one may be in the middle of a sentence.
pub(super) fn of_passage(cutter: &mut UnitCutter, passage: Passage) -> Vec<Part> {
    let base = cutter.offset();
    let mut units = cutter.push(&passage.text);
    units.extend(cutter.finish());
    let ends = |text: &str| text.trim_end().ends_with(['.', '!', '?', '…']);
    let passage = Arc::new(passage);
    let last = units.len().saturating_sub(1);
    let part = |(index, unit): (usize, Unit)| Part {
        joined: unit.goes_on || (passage.joined && index == last && !ends(&unit.text)),
        passage: Some((Arc::clone(&passage), base)),
        unit,
    };
    units.into_iter().enumerate().map(part).collect()
}
