//! Passages: a range of a document's text, put together from its chunks.

use std::ops::Range;

use uuid::Uuid;

use super::Inner;
use super::predicate::Predicate;
use super::rows::{corrupt, rows};
use crate::document::Passage;
use crate::names::Principal;
use crate::store::StoreError;

/// The document may be replaced between reading its row and its chunks; then both are read again.
const ATTEMPTS: usize = 5;

impl Inner {
    pub(super) async fn passage(
        &self,
        principal: &Principal,
        id: Uuid,
        range: Range<u64>,
    ) -> Result<Passage, StoreError> {
        for _ in 0..ATTEMPTS {
            let row = self.document_row(principal, id).await?;
            let length = row.document.text_bytes;
            let wanted = range.start.min(length)..range.end.min(length).max(range.start.min(length));
            // A byte more on both sides, so that a character on the edge is there whole.
            let near = wanted.start.saturating_sub(4)..(wanted.end + 4).min(length);
            let which = Predicate::of(principal)
                .is("generation", &row.generation.to_string())
                .below("start", near.end)
                .above("end", near.start);
            let columns = ["ordinal", "start", "end", "text"];
            let batches = self.chunks.ordered(&which, &columns, "ordinal", true, None).await?;
            let mut chunks = Vec::new();
            for row in rows(&batches) {
                chunks.push((row.large("start")?..row.large("end")?, row.long_text("text")?));
            }
            if let Some((start, text)) = join(&chunks, &near) {
                let (range, text) = whole_characters(start, text, &wanted)?;
                return Ok(Passage {
                    document: row.document,
                    range,
                    text,
                });
            }
        }
        Err(corrupt(format!("the chunks of document {id} do not cover its text")))
    }
}

/// The text of the chunks, which overlap or touch, and where it starts; `None`: it does not cover `near`.
fn join(chunks: &[(Range<u64>, &str)], near: &Range<u64>) -> Option<(u64, String)> {
    let Some((first, _)) = chunks.first() else {
        return near.is_empty().then_some((near.start, String::new()));
    };
    let (start, mut end) = (first.start, first.start);
    let mut text = String::new();
    for (span, piece) in chunks {
        let repeated = usize::try_from(end.checked_sub(span.start)?).ok()?;
        if span.end > end {
            text.push_str(piece.get(repeated..)?);
            end = span.end;
        }
    }
    (start <= near.start && end >= near.end).then_some((start, text))
}

/// `wanted` of a text that begins at `start`, widened to whole characters.
fn whole_characters(start: u64, text: String, wanted: &Range<u64>) -> Result<(Range<u64>, String), StoreError> {
    let index =
        |position: u64| usize::try_from(position.saturating_sub(start)).map_err(|error| corrupt(error.to_string()));
    let (mut from, mut to) = (index(wanted.start)?.min(text.len()), index(wanted.end)?.min(text.len()));
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    while !text.is_char_boundary(to) {
        to += 1;
    }
    Ok((start + from as u64..start + to as u64, text[from..to].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_chunks_make_the_text_once() {
        let chunks = [(0..6, "one tw"), (4..10, "two th"), (10..13, "ree")];
        assert_eq!(join(&chunks, &(0..13)), Some((0, "one two three".to_owned())));
        assert_eq!(join(&chunks[1..], &(5..13)), Some((4, "two three".to_owned())));
        assert_eq!(join(&chunks[1..], &(0..13)), None, "the beginning is missing");
        assert_eq!(
            join(&[chunks[0].clone(), chunks[2].clone()], &(0..13)),
            None,
            "there is a hole"
        );
    }

    #[test]
    fn ranges_widen_to_whole_characters() {
        let cut = |range: Range<u64>| whole_characters(10, "aäöb".into(), &range).unwrap();
        assert_eq!(cut(12..14), (11..15, "äö".into()));
        assert_eq!(cut(11..11), (11..11, String::new()));
        assert_eq!(cut(10..16), (10..16, "aäöb".into()));
    }
}
