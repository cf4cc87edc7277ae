//! GPT-2's alphabet: every byte as a printable character, so that a BPE vocabulary is text.
//!
//! Printable Latin-1 stands for itself; the other 68 bytes are the characters from U+0100 on
//! (<https://github.com/openai/gpt-2/blob/master/src/encoder.py>, `bytes_to_unicode`).

/// The byte that a character of the alphabet stands for.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        0x100..=0x143 => {
            let index = (code - 0x100) as u8;
            // The bytes that stand for something else, in order: 0x00–0x20, 0x7F–0xA0, 0xAD.
            Some(match index {
                0..=0x20 => index,
                0x21..=0x42 => index - 0x21 + 0x7F,
                _ => 0xAD,
            })
        }
        _ => None,
    }
}

/// The bytes that a token of the alphabet stands for; `None` when it holds anything else.
pub(super) fn decode(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let bytes: HashSet<u8> = ('\0'..'\u{200}').filter_map(byte_of).collect();
        let characters = ('\0'..'\u{200}').filter(|&c| byte_of(c).is_some()).count();
        assert_eq!((bytes.len(), characters), (256, 256));
    }

    #[test]
    fn known_characters_are_known_bytes() {
        assert_eq!(decode("Ġhello"), Some(b" hello".to_vec()));
        assert_eq!(decode("Ċ"), Some(b"\n".to_vec()));
        assert_eq!(decode("Ã©"), Some("é".as_bytes().to_vec()));
        assert_eq!(decode("a b"), None);
    }
}
