//! Text of a document, put together run by run, with the place of each run in the document.

use std::ops::Range;
use std::time::Duration;

use super::{Item, Manner};

/// The longest silence that is left where several pauses meet.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Text that is spoken in one manner.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// What is spoken.
    pub text: String,
    /// Times the request's speed.
    pub rate: f32,
    /// Times the request's volume.
    pub gain: f32,
    /// The sentence may go on in the next passage.
    pub joined: bool,
    /// Where runs of the text stand in the document, ascending.
    runs: Vec<Run>,
}

/// A run of a passage's text.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    /// Its first byte in the passage's text.
    start: usize,
    /// Its bytes in the document.
    sent: Range<usize>,
    /// Byte for byte as it stands there; otherwise all of it stands for all of that.
    verbatim: bool,
}

impl Passage {
    /// Where bytes of the text stand in the document.
    pub fn sent(&self, range: Range<usize>) -> Range<usize> {
        let run = |at: usize| self.runs.iter().rev().find(|run| run.start <= at);
        let start = run(range.start).map_or(0, |run| match run.verbatim {
            true => (run.sent.start + range.start - run.start).min(run.sent.end),
            false => run.sent.start,
        });
        let end = run(range.end.saturating_sub(1).max(range.start)).map_or(start, |run| match run.verbatim {
            true => (run.sent.start + range.end.saturating_sub(run.start)).min(run.sent.end),
            false => run.sent.end,
        });
        start..end.max(start)
    }
}

/// Puts items together.
#[derive(Debug, Default)]
pub(super) struct PassageWriter {
    items: Vec<Item>,
}

impl PassageWriter {
    /// Appends text of the document; `text` is what it means, its entities resolved.
    pub(super) fn written(&mut self, document: &str, range: Range<usize>, text: &str, manner: Manner) {
        let raw = &document[range.clone()];
        if raw == text {
            return self.append(text, range, true, manner);
        }
        match resolved(raw).filter(|parts| parts.iter().map(|(_, part)| part.as_str()).eq_text(text)) {
            Some(parts) => {
                for (within, part) in parts {
                    let sent = range.start + within.start..range.start + within.end;
                    let verbatim = raw[within] == part;
                    self.append(&part, sent, verbatim, manner);
                }
            }
            // CDATA and odd line ends: all of it stands for all of it.
            None => self.append(text, range, false, manner),
        }
    }

    /// Appends text that is said in place of an element.
    pub(super) fn replaced(&mut self, said: &str, range: Range<usize>, manner: Manner) {
        self.append(said, range, false, manner);
    }

    fn append(&mut self, text: &str, sent: Range<usize>, verbatim: bool, manner: Manner) {
        if let Some(Item::Passage(passage)) = self.items.last_mut()
            && passage.joined
        {
            if (passage.rate, passage.gain) == (manner.rate, manner.gain) || text.trim().is_empty() {
                passage.runs.push(Run {
                    start: passage.text.len(),
                    sent,
                    verbatim,
                });
                passage.text.push_str(text);
                return;
            }
        } else if text.trim().is_empty() {
            // White space between elements.
            return;
        }
        self.items.push(Item::Passage(Passage {
            text: text.to_owned(),
            rate: manner.rate,
            gain: manner.gain,
            joined: true,
            runs: vec![Run {
                start: 0,
                sent,
                verbatim,
            }],
        }));
    }

    /// What follows begins a sentence.
    pub(super) fn end_sentence(&mut self) {
        if let Some(Item::Passage(passage)) = self.items.last_mut() {
            passage.joined = false;
        }
    }

    /// Silence, together with what stands there already.
    pub(super) fn pause(&mut self, length: Duration) {
        self.end_sentence();
        if length.is_zero() {
            return;
        }
        if let Some(Item::Break(before)) = self.items.last_mut() {
            *before = (*before + length).min(MAX_PAUSE);
        } else {
            self.items.push(Item::Break(length.min(MAX_PAUSE)));
        }
    }

    /// All items.
    pub(super) fn finish(mut self) -> Vec<Item> {
        self.end_sentence();
        self.items
    }
}

/// Compares parts of a text with the whole of it.
trait EqText<'a>: Iterator<Item = &'a str> + Sized {
    fn eq_text(self, mut whole: &str) -> bool {
        for part in self {
            match whole.strip_prefix(part) {
                Some(rest) => whole = rest,
                None => return false,
            }
        }
        whole.is_empty()
    }
}

impl<'a, I: Iterator<Item = &'a str>> EqText<'a> for I {}

/// Text with its entities resolved: each part with its bytes. `None` when it has others than XML's own.
fn resolved(raw: &str) -> Option<Vec<(Range<usize>, String)>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw[at..];
        let plain = rest.find('&').unwrap_or(rest.len());
        if plain > 0 {
            parts.push((at..at + plain, rest[..plain].to_owned()));
            at += plain;
            continue;
        }
        let end = rest.find(';')?;
        let c = match &rest[1..end] {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "apos" => '\'',
            "quot" => '"',
            name => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        };
        parts.push((at..at + end + 1, c.to_string()));
        at += end + 1;
    }
    Some(parts)
}
