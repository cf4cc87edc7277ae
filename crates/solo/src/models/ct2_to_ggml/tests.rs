use std::fmt::Write as _;
use std::sync::LazyLock;

use super::*;

const WIDTH: usize = 2;
const MELS: usize = 3;
const VOCABULARY: usize = TOKENS + 4;

/// "!", "Ġ" (a space), a token that is no byte text, then fillers.
static TOKEN_LINES: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::from("!\n\u{120}a\n<|漢|>\n");
    for i in 3..VOCABULARY {
        writeln!(text, "t{i}").unwrap();
    }
    text
});

#[derive(Clone)]
struct Entry {
    name: String,
    shape: Vec<u32>,
    code: u8,
    bytes: Vec<u8>,
}

fn halves_of(name: &str, shape: &[usize], value: f32) -> Entry {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|_| f16::from_f32(value).to_le_bytes()).collect();
    Entry {
        name: name.to_owned(),
        shape: shape.iter().map(|s| *s as u32).collect(),
        code: 4,
        bytes,
    }
}

fn heads(side: &str) -> Entry {
    Entry {
        name: format!("{side}/num_heads"),
        shape: vec![],
        code: 2,
        bytes: 1_i16.to_le_bytes().to_vec(),
    }
}

/// One encoder and one decoder layer, two wide.
fn tiny() -> Vec<Entry> {
    let w = WIDTH;
    let mut entries = vec![
        halves_of("decoder/embeddings/weight", &[VOCABULARY, w], 0.5),
        halves_of("encoder/conv1/weight", &[w, MELS, 3], 1.0),
        halves_of("encoder/conv1/bias", &[w], 0.25),
        halves_of("encoder/conv2/weight", &[w, w, 3], 1.0),
        halves_of("encoder/conv2/bias", &[w], 0.25),
        halves_of("encoder/position_encodings/encodings", &[4, w], 1.0),
        halves_of("decoder/position_encodings/encodings", &[5, w], 1.0),
        heads("encoder"),
        heads("decoder"),
    ];
    for side in ["encoder", "decoder"] {
        let mut projections = vec![("self_attention/linear_0", 3 * w), ("self_attention/linear_1", w)];
        let mut norms = vec![
            "layer_0/self_attention/layer_norm",
            "layer_0/ffn/layer_norm",
            "layer_norm",
        ];
        if side == "decoder" {
            projections.extend([
                ("attention/linear_0", w),
                ("attention/linear_1", 2 * w),
                ("attention/linear_2", w),
            ]);
            norms.push("layer_0/attention/layer_norm");
        }
        projections.extend([("ffn/linear_0", 4 * w), ("ffn/linear_1", w)]);
        for (name, rows) in projections {
            entries.push(halves_of(&format!("{side}/layer_0/{name}/weight"), &[rows, w], 1.5));
            entries.push(halves_of(&format!("{side}/layer_0/{name}/bias"), &[rows], -0.0));
        }
        for name in norms {
            entries.push(halves_of(&format!("{side}/{name}/gamma"), &[w], 1.0));
            entries.push(halves_of(&format!("{side}/{name}/beta"), &[w], 0.0));
        }
    }
    entries
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = ((text.len() + 1) as u16).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

/// Serialises as CTranslate2 does; the embeddings are also reachable by an alias, as in real files.
fn serialise(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = 6_u32.to_le_bytes().to_vec();
    bytes.extend(string("WhisperSpec"));
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((entries.len() as u32).to_le_bytes());
    for entry in entries {
        bytes.extend(string(&entry.name));
        bytes.push(entry.shape.len() as u8);
        entry.shape.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.push(entry.code);
        bytes.extend((entry.bytes.len() as u32).to_le_bytes());
        bytes.extend(&entry.bytes);
    }
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(string("decoder/projection/weight"));
    bytes.extend(string("decoder/embeddings/weight"));
    bytes
}

fn run(model: &[u8]) -> Result<Vec<u8>, ConversionError> {
    let mut out = Vec::new();
    convert(model, &TOKEN_LINES, &mut out).map(|()| out)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        head
    }

    fn int(&mut self) -> usize {
        i32::from_le_bytes(self.take(4).try_into().unwrap()).try_into().unwrap()
    }
}

