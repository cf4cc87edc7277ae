//! From phonemes to the ids that a voice was trained on. Pure.

use std::collections::HashMap;

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
    pub(super) fn encode(&self, phonemes: &str) -> Encoded {
        let mut encoded = Encoded {
            ids: vec![self.begin, self.pad],
            first_id: Vec::new(),
            unknown: Vec::new(),
        };
        for phoneme in phonemes.chars() {
            encoded.first_id.push(encoded.ids.len());
            match self.ids.get(&phoneme) {
                Some(ids) => {
                    encoded.ids.extend_from_slice(ids);
                    encoded.ids.push(self.pad);
                }
                None if encoded.unknown.contains(&phoneme) => {}
                None => encoded.unknown.push(phoneme),
            }
        }
        encoded.ids.push(self.end);
        encoded
    }
}

/// Phonemes as ids.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    /// What the graph takes.
    pub(super) ids: Vec<i64>,
    /// For each phoneme the index of its first id; of the one after it, where the phoneme is unknown.
    pub(super) first_id: Vec<usize>,
    /// Phonemes that were left out, each once.
    pub(super) unknown: Vec<char>,
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let encoded = ids.encode("ab.");
        assert_eq!(encoded.ids, [1, 0, 3, 0, 4, 0, 5, 0, 2]);
        assert_eq!((encoded.first_id, encoded.unknown), (vec![2, 4, 6], vec![]));
        let encoded = ids.encode("axbx");
        assert_eq!(encoded.ids, [1, 0, 3, 0, 4, 0, 2]);
        assert_eq!((encoded.first_id, encoded.unknown), (vec![2, 4, 4, 6], vec!['x']));
    }

    #[test]
    fn a_map_without_its_symbols_is_refused() {
        assert!(PhonemeIds::new(map("_^ab")).err().unwrap().contains('$'));
        let mut long = map("_^$");
        long.insert("ab".into(), vec![9]);
        assert!(PhonemeIds::new(long).err().unwrap().contains("\"ab\""));
    }
}
