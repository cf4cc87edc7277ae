//! The smallest units that are never cut: words with the blanks after them, or pieces of very long words.
//!
//! Tokens are counted word by word and remembered, which is exact for WordPiece (no token spans a blank) and much faster
//! than tokenizing the text, since few words make most of it.

use std::collections::HashMap;
use std::ops::Range;

use crate::embedding::TokenCounter;

/// Longest atom, in bytes, blanks not counted. A token is at least a byte, so no atom has more tokens than this.
pub(super) const MAX_BYTES: usize = 64;
/// So many bytes of blanks count as a token, so that blanks cannot make a piece arbitrarily long.
const BLANKS_PER_TOKEN: usize = 64;
/// Words whose count is remembered at most.
const REMEMBERED: usize = 100_000;

/// How good a place to cut is, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Break {
    /// Inside a word.
    Inside,
    /// Between words.
    Word,
    /// At the end of a line.
    Line,
    /// At the end of a sentence.
    Sentence,
    /// At the end of a paragraph.
    Paragraph,
}

/// A unit that is never cut.
#[derive(Debug)]
pub(super) struct Atom {
    /// Its bytes, blanks after it included.
    pub(super) span: Range<usize>,
    /// Its tokens.
    pub(super) tokens: usize,
    /// How good a place to cut its end is.
    pub(super) after: Break,
    /// True for a piece of a longer word: its tokens may differ from those it has inside the word.
    pub(super) inside_word: bool,
}

/// Cuts text into atoms.
pub(super) struct Cutter<'a> {
    counter: &'a dyn TokenCounter,
    counts: HashMap<String, usize>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(counter: &'a dyn TokenCounter) -> Self {
        Self {
            counter,
            counts: HashMap::new(),
        }
    }

    /// The atoms of `span`, without a gap; blanks at its beginning join the first.
    pub(super) fn cut(&mut self, text: &str, span: Range<usize>) -> Vec<Atom> {
        let mut atoms: Vec<Atom> = Vec::new();
        let mut position = span.start;
        while position < span.end {
            let rest = &text[position..span.end];
            let lead = if atoms.is_empty() {
                rest.len() - rest.trim_start().len()
            } else {
                0
            };
            let word = word_len(&rest[lead..]);
            let blanks = rest[lead + word..].len() - rest[lead + word..].trim_start().len();
            let pieces = split(&rest[lead..lead + word]);
            let inside_word = pieces.len() > 1;
            for (index, piece) in pieces.iter().enumerate() {
                let piece = position + lead + piece.start..position + lead + piece.end;
                let last = index + 1 == pieces.len();
                let start = if index == 0 { position } else { piece.start };
                let end = if last { piece.end + blanks } else { piece.end };
                let padding = (end - start - piece.len()) / BLANKS_PER_TOKEN;
                atoms.push(Atom {
                    tokens: self.count(&text[piece.clone()]) + padding,
                    after: if last {
                        strength(&text[piece.clone()], &text[piece.end..end])
                    } else if ends_wide_sentence(&text[piece]) {
                        Break::Sentence
                    } else {
                        Break::Inside
                    },
                    span: start..end,
                    inside_word,
                });
            }
            position += lead + word + blanks;
        }
        atoms
    }

    fn count(&mut self, word: &str) -> usize {
        if let Some(count) = self.counts.get(word) {
            return *count;
        }
        let count = self.counter.count(word);
        if self.counts.len() >= REMEMBERED {
            self.counts.clear();
        }
        self.counts.insert(word.to_owned(), count);
        count
    }
}

/// Length of the word at the beginning of `text`, in bytes.
fn word_len(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// Cuts a word longer than [`MAX_BYTES`] at characters' edges, and after the full stops of scripts without blanks.
fn split(word: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::with_capacity(1);
    if word.len() <= MAX_BYTES {
        pieces.push(0..word.len());
        return pieces;
    }
    let mut start = 0;
    let mut previous = ' ';
    for (index, c) in word.char_indices() {
        if index > start && (index + c.len_utf8() - start > MAX_BYTES || is_wide_stop(previous)) {
            pieces.push(start..index);
            start = index;
        }
        previous = c;
    }
    pieces.push(start..word.len());
    pieces
}

/// How good a place to cut there is after `word` and the `blanks` that follow it.
fn strength(word: &str, blanks: &str) -> Break {
    let lines = blanks.matches('\n').count();
    let bare = word.trim_end_matches(['"', '\'', ')', ']', '}', '”', '’', '»', '」', '*', '_']);
    if lines > 1 {
        Break::Paragraph
    } else if bare.ends_with(['.', '!', '?', '…', ':', ';']) || ends_wide_sentence(bare) {
        Break::Sentence
    } else if lines == 1 {
        Break::Line
    } else {
        Break::Word
    }
}

fn ends_wide_sentence(word: &str) -> bool {
    word.chars().next_back().is_some_and(is_wide_stop)
}

fn is_wide_stop(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；' | '｡' | '।' | '؟')
}
