//! What becomes of a model's text before it is sent, delta by delta. Pure.
//!
//! Spoken text loses what cannot be said: citation markers, emphasis, code ticks, bullets and headings. Written text keeps
//! its markdown and its markers, but not markers of pieces that do not exist. White space at both ends goes. What may be
//! the beginning of such a thing is held back until the next characters decide.

/// Longest marker that is waited for, in characters.
const MARKER_CHARS: usize = 12;

/// Cleans one reply.
#[derive(Debug)]
pub struct Cleaner {
    spoken: bool,
    pieces: u32,
    /// White space that is sent only when something follows it.
    space: String,
    /// The beginning of a marker, bracket included; or of a sign at the start of a line; or of emphasis.
    held: String,
    line_start: bool,
    started: bool,
    /// A marker was dropped just now: a sign that follows closes up to the word before it.
    dropped: bool,
}

impl Cleaner {
    /// A cleaner for a reply whose prompt carried that many pieces of memory.
    pub fn new(spoken: bool, pieces: u32) -> Self {
        let (space, held) = (String::new(), String::new());
        Self {
            spoken,
            pieces,
            space,
            held,
            line_start: true,
            started: false,
            dropped: false,
        }
    }

    /// The next text to send; may be empty.
    pub fn push(&mut self, delta: &str) -> String {
        let mut clean = String::with_capacity(delta.len());
        for character in delta.chars() {
            self.take(character, &mut clean);
        }
        clean
    }

    /// What was held back when the reply ended.
    pub fn finish(&mut self) -> String {
        let mut clean = String::new();
        let held = std::mem::take(&mut self.held);
        // A sign that nothing followed is not spoken.
        if held.starts_with('[') {
            self.let_go(&held, &mut clean);
        }
        clean
    }

    fn take(&mut self, character: char, clean: &mut String) {
        if self.held.starts_with('[') {
            self.take_in_marker(character, clean);
        } else if self.spoken && !self.held.is_empty() {
            self.take_after_sign(character, clean);
        } else if character == '['
            || (self.spoken && (character == '*' || (self.line_start && "-•#".contains(character))))
        {
            self.held.push(character);
        } else if self.spoken && character == '`' {
            // Nobody says a tick.
        } else {
            self.take_plain(character, clean);
        }
    }

    fn take_in_marker(&mut self, character: char, clean: &mut String) {
        if character == ']' {
            let held = std::mem::take(&mut self.held);
            if self.is_unwanted(&held) {
                self.dropped = true;
            } else {
                self.emit(&format!("{held}]"), clean);
            }
        } else if (character.is_ascii_digit() || ", ".contains(character)) && self.held.len() < MARKER_CHARS {
            self.held.push(character);
        } else {
            let held = std::mem::take(&mut self.held);
            self.let_go(&held, clean);
            self.take(character, clean);
        }
    }

    /// What looked like the beginning of a marker is none.
    fn let_go(&mut self, held: &str, clean: &mut String) {
        self.emit("[", clean);
        for character in held.chars().skip(1) {
            self.take_plain(character, clean);
        }
    }

    /// Decides on a marker, given without its closing bracket. Written text may hold code: brackets right after a word are
    /// an index.
    fn is_unwanted(&self, held: &str) -> bool {
        let numbers: Option<Vec<u32>> = held[1..].split(',').map(|number| number.trim().parse().ok()).collect();
        let is_index = self.started && self.space.is_empty();
        numbers.is_some_and(|numbers| {
            self.spoken || (!is_index && !numbers.iter().all(|number| (1..=self.pieces).contains(number)))
        })
    }

    /// A sign that may be a bullet, a heading or emphasis stands in `held`.
    fn take_after_sign(&mut self, character: char, clean: &mut String) {
        let sign = self.held.chars().next().unwrap_or_default();
        if character == sign {
            self.held.push(character);
            return;
        }
        let held = std::mem::take(&mut self.held);
        let spaced = character.is_whitespace();
        let is_sign = match sign {
            // Between spaces it multiplies; at the start of a line it is a bullet; else it is emphasis.
            '*' => !spaced || self.line_start || self.space.is_empty(),
            _ => spaced,
        };
        if !is_sign {
            self.emit(&held, clean);
        }
        self.take(character, clean);
    }

