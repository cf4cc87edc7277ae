//! One layer: attention over what its sequences keep, and the feed-forward part.

use candle_core::quantized::QMatMul;
use candle_core::{DType, Module, Result as CandleResult, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::groups::Group;
use crate::engine::BLOCK;
use crate::engine::candle::kernels::activation::Curve;
use crate::engine::candle::kv::CopyBlock;
use crate::engine::candle::spec::Spec;

/// A layer's weights, and the keys and values of all sequences there.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    /// To queries, keys and values: three, or one for all.
    pub(super) mix: Vec<Linear>,
    pub(super) query_norm: Option<Tensor>,
    pub(super) key_norm: Option<Tensor>,
    pub(super) attention_output: Linear,
    pub(super) attention_post_norm: Option<Tensor>,
    pub(super) feed_norm: Tensor,
    /// To the gate and what passes it: two, or one for both.
    pub(super) gates: Vec<Linear>,
    pub(super) down: Linear,
    pub(super) feed_post_norm: Option<Tensor>,
    /// `[kv_heads, blocks × BLOCK, head]`.
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

/// A linear layer over quantised weights.
#[derive(Clone)]
pub(super) struct Linear {
    pub(super) weight: QMatMul,
    pub(super) bias: Option<Tensor>,
}

impl Linear {
    /// `[tokens, inputs]` to `[tokens, outputs]`.
    pub(super) fn forward(&self, input: &Tensor) -> CandleResult<Tensor> {
        let output = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// What `linears` make of an input, in parts of these widths: a part each, or all from one.
fn parts<const N: usize>(linears: &[Linear], input: &Tensor, widths: [usize; N]) -> CandleResult<Vec<Tensor>> {
    if let [all] = linears {
        let all = all.forward(input)?;
        let mut from = 0;
        let part = |width| {
            let part = all.narrow(1, from, width)?.contiguous();
            from += width;
            part
        };
        return widths.into_iter().map(part).collect();
    }
    linears.iter().map(|linear| linear.forward(input)).collect()
}

/// Rotations of the tokens of one step, `[tokens, pairs]`.
pub(super) struct Angles {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
}

/// What a layer needs to know of a step.
pub(super) struct Step {
    /// Of layers that see everything, and of those that do not.
    pub(super) angles: [Option<Angles>; 2],
    /// Where each row's key and value go, `[kv_heads, tokens, head]`.
    pub(super) places: Tensor,
    /// All its rows, in order.
    pub(super) groups: Vec<Group>,
}

impl Layer {
    /// The same weights, with keys and values of its own.
    pub(super) fn twin(&self, blocks: usize) -> CandleResult<Self> {
        let (kv_heads, _, head) = self.keys.dims3()?;
        let room = || Tensor::zeros((kv_heads, blocks * BLOCK, head), self.keys.dtype(), self.keys.device());
        Ok(Self {
            keys: room()?,
            values: room()?,
            ..self.clone()
        })
    }

    /// Copies a block of keys and values.
    pub(super) fn copy(&self, copy: CopyBlock) -> CandleResult<()> {
        let (from, to) = (copy.from as usize * BLOCK, copy.to as usize * BLOCK);
        for kept in [&self.keys, &self.values] {
            // A copy of its own first: a tensor cannot be written while it is read.
            let block = kept.narrow(1, from, BLOCK)?.force_contiguous()?;
            kept.slice_set(&block, 1, to)?;
        }
        Ok(())
    }

    /// Attention of the new tokens over all tokens of their sequences. `input` is `[tokens, width]`, so is the result.
    /// `local` layers see a window only.
    pub(super) fn attend(&self, input: &Tensor, spec: &Spec, step: &Step, local: bool) -> CandleResult<Tensor> {
        let local = usize::from(local);
        let (heads, kv_heads, head) = (spec.heads, spec.kv_heads, spec.head);
        let count = input.dim(0)?;
        let mixed = parts(&self.mix, input, [heads * head, kv_heads * head, kv_heads * head])?;
        // `[heads, tokens, head]`.
        let headed = |tensor: &Tensor, heads: usize, norm: &Option<Tensor>| {
            let tensor = tensor.reshape((count, heads, head))?;
            let tensor = match norm {
                Some(norm) => rms_norm(&tensor, norm, spec.epsilon)?,
                None => tensor,
            };
            tensor.transpose(0, 1)?.contiguous()
        };
        let turned = |tensor: Tensor| turn(&tensor.unsqueeze(0)?, step.angles[local].as_ref(), spec.halves)?.squeeze(0);
        let query = turned(headed(&mixed[0], heads, &self.query_norm)?)?;
        let query = (query * f64::from(spec.attention_scale))?;
        let key = turned(headed(&mixed[1], kv_heads, &self.key_norm)?)?;
        let value = headed(&mixed[2], kv_heads, &None)?;
        for (kept, new) in [(&self.keys, key), (&self.values, value)] {
            kept.scatter_set(&step.places, &new.to_dtype(kept.dtype())?, 1)?;
        }
        let results = step
            .groups
            .iter()
            .map(|group| self.look(&query, group, &group.masks[local], spec));
        let results = results.collect::<CandleResult<Vec<_>>>()?;
        self.attention_output.forward(&Tensor::cat(&results, 0)?)
    }

    /// Attention of a group: from `[heads, tokens, head]` of the step to its own `[tokens, heads × head]`.
    fn look(&self, query: &Tensor, group: &Group, mask: &Option<Tensor>, spec: &Spec) -> CandleResult<Tensor> {
        let (kv_heads, head, shared) = (spec.kv_heads, spec.head, spec.heads / spec.kv_heads);
        let &Group {
            first,
            sequences,
            rows,
            length,
            ..
        } = group;
        let all = |kept: &Tensor| {
            let gathered = kept.index_select(&group.places, 1)?.to_dtype(DType::F32)?;
            gathered.reshape((kv_heads * sequences, length, head))
        };
        let (keys, values) = (all(&self.keys)?, all(&self.values)?);
        // The query heads that share a key stand one above the other: a product for each, and no key is repeated.
        let query = query
            .narrow(1, first, sequences * rows)?
            .reshape((kv_heads, shared, sequences, rows, head))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((kv_heads * sequences, shared * rows, head))?;
        let mut scores = query.matmul(&keys.t()?)?;
        if let Some(mask) = mask {
            let shape = scores.shape().clone();
            let split = scores.reshape((kv_heads, sequences, shared, rows, length))?;
            scores = split.broadcast_add(mask)?.reshape(shape)?;
        }
        softmax_last_dim(&scores)?
            .matmul(&values)?
            .reshape((kv_heads, sequences, shared, rows, head))?
            .permute((1, 3, 0, 2, 4))?
            .reshape((sequences * rows, spec.heads * head))
    }

    /// The feed-forward part: `[tokens, width]` to the same.
    pub(super) fn feed(&self, input: &Tensor, spec: &Spec) -> CandleResult<Tensor> {
        let parts = parts(&self.gates, input, [spec.inner, spec.inner])?;
        let gate = match spec.curve {
            Curve::Silu => silu(&parts[0])?,
            Curve::Gelu => parts[0].gelu()?,
        };
        self.down.forward(&(gate * &parts[1])?)
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
