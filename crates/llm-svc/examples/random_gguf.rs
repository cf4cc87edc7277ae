//! Writes a model of a real one's size with random weights: its answers are noise, its speed is a real model's.
//!
//! `cargo run --release -p llm-svc --example random_gguf -- FROM.gguf OUT.gguf [LAYERS]`: the tokenizer of FROM and the shapes
//! of Llama 3 8B in Q4_K, 4.1 GB with all 32 layers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};

type Failure = Box<dyn std::error::Error>;

const WIDTH: usize = 4096;
const INNER: usize = 14336;
const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const HEAD: usize = WIDTH / HEADS;
/// Rows that are made; what has more repeats them.
const ROWS: usize = 64;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let from = arguments.next().ok_or("from which .gguf file?")?;
    let out = arguments.next().ok_or("to which file?")?;
    let layers: usize = arguments.next().map_or(Ok(32), |n| n.parse())?;

    let content = Content::read(&mut File::open(&from)?)?;
    let words = content
        .metadata
        .get("tokenizer.ggml.tokens")
        .ok_or("it has no tokenizer")?;
    let words = words.to_vec()?.len();
    let number = |size: usize| Value::U32(size as u32);
    let mut metadata: Vec<(String, Value)> = content
        .metadata
        .into_iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .collect();
    metadata.extend(
        [
            ("general.architecture", Value::String("llama".to_owned())),
            ("llama.block_count", number(layers)),
            ("llama.context_length", number(8192)),
            ("llama.embedding_length", number(WIDTH)),
            ("llama.feed_forward_length", number(INNER)),
            ("llama.attention.head_count", number(HEADS)),
            ("llama.attention.head_count_kv", number(KV_HEADS)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.dimension_count", number(HEAD)),
            ("llama.rope.freq_base", Value::F32(500_000.0)),
            ("llama.vocab_size", number(words)),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );

    // Quantising takes its time, so some rows are made and repeated, and one matrix of each shape serves all layers: what they
    // hold does not matter.
    let matrix = |rows: usize, columns: usize, dtype| {
        let spread = 1.0 / (columns as f32).sqrt();
        let numbers = Tensor::randn(0.0_f32, spread, (ROWS, columns), &Device::Cpu)?;
        let some = QTensor::quantize(&numbers, dtype)?.data()?.into_owned();
        let mut all = some.repeat(rows.div_ceil(ROWS));
        all.truncate(some.len() / ROWS * rows);
        let storage = QStorage::from_data(all.into(), &Device::Cpu, dtype)?;
        candle_core::Result::Ok(Arc::new(QTensor::new(storage, (rows, columns))?))
    };
    let ones = Tensor::ones(WIDTH, DType::F32, &Device::Cpu)?;
    let norm = Arc::new(QTensor::quantize(&ones, GgmlDType::F32)?);
    let square = matrix(WIDTH, WIDTH, GgmlDType::Q4K)?;
    let narrow = matrix(KV_HEADS * HEAD, WIDTH, GgmlDType::Q4K)?;
    let (up, down) = (
        matrix(INNER, WIDTH, GgmlDType::Q4K)?,
        matrix(WIDTH, INNER, GgmlDType::Q4K)?,
    );
    let output = matrix(words, WIDTH, GgmlDType::Q6K)?;
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), matrix(words, WIDTH, GgmlDType::Q4K)?),
        ("output_norm.weight".to_owned(), Arc::clone(&norm)),
        ("output.weight".to_owned(), output),
    ];
    for layer in 0..layers {
        let parts = [
            ("attn_norm", &norm),
            ("attn_q", &square),
            ("attn_k", &narrow),
            ("attn_v", &narrow),
            ("attn_output", &square),
            ("ffn_norm", &norm),
            ("ffn_gate", &up),
            ("ffn_up", &up),
            ("ffn_down", &down),
        ];
        tensors.extend(parts.map(|(part, tensor)| (format!("blk.{layer}.{part}.weight"), Arc::clone(tensor))));
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.as_ref()))
        .collect();
    let mut file = BufWriter::new(File::create(&out)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    file.flush()?;
    println!("{out}: {layers} layers, {words} tokens");
    Ok(())
}
