//! Text to tokens and back, and which tokens steer the model.
//!
//! A [`Tokenizer`] only ever sees plain text: text that spells a control token stays text, whoever wrote it. Control
//! tokens come in as tokens, from the chat template ([`crate::prompt`]). That is what keeps a message that contains
//! "<|im_end|>" from ending its turn.

mod bpe;
mod bytes;

use std::collections::HashMap;

pub use bpe::BpeTokenizer;

use crate::gguf::{Array, Header, Value};

/// A tokenizer cannot be made from a file, or cannot read a text.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// This kind is not known here.
    #[error("its tokenizer is `{0}`; candle reads byte-level BPE (`gpt2`): use the llama-cpp engine for this model")]
    Kind(String),
    /// The way it splits text is not known here.
    #[error("it splits text the way of `{0}`, which the candle engine does not know: use the llama-cpp engine for it")]
    PreTokenizer(String),
    /// Its tables contradict one another.
    #[error("its tokenizer's tables are wrong: {0}")]
    Tables(Box<dyn std::error::Error + Send + Sync>),
    /// A text could not be split.
    #[error("the text could not be tokenized: {0}")]
    Text(Box<dyn std::error::Error + Send + Sync>),
}

/// Text to tokens and back.
pub trait Tokenizer: Send + Sync {
    /// Appends the tokens of plain text to `tokens`. Nothing in the text becomes a control token; no token is added.
    ///
    /// # Errors
    /// [`TokenizerError::Text`].
    fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError>;

    /// The bytes of a token as they stand in text, often part of a character. Empty for control tokens and for numbers
    /// that are no token.
    fn piece(&self, token: u32) -> Vec<u8>;

    /// True when the token ends the model's turn.
    fn is_end(&self, token: u32) -> bool;
}

/// llama.cpp's `llama_token_type`, as GGUF stores it.
mod kind {
    pub(super) const NORMAL: u64 = 1;
    pub(super) const UNKNOWN: u64 = 2;
    pub(super) const CONTROL: u64 = 3;
    pub(super) const USER_DEFINED: u64 = 4;
    pub(super) const BYTE: u64 = 6;
}

/// Tokens that end a turn whatever their type: llama.cpp goes by the same texts, files do not say it.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
];
/// Fill-in-the-middle tokens that llama.cpp also ends a turn on: padding, the next repository, the next file.
const FILL_ENDS: &[&str] = &[
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// The tokens that steer a model, as its file names them.
#[derive(Debug, Clone, Default)]
pub struct Specials {
    /// Control tokens by their text, of two characters or more.
    by_text: HashMap<Vec<u8>, u32>,
    /// Their first bytes, and the lengths of the texts that begin with each, longest first.
    lengths: HashMap<u8, Vec<usize>>,
    /// Tokens that steer and are no text, in order.
    controls: Vec<u32>,
    /// Tokens that end a turn, in order.
    ends: Vec<u32>,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// Its text; empty where there is none.
    pub bos_text: String,
    /// The text of the token that ends a text; empty where there is none.
    pub eos_text: String,
    /// True when every prompt begins with [`Specials::bos`].
    pub add_bos: bool,
}

impl Specials {
    /// Reads them from a checked header.
    pub fn of(header: &Header) -> Self {
        let mut specials = Self::default();
        let Some(tokens) = header.texts("tokenizer.ggml.tokens") else {
            return specials;
        };
        let kinds = token_kinds(header);
        for (index, text) in tokens.iter().enumerate() {
            let token = index as u32;
            let ends = ENDS.iter().chain(FILL_ENDS).any(|name| name.as_bytes() == text);
            if ends {
                specials.ends.push(token);
            }
            if !ends && !matches!(kinds.get(index), Some(&(kind::CONTROL | kind::UNKNOWN))) {
                continue;
            }
            specials.controls.push(token);
            if text.len() >= 2 {
                specials.by_text.insert(text.to_vec(), token);
                specials.lengths.entry(text[0]).or_default().push(text.len());
            }
        }
        for lengths in specials.lengths.values_mut() {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        let token = |key: &str| {
            let id = header.uint(&format!("tokenizer.ggml.{key}_token_id"))?;
            u32::try_from(id).ok().filter(|&id| (id as usize) < tokens.len())
        };
        let text = |token: Option<u32>| {
            let text = token.and_then(|token| tokens.get(token as usize)).unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        };
        let eos = token("eos");
        specials
            .ends
            .extend([eos, token("eot"), token("eom")].into_iter().flatten());
        specials.ends.sort_unstable();
        specials.ends.dedup();
        specials.bos = token("bos");
        specials.bos_text = text(specials.bos);
        specials.eos_text = text(eos);
        specials.add_bos = header
            .flag("tokenizer.ggml.add_bos_token")
            .unwrap_or_else(|| begins_by_default(header));
        specials
    }

    /// True when the token ends a turn.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// True when the token steers and is no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.controls.binary_search(&token).is_ok()
    }

    /// Control tokens and their texts, of two characters or more.
    pub fn texts(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.by_text.iter().map(|(text, &token)| (token, text.as_slice()))
    }

    /// The control token whose text `bytes` begin with, the longest if several do, and the length of its text.
    pub fn starting(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let lengths = self.lengths.get(bytes.first()?)?;
        lengths.iter().find_map(|&length| {
            let token = self.by_text.get(bytes.get(..length)?)?;
            Some((*token, length))
        })
    }
}

/// Types of the tokens; empty where the file says none.
fn token_kinds(header: &Header) -> Vec<u64> {
    match header.get("tokenizer.ggml.token_type") {
        Some(Value::Array(Array::Scalars(kinds))) => kinds.values().map(|kind| kind.as_uint().unwrap_or(0)).collect(),
        _ => Vec::new(),
    }
}

/// Whether prompts begin with the first token where the file does not say: llama.cpp's defaults.
fn begins_by_default(header: &Header) -> bool {
    match header.text("tokenizer.ggml.model") {
        Some("llama") => true,
        Some("gpt2") => matches!(
            header.text("tokenizer.ggml.pre"),
            Some(
                "llama3"
                    | "llama-v3"
                    | "llama-bpe"
                    | "falcon3"
                    | "falcon-h1"
                    | "pixtral"
                    | "midm-2.0"
                    | "lfm2"
                    | "tekken"
            )
        ),
        _ => false,
    }
}
