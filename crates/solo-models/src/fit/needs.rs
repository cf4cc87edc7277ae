//! What a model needs, part by part.

use super::{Demand, GPU_RESERVE};
use crate::gguf::{Facts, Header};

/// What a model needs for a demand, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// All weights, as the file stores them.
    pub weights: u64,
    /// Keys and values of the whole context.
    pub kv: u64,
    /// Buffers of a computation, estimated; needed on every device that computes.
    pub compute: u64,
    /// Weights of each block.
    pub(super) blocks: Vec<u64>,
    /// Keys and values of a block.
    pub(super) kv_of_block: u64,
    /// Weights before the first block.
    pub(super) input: u64,
    /// Weights behind the last block.
    pub(super) output: u64,
    /// What the output takes on a GPU beyond that: a second input embedding where it has no matrix of its own.
    pub(super) output_copy: u64,
}

impl Needs {
    /// What a model needs.
    ///
    /// Keys and values are those of the widest block, in every block: models whose blocks differ, or attend to a window,
    /// may need less. The state of recurrent models is small and not counted.
    ///
    /// The buffers are an estimate that errs upwards: for each of `demand.batch` tokens, in 32-bit floats, the scores of
    /// all tokens of the vocabulary, the mask over the context, three activations as wide as the feed-forward network,
    /// and eight as wide as the model. Attention is taken to be computed in one pass (flash attention): without it the
    /// scores of every head over the whole context would have to be kept.
    pub fn of(header: &Header, facts: &Facts, demand: &Demand) -> Self {
        let blocks = facts.blocks.max(1) as usize;
        let mut needs = Self {
            weights: 0,
            kv: 0,
            compute: 0,
            blocks: vec![0; blocks],
            kv_of_block: 0,
            input: 0,
            output: 0,
            output_copy: 0,
        };
        let (mut token_embedding, mut output_matrix) = (0_u64, false);
        for tensor in &header.tensors {
            needs.weights = needs.weights.saturating_add(tensor.bytes);
            let place = match block_of(&tensor.name) {
                // Whatever else a block number names counts with the last block.
                Some(block) => &mut needs.blocks[block.min(blocks - 1)],
                None if is_input(&tensor.name) => &mut needs.input,
                None => &mut needs.output,
            };
            *place = place.saturating_add(tensor.bytes);
            match tensor.name.as_str() {
                "token_embd.weight" => token_embedding = tensor.bytes,
                "output.weight" => output_matrix = true,
                _ => {}
            }
        }
        if !output_matrix {
            needs.output_copy = token_embedding;
        }
        let numbers = facts.kv_numbers_per_token() / blocks as u64;
        needs.kv_of_block = demand.kv.bytes(numbers.saturating_mul(demand.context));
        needs.kv = needs.kv_of_block.saturating_mul(blocks as u64);
        needs.compute = compute(header, facts, demand);
        needs
    }

    /// Everything in one place.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.compute)
    }

    /// What a layer takes on a GPU.
    pub(super) fn gpu_layer(&self, layer: usize) -> u64 {
        match self.blocks.get(layer) {
            Some(weights) => weights.saturating_add(self.kv_of_block),
            None => self.output.saturating_add(self.output_copy),
        }
    }

    /// What a GPU needs beside its layers.
    pub(super) fn gpu_overhead(&self) -> u64 {
        GPU_RESERVE.saturating_add(self.compute)
    }

    /// RAM when the layers from `first` on lie on GPUs.
    pub(super) fn ram(&self, first: usize) -> u64 {
        let own = &self.blocks[..first.min(self.blocks.len())];
        let mut ram = own.iter().fold(self.input, |sum, weights| {
            sum.saturating_add(*weights).saturating_add(self.kv_of_block)
        });
        if first > self.blocks.len() {
            ram = ram.saturating_add(self.output);
        }
        if first > 0 {
            ram = ram.saturating_add(self.compute);
        }
        ram
    }
}

/// The number of the block that a tensor belongs to: 3 for "blk.3.attn_q.weight".
fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

fn is_input(name: &str) -> bool {
    ["token_embd", "position_embd", "token_types", "per_layer_token_embd"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn compute(header: &Header, facts: &Facts, demand: &Demand) -> u64 {
    let key = format!("{}.feed_forward_length", facts.architecture);
    let widest = header.get(&key).and_then(|value| value.uints()?.into_iter().max());
    let inner = widest.unwrap_or(4 * u64::from(facts.embedding));
    let of_token = [
        u64::from(facts.vocabulary),
        demand.context,
        inner.saturating_mul(3),
        u64::from(facts.embedding) * 8,
    ];
    let numbers = of_token.into_iter().fold(0, u64::saturating_add);
    numbers.saturating_mul(demand.batch).saturating_mul(4)
}
