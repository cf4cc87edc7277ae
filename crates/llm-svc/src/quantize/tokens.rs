//! A `tokenizer.json` as GGUF's tables: byte-level BPE, split in one of the ways that llama.cpp knows by name.

use std::path::Path;

use serde_json::{Map, Value};
use solo_models::gguf::HeaderWriter;

use super::QuantizeError;
use super::config::{optional, tokenizer, wrong};

/// llama.cpp's `llama_token_type`.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
}

/// The expression by which Llama 3 splits text, and Qwen 2 the same with single digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Writes the tables of a folder's tokenizer, for a model that scores `vocabulary` tokens.
pub(super) fn describe(folder: &Path, vocabulary: u64, header: &mut HeaderWriter) -> Result<(), QuantizeError> {
    let path = folder.join("tokenizer.json");
    let file = tokenizer(&path)?;
    let refuse = |reason: &str| wrong(&path, reason.to_owned());
    let model = file
        .get("model")
        .and_then(Value::as_object)
        .ok_or_else(|| refuse("it has no \"model\""))?;
    if model
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind != "BPE")
        || model.get("byte_fallback").and_then(Value::as_bool).unwrap_or(false)
    {
        return Err(refuse(
            "it is no byte-level BPE (SentencePiece, perhaps): llama.cpp's convert_hf_to_gguf.py converts those",
        ));
    }
    let pre = splitter(file.get("pre_tokenizer")).ok_or_else(|| {
        refuse("it splits text in a way that has no name here; those of llama-bpe, qwen2, smollm and gpt-2 are known")
    })?;
    let tables = Tables::of(&path, &file, model, vocabulary)?;
    header.text("tokenizer.ggml.model", "gpt2");
    header.text("tokenizer.ggml.pre", pre);
    header.texts("tokenizer.ggml.tokens", &tables.tokens);
    header.i32s("tokenizer.ggml.token_type", &tables.kinds);
    header.texts("tokenizer.ggml.merges", &merges(&path, model)?);
    specials(folder, &tables, header)
}

/// Tokens by number.
struct Tables {
    tokens: Vec<String>,
    kinds: Vec<i32>,
}

impl Tables {
    fn of(
        path: &Path,
        file: &Map<String, Value>,
        model: &Map<String, Value>,
        count: u64,
    ) -> Result<Self, QuantizeError> {
        // As many as the embedding has rows, so it fits memory.
        let count = count as usize;
        let mut tables = Self {
            tokens: (0..count).map(|number| format!("[PAD{number}]")).collect(),
            kinds: vec![kind::UNUSED; count],
        };
        let normal = model.get("vocab").and_then(Value::as_object);
        let normal = normal.ok_or_else(|| wrong(path, "it has no vocabulary".into()))?;
        for (text, number) in normal {
            tables.set(path, number, text, kind::NORMAL)?;
        }
        let added = file
            .get("added_tokens")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for token in added {
            let text = token.get("content").and_then(Value::as_str).unwrap_or_default();
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false) || looks_special(text);
            let kind = if special { kind::CONTROL } else { kind::USER_DEFINED };
            tables.set(path, token.get("id").unwrap_or(&Value::Null), text, kind)?;
        }
        Ok(tables)
    }

    fn set(&mut self, path: &Path, number: &Value, text: &str, kind: i32) -> Result<(), QuantizeError> {
        let count = self.tokens.len();
        let index = number.as_u64().map_or(usize::MAX, |number| number as usize);
        let (Some(token), Some(known)) = (self.tokens.get_mut(index), self.kinds.get_mut(index)) else {
            let text = text.escape_debug();
            return Err(wrong(
                path,
                format!("token \"{text}\" has number {number}; the model knows {count} tokens"),
            ));
        };
        text.clone_into(token);
        *known = kind;
        Ok(())
    }

    fn number(&self, text: &str) -> Option<u32> {
        self.tokens
            .iter()
            .position(|token| token == text)
            .map(|index| index as u32)
    }
}

/// Names like "<|im_end|>" steer a model even where the file does not say so.
fn looks_special(text: &str) -> bool {
    let within = |start: &str, end: &str| text.starts_with(start) && text.ends_with(end);
    within("<|", "|>") || within("<｜", "｜>") || text == "<pad>" || text == "<mask>"
}

