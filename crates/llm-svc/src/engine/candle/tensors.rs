//! The llama family on candle's tensors: for CUDA, and as a second opinion on the processor in tests.
//!
//! Products run over the tokens of all runs at once. Attention runs sequence by sequence over the blocks that its table
//! names, gathered into one tensor. Activations are f32, keys and values f16 or f32. Which kernel candle takes for a
//! product depends on the number of rows, so scores here are not the same to the last bit in every batch.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result as CandleResult, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::kernels::activation::Curve;
use super::kv::{CopyBlock, Tables};
use super::spec::Spec;
use super::weights::Weights;
use super::{EngineError, Model, failed, unsupported};
use crate::engine::{BLOCK, Logits, Progress, Run};

/// A model on a device, with the keys and values of all sequences.
pub(super) struct Tensors {
    spec: Spec,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Linear,
    device: Device,
    kept: DType,
}

struct Layer {
    attention_norm: Tensor,
    mix: Vec<Linear>,
    query_norm: Option<Tensor>,
    key_norm: Option<Tensor>,
    attention_output: Linear,
    attention_post_norm: Option<Tensor>,
    feed_norm: Tensor,
    gates: Vec<Linear>,
    down: Linear,
    feed_post_norm: Option<Tensor>,
    /// `[blocks × BLOCK, kv_heads, head]`.
    keys: Tensor,
    values: Tensor,
}

