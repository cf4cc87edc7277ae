//! A Hugging Face folder with random weights, and what candle-transformers makes of it.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, qwen2};
use serde_json::{Value, json};

use super::TOKENS;
use crate::tiny::{TEMPLATE, vocabulary};

const WIDTH: usize = 256;
const INNER: usize = 512;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const BLOCKS: usize = 2;

/// A Hugging Face folder with random weights.
pub(super) struct Folder {
    folder: tempfile::TempDir,
    architecture: &'static str,
    pub(super) tensors: HashMap<String, Tensor>,
}

impl Folder {
    pub(super) fn new(architecture: &'static str, tied: bool, dtype: DType) -> Self {
        let mut tensors = HashMap::new();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut add = |name: String, shape: &[usize]| {
            let spread = if shape.len() == 1 {
                0.2
            } else {
                2.0 / (shape[1] as f32).sqrt()
            };
            let centre = if name.contains("norm") { 1.0 } else { 0.0 };
            // xorshift64: the same weights every time.
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 40) as f32 / (1_u64 << 24) as f32 * 2.0 - 1.0
            };
            let count: usize = shape.iter().product();
            let numbers: Vec<f32> = (0..count).map(|_| centre + spread * next()).collect();
            let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
            tensors.insert(name, tensor.to_dtype(dtype).unwrap());
        };
        let words = vocabulary().len();
        add("model.embed_tokens.weight".into(), &[words, WIDTH]);
        add("model.norm.weight".into(), &[WIDTH]);
        if !tied {
            add("lm_head.weight".into(), &[words, WIDTH]);
        }
        let kv = WIDTH / HEADS * KV_HEADS;
        for block in 0..BLOCKS {
            let mut layer = |name: &str, shape: &[usize]| add(format!("model.layers.{block}.{name}"), shape);
            for (name, rows) in [("q", WIDTH), ("k", kv), ("v", kv)] {
                layer(&format!("self_attn.{name}_proj.weight"), &[rows, WIDTH]);
                if architecture == "Qwen2ForCausalLM" {
                    layer(&format!("self_attn.{name}_proj.bias"), &[rows]);
                }
            }
            layer("self_attn.o_proj.weight", &[WIDTH, WIDTH]);
            layer("mlp.gate_proj.weight", &[INNER, WIDTH]);
            layer("mlp.up_proj.weight", &[INNER, WIDTH]);
            layer("mlp.down_proj.weight", &[WIDTH, INNER]);
            layer("input_layernorm.weight", &[WIDTH]);
            layer("post_attention_layernorm.weight", &[WIDTH]);
        }
        let folder = Self {
            folder: tempfile::tempdir().unwrap(),
            architecture,
            tensors,
        };
        folder.write("config.json", &folder.config(tied));
        folder.write("tokenizer.json", &tokenizer());
        let settings = json!({
            "bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "add_bos_token": false,
            "chat_template": TEMPLATE,
        });
        folder.write("tokenizer_config.json", &settings);
        let name = folder.path().join("model.safetensors");
        candle_core::safetensors::save(&folder.tensors, name).unwrap();
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path().join(name), value.to_string()).unwrap();
    }

    pub(super) fn config(&self, tied: bool) -> Value {
        json!({
            "architectures": [self.architecture], "hidden_size": WIDTH, "intermediate_size": INNER,
            "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
            "vocab_size": vocabulary().len(), "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0, "tie_word_embeddings": tied,
        })
    }

    /// candle-transformers' scores, straight from these weights, in 32 bits.
    pub(super) fn reference(&self, tied: bool) -> Vec<f32> {
        let tensors = self.tensors.iter();
        let tensors = tensors
            .map(|(name, tensor)| (name.clone(), tensor.to_dtype(DType::F32).unwrap()))
            .collect();
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let tokens = Tensor::new(&TOKENS, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let scores = if self.architecture == "LlamaForCausalLM" {
            let config = llama::Config {
                hidden_size: WIDTH,
                intermediate_size: INNER,
                vocab_size: vocabulary().len(),
                num_hidden_layers: BLOCKS,
                num_attention_heads: HEADS,
                num_key_value_heads: KV_HEADS,
                use_flash_attn: false,
                rms_norm_eps: 1e-5,
                rope_theta: 10_000.0,
                bos_token_id: None,
                eos_token_id: None,
                rope_scaling: None,
                max_position_embeddings: 512,
                tie_word_embeddings: tied,
            };
            let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
            llama::Llama::load(weights, &config)
                .unwrap()
                .forward(&tokens, 0, &mut cache)
                .unwrap()
        } else {
            let mut config = self.config(tied);
            let more = json!({
                "sliding_window": 512, "max_window_layers": 0, "use_sliding_window": false, "hidden_act": "silu",
            });
            config
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let config: qwen2::Config = serde_json::from_value(config).unwrap();
            qwen2::ModelForCausalLM::new(&config, weights)
                .unwrap()
                .forward(&tokens, 0)
                .unwrap()
        };
        scores.flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// SmolLM2's kind of tokenizer, over the vocabulary of tiny models.
pub(super) fn tokenizer() -> Value {
    let words = vocabulary();
    let special = words.len() - 4;
    let vocab: serde_json::Map<String, Value> = words[..special]
        .iter()
        .enumerate()
        .map(|(number, word)| (word.clone(), json!(number)))
        .collect();
    let added: Vec<Value> = (special..words.len())
        .map(|number| json!({"id": number, "content": words[number], "special": words[number] != "<tool_call>"}))
        .collect();
    json!({
        "model": {"type": "BPE", "vocab": vocab, "merges": ["h e", ["l", "l"], "he ll"]},
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        ]},
    })
}
