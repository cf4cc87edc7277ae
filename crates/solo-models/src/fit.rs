//! Whether a model fits: what it needs, held against memory and GPUs, and what to do where it is too much.
//!
//! Pure arithmetic on a checked header. The rules are llama.cpp's, so that a plan can be handed to it as it is: the
//! input embedding stays in RAM; the transformer blocks and, behind the last of them, the output are the *layers*; GPUs
//! take layers from the end of the model, each GPU a run of neighbours; what is left is computed on the CPU. Weights and
//! keys and values are counted exactly, the buffers of a computation are estimated ([`Needs::of`] says how).
//!
//! A plan never claims more than its budget, and more budget never makes it worse: tests hold it to both.

mod needs;
mod words;

use crate::gguf::{Facts, Header};

pub use needs::Needs;

/// What a GPU loses to its driver, to the library's handles and to fragments of its memory, in bytes.
pub const GPU_RESERVE: u64 = 512 << 20;
/// Contexts are proposed in multiples of this many tokens.
const CONTEXT_STEP: u64 = 256;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    F16,
    /// 34 bytes for 32 numbers.
    Q8_0,
}

impl KvType {
    /// Bytes of so many numbers.
    pub fn bytes(self, numbers: u64) -> u64 {
        match self {
            Self::F32 => numbers.saturating_mul(4),
            Self::F16 => numbers.saturating_mul(2),
            Self::Q8_0 => numbers.div_ceil(32).saturating_mul(34),
        }
    }
}

/// What a model is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Tokens that all sequences hold together.
    pub context: u64,
    /// How their keys and values are stored.
    pub kv: KvType,
    /// Most tokens that are computed at once.
    pub batch: u64,
}

/// What a model may take, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// RAM.
    pub ram: u64,
    /// Memory of each GPU that may be used, in the order in which layers are handed out. None: everything in RAM.
    pub gpus: Vec<u64>,
}

/// How a model goes into a budget, or why it does not. Its `Display` is a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it needs.
    pub needs: Needs,
    /// How it goes in.
    pub outcome: Outcome,
}

/// How a model goes into a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Whole: all layers on GPUs where there are GPUs, else in RAM.
    Whole(Placement),
    /// With some layers on GPUs (perhaps none) and the others in RAM.
    Partly(Placement),
    /// Not.
    DoesNotFit(Shortage),
}

/// What lies where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Bytes of RAM.
    pub ram: u64,
    /// Each GPU's share, in the budget's order.
    pub gpus: Vec<Share>,
    /// Layers that the model has: its blocks and the output.
    pub layers: u32,
}

/// What a GPU holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Layers.
    pub layers: u32,
    /// Bytes, its buffers and [`GPU_RESERVE`] included; 0 when it holds no layer.
    pub bytes: u64,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// RAM that it needs beside what the GPUs take, in bytes.
    pub needs: u64,
    /// RAM that it may have.
    pub has: u64,
    /// The largest context that would fit, in tokens; none when not even a short one does.
    pub largest_context: Option<u64>,
}

impl Placement {
    /// Layers on GPUs: llama.cpp's `n_gpu_layers`.
    pub fn gpu_layers(&self) -> u32 {
        self.gpus.iter().map(|share| share.layers).sum()
    }

    /// Share of the layers for each GPU: llama.cpp's `tensor_split`.
    pub fn tensor_split(&self) -> Vec<f32> {
        self.gpus.iter().map(|share| share.layers as f32).collect()
    }
}

impl Plan {
    /// Plans a model.
    pub fn of(header: &Header, facts: &Facts, budget: &Budget, demand: &Demand) -> Self {
        let needs = Needs::of(header, facts, demand);
        let outcome = match place(&needs, budget) {
            Ok(placement) if budget.gpus.is_empty() || placement.gpu_layers() == placement.layers => {
                Outcome::Whole(placement)
            }
            Ok(placement) => Outcome::Partly(placement),
            Err(ram) => Outcome::DoesNotFit(Shortage {
                needs: ram,
                has: budget.ram,
                largest_context: largest_context(header, facts, budget, demand),
            }),
        };
        Self { needs, outcome }
    }

    /// What lies where; none when it does not fit.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.outcome {
            Outcome::Whole(placement) | Outcome::Partly(placement) => Some(placement),
            Outcome::DoesNotFit(_) => None,
        }
    }
}

/// The largest context up to `demand.context` with which a model fits, a multiple of 256 tokens or `demand.context`
/// itself; none when there is none.
pub fn largest_context(header: &Header, facts: &Facts, budget: &Budget, demand: &Demand) -> Option<u64> {
    let fits = |context| place(&Needs::of(header, facts, &Demand { context, ..*demand }), budget).is_ok();
    if fits(demand.context) {
        return Some(demand.context);
    }
    // Needs only grow with the context.
    let (mut fitting, mut beyond) = (0, demand.context.div_ceil(CONTEXT_STEP));
    while fitting + 1 < beyond {
        let middle = fitting + (beyond - fitting) / 2;
        if fits(middle * CONTEXT_STEP) {
            fitting = middle;
        } else {
            beyond = middle;
        }
    }
    (fitting > 0).then_some(fitting * CONTEXT_STEP)
}

/// As many layers on the GPUs as there is room for; the error is the RAM that the rest needs where that is too much.
fn place(needs: &Needs, budget: &Budget) -> Result<Placement, u64> {
    let layers = needs.blocks.len() + 1;
    // With no layer on a GPU every packing succeeds.
    for first in 0..=layers {
        let Some(gpus) = pack(needs, first, &budget.gpus) else {
            continue;
        };
        let ram = needs.ram(first);
        // Fewer layers on GPUs would only need more RAM.
        return if ram <= budget.ram {
            let layers = layers as u32;
            Ok(Placement { ram, gpus, layers })
        } else {
            Err(ram)
        };
    }
    Err(needs.ram(layers))
}

/// Hands the layers from `first` on to the GPUs, in order; none when they do not fit.
fn pack(needs: &Needs, first: usize, gpus: &[u64]) -> Option<Vec<Share>> {
    let mut shares = vec![Share::default(); gpus.len()];
    let mut gpu = 0;
    for layer in first..=needs.blocks.len() {
        let bytes = needs.gpu_layer(layer);
        loop {
            let share = shares.get_mut(gpu)?;
            let base = if share.layers == 0 {
                needs.gpu_overhead()
            } else {
                share.bytes
            };
            let filled = base.saturating_add(bytes);
            if filled <= gpus[gpu] {
                *share = Share {
                    layers: share.layers + 1,
                    bytes: filled,
                };
                break;
            }
            gpu += 1;
        }
    }
    Some(shares)
}
