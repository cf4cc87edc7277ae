//! What a model of the llama family is made of, read from a checked header.
//!
//! The family's architectures differ in few things: biases, which numbers rotate together, norms of queries and keys, norms
//! after a layer, layers that see only a window, fused tensors. This file knows which has what; everything else asks it.

use super::kernels::activation::Curve;
use super::rope::Rope;
use super::{EngineError, EngineKind, unsupported};
use crate::gguf::{Array, Facts, Header, Value};

/// Layers of Gemma 3 between two that see everything.
const GEMMA_PATTERN: u64 = 6;
/// The base of rotations in layers that see a window, where a Gemma 3 file does not say.
const GEMMA_LOCAL_BASE: f64 = 10_000.0;
/// Gemma 3 27B is known by its number of layers; it scales queries by its width.
const GEMMA_27B_LAYERS: usize = 62;

/// A model's shape.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Numbers of the residual stream.
    pub(super) width: usize,
    /// Numbers between the two products of the feed-forward.
    pub(super) inner: usize,
    pub(super) vocabulary: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Divides `heads`.
    pub(super) kv_heads: usize,
    /// Numbers of a head.
    pub(super) head: usize,
    pub(super) epsilon: f32,
    /// Tokens that a sequence may have.
    pub(super) context: usize,
    /// True: number i rotates with the one half of the rotated numbers further on. False: neighbours rotate, as GGUF stores
    /// llama's weights.
    pub(super) halves: bool,
    pub(super) curve: Curve,
    /// Queries and keys are normed, head by head.
    pub(super) head_norms: bool,
    /// What attention and feed-forward add is normed first.
    pub(super) post_norms: bool,
    /// Query, key and value are one tensor, and so are gate and up.
    pub(super) fused: bool,
    /// What embeddings are multiplied by.
    pub(super) embedding_scale: f32,
    /// What products of queries and keys are multiplied by.
    pub(super) attention_scale: f32,
    /// For layers that see everything.
    pub(super) rope: Rope,
    /// Layers that see only so many tokens, and how these rotate.
    pub(super) window: Option<Window>,
}

/// Layers that see only the last tokens.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Tokens that they see, their own included.
    pub(super) tokens: usize,
    /// For each layer, whether it is one of them.
    pub(super) layers: Vec<bool>,
    pub(super) rope: Rope,
}

impl Spec {
    /// Reads a header, for sequences of `context` tokens. `factors` are what Llama 3.1 divides its frequencies by.
    pub(super) fn of(
        header: &Header,
        facts: &Facts,
        context: usize,
        factors: Option<Vec<f32>>,
    ) -> Result<Self, EngineError> {
        let architecture = facts.architecture.as_str();
        if !matches!(architecture, "llama" | "qwen2" | "qwen3" | "gemma3" | "phi3") {
            return Err(EngineError::Architecture {
                engine: EngineKind::Candle,
                architecture: architecture.to_owned(),
                advice: "; it runs llama, qwen2, qwen3, gemma3 and phi3: use the llama-cpp engine for this model",
            });
        }
        let keys = Keys { header, architecture };
        let gemma = architecture == "gemma3";
        let phi = architecture == "phi3";
        if keys.uint("expert_count").is_some_and(|experts| experts > 0) {
            return Err(unsupported(
                "it is a mixture of experts: use the llama-cpp engine for it",
            ));
        }
        if keys.float("final_logit_softcapping").is_some_and(|cap| cap != 0.0) {
            return Err(unsupported("it caps its scores: use the llama-cpp engine for it"));
        }
        let attention = facts.attention.ok_or_else(|| unsupported("it has no attention"))?;
        let (heads, kv_heads) = (attention.heads as usize, attention.kv_heads as usize);
        let head = attention.key_length as usize;
        if attention.value_length != attention.key_length || !heads.is_multiple_of(kv_heads) || !head.is_multiple_of(2)
        {
            return Err(unsupported(format!(
                "{heads} heads over {kv_heads}, keys of {head} and values of {}",
                attention.value_length
            )));
        }
        let epsilon = keys.float("attention.layer_norm_rms_epsilon");
        let epsilon = epsilon.ok_or_else(|| unsupported("attention.layer_norm_rms_epsilon is missing"))?;
        let inner = keys.size("feed_forward_length");
        let inner = inner.ok_or_else(|| unsupported("feed_forward_length is missing or no number"))?;
        let rotated = keys.size("rope.dimension_count").unwrap_or(head);
        if rotated == 0 || rotated > head || !rotated.is_multiple_of(2) {
            return Err(unsupported(format!("{rotated} of {head} numbers of a head rotate")));
        }
        let (width, layers) = (facts.embedding as usize, facts.blocks as usize);
        let window = keys.size("attention.sliding_window").filter(|&tokens| tokens > 0);
        let local = match window {
            Some(tokens) if gemma => Some(Window {
                tokens,
                layers: keys.window_layers(layers)?,
                rope: Rope::plain(keys.float("rope.freq_base_swa").unwrap_or(GEMMA_LOCAL_BASE), rotated),
            }),
            _ => None,
        };
        // Phi 3 sees a window in all layers: a sequence no longer than it sees everything.
        let context = window.filter(|_| phi).map_or(context, |window| context.min(window));
        let scaled = if gemma && layers == GEMMA_27B_LAYERS {
            width / heads
        } else {
            head
        };
        Ok(Self {
            width,
            inner,
            vocabulary: facts.vocabulary as usize,
            layers,
            heads,
            kv_heads,
            head,
            epsilon: epsilon as f32,
            context,
            halves: architecture != "llama",
            curve: if gemma { Curve::Gelu } else { Curve::Silu },
            head_norms: gemma || architecture == "qwen3",
            post_norms: gemma,
            fused: phi,
            embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
            attention_scale: 1.0 / (scaled as f32).sqrt(),
            rope: Rope::of(header, architecture, rotated, factors)?,
            window: local,
        })
    }

