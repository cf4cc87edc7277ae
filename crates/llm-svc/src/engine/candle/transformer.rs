//! The llama family: pre-norm blocks of grouped-query attention with rotary positions and a gated feed-forward.
//!
//! One model for `llama` (Touvron et al. 2023, <https://arxiv.org/abs/2302.13971>) and `qwen2`
//! (<https://arxiv.org/abs/2407.10671>), which differ in biases and in how GGUF pairs the numbers that rotate together.
//! Activations are f32. Keys and values of the one sequence lie in tensors as long as the context; on the processor their
//! memory is taken as it is used.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result as CandleResult, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::super::{EngineError, EngineKind, Progress};
use super::weights::{Linear, Weights};
use super::{failed, unsupported};
use crate::gguf::{Attention, Header};

/// A model with the keys and values of one sequence.
pub(super) struct Transformer {
    shape: Shape,
    rope: Rope,
    embedding: Arc<QTensor>,
    blocks: Vec<Block>,
    norm: Tensor,
    output: Linear,
    device: Device,
}

/// Sizes that every block shares.
#[derive(Debug, Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    head: usize,
    epsilon: f32,
    context: usize,
}

struct Block {
    attention_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    feed_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
    /// `[1, kv_heads, context, head]`.
    keys: Tensor,
    values: Tensor,
}

/// Rotary positions (Su et al. 2021, <https://arxiv.org/abs/2104.09864>), tabulated.
struct Rope {
    /// `[context, head / 2]`.
    cos: Tensor,
    sin: Tensor,
    /// True: number i rotates with i + head / 2. False: neighbours rotate, as GGUF stores llama's weights.
    halves: bool,
}

impl Transformer {
    /// Reads a model's weights, for sequences of `context` tokens.
    pub(super) fn load(weights: &mut Weights<'_>, context: usize, progress: &Progress) -> Result<Self, EngineError> {
        let facts = &weights.file.facts;
        let architecture = facts.architecture.as_str();
        let halves = match architecture {
            "llama" => false,
            "qwen2" => true,
            _ => {
                return Err(EngineError::Architecture {
                    engine: EngineKind::Candle,
                    architecture: architecture.to_owned(),
                    advice: "; it runs llama and qwen2: use the llama-cpp engine for this model",
                });
            }
        };
        // The header's check asks both architectures for it.
        let attention = facts.attention.ok_or_else(|| unsupported("it has no attention"))?;
        let header = weights.header();
        check_layers(header)?;
        let key = |name: &str| format!("{architecture}.{name}");
        if header.uint(&key("expert_count")).is_some_and(|experts| experts > 0) {
            return Err(unsupported(
                "it is a mixture of experts: use the llama-cpp engine for it",
            ));
        }
        let size = |name: &str| header.uint(&key(name)).and_then(|size| usize::try_from(size).ok());
        let inner = size("feed_forward_length").ok_or_else(|| unsupported("feed_forward_length is missing"))?;
        let epsilon = header.float(&key("attention.layer_norm_rms_epsilon"));
        let epsilon = epsilon.ok_or_else(|| unsupported("attention.layer_norm_rms_epsilon is missing"))? as f32;
        let shape = Shape::new(attention, epsilon, context);
        let (width, blocks) = (facts.embedding as usize, facts.blocks as usize);
        let vocabulary = facts.vocabulary as usize;
        let rope = Rope::new(weights, architecture, shape, halves)?;
        let embedding = Arc::new(weights.required("token_embd.weight", &[vocabulary, width])?);
        let norm = weights.norm("output_norm", width)?;
        let output = match weights.quantised("output.weight", &[vocabulary, width])? {
            Some(output) => Arc::new(output),
            // Small models use their embedding both ways.
            None => Arc::clone(&embedding),
        };
        let mut model = Self {
            shape,
            rope,
            embedding,
            blocks: Vec::with_capacity(blocks),
            norm,
            output: Linear::new(output, None)?,
            device: weights.device.clone(),
        };
        for index in 0..blocks {
            if !progress(index as f32 / blocks as f32) {
                return Err(EngineError::Abandoned);
            }
            model.blocks.push(Block::load(weights, index, shape, width, inner)?);
        }
        Ok(model)
    }

    pub(super) fn context_length(&self) -> usize {
        self.shape.context
    }

