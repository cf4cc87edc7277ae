//! What engines will take for granted, asked for before they do.
//!
//! llama.cpp's loader throws at much and asserts the rest; what it asserts ends the process. The checks here cover those
//! assertions: twice the same token, a context of zero, heads that do not divide, an unknown kind of RoPE scaling.

use std::collections::HashSet;

use super::{GgufError, Header, file_type_name};

/// llama.cpp's `LLAMA_MAX_LAYERS` and `LLAMA_MAX_EXPERTS`.
const MAX_BLOCKS: u64 = 512;
const MAX_EXPERTS: u64 = 512;
/// More than any model has; keeps products of the three far from overflow.
const MAX_WIDTH: u64 = 1 << 20;
/// More tokens than any context holds.
const MAX_CONTEXT: u64 = 1 << 30;

/// A checked description of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Architecture, for instance "qwen2".
    pub architecture: String,
    /// Tokens that it was trained to hold.
    pub trained_context: u32,
    /// Number of transformer blocks.
    pub blocks: u32,
    /// Width of the residual stream.
    pub embedding: u32,
    /// Shape of its attention; `None` for models without.
    pub attention: Option<Attention>,
    /// Number of tokens that it knows.
    pub vocabulary: u32,
    /// Number of weights.
    pub parameters: u64,
    /// How most of its weights are stored, for instance "Q4_K_M".
    pub quantization: String,
    /// Its chat template (Jinja).
    pub chat_template: Option<String>,
}

/// The shape of a model's attention; of the widest block where blocks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Numbers in a key.
    pub key_length: u32,
    /// Numbers in a value.
    pub value_length: u32,
}

impl Facts {
    /// Numbers that the KV cache keeps for each token.
    pub fn kv_numbers_per_token(&self) -> u64 {
        self.attention.map_or(0, |attention| {
            let head = u64::from(attention.key_length) + u64::from(attention.value_length);
            u64::from(self.blocks) * u64::from(attention.kv_heads) * head
        })
    }

    /// Checks a header.
    ///
    /// # Errors
    /// [`GgufError::Wrong`] names the key that is missing or cannot be.
    pub fn of(header: &Header) -> Result<Self, GgufError> {
        let architecture = header.text("general.architecture").unwrap_or_default().to_owned();
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if architecture.is_empty() || architecture.len() > 64 || !architecture.chars().all(named) {
            return Err(GgufError::Wrong("general.architecture names no architecture".into()));
        }
        let keys = Keys {
            header,
            architecture: &architecture,
        };
        let trained_context = keys.within("context_length", 16, MAX_CONTEXT)?;
        let blocks = keys.within("block_count", 1, MAX_BLOCKS)?;
        let embedding = keys.within("embedding_length", 1, MAX_WIDTH)?;
        let attention = keys.attention(embedding)?;
        keys.check_experts()?;
        keys.check_rope(attention)?;
        let vocabulary = check_vocabulary(header)?;
        Ok(Self {
            trained_context,
            blocks,
            embedding,
            attention,
            vocabulary,
            parameters: header
                .tensors
                .iter()
                .map(super::TensorInfo::elements)
                .fold(0, u64::saturating_add),
            quantization: quantization(header),
            chat_template: header
                .text("tokenizer.chat_template")
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned),
            architecture,
        })
    }
}

