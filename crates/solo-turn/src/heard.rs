//! How much of a reply a person has heard.
//!
//! Speech synthesis ties ranges of the reply's text to samples; the client says how many samples it has played. What was
//! played is what the dialogue may believe the person knows.

/// What a mark covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// A word.
    Word,
    /// A clause or a sentence.
    Unit,
}

/// Ties a range of the reply's text to a range of its audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What it covers.
    pub kind: MarkKind,
    /// First byte of the text.
    pub text_start: usize,
    /// One past the last byte.
    pub text_end: usize,
    /// First sample of the audio, in the client's rate.
    pub start_sample: u64,
    /// One past the last sample.
    pub end_sample: u64,
}

/// The marks of one reply.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    marks: Vec<Mark>,
}

impl Heard {
    /// Adds a mark.
    pub fn push(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Bytes of `reply` that were heard when `played` samples had been played; always on a character's border. A word
    /// counts when it was played to its end. A unit without word marks counts in proportion to time, down to the last
    /// whole word.
    pub fn bytes(&self, reply: &str, played: u64) -> usize {
        let heard = self
            .marks
            .iter()
            .filter_map(|mark| self.heard_of(mark, reply, played))
            .max()
            .unwrap_or(0);
        floor_char(reply, heard)
    }

    fn heard_of(&self, mark: &Mark, reply: &str, played: u64) -> Option<usize> {
        if played >= mark.end_sample {
            return Some(mark.text_end);
        }
        if mark.kind == MarkKind::Word || played <= mark.start_sample || self.has_words(mark) {
            return None;
        }
        let share = (played - mark.start_sample) as f64 / (mark.end_sample - mark.start_sample) as f64;
        let length = mark.text_end.saturating_sub(mark.text_start);
        let reached = floor_char(reply, mark.text_start + (length as f64 * share) as usize);
        let start = floor_char(reply, mark.text_start);
        let spoken = reply.get(start..reached)?;
        spoken.rfind(char::is_whitespace).map(|border| start + border)
    }

    fn has_words(&self, unit: &Mark) -> bool {
        self.marks.iter().any(|mark| {
            mark.kind == MarkKind::Word && mark.text_start >= unit.text_start && mark.text_end <= unit.text_end
        })
    }
}

/// The nearest border of a character at or before `index`.
fn floor_char(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "Zwölf Äpfel liegen hier. Und Birnen.";

    fn unit(text: std::ops::Range<usize>, samples: std::ops::Range<u64>) -> Mark {
        Mark {
            kind: MarkKind::Unit,
            text_start: text.start,
            text_end: text.end,
            start_sample: samples.start,
            end_sample: samples.end,
        }
    }

    #[test]
    fn nothing_played_is_nothing_heard() {
        let mut heard = Heard::default();
        assert_eq!(heard.bytes(REPLY, 100), 0);
        heard.push(unit(0..26, 0..1000));
        assert_eq!(heard.bytes(REPLY, 0), 0);
    }

    #[test]
    fn a_unit_counts_in_whole_words() {
        let mut heard = Heard::default();
        heard.push(unit(0..26, 0..1000));
        heard.push(unit(27..38, 1000..1500));
        let bytes = heard.bytes(REPLY, 600);
        assert_eq!(&REPLY[..bytes], "Zwölf Äpfel");
        assert_eq!(&REPLY[..heard.bytes(REPLY, 1000)], "Zwölf Äpfel liegen hier.");
        assert_eq!(heard.bytes(REPLY, 9999), REPLY.len());
    }

    #[test]
    fn word_marks_are_believed_before_proportion() {
        let mut heard = Heard::default();
        heard.push(unit(0..26, 0..1000));
        heard.push(Mark {
            kind: MarkKind::Word,
            ..unit(0..6, 0..700)
        });
        assert_eq!(heard.bytes(REPLY, 699), 0);
        assert_eq!(&REPLY[..heard.bytes(REPLY, 700)], "Zwölf");
    }

    #[test]
    fn marks_beyond_the_text_do_no_harm() {
        let mut heard = Heard::default();
        heard.push(unit(0..900, 0..10));
        assert_eq!(heard.bytes("ä", 10), 2);
        assert_eq!(heard.bytes("ä", 5), 0);
    }
}
