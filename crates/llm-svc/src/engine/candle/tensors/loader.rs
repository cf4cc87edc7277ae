//! Takes a model's weights to a device.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Tensor};

use super::layer::{Layer, Linear};
use crate::engine::BLOCK;
use crate::engine::candle::spec::Spec;
use crate::engine::candle::weights::Weights;
use crate::engine::candle::{EngineError, failed};

/// From a file to a device.
pub(super) struct Loader<'a> {
    pub(super) weights: &'a Weights<'a>,
    pub(super) device: Device,
    /// How keys and values are stored.
    pub(super) kept: DType,
}

impl Loader<'_> {
    pub(super) fn embedding(&self, spec: &Spec) -> Result<Arc<QTensor>, EngineError> {
        let stored = self
            .weights
            .required("token_embd.weight", spec.vocabulary, spec.width)?;
        let embedding = stored.tensor(0, spec.vocabulary, &self.device);
        Ok(Arc::new(embedding.map_err(failed("reading a tensor"))?))
    }

    /// The layer that scores tokens. Small models use their embedding both ways.
    pub(super) fn output(&self, spec: &Spec, embedding: &Arc<QTensor>) -> Result<Linear, EngineError> {
        if self
            .weights
            .matrix("output.weight", spec.vocabulary, spec.width)?
            .is_some()
        {
            return self.linear("output", spec.width, spec.vocabulary);
        }
        Ok(Linear {
            weight: QMatMul::from_arc(Arc::clone(embedding)).map_err(failed("preparing a layer"))?,
            bias: None,
        })
    }

    pub(super) fn norm(&self, name: &str, width: usize) -> Result<Tensor, EngineError> {
        self.vector(self.weights.norm(name, width)?)
    }

    fn vector(&self, numbers: Vec<f32>) -> Result<Tensor, EngineError> {
        Tensor::new(numbers, &self.device).map_err(failed("reading a tensor"))
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

    pub(super) fn layer(&self, index: usize, spec: &Spec, blocks: usize) -> Result<Layer, EngineError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (width, inner, head) = (spec.width, spec.inner, spec.head);
        let (queries, kv) = (spec.heads * head, spec.kv_heads * head);
        let norm = |part: &str, width, wanted: bool| wanted.then(|| self.norm(&name(part), width)).transpose();
        let linear = |part: &str, inputs, outputs| self.linear(&name(part), inputs, outputs);
        let room = || {
            let room = Tensor::zeros((spec.kv_heads, blocks * BLOCK, head), self.kept, &self.device);
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