/// Reads keys that begin with the architecture's name.
struct Keys<'a> {
    header: &'a Header,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn uint(&self, key: &str) -> Option<u64> {
        self.header.uint(&self.name(key))
    }

    fn wrong(&self, key: &str, what: &str) -> GgufError {
        GgufError::Wrong(format!("{} {what}", self.name(key)))
    }

    /// A number between `least` and `most`, both at most 2³⁰.
    fn within(&self, key: &str, least: u64, most: u64) -> Result<u32, GgufError> {
        let value = self
            .uint(key)
            .ok_or_else(|| self.wrong(key, "is missing or no number"))?;
        u32::try_from(value)
            .ok()
            .filter(|_| (least..=most).contains(&value))
            .ok_or_else(|| self.wrong(key, &format!("is {value}; {least} to {most} is possible")))
    }

    /// The largest of a number or, where blocks differ, of an array of numbers.
    fn largest(&self, key: &str) -> Result<Option<u64>, GgufError> {
        let Some(value) = self.header.get(&self.name(key)) else {
            return Ok(None);
        };
        let values = value.uints().filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| self.wrong(key, "is neither a number nor an array of numbers"))?;
        Ok(values.into_iter().max())
    }

    fn attention(&self, embedding: u32) -> Result<Option<Attention>, GgufError> {
        let heads = match self.largest("attention.head_count")? {
            None | Some(0) => return Ok(None),
            Some(heads) if heads <= u64::from(embedding) => heads as u32,
            Some(heads) => {
                return Err(self.wrong(
                    "attention.head_count",
                    &format!("is {heads}, more than the model is wide"),
                ));
            }
        };
        let kv_heads = self.largest("attention.head_count_kv")?.unwrap_or(heads.into());
        if kv_heads == 0 || kv_heads > heads.into() {
            return Err(self.wrong(
                "attention.head_count_kv",
                &format!("is {kv_heads}; 1 to {heads} is possible"),
            ));
        }
        let length = |key: &str| match self.uint(key) {
            None => Ok(embedding / heads),
            Some(_) => self.within(key, 1, MAX_WIDTH),
        };
        let attention = Attention {
            heads,
            kv_heads: kv_heads as u32,
            key_length: length("attention.key_length")?,
            value_length: length("attention.value_length")?,
        };
        if attention.key_length == 0 || attention.value_length == 0 {
            return Err(self.wrong("attention.head_count", "leaves heads without width"));
        }
        Ok(Some(attention))
    }

    fn check_experts(&self) -> Result<(), GgufError> {
        let experts = self.uint("expert_count").unwrap_or(0);
        let used = self.largest("expert_used_count")?.unwrap_or(0);
        if experts > MAX_EXPERTS || used > experts || (experts > 0 && used == 0) {
            return Err(self.wrong("expert_used_count", &format!("is {used} of {experts}")));
        }
        Ok(())
    }

    fn check_rope(&self, attention: Option<Attention>) -> Result<(), GgufError> {
        if let Some(value) = self.header.get(&self.name("rope.scaling.type"))
            && !matches!(value.as_text(), Some("none" | "linear" | "yarn" | "longrope"))
        {
            return Err(self.wrong("rope.scaling.type", "is none of none, linear, yarn, longrope"));
        }
        let positive = |key: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(self.wrong(key, &format!("is {value}; a positive number is wanted"))),
        };
        for key in ["rope.freq_base", "attention.layer_norm_rms_epsilon"] {
            if let Some(value) = self.header.float(&self.name(key)) {
                positive(key, value)?;
            }
        }
        let dense = matches!(self.architecture, "llama" | "qwen2");
        let Some(attention) = attention.filter(|_| dense) else {
            return if dense {
                Err(self.wrong("attention.head_count", "is missing"))
            } else {
                Ok(())
            };
        };
        let rotated = self.uint("rope.dimension_count").unwrap_or(attention.key_length.into());
        if rotated != u64::from(attention.key_length) || attention.value_length != attention.key_length {
            return Err(self.wrong(
                "rope.dimension_count",
                &format!("is {rotated}; heads are {} wide", attention.key_length),
            ));
        }
        if !rotated.is_multiple_of(2) || !attention.heads.is_multiple_of(attention.kv_heads) {
            return Err(self.wrong("attention.head_count", "does not divide"));
        }
        Ok(())
    }
}

/// Checks the vocabulary and returns its size.
fn check_vocabulary(header: &Header) -> Result<u32, GgufError> {
    let wrong = |what: String| GgufError::Wrong(what);
    if header.text("tokenizer.ggml.model").is_none() {
        return Err(wrong("tokenizer.ggml.model is missing".into()));
    }
    let tokens = header
        .texts("tokenizer.ggml.tokens")
        .filter(|tokens| !tokens.is_empty());
    let tokens = tokens.ok_or_else(|| wrong("tokenizer.ggml.tokens is missing or empty".into()))?;
    let mut seen = HashSet::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        // llama.cpp names empty tokens after their number.
        if !token.is_empty() && !seen.insert(token) {
            let token = String::from_utf8_lossy(token);
            return Err(wrong(format!(
                "token {index} (`{}`) occurs twice",
                token.escape_debug()
            )));
        }
    }
    for key in ["tokenizer.ggml.token_type", "tokenizer.ggml.scores"] {
        if let Some(super::Value::Array(super::Array::Scalars(scalars))) = header.get(key)
            && scalars.values().count() < tokens.len()
        {
            return Err(wrong(format!("{key} is shorter than the vocabulary")));
        }
    }
    // The number of scores that the model gives: each must name a token.
    if let Some(embedding) = header.tensor("token_embd.weight") {
        let rows = embedding.dimensions.get(1).copied().unwrap_or(1);
        if rows != tokens.len() as u64 {
            return Err(wrong(format!(
                "token_embd.weight has {rows} rows for {} tokens",
                tokens.len()
            )));
        }
    }
    // Claimed counts are below 2²⁴.
    Ok(tokens.len() as u32)
}

/// The file's own word for it, else the type that most bytes are of.
fn quantization(header: &Header) -> String {
    if let Some(name) = header.uint("general.file_type").and_then(file_type_name) {
        return name.to_owned();
    }
    let mut bytes: Vec<(&str, u64)> = Vec::new();
    for tensor in &header.tensors {
        match bytes.iter_mut().find(|(name, _)| *name == tensor.kind.name) {
            Some((_, sum)) => *sum = sum.saturating_add(tensor.bytes),
            None => bytes.push((tensor.kind.name, tensor.bytes)),
        }
    }
    bytes
        .into_iter()
        .max_by_key(|(_, sum)| *sum)
        .map_or_else(String::new, |(name, _)| name.to_owned())
}
