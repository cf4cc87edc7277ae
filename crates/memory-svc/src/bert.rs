//! What engines of BERT models have in common, whatever the models are for: reading their files, and texts side by side.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use tokenizers::{Encoding, Tokenizer};

/// Reads a model's `config.json`.
pub(crate) fn read_json<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

/// Reads a model's tokenizer. Its file may pad to a fixed length and cut at another: this one does neither.
pub(crate) fn tokenizer(file: &Path) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(file)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    // "[SEP]" in a document is text.
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// Texts of a batch side by side, padded to the longest: row by row.
pub(crate) struct Padded<T> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) ids: Vec<T>,
    /// 1 in the second text of a pair, else 0.
    pub(crate) types: Vec<T>,
    /// 1 where a token is, 0 where padding.
    pub(crate) mask: Vec<T>,
}

impl<T: From<u32> + Copy> Padded<T> {
    pub(crate) fn new(encoded: &[Encoding]) -> Self {
        let columns = encoded.iter().map(Encoding::len).max().unwrap_or(0);
        let rows = encoded.len();
        let mut ids = vec![T::from(0); rows * columns];
        let (mut types, mut mask) = (ids.clone(), ids.clone());
        for (row, encoding) in encoded.iter().enumerate() {
            let tokens = row * columns..row * columns + encoding.len();
            let copy = |to: &mut [T], from: &[u32]| to.iter_mut().zip(from).for_each(|(to, from)| *to = T::from(*from));
            copy(&mut ids[tokens.clone()], encoding.get_ids());
            copy(&mut types[tokens.clone()], encoding.get_type_ids());
            mask[tokens].fill(T::from(1));
        }
        Self {
            rows,
            columns,
            ids,
            types,
            mask,
        }
    }
}
