//! Byte-level BPE (GGUF's `gpt2`) from a file's own tables, on Hugging Face's `tokenizers`.
//!
//! It splits as llama.cpp does for the same file, not as the model's `tokenizer.json` might: Qwen's normalises to NFC
//! first, llama.cpp does not. `tests/it/model.rs` compares the two on a corpus.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerImpl};

use super::{Specials, Tokenizer, TokenizerError, bytes, kind, token_kinds};
use crate::gguf::{Header, Texts};

/// How Qwen 2 and 2.5 split text: single digits, words with one leading character that is no letter, runs of blanks.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How Llama 3 splits text: as Qwen, but up to three digits.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

type Inner = TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A byte-level BPE tokenizer.
pub struct BpeTokenizer {
    inner: Inner,
    tokens: Texts,
    kinds: Vec<u64>,
    specials: Specials,
}

impl BpeTokenizer {
    /// Builds the tokenizer of a checked header.
    ///
    /// # Errors
    /// Other kinds of tokenizers and unknown ways to split are refused by name.
    pub fn of(header: &Header) -> Result<Self, TokenizerError> {
        let model = header.text("tokenizer.ggml.model").unwrap_or_default();
        let (Some(tokens), "gpt2") = (header.texts("tokenizer.ggml.tokens"), model) else {
            return Err(TokenizerError::Kind(model.to_owned()));
        };
        let (splitter, ignore_merges) = splitter(header.text("tokenizer.ggml.pre").unwrap_or("default"))?;
        let merges = header.texts("tokenizer.ggml.merges");
        let merges = merges.ok_or_else(|| TokenizerError::Tables("there are no merges".into()))?;
        let vocabulary: Vocab = (0_u32..)
            .zip(tokens.iter())
            .map(|(token, text)| (String::from_utf8_lossy(text).into_owned(), token))
            .collect();
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, pairs(merges)?)
            .ignore_merges(ignore_merges)
            .build()
            .map_err(TokenizerError::Tables)?;
        let mut inner = Inner::new(bpe);
        inner.with_pre_tokenizer(Some(splitter));
        let kinds = token_kinds(header);
        // Tokens that the model's makers added are found whole in any text. Control tokens are not: see the trait.
        let added = tokens
            .iter()
            .zip(&kinds)
            .filter(|&(_, &kind)| kind == kind::USER_DEFINED);
        let added: Vec<_> = added
            .map(|(text, _)| AddedToken::from(String::from_utf8_lossy(text), false).normalized(false))
            .collect();
        inner.add_tokens(added).map_err(TokenizerError::Tables)?;
        Ok(Self {
            inner,
            tokens: tokens.clone(),
            kinds,
            specials: Specials::of(header),
        })
    }
}

impl Tokenizer for BpeTokenizer {
    fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(TokenizerError::Text)?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    fn piece(&self, token: u32) -> Vec<u8> {
        let index = token as usize;
        let Some(text) = self.tokens.get(index) else {
            return Vec::new();
        };
        match self.kinds.get(index) {
            _ if self.specials.is_control(token) => Vec::new(),
            None | Some(&kind::NORMAL) => {
                let decoded = std::str::from_utf8(text).ok().and_then(bytes::decode);
                decoded.unwrap_or_else(|| text.to_vec())
            }
            Some(&kind::USER_DEFINED) => text.to_vec(),
            Some(&kind::BYTE) => byte_token(text),
            // Unused and undefined ones.
            Some(_) => Vec::new(),
        }
    }

    fn is_end(&self, token: u32) -> bool {
        self.specials.is_end(token)
    }
}

/// The byte that a token like "<0x0A>" stands for.
fn byte_token(text: &[u8]) -> Vec<u8> {
    let hex = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.strip_prefix("<0x")?.strip_suffix('>'));
    hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())
        .into_iter()
        .collect()
}

/// The two halves of each merge. They are separated by a space; a first half that is itself one cannot be.
fn pairs(merges: &Texts) -> Result<Vec<(String, String)>, TokenizerError> {
    merges
        .iter()
        .map(|merge| {
            let text = std::str::from_utf8(merge).ok();
            let halves = text.and_then(|text| text.split_once(' '));
            let (first, second) = halves.ok_or_else(|| {
                let merge = String::from_utf8_lossy(merge).escape_debug().to_string();
                TokenizerError::Tables(format!("merge `{merge}` has no two halves").into())
            })?;
            Ok((first.to_owned(), second.to_owned()))
        })
        .collect()
}

/// How text is split before it is merged, by GGUF's name for it, and whether whole words are looked up first.
fn splitter(name: &str) -> Result<(PreTokenizerWrapper, bool), TokenizerError> {
    let gpt2 = || PreTokenizerWrapper::from(ByteLevel::new(false, false, true));
    let regex = |pattern: &str| -> Result<PreTokenizerWrapper, TokenizerError> {
        let split = Split::new(
            SplitPattern::Regex(pattern.into()),
            SplitDelimiterBehavior::Isolated,
            false,
        );
        let split = split.map_err(TokenizerError::Tables)?;
        let bytes = ByteLevel::new(false, false, false);
        Ok(Sequence::new(vec![split.into(), bytes.into()]).into())
    };
    Ok(match name {
        "gpt-2" | "phi-2" | "gigachat" | "a.x-4.0" | "mellum" => (gpt2(), false),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" => {
            (Sequence::new(vec![Digits::new(true).into(), gpt2()]).into(), false)
        }
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (regex(QWEN2)?, false),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" => (regex(LLAMA3)?, true),
        _ => return Err(TokenizerError::PreTokenizer(name.to_owned())),
    })
}
