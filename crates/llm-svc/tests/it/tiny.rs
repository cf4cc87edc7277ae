//! Tiny GGUF models with random weights: real files for real engines, made in milliseconds.

use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use llm_svc::catalogue::ModelFile;

/// SmolLM2's template: short, and ChatML like most.
pub(crate) const TEMPLATE: &str = include_str!("templates/smollm2.jinja");

/// A key of the architecture's, and how its value is made.
pub(crate) type Entry = (&'static str, fn() -> Value);

/// What to make.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(crate) architecture: &'static str,
    pub(crate) pre: &'static str,
    pub(crate) context: u32,
    pub(crate) template: Option<&'static str>,
    /// Tensors beyond those that the architecture needs.
    pub(crate) extra: &'static [&'static str],
    /// Tensors left out.
    pub(crate) without: &'static [&'static str],
    /// True: weights are f32, so that engines round nothing alike or otherwise.
    pub(crate) exact: bool,
    /// More of the architecture's keys.
    pub(crate) metadata_of_its_own: &'static [Entry],
}

impl Default for Tiny {
    fn default() -> Self {
        Self {
            architecture: "llama",
            pre: "smollm",
            context: 512,
            template: Some(TEMPLATE),
            extra: &[],
            without: &[],
            exact: false,
            metadata_of_its_own: &[],
        }
    }
}

impl Tiny {
    /// One of an architecture.
    pub(crate) fn of(architecture: &'static str) -> Self {
        let pre = if architecture == "llama" { "smollm" } else { "qwen2" };
        Self {
            architecture,
            pre,
            ..Self::default()
        }
    }

    /// One of an architecture over f32 weights: nothing is rounded but sums, so a mask or a place that is wrong shows.
    pub(crate) fn exact(architecture: &'static str) -> Self {
        Self {
            exact: true,
            ..Self::of(architecture)
        }
    }

    fn is(&self, architecture: &str) -> bool {
        self.architecture == architecture
    }

    /// Numbers of a head: all divide the width but those of architectures that say how many they are.
    fn head(&self) -> usize {
        if self.is("qwen3") || self.is("gemma3") {
            32
        } else {
            WIDTH / HEADS
        }
    }
}

pub(crate) const WIDTH: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const INNER: usize = 96;
const BLOCKS: usize = 2;

/// The special tokens' first number: the 256 bytes and the merged pairs come before.
const MERGES: &[(&str, &str)] = &[
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "w"),
    ("Ġ", "Ġ"),
    ("1", "2"),
    ("Ċ", "Ċ"),
    ("'", "s"),
];
const SPECIALS: &[(&str, i32)] = &[
    ("<|endoftext|>", 3),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<tool_call>", 4),
];

/// GPT-2's character for a byte.
fn character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let index = (0..byte).filter(|&byte| !printable(byte)).count() as u32;
    char::from_u32(0x100 + index).unwrap()
}

/// The tokens' texts, in order.
pub(crate) fn vocabulary() -> Vec<String> {
    let bytes = (0..=255).map(|byte| character(byte).to_string());
    let merged = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    bytes
        .chain(merged)
        .chain(SPECIALS.iter().map(|(text, _)| (*text).to_owned()))
        .collect()
}

/// The number of a token.
pub(crate) fn token(text: &str) -> u32 {
    vocabulary().iter().position(|token| token == text).unwrap() as u32
}