    /// Appends `tokens` at `position`; scores of what may follow the last one, if `scored`.
    pub(super) fn forward(&mut self, tokens: &[u32], position: usize, scored: bool) -> CandleResult<Option<Vec<f32>>> {
        let count = tokens.len();
        let mut stream = self.embedding.embedding(&Tensor::new(tokens, &self.device)?)?;
        let mask = if count > 1 {
            Some(causal_mask(count, position, &self.device)?)
        } else {
            None
        };
        let rotation = self.rope.at(position, count)?;
        for block in &mut self.blocks {
            let input = rms_norm(&stream, &block.attention_norm, self.shape.epsilon)?;
            stream = (stream + block.attend(&input, position, &rotation, mask.as_ref(), self.shape)?)?;
            let input = rms_norm(&stream, &block.feed_norm, self.shape.epsilon)?;
            let gated = (silu(&block.gate.forward(&input)?)? * block.up.forward(&input)?)?;
            stream = (stream + block.down.forward(&gated)?)?;
        }
        if !scored {
            return Ok(None);
        }
        let last = rms_norm(
            &stream.narrow(0, count - 1, 1)?.contiguous()?,
            &self.norm,
            self.shape.epsilon,
        )?;
        self.output.forward(&last)?.flatten_all()?.to_vec1().map(Some)
    }
}

impl Shape {
    fn new(attention: Attention, epsilon: f32, context: usize) -> Self {
        Self {
            heads: attention.heads as usize,
            kv_heads: attention.kv_heads as usize,
            head: attention.key_length as usize,
            epsilon,
            context,
        }
    }
}

impl Block {
    fn load(
        weights: &mut Weights<'_>,
        index: usize,
        shape: Shape,
        width: usize,
        inner: usize,
    ) -> Result<Self, EngineError> {
        let name = |layer: &str| format!("blk.{index}.{layer}");
        let (queries, kv) = (shape.heads * shape.head, shape.kv_heads * shape.head);
        let cache = |device: &Device| {
            let cache = Tensor::zeros((1, shape.kv_heads, shape.context, shape.head), DType::F32, device);
            cache.map_err(failed("making room for keys and values"))
        };
        Ok(Self {
            attention_norm: weights.norm(&name("attn_norm"), width)?,
            query: weights.linear(&name("attn_q"), width, queries)?,
            key: weights.linear(&name("attn_k"), width, kv)?,
            value: weights.linear(&name("attn_v"), width, kv)?,
            attention_output: weights.linear(&name("attn_output"), queries, width)?,
            feed_norm: weights.norm(&name("ffn_norm"), width)?,
            gate: weights.linear(&name("ffn_gate"), width, inner)?,
            up: weights.linear(&name("ffn_up"), width, inner)?,
            down: weights.linear(&name("ffn_down"), inner, width)?,
            keys: cache(&weights.device)?,
            values: cache(&weights.device)?,
        })
    }

    /// Attention of the new tokens over all tokens so far. `input` is `[tokens, width]`, so is the result.
    fn attend(
        &mut self,
        input: &Tensor,
        position: usize,
        rotation: &Rotation,
        mask: Option<&Tensor>,
        shape: Shape,
    ) -> CandleResult<Tensor> {
        let count = input.dim(0)?;
        let length = position + count;
        let Shape {
            heads, kv_heads, head, ..
        } = shape;
        let split =
            |tensor: Tensor, heads: usize| tensor.reshape((1, count, heads, head))?.transpose(1, 2)?.contiguous();
        let query = rotation.turn(&split(self.query.forward(input)?, heads)?)?;
        let key = rotation.turn(&split(self.key.forward(input)?, kv_heads)?)?;
        let value = split(self.value.forward(input)?, kv_heads)?;
        self.keys.slice_set(&key, 2, position)?;
        self.values.slice_set(&value, 2, position)?;
        let (keys, values) = (self.keys.narrow(2, 0, length)?, self.values.narrow(2, 0, length)?);
        // The query heads of a group stand one above the other, so each group is one product and no key is repeated.
        let rows = heads / kv_heads * count;
        let query = (query * (1.0 / (head as f64).sqrt()))?.reshape((1, kv_heads, rows, head))?;
        let scores = query.matmul(&keys.t()?)?;
        let weights = match mask {
            None => softmax_last_dim(&scores)?,
            Some(mask) => {
                let scores = scores.reshape((1, heads, count, length))?.broadcast_add(mask)?;
                softmax_last_dim(&scores)?.reshape((1, kv_heads, rows, length))?
            }
        };
        let mixed = weights.matmul(&values)?.reshape((1, heads, count, head))?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((count, heads * head))?;
        self.attention_output.forward(&mixed)
    }
}

