//! The reranking engine on a tiny cross-encoder made here, held against the same arithmetic written out in plain Rust.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use memory_svc::config::{RerankConfig, RerankEngine};
use memory_svc::rerank::{RerankError, Reranker, candle};
use serde_json::json;
use solo_service::{CancelToken, StartupError};

const HIDDEN: usize = 8;
const INNER: usize = 12;
const HEADS: usize = 2;
const POSITIONS: usize = 64;
const WORDS: [&str; 11] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "down", "where", "is", ".",
];
const UNKNOWN: usize = 1;
const START: usize = 2;
const END: usize = 3;
const LAYER: &str = "bert.encoder.layer.0";

/// The made-up weights of a BERT with one layer, a pooler and a classifier: name, shape, values.
pub struct Model(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Model {
    pub fn made_up() -> Self {
        let mut model = Self(HashMap::new());
        let mut seed = 1;
        for (name, rows) in [("word", WORDS.len()), ("position", POSITIONS), ("token_type", 2)] {
            let name = format!("bert.embeddings.{name}_embeddings.weight");
            model.add(name, vec![rows, HIDDEN], &mut seed);
        }
        let layer = |part: &str| format!("{LAYER}.{part}");
        for (name, out, inner) in [
            (layer("attention.self.query"), HIDDEN, HIDDEN),
            (layer("attention.self.key"), HIDDEN, HIDDEN),
            (layer("attention.self.value"), HIDDEN, HIDDEN),
            (layer("attention.output.dense"), HIDDEN, HIDDEN),
            (layer("intermediate.dense"), INNER, HIDDEN),
            (layer("output.dense"), HIDDEN, INNER),
            ("bert.pooler.dense".into(), HIDDEN, HIDDEN),
            ("classifier".into(), 1, HIDDEN),
        ] {
            model.add(format!("{name}.weight"), vec![out, inner], &mut seed);
            model.add(format!("{name}.bias"), vec![out], &mut seed);
        }
        for name in ["bert.embeddings".into(), layer("attention.output"), layer("output")] {
            model.add(format!("{name}.LayerNorm.weight"), vec![HIDDEN], &mut seed);
            model.add(format!("{name}.LayerNorm.bias"), vec![HIDDEN], &mut seed);
        }
        model
    }

    fn add(&mut self, name: String, shape: Vec<usize>, seed: &mut u64) {
        let value = |_| {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let values = (0..shape.iter().product()).map(value).collect();
        self.0.insert(name, (shape, values));
    }

    /// Writes the files that are published of such a model.
    pub fn write(&self, folder: &Path) {
        let tensor = |(shape, values): &(Vec<usize>, Vec<f32>)| {
            Tensor::from_vec(values.clone(), shape.as_slice(), &Device::Cpu).unwrap()
        };
        let tensors: HashMap<&str, Tensor> = self
            .0
            .iter()
            .map(|(name, made)| (name.as_str(), tensor(made)))
            .collect();
        candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
        let config = json!({
            "architectures": ["BertForSequenceClassification"], "vocab_size": WORDS.len(), "hidden_size": HIDDEN,
            "num_hidden_layers": 1, "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "relu",
            "hidden_dropout_prob": 0.1, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
            "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
            "position_embedding_type": "absolute", "id2label": {"0": "LABEL_0"}, "model_type": "bert"
        });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let tokenizer = crate::engine::tokenizer(&WORDS).to_string();
        std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    }

    /// The score of one pair, straight from the published architecture (Devlin et al., 2019), with nothing to pad.
    fn score(&self, tokens: &[usize], types: &[usize]) -> f64 {
        let embed = |(position, (token, kind)): (usize, (&usize, &usize))| {
            let parts = [("word", *token), ("position", position), ("token_type", *kind)];
            let [word, place, kind] =
                parts.map(|(name, row)| self.row(&format!("bert.embeddings.{name}_embeddings.weight"), row));
            self.norm("bert.embeddings", &add(&add(&word, &place), &kind))
        };
        let embedded: Vec<Vec<f64>> = tokens.iter().zip(types).enumerate().map(embed).collect();
        let [queries, keys, values] = ["query", "key", "value"].map(|part| -> Vec<Vec<f64>> {
            let name = format!("{LAYER}.attention.self.{part}");
            embedded.iter().map(|x| self.dense(&name, x)).collect()
        });
        let size = HIDDEN / HEADS;
        // Only the first token is pooled, and there is only one layer.
        let attended: Vec<f64> = (0..HIDDEN)
            .map(|column| {
                let head = column / size * size..column / size * size + size;
                let near = |key: &Vec<f64>| dot(&queries[0][head.clone()], &key[head.clone()]) / (size as f64).sqrt();
                let weights: Vec<f64> = keys.iter().map(|key| near(key).exp()).collect();
                let sum: f64 = weights.iter().sum();
                weights
                    .iter()
                    .zip(&values)
                    .map(|(weight, value)| weight / sum * value[column])
                    .sum()
            })
            .collect();
        let attended = self.dense(&format!("{LAYER}.attention.output.dense"), &attended);
        let first = self.norm(&format!("{LAYER}.attention.output"), &add(&embedded[0], &attended));
        let inner = self.dense(&format!("{LAYER}.intermediate.dense"), &first);
        let inner: Vec<f64> = inner.into_iter().map(|x| x.max(0.0)).collect();
        let output = self.dense(&format!("{LAYER}.output.dense"), &inner);
        let first = self.norm(&format!("{LAYER}.output"), &add(&first, &output));
        let pooled: Vec<f64> = self
            .dense("bert.pooler.dense", &first)
            .into_iter()
            .map(f64::tanh)
            .collect();
        1.0 / (1.0 + (-self.dense("classifier", &pooled)[0]).exp())
    }

    fn row(&self, name: &str, row: usize) -> Vec<f64> {
        let (shape, values) = &self.0[name];
        let row = row * shape[1]..(row + 1) * shape[1];
        values[row].iter().map(|x| f64::from(*x)).collect()
    }

    fn vector(&self, name: &str) -> Vec<f64> {
        self.0[name].1.iter().map(|x| f64::from(*x)).collect()
    }

    fn dense(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let bias = self.vector(&format!("{name}.bias"));
        let weights = format!("{name}.weight");
        let out = |(row, bias): (usize, &f64)| dot(&self.row(&weights, row), x) + bias;
        bias.iter().enumerate().map(out).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let weights = self.vector(&format!("{name}.LayerNorm.weight"));
        let bias = self.vector(&format!("{name}.LayerNorm.bias"));
        let normed = x.iter().map(|x| (x - mean) / (variance + 1e-12).sqrt());
        normed
            .zip(weights)
            .zip(bias)
            .map(|((x, weight), bias)| x * weight + bias)
            .collect()
    }
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What the model must say of a pair of texts: words with blanks between them.
fn expected(model: &Model, query: &str, text: &str) -> f64 {
    let ids = |text: &str| -> Vec<usize> {
        let id = |word: &str| WORDS.iter().position(|known| *known == word).unwrap_or(UNKNOWN);
        text.split_whitespace().map(id).collect()
    };
    let (query, text) = (ids(query), ids(text));
    let types = [vec![0; query.len() + 2], vec![1; text.len() + 1]].concat();
    let tokens = [vec![START], query, vec![END], text, vec![END]].concat();
    model.score(&tokens, &types)
}

fn load(folder: &Path, max_tokens: usize) -> Result<Box<dyn Reranker>, StartupError> {
    let config = RerankConfig {
        engine: RerankEngine::Candle,
        model: "tiny".into(),
        candidates: 20,
        max_tokens,
    };
    (candle::loader(folder, &config, 2)?.load)()
}

fn loaded(model: &Model, max_tokens: usize) -> Box<dyn Reranker> {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    load(folder.path(), max_tokens).unwrap()
}

fn score(reranker: &mut Box<dyn Reranker>, query: &str, texts: &[&str]) -> Vec<f32> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    reranker.score(query, &texts, &CancelToken::new()).unwrap()
}

#[track_caller]
fn assert_near(found: f32, expected: f64, what: &str) {
    assert!((f64::from(found) - expected).abs() < 1e-5, "{what}: {found} {expected}");
}

#[test]
fn scores_are_those_of_the_architecture_whatever_stands_beside_a_text() {
    let model = Model::made_up();
    let mut reranker = loaded(&model, 64);
    let query = "where is the cat";
    // More than a batch, of many lengths.
    let texts = [
        "the cat sat down .",
        "",
        "cat",
        "sat sat sat sat sat sat sat sat sat",
        "where is the cat",
        "a dog barked .",
        "down",
        "the cat is down where the cat sat . the cat is down where the cat sat .",
        "the cat",
        "is . is",
        "down sat cat the",
    ];
    let together = score(&mut reranker, query, &texts);
    assert_eq!(together.len(), texts.len());
    for (text, found) in texts.iter().zip(&together) {
        assert_near(*found, expected(&model, query, text), text);
        let alone = score(&mut reranker, query, &[text])[0];
        assert!((alone - found).abs() < 1e-5, "{text}: {alone} {found}");
    }
    let (least, most) = together.iter().fold((1.0_f32, 0.0_f32), |(least, most), score| {
        (least.min(*score), most.max(*score))
    });
    assert!(most - least > 0.03, "the texts are told apart: {together:?}");
    let swapped = score(&mut reranker, "the cat", &[query])[0];
    assert_near(swapped, expected(&model, "the cat", query), "swapped");
    assert!((swapped - together[8]).abs() > 1e-3, "which is the question counts");
    assert!(score(&mut reranker, query, &[]).is_empty());
}

#[test]
fn a_text_gives_way_to_the_query_and_a_query_keeps_half() {
    let model = Model::made_up();
    // Three special ones: ten are left.
    let mut reranker = loaded(&model, 13);
    let text = "cat sat down the cat sat down . is where the cat";
    let cut = score(&mut reranker, "the cat is", &[text])[0];
    assert_near(
        cut,
        expected(&model, "the cat is", "cat sat down the cat sat down"),
        "text",
    );
    let long = "where is the cat the cat is down down down down down";
    let both = score(&mut reranker, long, &[text, "cat"]);
    assert_near(
        both[0],
        expected(&model, "where is the cat the", "cat sat down the cat"),
        "both",
    );
    assert_near(both[1], expected(&model, "where is the cat the", "cat"), "query");
}

#[test]
fn special_tokens_in_a_text_are_text() {
    let model = Model::made_up();
    let mut reranker = loaded(&model, 64);
    let found = score(&mut reranker, "the cat", &["[SEP] sat"])[0];
    // A bracket, a word and a bracket that it does not know.
    assert_near(found, expected(&model, "the cat", "[ sep ] sat"), "[SEP]");
}

#[test]
fn a_cancelled_job_ends() {
    let mut reranker = loaded(&Model::made_up(), 64);
    let cancel = CancelToken::new();
    cancel.cancel();
    let found = reranker.score("the cat", &["sat".into()], &cancel);
    assert!(matches!(found, Err(RerankError::Cancelled)), "{found:?}");
}

#[test]
fn what_cannot_rerank_is_refused_with_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |part: &str| {
        let error = load(folder.path(), 64).err().expect("it is refused");
        let message = error.to_string();
        assert_eq!(error.exit_code(), 66, "{message}");
        for part in [part, "\"tiny\"", "cross-encoder"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    };
    refused("model.safetensors: there is no such file");
    let mut model = Model::made_up();
    model.write(folder.path());
    let longer = load(folder.path(), POSITIONS + 1).err().expect("it is refused");
    assert_eq!(longer.exit_code(), 64);
    assert!(longer.to_string().contains("memory.rerank.max_tokens"), "{longer}");
    // An encoder alone, as of embeddings; two labels; another architecture.
    let classifier = model.0.remove("classifier.weight").unwrap();
    model.write(folder.path());
    refused("classifier.weight");
    model
        .0
        .insert("classifier.weight".into(), (vec![2, HIDDEN], classifier.1.repeat(2)));
    model.write(folder.path());
    refused("shape mismatch for classifier.weight");
    let config = folder.path().join("config.json");
    let other = std::fs::read_to_string(&config)
        .unwrap()
        .replace("\"model_type\":\"bert\"", "\"model_type\":\"xlm-roberta\"");
    std::fs::write(&config, other).unwrap();
    refused("it is of type \"xlm-roberta\"");
}