#[test]
fn a_model_becomes_a_ggml_file() {
    let out = run(&serialise(&tiny())).unwrap();
    let mut reader = Reader(&out);
    assert_eq!(reader.take(4), b"lmgg");
    let hyperparameters: Vec<usize> = (0..11).map(|_| reader.int()).collect();
    assert_eq!(hyperparameters, [VOCABULARY, 4, WIDTH, 1, 1, 5, WIDTH, 1, 1, MELS, 1]);
    assert_eq!((reader.int(), reader.int()), (MELS, 201));
    reader.take(MELS * 201 * 4);
    assert_eq!(reader.int(), TOKENS);
    let tokens: Vec<&[u8]> = (0..TOKENS)
        .map(|_| {
            let length = reader.int();
            reader.take(length)
        })
        .collect();
    assert_eq!(tokens[0], b"!");
    assert_eq!(tokens[1], b" a");
    assert_eq!(tokens[2], "<|漢|>".as_bytes());

    let mut names = Vec::new();
    while !reader.0.is_empty() {
        let (rank, length, half) = (reader.int(), reader.int(), reader.int());
        let shape: Vec<usize> = (0..rank).map(|_| reader.int()).collect();
        let name = std::str::from_utf8(reader.take(length)).unwrap().to_owned();
        let data = reader.take(shape.iter().product::<usize>() * if half == 1 { 2 } else { 4 });
        match name.as_str() {
            "encoder.conv1.bias" => {
                assert_eq!((half, shape.as_slice()), (0, [1, WIDTH].as_slice()));
                assert_eq!(data, [0.25_f32.to_le_bytes(), 0.25_f32.to_le_bytes()].concat());
            }
            "encoder.conv1.weight" => assert_eq!((half, shape.as_slice()), (1, [3, MELS, WIDTH].as_slice())),
            "decoder.positional_embedding" => assert_eq!((half, shape.as_slice()), (0, [WIDTH, 5].as_slice())),
            "encoder.blocks.0.attn.query.weight" => {
                assert_eq!((half, shape.as_slice()), (1, [WIDTH, WIDTH].as_slice()))
            }
            "encoder.blocks.0.attn.query.bias" => assert_eq!((half, shape.as_slice()), (0, [WIDTH].as_slice())),
            _ => {}
        }
        names.push(name);
    }
    // 2 convolutions, 2 position tables, the embeddings; 15 in an encoder layer, 24 in a decoder layer; 2 last norms.
    assert_eq!(names.len(), 4 + 2 + 1 + 15 + 24 + 4);
    assert!(!names.iter().any(|name| name.ends_with("key.bias")));
    assert_eq!(names.last().unwrap(), "decoder.ln.bias");
}

#[test]
fn single_precision_weights_are_rounded_to_half() {
    let mut entries = tiny();
    let wide = &mut entries[1];
    (wide.code, wide.bytes) = (0, wide.bytes.chunks(2).flat_map(|_| 1.0_f32.to_le_bytes()).collect());
    assert_eq!(run(&serialise(&entries)).unwrap(), run(&serialise(&tiny())).unwrap());
}

#[test]
fn every_truncation_is_an_error() {
    let mut entries = tiny();
    // The embeddings are most of the file; cut everywhere else, and a few times inside them.
    entries.rotate_left(1);
    let whole = serialise(&entries);
    let embeddings = VOCABULARY * WIDTH * 2;
    let small = whole.len() - embeddings;
    for length in (0..small - 200)
        .step_by(7)
        .chain((small..whole.len()).step_by(29_989))
        .chain(whole.len() - 70..whole.len())
    {
        assert!(run(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn hostile_counts_are_errors() {
    let whole = serialise(&tiny());
    let count_at = 4 + string("WhisperSpec").len() + 4;
    let mut many = whole.clone();
    many[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        run(&many),
        Err(ConversionError::Malformed { .. } | ConversionError::MissingTensor(_))
    ));

    let mut entries = tiny();
    entries[0].shape = vec![u32::MAX; 255];
    assert!(matches!(
        run(&serialise(&entries)),
        Err(ConversionError::Malformed { .. })
    ));

    let mut entries = tiny();
    entries.push(halves_of("encoder/layer_18446744073709551615/x", &[1], 0.0));
    assert!(matches!(
        run(&serialise(&entries)),
        Err(ConversionError::MissingTensor(_))
    ));
    assert!(matches!(run(b""), Err(ConversionError::Malformed { .. })));
    assert!(matches!(
        run(b"GGUF and so on, whatever it is"),
        Err(ConversionError::Malformed { .. })
    ));
}

#[test]
fn flipped_bytes_never_panic() {
    let whole = serialise(&tiny());
    let skip = 4 + string("WhisperSpec").len() + 8 + 100;
    let after_embeddings = skip + VOCABULARY * WIDTH * 2;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = (state >> 33) as usize % (whole.len() - after_embeddings + skip);
        let place = if place < skip {
            place
        } else {
            place - skip + after_embeddings
        };
        let mut broken = whole.clone();
        broken[place] ^= (state >> 25) as u8 | 1;
        // Whatever comes out, it comes out.
        let _ = run(&broken);
    }
}

#[test]
fn what_ggml_cannot_hold_is_refused() {
    let with = |name: &str, change: &dyn Fn(&mut Entry)| {
        let mut entries = tiny();
        change(entries.iter_mut().find(|entry| entry.name == name).unwrap());
        run(&serialise(&entries)).unwrap_err()
    };
    let biased = with("decoder/layer_0/self_attention/linear_0/bias", &|entry| {
        // The fused bias is [query, key, value]: the key's second element.
        entry.bytes[3 * 2..4 * 2].copy_from_slice(&f16::from_f32(0.1).to_le_bytes());
    });
    assert!(matches!(biased, ConversionError::KeyBias(_)), "{biased}");

    let quantised = with("decoder/embeddings/weight", &|entry| {
        (entry.code, entry.bytes) = (1, vec![0; VOCABULARY * WIDTH]);
    });
    assert!(quantised.to_string().contains("is quantised"), "{quantised}");

    let odd = with("encoder/layer_0/self_attention/linear_0/bias", &|entry| {
        *entry = halves_of(&entry.name, &[3 * WIDTH + 1], 0.0);
    });
    assert!(matches!(odd, ConversionError::Shape { .. }), "{odd}");

    let mut out = Vec::new();
    let short = convert(&serialise(&tiny()), "a\nb\n", &mut out).unwrap_err();
    assert_eq!(
        short.to_string(),
        "the vocabulary has 2 tokens, at least 50257 are wanted"
    );
}