    fn take_plain(&mut self, character: char, clean: &mut String) {
        if character.is_whitespace() {
            // One space is enough, also where a marker stood between two; a line break wins over a space.
            if character == '\n' {
                self.line_start = true;
                self.space.truncate(self.space.trim_end_matches(' ').len());
                self.space.push('\n');
            } else if self.space.is_empty() || !self.spoken {
                self.space.push(character);
            }
            return;
        }
        if ".,;:!?".contains(character) && self.space == " " && (self.spoken || self.dropped) {
            self.space.clear();
        }
        self.emit(character.encode_utf8(&mut [0; 4]), clean);
    }

    fn emit(&mut self, text: &str, clean: &mut String) {
        if text.is_empty() {
            return;
        }
        if self.started {
            clean.push_str(&self.space);
        }
        self.space.clear();
        clean.push_str(text);
        self.started = true;
        self.line_start = false;
        self.dropped = false;
    }
}

/// True when the text holds a whole sentence: a sign that ends one, and something after it.
pub fn has_sentence(text: &str) -> bool {
    let ends = text
        .char_indices()
        .filter(|(_, character)| ".!?。！？".contains(*character));
    ends.into_iter()
        .any(|(at, end)| text[at + end.len_utf8()..].starts_with(|next: char| next.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(spoken: bool, text: &str) -> String {
        let mut cleaner = Cleaner::new(spoken, 2);
        cleaner.push(text) + &cleaner.finish()
    }

    #[test]
    fn spoken_text_has_no_signs() {
        for (written, spoken) in [
            ("  In the **blue** tin [1]. ", "In the blue tin."),
            ("In the tin [1] on the shelf [2, 1].", "In the tin on the shelf."),
            (
                "# Keys\n- in the `tin`\n* on the shelf",
                "Keys\nin the tin\non the shelf",
            ),
            ("It is -5 degrees; 2 * 3 is 6.", "It is -5 degrees; 2 * 3 is 6."),
            ("-5 degrees", "-5 degrees"),
            ("See [the list] here", "See [the list] here"),
            ("Cut [1", "Cut [1"),
            ("Cut [1, \n", "Cut [1,"),
            ("Is this it ?", "Is this it?"),
            ("*Very* nice", "Very nice"),
        ] {
            assert_eq!(clean(true, written), spoken, "{written:?}");
        }
    }

    #[test]
    fn written_text_keeps_its_signs_but_not_invented_markers() {
        assert_eq!(
            clean(false, "**In** the tin [1].\n\n- a  b\n"),
            "**In** the tin [1].\n\n- a  b"
        );
        assert_eq!(clean(false, "In the tin [7]."), "In the tin.");
        assert_eq!(clean(false, "let x = y[0]; z[i]"), "let x = y[0]; z[i]");
    }

    #[test]
    fn sentences_end_before_white_space() {
        assert!(has_sentence("Yes. It"));
        assert!(!has_sentence("Yes."));
        assert!(!has_sentence("It is 3.5"));
    }

    proptest! {
        #[test]
        fn deltas_may_be_cut_anywhere(text in "[a-c\\[\\]0-3,. *#\\n`-]{0,40}", spoken: bool, cuts in prop::collection::vec(0..40usize, 0..6)) {
            let mut cleaner = Cleaner::new(spoken, 2);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut out, mut from) = (String::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                out.push_str(&cleaner.push(&text[from..cut]));
                from = cut;
            }
            out.push_str(&cleaner.finish());
            prop_assert_eq!(&out, &clean(spoken, &text));
            prop_assert_eq!(out.trim(), &out);
        }

        #[test]
        fn plain_words_pass_unchanged(text in "[a-zäöü]{1,8}( [a-zäöü]{1,8}){0,8}[.!?]") {
            prop_assert_eq!(clean(true, &text), text.clone());
            prop_assert_eq!(clean(false, &text), text);
        }
    }
}
