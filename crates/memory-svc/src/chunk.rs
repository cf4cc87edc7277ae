//! Cuts a text into pieces that fit the embedding model. Pure: no store, no model, only a way to count tokens.
//!
//! Sections (from the outline: a text's headings, a program's definitions) are never mixed: a piece lies under exactly one
//! heading path and on exactly one page, so that what is cited stands where the citation says. Inside a section pieces are
//! packed greedily up to the budget and then cut back to the best place in their second half: the end of a paragraph,
//! else of a sentence, a line, a word. The next piece repeats the last few tokens, from a sentence's beginning where one
//! is near, so that a thought that straddles a cut is whole in one of the two.
//!
//! Spans cover the text without a gap; neighbours may overlap. What is shown and embedded is a span without the blanks
//! around it.

mod atom;

use std::ops::Range;

use solo_documents::Outline;

use crate::embedding::TokenCounter;
use atom::{Atom, Break};

/// Joins the headings of a path.
pub const HEADING_SEPARATOR: &str = " › ";

/// How large pieces may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Longest piece, in tokens; at least [`Budget::MIN_TOKENS`].
    pub tokens: usize,
    /// Tokens that the next piece of the same section repeats, at most half of `tokens`.
    pub overlap: usize,
}

impl Budget {
    /// Smallest budget: no single atom is longer.
    pub const MIN_TOKENS: usize = atom::MAX_BYTES;
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the text that it covers, blanks around it included.
    pub span: Range<usize>,
    /// Headings above it, outermost first.
    pub headings: Vec<String>,
    /// Page that it stands on, from 1; 0: the text has none.
    pub page: u32,
}

impl Piece {
    /// The heading path as people read it.
    pub fn path(&self) -> String {
        self.headings.join(HEADING_SEPARATOR)
    }
}

/// The span without the blanks around it; empty where there is nothing else.
pub fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let piece = &text[span.clone()];
    let start = span.start + (piece.len() - piece.trim_start().len());
    start..start + piece.trim().len()
}

/// Cuts `text`. A text of nothing but blanks gives no piece; otherwise the first span begins at 0 and the last ends with
/// the text.
///
/// # Panics
/// When the budget is smaller than [`Budget::MIN_TOKENS`], or a heading or a page does not begin on a character's edge.
pub fn cut(text: &str, outline: &Outline, budget: Budget, counter: &dyn TokenCounter) -> Vec<Piece> {
    assert!(
        budget.tokens >= Budget::MIN_TOKENS && budget.overlap <= budget.tokens / 2,
        "the configuration was checked"
    );
    let mut atoms = atom::Cutter::new(counter);
    let mut pieces = Vec::new();
    for section in sections(text, outline) {
        let list = atoms.cut(text, section.span);
        for span in pack(text, &list, budget, counter) {
            pieces.push(Piece {
                span,
                headings: section.path.clone(),
                page: section.page,
            });
        }
    }
    pieces
}

/// A run of text under one heading path, on one page.
struct Section {
    span: Range<usize>,
    path: Vec<String>,
    page: u32,
}

/// The sections of a text, without a gap. A heading that has no text of its own joins what follows it; blanks before the
/// first word join it too.
fn sections(text: &str, outline: &Outline) -> Vec<Section> {
    let mut sections: Vec<(Range<usize>, Vec<String>)> = Vec::new();
    let mut stack: Vec<(u8, &str)> = Vec::new();
    let (mut start, mut body) = (0, 0);
    let path = |stack: &[(u8, &str)]| stack.iter().map(|(_, title)| (*title).to_owned()).collect::<Vec<_>>();
    for heading in &outline.headings {
        if !text[body..heading.span.start].trim().is_empty() {
            sections.push((start..heading.span.start, path(&stack)));
            start = heading.span.start;
        }
        stack.retain(|(level, _)| *level < heading.level);
        if !heading.title.is_empty() {
            stack.push((heading.level, &heading.title));
        }
        body = heading.span.end;
    }
    if !text[start..].trim().is_empty() {
        sections.push((start..text.len(), path(&stack)));
    } else if let Some((last, _)) = sections.last_mut() {
        last.end = text.len();
    }
    let paged = sections.into_iter().flat_map(|(span, path)| {
        split_at_pages(text, span, &outline.pages)
            .into_iter()
            .map(move |span| Section {
                page: outline.page_of(trimmed(text, span.clone()).start),
                path: path.clone(),
                span,
            })
    });
    paged.collect()
}

