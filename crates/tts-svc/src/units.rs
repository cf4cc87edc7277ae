//! Cuts text, while it is being written, into units that can be spoken: sentences, and for the first unit a clause.
//!
//! Whoever listens waits for the first unit, so once it has a few words it may end at a comma, or before a word that opens
//! a clause; all later ones are sentences, because prosody needs them whole. A cut is made only when the text that follows
//! cannot change it any more ("3." may become "3.14", "Dr." is followed by a name), and every decision depends on the text
//! alone: however the text is cut into deltas, the units are the same, and put together they are the text. White space
//! before a unit belongs to it, so that units, and the marks made from them, tile the text without gaps.

mod boundary;

use std::ops::Range;
use std::sync::Arc;

use boundary::{Early, Scan, Verdict};

/// Bytes from which a sentence is cut at its last clause or space: longer ones delay the audio and the cancellation.
pub const MAX_UNIT_BYTES: usize = 320;

/// A run of text that is synthesised in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Where it stands in the whole text, in bytes.
    pub range: Range<usize>,
    /// The text as it was written, white space and markup included.
    pub text: String,
    /// What it is.
    pub kind: UnitKind,
    /// Its sentence goes on in the next unit, and no mark stands between them.
    pub goes_on: bool,
}

/// What a unit is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// Words to be read.
    Prose,
    /// A fenced block of code, fences included.
    Code,
}

/// Cuts one text.
#[derive(Debug)]
pub struct UnitCutter {
    /// Text that no unit holds yet.
    pending: String,
    /// Offset of `pending` in the whole text.
    offset: usize,
    /// Bytes of `pending` that were looked at and hold no boundary.
    scanned: usize,
    /// Words from which the first unit may end at a comma, semicolon, colon or dash.
    first_words: usize,
    /// Words before which it may end as well, in lower case.
    openers: Arc<[String]>,
    /// No unit with words was cut yet.
    first: bool,
    /// `pending` begins a line.
    line_start: bool,
}

impl UnitCutter {
    /// A cutter whose first unit may end at a comma, semicolon, colon or dash once it has `first_words` words.
    pub fn new(first_words: usize) -> Self {
        Self {
            pending: String::new(),
            offset: 0,
            scanned: 0,
            first_words,
            openers: Arc::default(),
            first: true,
            line_start: true,
        }
    }

    /// The first unit may also end before one of these words (lower case, "because") that opens another clause.
    pub fn ending_before(self, openers: Arc<[String]>) -> Self {
        Self { openers, ..self }
    }

    /// Bytes of text that went into the units so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next piece of the text, which may end within a word, and gives the units that are complete now.
    pub fn push(&mut self, delta: &str) -> Vec<Unit> {
        self.pending.push_str(delta);
        self.cut(false)
    }

    /// The first unit, if it ends where only the next character is missing to be sure: behind the mark that the text ends
    /// in, or before the word. That character comes with the next word. Nothing is taken from the text.
    pub fn foreseen(&self) -> Option<Unit> {
        // The scan stopped where the text to come decides.
        let (before, waits) = self.pending.split_at_checked(self.scanned)?;
        if !self.first || !before.ends_with(char::is_alphabetic) {
            return None;
        }
        let opens = waits
            .strip_prefix(' ')
            .is_some_and(|word| self.openers.iter().any(|opener| opener == word));
        let end = match waits {
            "." | "!" | "?" | "," | ";" | ":" => self.pending.len(),
            _ if opens => self.scanned,
            _ => return None,
        };
        Some(Unit {
            range: self.offset..self.offset + end,
            text: self.pending[..end].to_owned(),
            kind: UnitKind::Prose,
            goes_on: opens,
        })
    }

    /// Gives what is there, though no unit may be complete. White space alone stays for the next unit.
    pub fn flush(&mut self) -> Vec<Unit> {
        let mut units = self.cut(true);
        if !self.pending.trim().is_empty() {
            units.push(self.take(self.pending.len()));
        }
        units
    }

    /// Ends the text and gives all that is left.
    pub fn finish(&mut self) -> Vec<Unit> {
        let mut units = self.cut(true);
        if !self.pending.is_empty() {
            units.push(self.take(self.pending.len()));
        }
        units
    }

    fn cut(&mut self, complete: bool) -> Vec<Unit> {
        let mut units = Vec::new();
        loop {
            let scan = Scan {
                text: &self.pending,
                complete,
                early: self.first.then_some(Early {
                    words: self.first_words,
                    before: &self.openers,
                }),
                line_start: self.line_start,
            };
            match scan.from(self.scanned) {
                Verdict::Cut(end) => units.push(self.take(end)),
                Verdict::Wait(scanned) => {
                    self.scanned = scanned;
                    return units;
                }
            }
        }
    }

    fn take(&mut self, end: usize) -> Unit {
        let rest = self.pending.split_off(end);
        let text = std::mem::replace(&mut self.pending, rest);
        let kind = if boundary::is_code(&text, self.line_start) {
            UnitKind::Code
        } else {
            UnitKind::Prose
        };
        let start = self.offset;
        self.offset += end;
        self.scanned = 0;
        self.first &= boundary::words(&text) == 0;
        self.line_start = text.ends_with('\n');
        let goes_on = text.ends_with(char::is_alphanumeric) && self.pending.starts_with(' ');
        Unit {
            range: start..self.offset,
            text,
            kind,
            goes_on,
        }
    }
}

/// Cuts a text that is there as a whole, as [`UnitCutter::new`] says.
pub fn cut(text: &str, first_words: usize) -> Vec<Unit> {
    let mut cutter = UnitCutter::new(first_words);
    let mut units = cutter.push(text);
    units.extend(cutter.finish());
    units
}

#[cfg(test)]
mod tests;
