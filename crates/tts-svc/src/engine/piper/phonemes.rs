//! From words to the ids that a voice was trained on: clauses, punctuation, ids. Pure.

use std::collections::HashMap;

/// Punctuation that Piper's voices know as a phoneme.
const MARKS: [char; 6] = ['.', '!', '?', ',', ';', ':'];

/// Cuts text into clauses, each with the punctuation that ends it. espeak-ng gives phonemes but no punctuation, and the
/// melody of a sentence hangs on it. A mark inside a word ("3.14", "10:30") ends no clause; the last clause ends with a
/// full stop if it has no mark of its own.
pub(super) fn clauses(text: &str) -> Vec<(&str, char)> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let mut marks = text.char_indices().filter(|(_, c)| MARKS.contains(c)).peekable();
    while let Some((at, mark)) = marks.next() {
        let mut mark = mark;
        let mut end = at + 1;
        while let Some((_, next)) = marks.next_if(|(index, _)| *index == end) {
            // "?!" asks, "!.." shouts, "..." ends.
            mark = if mark == '?' || next == '?' { '?' } else { mark };
            end += 1;
        }
        if text[end..].starts_with(|c: char| !c.is_whitespace()) {
            continue;
        }
        push(&mut clauses, &text[start..at], mark);
        start = end;
    }
    push(&mut clauses, &text[start..], '.');
    clauses
}

fn push<'a>(clauses: &mut Vec<(&'a str, char)>, text: &'a str, mark: char) {
    let text = text.trim();
    if text.chars().any(char::is_alphanumeric) {
        clauses.push((text, mark));
    }
}

/// The ids of a voice's phonemes.
pub(super) struct PhonemeIds {
    ids: HashMap<char, Vec<i64>>,
    pad: i64,
    begin: i64,
    end: i64,
}

impl PhonemeIds {
    /// From the voice's `phoneme_id_map`, whose keys are single characters.
    ///
    /// # Errors
    /// What is wrong with the map.
    pub(super) fn new(map: HashMap<String, Vec<i64>>) -> Result<Self, String> {
        let mut ids = HashMap::with_capacity(map.len());
        for (phoneme, id) in map {
            let mut characters = phoneme.chars();
            match (characters.next(), characters.next()) {
                (Some(character), None) => ids.insert(character, id),
                _ => {
                    return Err(format!(
                        "phoneme_id_map has the key \"{phoneme}\", one character is wanted"
                    ));
                }
            };
        }
        let special = |symbol: char| match ids.get(&symbol).map(Vec::as_slice) {
            Some([id]) => Ok(*id),
            _ => Err(format!("phoneme_id_map needs one id for \"{symbol}\"")),
        };
        Ok(Self {
            pad: special('_')?,
            begin: special('^')?,
            end: special('$')?,
            ids,
        })
    }

    /// Begin, then each phoneme, a pad after each of these, then end: as piper-phonemize made them for training.
    /// Phonemes that the voice does not know are left out and given back.
    pub(super) fn encode(&self, phonemes: &str) -> (Vec<i64>, Vec<char>) {
        let mut encoded = vec![self.begin, self.pad];
        let mut unknown = Vec::new();
        for phoneme in phonemes.chars() {
            match self.ids.get(&phoneme) {
                Some(ids) => {
                    encoded.extend_from_slice(ids);
                    encoded.push(self.pad);
                }
                None if unknown.contains(&phoneme) => {}
                None => unknown.push(phoneme),
            }
        }
        encoded.push(self.end);
        (encoded, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_keep_their_punctuation() {
        assert_eq!(
            clauses("Yes, it is: 3.14 at 10:30; right?! Go..."),
            [
                ("Yes", ','),
                ("it is", ':'),
                ("3.14 at 10:30", ';'),
                ("right", '?'),
                ("Go", '.')
            ]
        );
        assert_eq!(clauses("no mark"), [("no mark", '.')]);
        assert_eq!(clauses(" . , "), []);
        assert_eq!(clauses("Größe, ja."), [("Größe", ','), ("ja", '.')]);
    }

    fn map(symbols: &str) -> HashMap<String, Vec<i64>> {
        symbols
            .chars()
            .enumerate()
            .map(|(id, c)| (c.to_string(), vec![id as i64]))
            .collect()
    }

    #[test]
    fn ids_are_padded_as_in_training() {
        let ids = PhonemeIds::new(map("_^$ab.")).unwrap();
        assert_eq!(ids.encode("ab."), (vec![1, 0, 3, 0, 4, 0, 5, 0, 2], vec![]));
        assert_eq!(ids.encode("axbx"), (vec![1, 0, 3, 0, 4, 0, 2], vec!['x']));
    }

    #[test]
    fn a_map_without_its_symbols_is_refused() {
        assert!(PhonemeIds::new(map("_^ab")).err().unwrap().contains('$'));
        let mut long = map("_^$");
        long.insert("ab".into(), vec![9]);
        assert!(PhonemeIds::new(long).err().unwrap().contains("\"ab\""));
    }
}