/// A span cut where pages begin. What is blank joins what comes before it, or what comes first.
fn split_at_pages(text: &str, span: Range<usize>, pages: &[usize]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let first = pages.partition_point(|start| *start <= span.start);
    let mut start = span.start;
    for cut in pages[first..].iter().take_while(|start| **start < span.end) {
        if !text[start..*cut].trim().is_empty() {
            parts.push(start..*cut);
            start = *cut;
        }
    }
    match parts.last_mut() {
        Some(last) if text[start..span.end].trim().is_empty() => last.end = span.end,
        _ => parts.push(start..span.end),
    }
    parts
}

/// Packs a section's atoms into spans.
fn pack(text: &str, atoms: &[Atom], budget: Budget, counter: &dyn TokenCounter) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut first, mut covered) = (0, 0);
    while covered < atoms.len() {
        // A repeated beginning that leaves no room for anything new is given up.
        let end = extent(text, atoms, first..covered, budget, counter).unwrap_or_else(|| {
            first = covered;
            extent(text, atoms, first..covered, budget, counter).unwrap_or(covered + 1)
        });
        spans.push(atoms[first].span.start..atoms[end - 1].span.end);
        first = overlap_start(atoms, first, end, budget.overlap);
        covered = end;
    }
    spans
}

/// Where a piece ends that starts by repeating the atoms `repeated`; `None`: it has no room for anything new.
fn extent(
    text: &str,
    atoms: &[Atom],
    repeated: Range<usize>,
    budget: Budget,
    counter: &dyn TokenCounter,
) -> Option<usize> {
    let (first, least) = (repeated.start, repeated.end + 1);
    let full = fill(atoms, first, budget.tokens);
    let mut end = if full == atoms.len() {
        full
    } else {
        best_cut(atoms, first, full, budget.tokens / 2, least)
    };
    // Parts of one long word can make more tokens together than apart.
    let too_long = |end: usize| {
        atoms[first..end].iter().any(|atom| atom.inside_word)
            && counter.count(&text[atoms[first].span.start..atoms[end - 1].span.end]) > budget.tokens
    };
    while end > least && too_long(end) {
        end -= 1;
    }
    (end >= least && (repeated.is_empty() || !too_long(end))).then_some(end)
}

/// One past the last atom of the longest run from `first` within `tokens`; at least one atom.
fn fill(atoms: &[Atom], first: usize, tokens: usize) -> usize {
    let mut sum = 0;
    for (index, atom) in atoms.iter().enumerate().skip(first) {
        sum += atom.tokens;
        if sum > tokens && index > first {
            return index;
        }
    }
    atoms.len()
}

/// Where to cut in `first..full`, at `least` or later, once `tokens` are reached: after the strongest break, the last of
/// equals.
fn best_cut(atoms: &[Atom], first: usize, full: usize, tokens: usize, least: usize) -> usize {
    let (mut sum, mut best, mut strength) = (0, full, Break::Inside);
    for (index, atom) in atoms.iter().enumerate().take(full).skip(first) {
        sum += atom.tokens;
        if sum >= tokens && index + 1 >= least && atom.after >= strength {
            (best, strength) = (index + 1, atom.after);
        }
    }
    best
}

/// Where the piece after `first..end` starts: at most `overlap` tokens back, with a sentence where one begins there.
fn overlap_start(atoms: &[Atom], first: usize, end: usize, overlap: usize) -> usize {
    let (mut sum, mut earliest, mut sentence) = (0, end, end);
    for index in (first + 1..end).rev() {
        sum += atoms[index].tokens;
        if sum > overlap {
            break;
        }
        if atoms[index - 1].after > Break::Inside {
            earliest = index;
        }
        if atoms[index - 1].after >= Break::Sentence {
            sentence = index;
        }
    }
    if sentence < end { sentence } else { earliest }
}

#[cfg(test)]
mod tests;