/// A linear layer over quantised weights.
struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// `[tokens, inputs]` to `[tokens, outputs]`.
    fn forward(&self, input: &Tensor) -> CandleResult<Tensor> {
        let output = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// Rotations of the tokens of one step, `[tokens, pairs]`.
struct Angles {
    cos: Tensor,
    sin: Tensor,
}

/// What attention needs to know of a run.
struct Seen {
    /// Its first row in the step.
    first: usize,
    rows: usize,
    /// Where its sequence's tokens lie.
    places: Tensor,
    /// `[rows, tokens]`: 0 where a token may look, −∞ elsewhere; of layers that see everything, and of those that do not.
    masks: [Option<Tensor>; 2],
}

impl Tensors {
    /// Takes a model's weights to a device, with room for `blocks` blocks of keys and values.
    pub(super) fn load(
        weights: &Weights<'_>,
        spec: Spec,
        blocks: usize,
        kept: DType,
        device: Device,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let loader = Loader { weights, device };
        let embedding = weights.required("token_embd.weight", spec.vocabulary, spec.width)?;
        let embedding = embedding.tensor(0, spec.vocabulary, &loader.device);
        let embedding = Arc::new(embedding.map_err(failed("reading a tensor"))?);
        let output = match weights.matrix("output.weight", spec.vocabulary, spec.width)? {
            Some(_) => loader.linear("output", spec.width, spec.vocabulary)?,
            // Small models use their embedding both ways.
            None => Linear {
                weight: QMatMul::from_arc(Arc::clone(&embedding)).map_err(failed("preparing a layer"))?,
                bias: None,
            },
        };
        let mut layers = Vec::with_capacity(spec.layers);
        for index in 0..spec.layers {
            if !progress(index as f32 / spec.layers as f32) {
                return Err(EngineError::Abandoned);
            }
            layers.push(loader.layer(index, &spec, blocks, kept)?);
        }
        Ok(Self {
            embedding,
            layers,
            norm: loader.norm("output_norm", spec.width)?,
            output,
            device: loader.device,
            kept,
            spec,
        })
    }

    /// The scores of scored runs, `[scored, vocabulary]`.
    fn forward(&mut self, tables: &Tables, runs: &[Run<'_>]) -> CandleResult<Option<Tensor>> {
        let tokens: Vec<u32> = runs.iter().flat_map(|run| run.tokens).copied().collect();
        let mut stream = self
            .embedding
            .embedding(&Tensor::new(tokens.as_slice(), &self.device)?)?;
        if self.spec.embedding_scale != 1.0 {
            stream = (stream * f64::from(self.spec.embedding_scale))?;
        }
        let angles = self.angles(runs)?;
        let seen = self.seen(tables, runs)?;
        let epsilon = self.spec.epsilon;
        let normed = |tensor: Tensor, norm: &Option<Tensor>| match norm {
            Some(norm) => rms_norm(&tensor, norm, epsilon),
            None => Ok(tensor),
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let local = usize::from(self.spec.local(index));
            let input = rms_norm(&stream, &layer.attention_norm, epsilon)?;
            let attended = layer.attend(&input, &self.spec, angles[local].as_ref(), &seen, local, self.kept)?;
            stream = (stream + normed(attended, &layer.attention_post_norm)?)?;
            let input = rms_norm(&stream, &layer.feed_norm, epsilon)?;
            stream = (stream + normed(layer.feed(&input, &self.spec)?, &layer.feed_post_norm)?)?;
        }
        let mut last = Vec::new();
        let mut end = 0;
        for run in runs {
            end += run.tokens.len();
            if run.scored {
                last.push(end as u32 - 1);
            }
        }
        if last.is_empty() {
            return Ok(None);
        }
        let last = stream.index_select(&Tensor::new(last, &self.device)?, 0)?;
        self.output.forward(&rms_norm(&last, &self.norm, epsilon)?).map(Some)
    }

    fn angles(&self, runs: &[Run<'_>]) -> CandleResult<[Option<Angles>; 2]> {
        let table = |rope: &super::rope::Rope| {
            let (mut cos, mut sin) = (Vec::new(), Vec::new());
            for run in runs {
                (run.position..run.position + run.tokens.len()).for_each(|place| rope.at(place, &mut cos, &mut sin));
            }
            let shape = (cos.len() / rope.pairs(), rope.pairs());
            CandleResult::Ok(Angles {
                cos: Tensor::from_vec(cos, shape, &self.device)?,
                sin: Tensor::from_vec(sin, shape, &self.device)?,
            })
        };
        let window = self
            .spec
            .window
            .as_ref()
            .map(|window| table(&window.rope))
            .transpose()?;
        Ok([Some(table(&self.spec.rope)?), window])
    }

    fn seen(&self, tables: &Tables, runs: &[Run<'_>]) -> CandleResult<Vec<Seen>> {
        let mut first = 0;
        let mut seen = Vec::with_capacity(runs.len());
        for run in runs {
            let (rows, length) = (run.tokens.len(), run.position + run.tokens.len());
            let blocks = tables.of(run.slot.0);
            let place = |token: usize| blocks[token / BLOCK] * BLOCK as u32 + (token % BLOCK) as u32;
            let places: Vec<u32> = (0..length).map(place).collect();
            let window = self.spec.window.as_ref().map(|window| window.tokens);
            let mask = |window: Option<usize>| {
                if rows == 1 && window.is_none_or(|window| window >= length) {
                    return Ok(None);
                }
                let hidden = |row: usize, token: usize| {
                    let position = run.position + row;
                    let visible = token <= position && window.is_none_or(|window| token + window > position);
                    if visible { 0.0 } else { f32::NEG_INFINITY }
                };
                let numbers = (0..rows).flat_map(|row| (0..length).map(move |token| hidden(row, token)));
                Tensor::from_vec(numbers.collect(), (rows, length), &self.device).map(Some)
            };
            seen.push(Seen {
                first,
                rows,
                places: Tensor::new(places, &self.device)?,
                masks: [
                    mask(None)?,
                    window.map(|window| mask(Some(window))).transpose()?.flatten(),
                ],
            });
            first += rows;
        }
        Ok(seen)
    }
}

impl Model for Tensors {
    fn take(&mut self, _: u32) {
        // All blocks are there from the start.
    }

    fn copy(&mut self, copy: CopyBlock) -> Result<(), EngineError> {
        let (from, to) = (copy.from as usize * BLOCK, copy.to as usize * BLOCK);
        let tensors = self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values]);
        for tensor in tensors {
            let block = tensor.narrow(0, from, BLOCK).and_then(|block| block.copy());
            let copied = block.and_then(|block| tensor.slice_set(&block, 0, to));
            copied.map_err(failed("copying keys and values"))?;
        }
        Ok(())
    }

    fn step(&mut self, tables: &Tables, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError> {
        let known = |&token: &u32| (token as usize) < self.spec.vocabulary;
        if let Some(token) = runs.iter().flat_map(|run| run.tokens).find(|token| !known(token)) {
            return Err(unsupported(format!("there is no token {token}")));
        }
        let scores = self.forward(tables, runs).map_err(failed("computing a batch"))?;
        if let Some(scores) = scores {
            let rows = scores.to_vec2::<f32>().map_err(failed("reading scores"))?;
            rows.iter().for_each(|row| logits.push(row));
        }
        Ok(())
    }
}

impl Layer {
    /// Attention of the new tokens over all tokens of their sequences. `input` is `[tokens, width]`, so is the result.
    fn attend(
        &self,
        input: &Tensor,
        spec: &Spec,
        angles: Option<&Angles>,
        seen: &[Seen],
        local: usize,
        kept: DType,
    ) -> CandleResult<Tensor> {
        let (heads, kv_heads, head) = (spec.heads, spec.kv_heads, spec.head);
        let count = input.dim(0)?;
        let mixed = self
            .mix
            .iter()
            .map(|linear| linear.forward(input))
            .collect::<CandleResult<Vec<_>>>()?;
        let mixed = Tensor::cat(&mixed, 1)?;
        let part = |from: usize, heads: usize| mixed.narrow(1, from, heads * head)?.reshape((count, heads, head));
        let turned = |tensor: Tensor, norm: &Option<Tensor>| {
            let tensor = match norm {
                Some(norm) => rms_norm(&tensor.contiguous()?, norm, spec.epsilon)?,
                None => tensor,
            };
            let tensor = tensor.unsqueeze(0)?.transpose(1, 2)?.contiguous()?;
            turn(&tensor, angles, spec.halves)?.squeeze(0)
        };
        // `[heads, tokens, head]`, and for keys and values `[tokens, kv_heads, head]`.
        let query = (turned(part(0, heads)?, &self.query_norm)? * f64::from(spec.attention_scale))?;
        let key = turned(part(heads * head, kv_heads)?, &self.key_norm)?.transpose(0, 1)?;
        let key = key.contiguous()?.to_dtype(kept)?;
        let value = part((heads + kv_heads) * head, kv_heads)?
            .contiguous()?
            .to_dtype(kept)?;
        let mut results = Vec::with_capacity(seen.len());
        for run in seen {
            self.keep(run, &key, &value)?;
            let all = |tensor: &Tensor| {
                let gathered = tensor.index_select(&run.places, 0)?.to_dtype(DType::F32)?;
                gathered.transpose(0, 1)?.contiguous()
            };
            let (keys, values) = (all(&self.keys)?, all(&self.values)?);
            let (rows, length) = (run.rows, keys.dim(1)?);
            // The query heads of a group stand one above the other, so each group is one product and no key is repeated.
            let stacked = heads / kv_heads * rows;
            let query = query
                .narrow(1, run.first, rows)?
                .contiguous()?
                .reshape((kv_heads, stacked, head))?;
            let mut scores = query.matmul(&keys.t()?)?;
            if let Some(mask) = &run.masks[local] {
                let masked = scores.reshape((heads, rows, length))?.broadcast_add(mask)?;
                scores = masked.reshape((kv_heads, stacked, length))?;
            }
            let mixed = softmax_last_dim(&scores)?
                .matmul(&values)?
                .reshape((heads, rows, head))?;
            results.push(mixed.transpose(0, 1)?.contiguous()?.reshape((rows, heads * head))?);
        }
        self.attention_output.forward(&Tensor::cat(&results, 0)?)
    }

    /// Writes a run's keys and values where its sequence keeps them.
    fn keep(&self, run: &Seen, key: &Tensor, value: &Tensor) -> CandleResult<()> {
        let length = run.places.dim(0)?;
        let places = run.places.narrow(0, length - run.rows, run.rows)?.to_vec1::<u32>()?;
        let mut row = 0;
        while row < run.rows {
            // Neighbours in a block are written at once.
            let start = places[row] as usize;
            let together = (BLOCK - start % BLOCK).min(run.rows - row);
            for (kept, new) in [(&self.keys, key), (&self.values, value)] {
                kept.slice_set(&new.narrow(0, run.first + row, together)?, 0, start)?;
            }
            row += together;
        }
        Ok(())
    }

    fn feed(&self, input: &Tensor, spec: &Spec) -> CandleResult<Tensor> {
        let gates = self
            .gates
            .iter()
            .map(|linear| linear.forward(input))
            .collect::<CandleResult<Vec<_>>>()?;
        let gates = Tensor::cat(&gates, 1)?;
        let part = |from: usize| gates.narrow(1, from, spec.inner)?.contiguous();
        let gate = match spec.curve {
            Curve::Silu => silu(&part(0)?)?,
            Curve::Gelu => part(0)?.gelu()?,
        };
        self.down.forward(&(gate * part(spec.inner)?)?)
    }
}

/// Rotates `[1, heads, tokens, head]`; numbers beyond the rotated ones stay.
fn turn(tensor: &Tensor, angles: Option<&Angles>, halves: bool) -> CandleResult<Tensor> {
    let Some(Angles { cos, sin }) = angles else {
        return Ok(tensor.clone());
    };
    let (head, rotated) = (tensor.dim(3)?, 2 * cos.dim(1)?);
    let rotate = |tensor: &Tensor| {
        if halves {
            rope(tensor, cos, sin)
        } else {
            rope_i(tensor, cos, sin)
        }
    };
    if rotated == head {
        return rotate(tensor);
    }
    let turned = rotate(&tensor.narrow(3, 0, rotated)?.contiguous()?)?;
    Tensor::cat(&[&turned, &tensor.narrow(3, rotated, head - rotated)?], 3)?.contiguous()
}

/// Takes tensors to a device.
struct Loader<'a> {
    weights: &'a Weights<'a>,
    device: Device,
}

impl Loader<'_> {
    fn vector(&self, numbers: Vec<f32>) -> Result<Tensor, EngineError> {
        Tensor::new(numbers, &self.device).map_err(failed("reading a tensor"))
    }

    fn norm(&self, name: &str, width: usize) -> Result<Tensor, EngineError> {
        self.vector(self.weights.norm(name, width)?)
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, EngineError> {
        let stored = self.weights.required(&format!("{name}.weight"), outputs, inputs)?;
        let weight = stored
            .tensor(0, outputs, &self.device)
            .map_err(failed("reading a tensor"))?;
        let weight = QMatMul::from_arc(Arc::new(weight)).map_err(failed("preparing a layer"))?;
        let bias = self.weights.vector(&format!("{name}.bias"), outputs)?;
        let bias = bias.map(|bias| self.vector(bias)).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn layer(&self, index: usize, spec: &Spec, blocks: usize, kept: DType) -> Result<Layer, EngineError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (width, inner, head) = (spec.width, spec.inner, spec.head);
        let (queries, kv) = (spec.heads * head, spec.kv_heads * head);
        let norm = |part: &str, width, wanted: bool| wanted.then(|| self.norm(&name(part), width)).transpose();
        let linear = |part: &str, inputs, outputs| self.linear(&name(part), inputs, outputs);
        let room = || {
            let room = Tensor::zeros((blocks * BLOCK, spec.kv_heads, head), kept, &self.device);
            room.map_err(failed("making room for keys and values"))
        };
        let (mix, gates) = if spec.fused {
            (
                vec![linear("attn_qkv", width, queries + 2 * kv)?],
                vec![linear("ffn_up", width, 2 * inner)?],
            )
        } else {
            (
                vec![
                    linear("attn_q", width, queries)?,
                    linear("attn_k", width, kv)?,
                    linear("attn_v", width, kv)?,
                ],
                vec![linear("ffn_gate", width, inner)?, linear("ffn_up", width, inner)?],
            )
        };
        Ok(Layer {
            attention_norm: self.norm(&name("attn_norm"), width)?,
            mix,
            query_norm: norm("attn_q_norm", head, spec.head_norms)?,
            key_norm: norm("attn_k_norm", head, spec.head_norms)?,
            attention_output: linear("attn_output", queries, width)?,
            attention_post_norm: norm("post_attention_norm", width, spec.post_norms)?,
            feed_norm: self.norm(&name("ffn_norm"), width)?,
            gates,
            down: linear("ffn_down", inner, width)?,
            feed_post_norm: norm("post_ffw_norm", width, spec.post_norms)?,
            keys: room()?,
            values: room()?,
        })
    }
}