impl Tiny {
    pub(crate) fn metadata(&self) -> Vec<(String, Value)> {
        let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
        let merges = MERGES.iter().map(|(a, b)| format!("{a} {b}")).collect();
        let kinds = (0..256 + MERGES.len())
            .map(|_| 1)
            .chain(SPECIALS.iter().map(|(_, kind)| *kind));
        let arch = |key: &str| format!("{}.{key}", self.architecture);
        let id = |text| Value::U32(token(text));
        let mut metadata = vec![
            (
                "general.architecture".to_owned(),
                Value::String(self.architecture.into()),
            ),
            // candle-transformers' Qwen 3 takes its angles in f16 unless told f32.
            ("general.dtype".to_owned(), Value::U32(0)),
            (arch("context_length"), Value::U32(self.context)),
            (arch("embedding_length"), Value::U32(WIDTH as u32)),
            (arch("block_count"), Value::U32(BLOCKS as u32)),
            (arch("feed_forward_length"), Value::U32(INNER as u32)),
            (arch("attention.head_count"), Value::U32(HEADS as u32)),
            (arch("attention.head_count_kv"), Value::U32(KV_HEADS as u32)),
            (arch("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
            (arch("rope.dimension_count"), Value::U32(self.head() as u32)),
            (arch("rope.freq_base"), Value::F32(10_000.0)),
            ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".into())),
            ("tokenizer.ggml.pre".to_owned(), Value::String(self.pre.into())),
            ("tokenizer.ggml.tokens".to_owned(), texts(vocabulary())),
            ("tokenizer.ggml.merges".to_owned(), texts(merges)),
            (
                "tokenizer.ggml.token_type".to_owned(),
                Value::Array(kinds.map(Value::I32).collect()),
            ),
            ("tokenizer.ggml.bos_token_id".to_owned(), id("<|im_start|>")),
            ("tokenizer.ggml.eos_token_id".to_owned(), id("<|im_end|>")),
            ("tokenizer.ggml.add_bos_token".to_owned(), Value::Bool(false)),
        ];
        if self.is("qwen3") || self.is("gemma3") {
            metadata.push((arch("attention.key_length"), Value::U32(self.head() as u32)));
            metadata.push((arch("attention.value_length"), Value::U32(self.head() as u32)));
        }
        if self.is("gemma3") {
            metadata.push((arch("attention.sliding_window"), Value::U32(24)));
        }
        for (key, value) in self.metadata_of_its_own {
            metadata.retain(|(known, _)| *known != arch(key));
            metadata.push((arch(key), value()));
        }
        if let Some(template) = self.template {
            metadata.push(("tokenizer.chat_template".to_owned(), Value::String(template.into())));
        }
        metadata
    }

    fn tensors(&self) -> Vec<(String, QTensor)> {
        let (head, words) = (self.head(), vocabulary().len());
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: &[usize], dtype: GgmlDType| {
            let dtype = if self.exact { GgmlDType::F32 } else { dtype };
            if !self.without.contains(&name.as_str()) {
                tensors.push((name, random.tensor(shape, dtype)));
            }
        };
        add("token_embd.weight".into(), &[words, WIDTH], GgmlDType::Q8_0);
        add("output_norm.weight".into(), &[WIDTH], GgmlDType::F32);
        add("output.weight".into(), &[words, WIDTH], GgmlDType::F32);
        for block in 0..BLOCKS {
            let mut layer = |name: &str, shape: &[usize], dtype| add(format!("blk.{block}.{name}"), shape, dtype);
            layer("attn_norm.weight", &[WIDTH], GgmlDType::F32);
            layer("ffn_norm.weight", &[WIDTH], GgmlDType::F32);
            let (queries, kv) = (HEADS * head, KV_HEADS * head);
            if self.is("phi3") {
                layer("attn_qkv.weight", &[queries + 2 * kv, WIDTH], GgmlDType::Q8_0);
                layer("ffn_up.weight", &[2 * INNER, WIDTH], GgmlDType::Q5_0);
            } else {
                layer("attn_q.weight", &[queries, WIDTH], GgmlDType::Q8_0);
                layer("attn_k.weight", &[kv, WIDTH], GgmlDType::Q8_0);
                layer("attn_v.weight", &[kv, WIDTH], GgmlDType::Q8_0);
                layer("ffn_gate.weight", &[INNER, WIDTH], GgmlDType::Q8_0);
                layer("ffn_up.weight", &[INNER, WIDTH], GgmlDType::Q5_0);
            }
            if self.is("qwen2") {
                layer("attn_q.bias", &[queries], GgmlDType::F32);
                layer("attn_k.bias", &[kv], GgmlDType::F32);
                layer("attn_v.bias", &[kv], GgmlDType::F32);
            }
            if self.is("qwen3") || self.is("gemma3") {
                layer("attn_q_norm.weight", &[head], GgmlDType::F32);
                layer("attn_k_norm.weight", &[head], GgmlDType::F32);
            }
            if self.is("gemma3") {
                layer("post_attention_norm.weight", &[WIDTH], GgmlDType::F32);
                layer("post_ffw_norm.weight", &[WIDTH], GgmlDType::F32);
            }
            layer("attn_output.weight", &[WIDTH, queries], GgmlDType::Q4_1);
            layer("ffn_down.weight", &[WIDTH, INNER], GgmlDType::Q8_0);
        }
        for name in self.extra {
            add((*name).into(), &[WIDTH], GgmlDType::F32);
        }
        tensors
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (metadata, tensors) = (self.metadata(), self.tensors());
        let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut bytes = std::io::Cursor::new(Vec::new());
        gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
        bytes.into_inner()
    }

    /// Writes the file as the installed model `id`.
    pub(crate) fn install(&self, models_dir: &Path, id: &str) {
        std::fs::create_dir_all(models_dir.join(id)).unwrap();
        std::fs::write(models_dir.join(id).join("model.gguf"), self.bytes()).unwrap();
    }

    /// A checked file in `folder`.
    pub(crate) fn open(&self, folder: &Path) -> ModelFile {
        self.install(folder, "tiny");
        ModelFile::open("tiny", &folder.join("tiny/model.gguf")).unwrap()
    }
}

/// xorshift64: the same weights every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32 * 2.0 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], dtype: GgmlDType) -> QTensor {
        let count = shape.iter().product();
        // Norms stay near one, the rest keeps activations near one.
        let (centre, width) = if shape.len() == 1 {
            (1.0, 0.3)
        } else {
            (0.0, 2.0 / (shape[1] as f32).sqrt())
        };
        let numbers: Vec<f32> = (0..count).map(|_| centre + width * self.next()).collect();
        QTensor::quantize(&Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap(), dtype).unwrap()
    }
}
