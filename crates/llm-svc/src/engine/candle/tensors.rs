//! The llama family on candle's tensors: for CUDA, and as a second opinion on the processor in tests.
//!
//! Products run over the tokens of all runs at once. Attention ([`layer`]) runs over groups of sequences ([`groups`]): those
//! that append one token each and are about as long are one group, every other run is one of its own. Activations are f32,
//! keys and values f16 or f32. Which kernel candle takes for a product depends on the number of rows, so scores here are not
//! the same to the last bit in every batch.

mod groups;
mod layer;
mod loader;

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result as CandleResult, Tensor};
use candle_nn::ops::rms_norm;

use self::groups::{Group, order};
use self::layer::{Angles, Layer, Linear, Step};
use self::loader::Loader;
use super::kv::{CopyBlock, Tables};
use super::rope::Rope;
use super::spec::Spec;
use super::weights::Weights;
use super::{EngineError, Model, failed, unsupported};
use crate::engine::{BLOCK, Logits, Progress, Run};

/// A model on a device, with the keys and values of all sequences.
pub(super) struct Tensors {
    spec: Arc<Spec>,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Linear,
    device: Device,
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
        let loader = Loader { weights, device, kept };
        let embedding = loader.embedding(&spec)?;
        let output = loader.output(&spec, &embedding)?;
        let mut layers = Vec::with_capacity(spec.layers);
        for index in 0..spec.layers {
            if !progress(index as f32 / spec.layers as f32) {
                return Err(EngineError::Abandoned);
            }
            layers.push(loader.layer(index, &spec, blocks)?);
        }
        let norm = loader.norm("output_norm", spec.width)?;
        // Another thread takes the steps, whose work the device does not order after this one's.
        loader.device.synchronize().map_err(failed("loading weights"))?;
        Ok(Self {
            embedding,
            layers,
            norm,
            output,
            device: loader.device,
            spec: Arc::new(spec),
        })
    }

    /// The scores of scored runs, `[scored, vocabulary]`, in the order of the runs.
    fn forward(&self, tables: &Tables, runs: &[Run<'_>]) -> CandleResult<Option<Tensor>> {
        let (sorted, groups) = order(runs);
        let sorted: Vec<&Run<'_>> = sorted.into_iter().map(|index| &runs[index]).collect();
        let tokens: Vec<u32> = sorted.iter().flat_map(|run| run.tokens).copied().collect();
        let mut stream = self
            .embedding
            .embedding(&Tensor::new(tokens.as_slice(), &self.device)?)?;
        if self.spec.embedding_scale != 1.0 {
            stream = (stream * f64::from(self.spec.embedding_scale))?;
        }
        let step = self.step_of(tables, &sorted, &groups)?;
        let epsilon = self.spec.epsilon;
        let normed = |tensor: Tensor, norm: &Option<Tensor>| match norm {
            Some(norm) => rms_norm(&tensor, norm, epsilon),
            None => Ok(tensor),
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let input = rms_norm(&stream, &layer.attention_norm, epsilon)?;
            let attended = layer.attend(&input, &self.spec, &step, self.spec.local(index))?;
            stream = (stream + normed(attended, &layer.attention_post_norm)?)?;
            let input = rms_norm(&stream, &layer.feed_norm, epsilon)?;
            stream = (stream + normed(layer.feed(&input, &self.spec)?, &layer.feed_post_norm)?)?;
        }
        let last = last_rows(runs, &sorted);
        if last.is_empty() {
            return Ok(None);
        }
        let last = stream.index_select(&Tensor::new(last, &self.device)?, 0)?;
        self.output.forward(&rms_norm(&last, &self.norm, epsilon)?).map(Some)
    }

    /// What all layers need to know of a step's runs, which stand in the order of its rows.
    fn step_of(&self, tables: &Tables, runs: &[&Run<'_>], groups: &[usize]) -> CandleResult<Step> {
        let window = self.spec.window.as_ref();
        let places: Vec<u32> = runs
            .iter()
            .flat_map(|run| (run.position..run.position + run.tokens.len()).map(|at| place(tables, run, at)))
            .collect();
        let count = places.len();
        let places = Tensor::new(places, &self.device)?
            .reshape((1, count, 1))?
            .broadcast_as((self.spec.kv_heads, count, self.spec.head))?
            .contiguous()?;
        let mut seen = Vec::with_capacity(groups.len());
        let (mut first, mut rest) = (0, runs);
        for &sequences in groups {
            let (members, others) = rest.split_at(sequences);
            let group = Group::of(tables, members, first, window.map(|window| window.tokens), &self.device)?;
            first += group.sequences * group.rows;
            seen.push(group);
            rest = others;
        }
        Ok(Step {
            angles: [
                Some(self.angles(&self.spec.rope, runs)?),
                window.map(|window| self.angles(&window.rope, runs)).transpose()?,
            ],
            places,
            groups: seen,
        })
    }

    fn angles(&self, rope: &Rope, runs: &[&Run<'_>]) -> CandleResult<Angles> {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for run in runs {
            (run.position..run.position + run.tokens.len()).for_each(|place| rope.at(place, &mut cos, &mut sin));
        }
        let shape = (cos.len() / rope.pairs(), rope.pairs());
        Ok(Angles {
            cos: Tensor::from_vec(cos, shape, &self.device)?,
            sin: Tensor::from_vec(sin, shape, &self.device)?,
        })
    }
}

/// The last rows of the scored runs, in the order of `runs`, where the step computes them in the order `sorted`.
fn last_rows(runs: &[Run<'_>], sorted: &[&Run<'_>]) -> Vec<u32> {
    let end_of = |wanted: &Run<'_>| {
        let mut end = 0;
        for run in sorted {
            end += run.tokens.len();
            if run.slot == wanted.slot {
                break;
            }
        }
        end as u32
    };
    runs.iter()
        .filter(|run| run.scored)
        .map(|run| end_of(run) - 1)
        .collect()
}

/// Where a sequence's token lies among the keys and values of all.
fn place(tables: &Tables, run: &Run<'_>, token: usize) -> u32 {
    tables.of(run.slot.0)[token / BLOCK] * BLOCK as u32 + (token % BLOCK) as u32
}

impl Model for Tensors {
    fn take(&mut self, _: u32) {
        // All blocks are there from the start.
    }

    fn copy(&mut self, copy: CopyBlock) -> Result<(), EngineError> {
        let copied = self.layers.iter().try_for_each(|layer| layer.copy(copy));
        copied.map_err(failed("copying keys and values"))
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

    fn twin(&self, blocks: usize) -> Result<Box<dyn Model>, EngineError> {
        let layers = self.layers.iter().map(|layer| layer.twin(blocks));
        Ok(Box::new(Self {
            spec: Arc::clone(&self.spec),
            embedding: Arc::clone(&self.embedding),
            layers: layers
                .collect::<CandleResult<_>>()
                .map_err(failed("making room for keys and values"))?,
            norm: self.norm.clone(),
            output: self.output.clone(),
            device: self.device.clone(),
        }))
    }
}
