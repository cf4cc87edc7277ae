//! Bytes of tokens to text that may be shown: whole characters only, and nothing that could become a stop string.
//!
//! Stop strings span tokens, and tokens split characters. So bytes wait here until they can no longer be the beginning
//! of a stop string or of a character. The text that comes out does not depend on how the bytes were cut into tokens:
//! the answer ends before the stop string that is complete first, and before the longest of several that end together.

use std::collections::VecDeque;

/// Turns bytes into text; `T` is something that travels with each token (its log-probabilities).
#[derive(Debug)]
pub struct TextStream<T> {
    stops: Vec<Vec<u8>>,
    /// Bytes that cannot be shown yet.
    pending: Vec<u8>,
    /// Bytes that came in before `pending`.
    shown: usize,
    /// Tokens that end at or after `shown`: where each ends, counted from the beginning.
    tokens: VecDeque<(usize, T)>,
}

/// What can be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown<T> {
    /// Text, perhaps none.
    pub text: String,
    /// Tokens that ended in it.
    pub tokens: Vec<T>,
    /// True when a stop string was reached: nothing follows.
    pub stopped: bool,
}

impl<T> TextStream<T> {
    /// A stream that ends before any of `stops`. Empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .map(|stop| stop.clone().into_bytes())
            .collect();
        Self {
            stops,
            pending: Vec::new(),
            shown: 0,
            tokens: VecDeque::new(),
        }
    }

    /// Takes the bytes of the next token.
    pub fn push(&mut self, bytes: &[u8], token: T) -> Shown<T> {
        self.pending.extend_from_slice(bytes);
        self.tokens.push_back((self.shown + self.pending.len(), token));
        if let Some(start) = self.stop() {
            self.pending.truncate(start);
            return Shown {
                stopped: true,
                ..self.finish()
            };
        }
        let safe = self.pending.len() - self.held();
        let (text, used) = decode(&self.pending[..safe]);
        self.pending.drain(..used);
        self.shown += used;
        Shown {
            text,
            tokens: self.take_tokens(self.shown),
            stopped: false,
        }
    }

    /// Shows what waits; an unfinished character is dropped.
    pub fn finish(&mut self) -> Shown<T> {
        let (text, _) = decode(&self.pending);
        let begun = self.shown;
        self.shown += self.pending.len();
        self.pending.clear();
        let told = self
            .tokens
            .iter()
            .take_while(|(end, _)| *end <= self.shown)
            .last()
            .map_or(begun, |(end, _)| *end);
        let mut tokens = self.take_tokens(self.shown);
        if told < self.shown {
            // A stop string cuts this token in two: it is told with what is left of it.
            tokens.extend(self.tokens.pop_front().map(|(_, token)| token));
        }
        self.tokens.clear();
        Shown {
            text,
            tokens,
            stopped: false,
        }
    }

    fn take_tokens(&mut self, end: usize) -> Vec<T> {
        let count = self
            .tokens
            .iter()
            .take_while(|(token_end, _)| *token_end <= end)
            .count();
        self.tokens.drain(..count).map(|(_, token)| token).collect()
    }

    /// Where the answer ends in `pending`, if a stop string is complete.
    fn stop(&self) -> Option<usize> {
        let ends = self.stops.iter().filter_map(|stop| {
            let start = find(&self.pending, stop)?;
            Some((start + stop.len(), start))
        });
        ends.min().map(|(_, start)| start)
    }

    /// How many bytes at the end of `pending` may be the beginning of a stop string.
    fn held(&self) -> usize {
        let longest = |stop: &Vec<u8>| {
            let most = self.pending.len().min(stop.len() - 1);
            (1..=most)
                .rev()
                .find(|&length| self.pending.ends_with(&stop[..length]))
                .unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

/// First occurrence of `needle`, which is not empty.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Decodes up to a character that is not finished. Bytes that can be no character become U+FFFD. Returns the text and
/// how many bytes it took.
fn decode(bytes: &[u8]) -> (String, usize) {
    let mut text = String::with_capacity(bytes.len());
    let mut used = 0;
    while used < bytes.len() {
        match std::str::from_utf8(&bytes[used..]) {
            Ok(valid) => {
                text.push_str(valid);
                used = bytes.len();
            }
            Err(error) => {
                let valid = &bytes[used..used + error.valid_up_to()];
                text.push_str(&String::from_utf8_lossy(valid));
                used += valid.len();
                let Some(invalid) = error.error_len() else { break };
                text.push(char::REPLACEMENT_CHARACTER);
                used += invalid;
            }
        }
    }
    (text, used)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out when `bytes` are cut at `cuts`.
    fn run(stops: &[&str], bytes: &[u8], cuts: &[usize]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TextStream::new(&stops);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut text = String::new();
        for pair in cuts.windows(2) {
            let shown = stream.push(&bytes[pair[0]..pair[1]], ());
            text.push_str(&shown.text);
            if shown.stopped {
                return (text, true);
            }
        }
        text.push_str(&stream.finish().text);
        (text, false)
    }

    #[test]
    fn a_stop_string_across_tokens_is_never_shown() {
        let mut stream = TextStream::new(&["</end>".to_owned()]);
        assert_eq!(stream.push(b"Hi <", 1).text, "Hi ");
        assert_eq!(stream.push(b"/e", 2).text, "");
        let shown = stream.push(b"lse </en", 3);
        assert_eq!((shown.text.as_str(), shown.tokens), ("</else ", vec![1, 2]));
        let shown = stream.push(b"d> more", 4);
        assert!(shown.stopped);
        assert_eq!(shown.text, "");
    }

    #[test]
    fn characters_are_whole() {
        let mut stream = TextStream::new(&[]);
        let bytes = "é🦀".as_bytes();
        let texts: Vec<String> = bytes.iter().map(|&byte| stream.push(&[byte], ()).text).collect();
        assert_eq!(texts, ["", "é", "", "", "", "🦀"]);
        assert_eq!(stream.push(&bytes[2..4], ()).text, "");
        assert_eq!(stream.finish().text, "", "an unfinished character is dropped");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut stream = TextStream::new(&[]);
        assert_eq!(stream.push(b"a\xFFb", ()).text, "a\u{FFFD}b");
        assert_eq!(stream.push(b"\xE2\x82", ()).text, "");
        assert_eq!(stream.push(b"x", ()).text, "\u{FFFD}x");
    }

    #[test]
    fn the_first_complete_stop_string_counts() {
        assert_eq!(run(&["abc", "b"], b"xabc", &[]), ("xa".into(), true));
        assert_eq!(run(&["bc", "abc"], b"xabc", &[3]), ("x".into(), true));
        assert_eq!(run(&["é"], "caf\u{e9}!".as_bytes(), &[4]), ("caf".into(), true));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            text in "[ab€🦀<>/]{0,24}",
            cuts in proptest::collection::vec(0_usize..64, 0..12),
        ) {
            let stops = ["<a", "ab", "b€", "//"];
            let whole = run(&stops, text.as_bytes(), &[]);
            prop_assert_eq!(&run(&stops, text.as_bytes(), &cuts), &whole);
            prop_assert!(stops.iter().all(|stop| !whole.0.contains(stop)));
            prop_assert!(text.starts_with(&whole.0));
            if !whole.1 {
                prop_assert_eq!(whole.0, text);
            }
        }

        #[test]
        fn any_bytes_are_text(bytes in proptest::collection::vec(any::<u8>(), 0..32), cuts in proptest::collection::vec(0_usize..64, 0..8)) {
            prop_assert_eq!(run(&[], &bytes, &cuts), run(&[], &bytes, &[]));
        }
    }
}
