//! Headers that lie. Whatever the bytes, the answer is an error or a checked header, never a panic or a huge allocation.

use std::sync::LazyLock;

use proptest::prelude::*;
use solo_models::gguf::{Facts, GgufError, Header, HeaderWriter, TensorKind};

use crate::shapes::TINY;

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
    let facts = checked(&TINY.file()).unwrap();
    assert_eq!(
        (facts.architecture.as_str(), facts.trained_context, facts.blocks),
        ("llama", 512, 2)
    );
    assert_eq!(facts.kv_numbers_per_token(), 2 * 2 * (16 + 16));
    assert_eq!(facts.quantization, "Q8_0");
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
    let bytes = TINY.file();
    let whole = bytes.len();
    // The last tensor may be followed by padding.
    for cut in (0..whole - 32).step_by(61) {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut} of {whole}");
    }
}

/// What is wrong with a tiny model in which one metadata value is another. It has no tensors.
fn altered(key: &str, replace: impl FnOnce(&mut HeaderWriter)) -> String {
    let whole = TINY.metadata().finish();
    let source = read(&whole).unwrap();
    let mut header = HeaderWriter::new();
    for (name, extent) in source.extents().iter().filter(|(name, _)| name != key) {
        header.raw(name, &whole[extent.start as usize..extent.end as usize]);
    }
    replace(&mut header);
    checked(&header.finish()).expect_err(key).to_string()
}

#[test]
fn what_engines_take_for_granted_is_checked() {
    let number = |key: &str, number: u32, words: &str| {
        let error = altered(key, |header| header.u32(key, number));
        assert!(error.contains(words), "{key}: {error}");
    };
    number("llama.context_length", 0, "context_length is 0");
    number("llama.block_count", 100_000, "block_count is 100000");
    number("llama.attention.head_count", 3, "heads are 21 wide");
    number("llama.attention.head_count", 1 << 30, "more than the model is wide");
    number("llama.attention.head_count_kv", 0, "head_count_kv is 0");
    number("llama.attention.head_count_kv", 3, "divide");
    number("llama.rope.dimension_count", 6, "heads are 16 wide");
    number("llama.expert_count", 9000, "expert");
    let text = |key: &str, text: &str, words: &str| {
        let error = altered(key, |header| header.text(key, text));
        assert!(error.contains(words), "{key}: {error}");
    };
    text("llama.context_length", "many", "missing or no number");
    text("llama.rope.scaling.type", "spiral", "none of");
    text("general.architecture", "../../etc", "names no architecture");
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    assert!(altered(epsilon, |header| header.f32(epsilon, f32::NAN)).contains("positive"));
    let tokens = "tokenizer.ggml.tokens";
    assert!(altered(tokens, |header| header.texts::<&str>(tokens, &[])).contains("missing or empty"));
    assert!(altered(tokens, |header| header.texts(tokens, &["a", "a"])).contains("occurs twice"));
    let kinds = "tokenizer.ggml.token_type";
    assert!(altered(kinds, |header| header.i32s(kinds, &[1])).contains("shorter than the vocabulary"));
}

#[test]
fn what_is_written_is_read() {
    let mut header = HeaderWriter::new();
    header.text("general.architecture", "x");
    header.u32("a.number", 7);
    header.f32("a.share", 0.5);
    header.flag("a.flag", true);
    header.texts("a.texts", &["one", "", "drei"]);
    header.i32s("a.signed", &[1, 2]);
    header.f32s("a.scores", &[-1.5]);
    header.tensor("one", TensorKind::F32, &[3]).unwrap();
    header
        .tensor("two", TensorKind::from_name("q8_0").unwrap(), &[32, 2])
        .unwrap();
    let bytes = header.finish();
    let back = Header::read(bytes.as_slice(), bytes.len() as u64 + 32 + 68).unwrap();
    assert_eq!(back.data_offset, bytes.len() as u64);
    assert_eq!(back.tensors, header.tensors());
    assert_eq!(
        (back.uint("a.number"), back.float("a.share"), back.flag("a.flag")),
        (Some(7), Some(0.5), Some(true))
    );
    let texts: Vec<&[u8]> = back.texts("a.texts").unwrap().iter().collect();
    assert_eq!(texts, [b"one".as_slice(), b"", b"drei"]);
    assert_eq!(back.get("a.signed").unwrap().uints(), Some(vec![1, 2]));
    let keys: Vec<&str> = back.extents().iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys[..3], ["general.architecture", "a.number", "a.share"]);
    // One byte short of the second tensor.
    assert!(Header::read(bytes.as_slice(), bytes.len() as u64 + 99).is_err());
    assert!(
        header
            .tensor("odd", TensorKind::from_name("Q4_K").unwrap(), &[255])
            .is_err()
    );
    assert!(header.tensor("none", TensorKind::F32, &[]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = checked(&bytes);
        let _ = checked(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn any_damage_is_survived(damage in proptest::collection::vec((0_usize..12_000, any::<u8>()), 1..6)) {
        static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| TINY.file());
        let mut bytes = WHOLE.clone();
        for (at, value) in damage {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let _ = checked(&bytes);
    }
}
