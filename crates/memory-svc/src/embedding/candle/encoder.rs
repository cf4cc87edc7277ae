//! BERT up to the vectors of its last layer, in f32 or f16: candle's layers under embeddings and a mask of our own.
//!
//! candle's own `BertModel` masks padding with f32's least number. f16 has none like it: it becomes an infinity, nothing times
//! infinity is no number, and neither is any vector that comes of it.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Module, VarBuilder, embedding, layer_norm};
use candle_transformers::models::bert::{BertEncoder, Config};

/// What attention to padding gets instead of 0: nothing is left of it by the softmax. f16 ends at -65,504.
const PADDING: f64 = -30_000.0;

/// The model's weights, on their device.
pub(super) struct Encoder {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: BertEncoder,
    device: Device,
}

impl Encoder {
    /// Takes the weights to the device and into the numbers of `tensors`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, or a device without room for it.
    pub(super) fn load(tensors: VarBuilder<'_>, config: &Config) -> Result<Self> {
        // Beside a head, as some are published, BERT has a name of its own.
        let tensors = if tensors.contains_tensor("embeddings.word_embeddings.weight") {
            tensors
        } else {
            tensors.pp("bert")
        };
        let parts = tensors.pp("embeddings");
        let table = |name: &str, rows| embedding(rows, config.hidden_size, parts.pp(name));
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: layer_norm(config.hidden_size, config.layer_norm_eps, parts.pp("LayerNorm"))?,
            layers: BertEncoder::load(tensors.pp("encoder"), config)?,
            device: tensors.device().clone(),
        })
    }

    /// Where it computes.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The vectors of all tokens, `[rows, columns, hidden]`, of `[rows, columns]` tokens and types, and a mask in f32 that is
    /// 0 where padding is and else 1.
    pub(super) fn forward(&self, ids: &Tensor, types: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (_, columns) = ids.dims2()?;
        let positions = Tensor::arange(0, columns as u32, &self.device)?;
        let tokens = (self.words.forward(ids)? + self.types.forward(types)?)?;
        let tokens = tokens.broadcast_add(&self.positions.forward(&positions)?)?;
        let tokens = self.norm.forward(&tokens)?;
        // Exactly 0 for a token: it stands beside a score for every head and every token that looks.
        let mask = mask.affine(-PADDING, PADDING)?.to_dtype(tokens.dtype())?;
        self.layers.forward(&tokens, &mask.unsqueeze(1)?.unsqueeze(1)?)
    }
}