/// Rotations of the tokens of one step.
struct Rotation {
    cos: Tensor,
    sin: Tensor,
    halves: bool,
}

impl Rotation {
    fn turn(&self, tensor: &Tensor) -> CandleResult<Tensor> {
        if self.halves {
            rope(tensor, &self.cos, &self.sin)
        } else {
            rope_i(tensor, &self.cos, &self.sin)
        }
    }
}

impl Rope {
    fn new(weights: &mut Weights<'_>, architecture: &str, shape: Shape, halves: bool) -> Result<Self, EngineError> {
        let header = weights.header();
        let key = |name: &str| format!("{architecture}.{name}");
        let base = header.float(&key("rope.freq_base")).unwrap_or(10_000.0);
        let stretch = match header.text(&key("rope.scaling.type")) {
            Some("none") => 1.0,
            None | Some("linear") => header
                .float(&key("rope.scaling.factor"))
                .filter(|f| *f > 0.0)
                .unwrap_or(1.0),
            Some(other) => {
                return Err(unsupported(format!(
                    "RoPE scaling `{other}`: use the llama-cpp engine for it"
                )));
            }
        };
        let pairs = shape.head / 2;
        // Llama 3.1 divides frequencies by factors of its own.
        let factors = match weights.vector("rope_freqs.weight", pairs)? {
            Some(factors) => factors.to_vec1::<f32>().map_err(failed("reading RoPE factors"))?,
            None => vec![1.0; pairs],
        };
        let frequency = |pair: usize| base.powf(-2.0 * pair as f64 / shape.head as f64) / f64::from(factors[pair]);
        let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
        let angles = (0..shape.context).flat_map(|position| {
            let position = position as f64 / stretch;
            frequencies.iter().map(move |frequency| position * frequency)
        });
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip();
        let table = |numbers| {
            Tensor::from_vec(numbers, (shape.context, pairs), &weights.device).map_err(failed("tabulating rotations"))
        };
        Ok(Self {
            cos: table(cos)?,
            sin: table(sin)?,
            halves,
        })
    }

    fn at(&self, position: usize, count: usize) -> CandleResult<Rotation> {
        let rows = |table: &Tensor| table.narrow(0, position, count);
        Ok(Rotation {
            cos: rows(&self.cos)?,
            sin: rows(&self.sin)?,
            halves: self.halves,
        })
    }
}

/// `[count, position + count]`: 0 where a token may look, −∞ at what follows it.
fn causal_mask(count: usize, position: usize, device: &Device) -> CandleResult<Tensor> {
    let length = position + count;
    let hidden = |row: usize, column: usize| {
        if column > position + row {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let mask: Vec<f32> = (0..count)
        .flat_map(|row| (0..length).map(move |column| hidden(row, column)))
        .collect();
    Tensor::from_vec(mask, (count, length), device)
}

/// Every tensor must be one that this model uses: a layer left out in silence would be another model.
fn check_layers(header: &Header) -> Result<(), EngineError> {
    const WHOLE: &[&str] = &[
        "token_embd.weight",
        "output_norm.weight",
        "output.weight",
        "rope_freqs.weight",
    ];
    const NORMS: &[&str] = &["attn_norm.weight", "ffn_norm.weight"];
    const LAYERS: &[&str] = &[
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    let known = |name: &str| {
        let Some(layer) = name
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'))
            .map(|(_, layer)| layer)
        else {
            return WHOLE.contains(&name);
        };
        NORMS.contains(&layer)
            || layer
                .rsplit_once('.')
                .is_some_and(|(layer, part)| LAYERS.contains(&layer) && matches!(part, "weight" | "bias"))
    };
    match header.tensors.iter().find(|tensor| !known(&tensor.name)) {
        Some(tensor) => Err(unsupported(format!(
            "it knows no tensor `{}`: use the llama-cpp engine for it",
            tensor.name
        ))),
        None => Ok(()),
    }
}
