//! The tokens of the vocabulary as bytes.

use std::collections::HashMap;

use super::ConversionError;

/// The tokens that the file lists: the byte-pair vocabulary. whisper.cpp adds the special ones by itself.
pub(super) const TOKENS: usize = 50_257;

/// The byte-pair tokens as bytes. The vocabulary writes each byte as a printable character, GPT-2's way.
pub(super) fn tokens(vocabulary: &str) -> Result<Vec<Vec<u8>>, ConversionError> {
    let bytes = byte_of_character();
    let lines = vocabulary.strip_suffix('\n').unwrap_or(vocabulary).split('\n');
    let decode = |line: &str| {
        let decoded: Option<Vec<u8>> = line.chars().map(|c| bytes.get(&c).copied()).collect();
        decoded.unwrap_or_else(|| line.as_bytes().to_vec())
    };
    let tokens: Vec<Vec<u8>> = lines.take(TOKENS).map(decode).collect();
    if tokens.len() == TOKENS {
        Ok(tokens)
    } else {
        Err(ConversionError::Vocabulary { found: tokens.len() })
    }
}

/// GPT-2's table: printable bytes stand for themselves, the others for the characters from U+0100 on.
fn byte_of_character() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let own = (0..=255_u8).filter(printable).map(|byte| (char::from(byte), byte));
    let moved = (0..=255_u8)
        .filter(|byte| !printable(byte))
        .zip('\u{100}'..)
        .map(|(byte, c)| (c, byte));
    own.chain(moved).collect()
}