    /// The first token that a query at `position` sees in a layer.
    pub(super) fn first_seen(&self, layer: usize, position: usize) -> usize {
        match &self.window {
            Some(window) if window.layers[layer] => (position + 1).saturating_sub(window.tokens),
            _ => 0,
        }
    }

    /// Whether a layer's rotations are those of the window.
    pub(super) fn local(&self, layer: usize) -> bool {
        self.window.as_ref().is_some_and(|window| window.layers[layer])
    }

    /// Every tensor must be one that this model uses: a layer left out in silence would be another model.
    pub(super) fn check_tensors(&self, header: &Header) -> Result<(), EngineError> {
        const WHOLE: &[&str] = &[
            "token_embd.weight",
            "output_norm.weight",
            "output.weight",
            "rope_freqs.weight",
        ];
        let known = |name: &str| {
            let Some((_, layer)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
                return WHOLE.contains(&name);
            };
            let Some((layer, part)) = layer.rsplit_once('.') else {
                return false;
            };
            match layer {
                "attn_norm" | "ffn_norm" => part == "weight",
                "attn_q_norm" | "attn_k_norm" => part == "weight" && self.head_norms,
                "post_attention_norm" | "post_ffw_norm" => part == "weight" && self.post_norms,
                "attn_q" | "attn_k" | "attn_v" | "ffn_gate" => matches!(part, "weight" | "bias") && !self.fused,
                "attn_qkv" => matches!(part, "weight" | "bias") && self.fused,
                "attn_output" | "ffn_up" | "ffn_down" => matches!(part, "weight" | "bias"),
                _ => false,
            }
        };
        match header.tensors.iter().find(|tensor| !known(&tensor.name)) {
            Some(tensor) => Err(unsupported(format!(
                "it knows no tensor `{}`: use the llama-cpp engine for it",
                tensor.name
            ))),
            None => Ok(()),
        }
    }
}

/// Reads keys that begin with the architecture's name.
struct Keys<'a> {
    header: &'a Header,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn uint(&self, key: &str) -> Option<u64> {
        self.header.uint(&self.name(key))
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.header.float(&self.name(key))
    }

    /// A number that sizes something; below 2³⁰, so that products of two cannot overflow.
    fn size(&self, key: &str) -> Option<usize> {
        let size = usize::try_from(self.uint(key)?).ok()?;
        (size <= 1 << 30).then_some(size)
    }

    /// Which layers see a window: a list, or all but every n-th.
    fn window_layers(&self, layers: usize) -> Result<Vec<bool>, EngineError> {
        let key = self.name("attention.sliding_window_pattern");
        if let Some(Value::Array(Array::Scalars(flags))) = self.header.get(&key) {
            let local: Vec<bool> = flags
                .values()
                .map(|flag| flag.as_flag().unwrap_or_else(|| flag.as_uint().is_some_and(|n| n != 0)))
                .collect();
            return match local.len() >= layers {
                true => Ok(local),
                false => Err(unsupported(format!(
                    "{key} has {} entries for {layers} layers",
                    local.len()
                ))),
            };
        }
        let pattern = self.header.uint(&key).unwrap_or(GEMMA_PATTERN).max(1);
        Ok((1..=layers as u64)
            .map(|layer| !layer.is_multiple_of(pattern))
            .collect())
    }
}