/// Merges, which files write as "a b" or as ["a", "b"].
fn merges(path: &Path, model: &Map<String, Value>) -> Result<Vec<String>, QuantizeError> {
    let list = model.get("merges").and_then(Value::as_array);
    let list = list.ok_or_else(|| wrong(path, "it has no merges".into()))?;
    let merge = |merge: &Value| match merge {
        Value::String(text) => Some(text.clone()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(a), Value::String(b)] if !a.contains(' ') && !b.contains(' ') => Some(format!("{a} {b}")),
            _ => None,
        },
        _ => None,
    };
    list.iter()
        .map(|entry| merge(entry).ok_or_else(|| wrong(path, format!("{entry} is no merge"))))
        .collect()
}

/// llama.cpp's name of the way that text is split.
fn splitter(pre: Option<&Value>) -> Option<&'static str> {
    let pre = pre?;
    let steps: Vec<&Value> = match pre.get("type")?.as_str()? {
        "Sequence" => pre.get("pretokenizers")?.as_array()?.iter().collect(),
        _ => vec![pre],
    };
    let is = |step: &Value, name: &str| step.get("type").and_then(Value::as_str) == Some(name);
    let own_expression = |step: &Value| step.get("use_regex").and_then(Value::as_bool).unwrap_or(true);
    match steps.as_slice() {
        [split, bytes] if is(split, "Split") && is(bytes, "ByteLevel") && !own_expression(bytes) => {
            match split.get("pattern")?.get("Regex")?.as_str()? {
                LLAMA3 => Some("llama-bpe"),
                QWEN2 => Some("qwen2"),
                _ => None,
            }
        }
        [digits, bytes] if is(digits, "Digits") && is(bytes, "ByteLevel") && own_expression(bytes) => {
            let single = digits.get("individual_digits").and_then(Value::as_bool) == Some(true);
            single.then_some("smollm")
        }
        [bytes] if is(bytes, "ByteLevel") && own_expression(bytes) => Some("gpt-2"),
        _ => None,
    }
}

/// The tokens that begin and end text, and the chat template.
fn specials(folder: &Path, tables: &Tables, header: &mut HeaderWriter) -> Result<(), QuantizeError> {
    let path = folder.join("tokenizer_config.json");
    let settings = optional(&path)?;
    let config = optional(&folder.join("config.json"))?;
    for (name, key) in [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")] {
        let token = settings.get(&format!("{name}_token"));
        let text = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        let numbers = config.get(&format!("{name}_token_id"));
        let number = match text {
            Some(text) => Some(
                tables
                    .number(text)
                    .ok_or_else(|| wrong(&path, format!("{name}_token \"{}\" is no token", text.escape_debug())))?,
            ),
            // Some models end in several ways; the first is the one that ends a text.
            None => numbers
                .and_then(|number| number.as_u64().or_else(|| number.get(0)?.as_u64()))
                .map(|n| n as u32),
        };
        if let Some(number) = number.filter(|&number| (number as usize) < tables.tokens.len()) {
            header.u32(&format!("tokenizer.ggml.{key}_token_id"), number);
        }
    }
    for name in ["bos", "eos"] {
        if let Some(add) = settings.get(&format!("add_{name}_token")).and_then(Value::as_bool) {
            header.flag(&format!("tokenizer.ggml.add_{name}_token"), add);
        }
    }
    if let Some(template) = template(folder, &settings)? {
        header.text("tokenizer.chat_template", &template);
    }
    Ok(())
}

/// The template that stands beside the tokenizer, or in its settings: one, or several of which one is the default.
fn template(folder: &Path, settings: &Map<String, Value>) -> Result<Option<String>, QuantizeError> {
    let path = folder.join("chat_template.jinja");
    if path.exists() {
        return std::fs::read_to_string(&path).map(Some).map_err(super::io(&path));
    }
    Ok(match settings.get("chat_template") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(list)) => {
            let default = list
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
            default
                .and_then(|entry| entry.get("template")?.as_str())
                .map(str::to_owned)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ways_to_split_are_known_by_name() {
        let bytes = |own: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": own});
        let split = |regex: &str| {
            let first = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
            json!({"type": "Sequence", "pretokenizers": [first, bytes(false)]})
        };
        let digits =
            json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, bytes(true)]});
        assert_eq!(splitter(Some(&split(LLAMA3))), Some("llama-bpe"));
        assert_eq!(splitter(Some(&split(QWEN2))), Some("qwen2"));
        assert_eq!(splitter(Some(&digits)), Some("smollm"));
        assert_eq!(splitter(Some(&bytes(true))), Some("gpt-2"));
        assert_eq!(splitter(Some(&split("."))), None);
        assert_eq!(splitter(Some(&json!({"type": "Metaspace"}))), None);
        assert_eq!(splitter(None), None);
    }
}
