//! The candle engine on a tiny BERT made here: no weights to fetch, and still the real arithmetic.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use memory_svc::config::{EmbeddingConfig, EngineKind, Precision};
use memory_svc::embedding::device::DeviceSetting;
use memory_svc::embedding::{Embedder, Loader, candle};
use serde_json::json;
use solo_service::{CancelToken, StartupError};

const HIDDEN: usize = 16;
const WORDS: [&str; 10] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "down", "##s", ".",
];

/// Writes a model with two layers and made-up weights, in the files of an installed one.
pub fn write_tiny_model(folder: &Path) {
    let mut seed = 1_u64;
    let mut tensor = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (seed >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
            })
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let mut tensors = HashMap::new();
    let norm = |tensors: &mut HashMap<String, Tensor>, name: &str| {
        tensors.insert(
            format!("{name}.weight"),
            Tensor::ones(HIDDEN, candle_core::DType::F32, &Device::Cpu).unwrap(),
        );
        tensors.insert(
            format!("{name}.bias"),
            Tensor::zeros(HIDDEN, candle_core::DType::F32, &Device::Cpu).unwrap(),
        );
    };
    for (name, rows) in [("word", WORDS.len()), ("position", 512), ("token_type", 2)] {
        tensors.insert(format!("embeddings.{name}_embeddings.weight"), tensor(&[rows, HIDDEN]));
    }
    norm(&mut tensors, "embeddings.LayerNorm");
    for layer in 0..2 {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, out, inner) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", 32, HIDDEN),
            ("output.dense", HIDDEN, 32),
        ] {
            tensors.insert(name(&format!("{part}.weight")), tensor(&[out, inner]));
            tensors.insert(name(&format!("{part}.bias")), tensor(&[out]));
        }
        norm(&mut tensors, &name("attention.output.LayerNorm"));
        norm(&mut tensors, &name("output.LayerNorm"));
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    let config = json!({
        "vocab_size": WORDS.len(), "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "position_embedding_type": "absolute", "use_cache": true, "model_type": "bert"
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer(&WORDS).to_string()).unwrap();
}

/// A tokenizer file of these words, of which the first four are special.
pub fn tokenizer(words: &[&str]) -> serde_json::Value {
    let vocabulary: HashMap<&str, usize> = words.iter().enumerate().map(|(id, word)| (*word, id)).collect();
    let special = |word: &str| json!({"id": word, "ids": [vocabulary[word]], "tokens": [word]});
    let added: Vec<_> = words[..4]
        .iter()
        .enumerate()
        .map(|(id, word)| {
            json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let put = |word: &str, type_id: u32| json!({"SpecialToken": {"id": word, "type_id": type_id}});
    let text = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    let single = json!([put("[CLS]", 0), text("A", 0), put("[SEP]", 0)]);
    let pair = json!([
        put("[CLS]", 0),
        text("A", 0),
        put("[SEP]", 0),
        text("B", 1),
        put("[SEP]", 1)
    ]);
    // Padding and truncation as some published files have them: the engine must not obey.
    json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair,
                           "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    })
}

/// The engine on the processor, in f32.
pub fn configured(max_tokens: usize) -> EmbeddingConfig {
    EmbeddingConfig {
        engine: EngineKind::Candle,
        device: DeviceSetting::Cpu,
        precision: Precision::F32,
        model: "minilm-l6-v2".into(),
        weights: "minilm-l6-v2-int8".into(),
        max_tokens,
        batch: 0,
    }
}

fn tiny(max_tokens: usize) -> Loader {
    tiny_with(&configured(max_tokens)).unwrap()
}

/// The tiny model on whatever is configured.
pub fn tiny_with(config: &EmbeddingConfig) -> Result<Loader, StartupError> {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("minilm-l6-v2");
    std::fs::create_dir(&model).unwrap();
    write_tiny_model(&model);
    let mut loader = candle::loader(folder.path(), config, 1)?;
    // The folder must outlive the loading.
    let load = loader.load;
    loader.load = Box::new(move || {
        let loaded = load();
        drop(folder);
        loaded
    });
    Ok(loader)
}

pub fn embed(embedder: &mut Box<dyn Embedder>, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    embedder.embed(&texts, &CancelToken::new()).unwrap()
}

pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn vectors_have_length_one_and_do_not_depend_on_the_batch() {
    let loader = tiny(64);
    assert_eq!(loader.identity.dimension, HIDDEN);
    let mut embedder = (loader.load)().unwrap();
    let texts = ["the cat", "the cat sat down . the cats sat down .", "cat"];
    let together = embed(&mut embedder, &texts);
    for (text, vector) in texts.iter().zip(&together) {
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        let alone = embed(&mut embedder, &[text]).remove(0);
        assert!(
            distance(&alone, vector) < 1e-5,
            "padding must not change a vector: {text}"
        );
    }
    assert!(distance(&together[0], &together[2]) > 1e-3);
    assert_eq!(
        embed(&mut embedder, &texts),
        together,
        "the same texts give the same vectors"
    );
}

#[test]
fn text_beyond_the_limit_does_not_count() {
    let mut embedder = (tiny(66).load)().unwrap();
    let long = "the cat ".repeat(40);
    let vectors = embed(&mut embedder, &[&"the cat ".repeat(32), &long, &"the cat ".repeat(31)]);
    assert!(distance(&vectors[0], &vectors[1]) < 1e-6);
    assert!(distance(&vectors[0], &vectors[2]) > 1e-6);
}

#[test]
fn tokens_are_counted_over_the_whole_text_and_special_ones_are_text() {
    let loader = tiny(66);
    assert_eq!(loader.counter.count("The cats sat."), 5);
    assert_eq!(loader.counter.count(&"the cat ".repeat(500)), 1000);
    assert_eq!(loader.counter.count(""), 0);
    assert!(loader.counter.count("[SEP]") > 1);
}

#[test]
fn a_cancelled_job_ends() {
    let mut embedder = (tiny(64).load)().unwrap();
    let cancel = CancelToken::new();
    cancel.cancel();
    assert!(embedder.embed(&["the cat".into()], &cancel).is_err());
}
