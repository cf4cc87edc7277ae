//! A model's tokens as llguidance wants them: a trie of their bytes, and its own way to split text.

use std::sync::Arc;

use llguidance::panic_utils;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::{ConstraintError, first_line};
use crate::tokenizer::{Specials, Tokenizer};

/// Longer tokens (some vocabularies have long runs of blanks) are never allowed: the trie cannot be deeper than 1,024.
const MAX_PIECE: usize = 1_000;
/// The trie has fewer nodes than the tokens have bytes, and at most four million.
const MAX_BYTES: usize = 4_000_000;

struct Environment {
    tokenizer: Arc<dyn Tokenizer>,
    trie: TokTrie,
}

/// The environment, and the tokens that end a turn.
pub(super) fn environment(
    tokenizer: Arc<dyn Tokenizer>,
    vocabulary: usize,
    specials: &Specials,
) -> Result<(TokEnv, Arc<[u32]>), ConstraintError> {
    let size = u32::try_from(vocabulary)
        .ok()
        .filter(|&size| size > 0 && size < 1 << 24);
    let size = size.ok_or_else(|| ConstraintError::Vocabulary(format!("it has {vocabulary} tokens")))?;
    let mut words: Vec<Vec<u8>> = (0..size)
        .map(|token| {
            let piece = tokenizer.piece(token);
            // A lone 0xFF is a byte; more after it would read as a control token.
            let text = piece.len() <= MAX_PIECE && (piece.len() == 1 || piece.first() != Some(&0xFF));
            if text { piece } else { Vec::new() }
        })
        .collect();
    for (token, text) in specials.texts() {
        if let Some(word) = words.get_mut(token as usize)
            && text.len() < MAX_PIECE
        {
            *word = [&[TokTrie::SPECIAL_TOKEN_MARKER], text].concat();
        }
    }
    let bytes: usize = words.iter().map(Vec::len).sum();
    if bytes > MAX_BYTES {
        return Err(ConstraintError::Vocabulary(format!("its tokens have {bytes} bytes")));
    }
    let ends: Arc<[u32]> = (0..size).filter(|&token| tokenizer.is_end(token)).collect();
    let Some(&end) = ends.first() else {
        let problem = "it has no token that ends an answer".to_owned();
        return Err(ConstraintError::Vocabulary(problem));
    };
    for &token in ends.iter() {
        // An end that the file has as text is an end all the same.
        let word = &mut words[token as usize];
        if word.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
            word.clear();
        }
    }
    let trie = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Ok(TokTrie::from(&TokRxInfo::new(size, end), &words).with_eos_tokens(&ends))
    }));
    let trie = trie.map_err(|error| ConstraintError::Vocabulary(first_line(&error)))?;
    Ok((Arc::new(Environment { tokenizer, trie }), ends))
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let mut tokens = Vec::new();
            let split = self.tokenizer.encode(text, &mut tokens);
            // Tokenizers that put a blank in front, or normalise, do not give these bytes back: then any tokens that do.
            let mut rest = text.as_bytes();
            let exact = split.is_ok()
                && tokens.iter().all(|&token| {
                    let piece = self.trie.token(token);
                    let matches = !piece.is_empty() && rest.starts_with(piece);
                    rest = &rest[if matches { piece.len() } else { 0 }..];
                    matches
                })
                && rest.is_empty();
            if exact {
                tokens
            } else {
                self.trie.greedy_tokenize(text.as_bytes())
            }
        })
    }
}
