//! Headers that lie. Whatever the bytes, the answer is an error or a checked header, never a panic or a huge allocation.

use std::sync::LazyLock;

use llm_svc::gguf::{Facts, GgufError, Header};
use proptest::prelude::*;

use crate::tiny::Tiny;

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(bytes, bytes.len() as u64)
}

fn checked(bytes: &[u8]) -> Result<Facts, GgufError> {
    Facts::of(&read(bytes)?)
}

/// A header of these metadata entries and no tensors.
fn header(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        bytes.extend((key.len() as u64).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(*value);
    }
    bytes
}

/// A header that describes one tensor, followed by `data` bytes.
fn tensor(name: &str, dimensions: &[u64], kind: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    for dimension in dimensions {
        bytes.extend(dimension.to_le_bytes());
    }
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn refused(bytes: &[u8], words: &str) {
    let error = read(bytes).expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} says nothing of {words:?}");
}

#[test]
fn a_good_file_is_read() {
    let facts = checked(&Tiny::default().bytes()).unwrap();
    assert_eq!(
        (facts.architecture.as_str(), facts.trained_context, facts.blocks),
        ("llama", 512, 2)
    );
    assert_eq!(facts.kv_numbers_per_token(), 2 * 2 * (16 + 16));
    assert_eq!(facts.quantization, "F32");
    assert!(facts.chat_template.is_some());
}

#[test]
fn other_files_are_told_apart() {
    refused(b"", "cut short");
    refused(b"GGML\x03\0\0\0\0\0\0\0", "does not begin with");
    refused(b"GGUF\x01\0\0\0", "version 1");
    refused(b"GGUF\x63\0\0\0", "version 99");
    refused(b"GGUF\0\0\0\x03", "big-endian");
}

#[test]
fn claims_are_held_against_the_file() {
    let counts = |tensors: u64, entries: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes
    };
    refused(&counts(u64::MAX, 0), "tensors");
    refused(&counts(0, u64::MAX), "metadata entries");
    refused(&counts(60_000, 0), "cut short");
    refused(&header(&[("key", 8, &u64::MAX.to_le_bytes())]), "bytes");
    refused(&header(&[("key", 8, &(1_u64 << 20).to_le_bytes())]), "cut short");
    let array = |kind: u32, count: u64| [kind.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
    refused(&header(&[("key", 9, &array(4, 1 << 60))]), "numbers in `key`");
    refused(&header(&[("key", 9, &array(8, 1 << 23))]), "cut short");
    refused(&header(&[("key", 9, &array(9, 1))]), "unknown kind 9");
    refused(&header(&[("key", 99, &[])]), "unknown kind 99");
    refused(&header(&[("", 0, &[1])]), "empty");
    refused(&header(&[("key", 0, &[1]), ("key", 0, &[1])]), "occurs twice");
    refused(
        &header(&[("general.alignment", 4, &0_u32.to_le_bytes())]),
        "power of two",
    );
    refused(
        &header(&[("general.alignment", 4, &33_u32.to_le_bytes())]),
        "power of two",
    );
}

#[test]
fn tensors_must_lie_in_the_file() {
    assert!(read(&tensor("x", &[32, 2], 8, 0, 68)).is_ok());
    refused(
        &tensor("x", &[32, 2], 8, 0, 67),
        "tensor `x` needs 68 bytes, 67 are left",
    );
    refused(&tensor("x", &[32, 2], 8, 64, 100), "cut short");
    refused(&tensor("x", &[32, 2], 8, 1, 100), "no multiple of 32");
    refused(&tensor("x", &[32, 2], 8, u64::MAX - 31, 100), "out of reach");
    refused(&tensor("x", &[33], 8, 0, 100), "come in 32s");
    refused(&tensor("x", &[0], 0, 0, 100), "shape");
    refused(&tensor("x", &[1 << 40, 1 << 40], 0, 0, 100), "too large");
    refused(&tensor("x", &[1, 1, 1, 1, 1], 0, 0, 100), "5 dimensions");
    refused(&tensor("x", &[], 0, 0, 100), "0 dimensions");
    refused(&tensor("x", &[4], 4, 0, 100), "unknown type 4");
    refused(&tensor(&"x".repeat(64), &[4], 0, 0, 100), "at most 63");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = Tiny::default().bytes();
    let whole = bytes.len();
    // The last tensor may be followed by padding.
    for cut in (0..whole - 32).step_by(61) {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut} of {whole}");
    }
}

/// A tiny model with one metadata value replaced.
fn altered(key: &str, value: candle_core::quantized::gguf_file::Value) -> Vec<u8> {
    use candle_core::quantized::gguf_file;
    let mut metadata = Tiny::default().metadata();
    metadata.retain(|(name, _)| name != key);
    metadata.push((key.to_owned(), value));
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &[]).unwrap();
    bytes.into_inner()
}

#[test]
fn what_engines_take_for_granted_is_checked() {
    use candle_core::quantized::gguf_file::Value;
    let wrong = |key: &str, value: Value, words: &str| {
        let error = checked(&altered(key, value)).expect_err(key).to_string();
        assert!(error.contains(words), "{key}: {error}");
    };
    wrong("llama.context_length", Value::U32(0), "context_length is 0");
    wrong(
        "llama.context_length",
        Value::String("many".into()),
        "missing or no number",
    );
    wrong("llama.block_count", Value::U32(100_000), "block_count is 100000");
    wrong("llama.attention.head_count", Value::U32(3), "heads are 21 wide");
    wrong(
        "llama.attention.head_count",
        Value::U32(1 << 30),
        "more than the model is wide",
    );
    wrong("llama.attention.head_count_kv", Value::U32(0), "head_count_kv is 0");
    wrong("llama.attention.head_count_kv", Value::U32(3), "divide");
    wrong(
        "llama.attention.layer_norm_rms_epsilon",
        Value::F32(f32::NAN),
        "positive",
    );
    wrong("llama.rope.dimension_count", Value::U32(6), "heads are 16 wide");
    wrong("llama.rope.scaling.type", Value::String("spiral".into()), "none of");
    wrong("llama.expert_count", Value::U32(9000), "expert");
    wrong(
        "general.architecture",
        Value::String("../../etc".into()),
        "names no architecture",
    );
    wrong("tokenizer.ggml.tokens", Value::Array(vec![]), "missing or empty");
    let twice = vec![Value::String("a".into()), Value::String("a".into())];
    wrong("tokenizer.ggml.tokens", Value::Array(twice), "occurs twice");
    wrong(
        "tokenizer.ggml.token_type",
        Value::Array(vec![Value::I32(1)]),
        "shorter than the vocabulary",
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = checked(&bytes);
        let _ = checked(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn any_damage_is_survived(damage in proptest::collection::vec((0_usize..12_000, any::<u8>()), 1..6)) {
        static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| Tiny::default().bytes());
        let mut bytes = WHOLE.clone();
        for (at, value) in damage {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let _ = checked(&bytes);
    }
}
