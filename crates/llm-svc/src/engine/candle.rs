//! candle: our own llama-family model over its quantised formats, on the processor or on CUDA.
//!
//! candle-transformers' models serve one sequence, cannot forget its end and keep every mask that they ever made. This one
//! computes a step over many sequences, whose keys and values lie in counted blocks ([`kv`]). On the processor the
//! arithmetic is ours ([`processor`], [`kernels`]): candle multiplies row by row, and its threads cannot be told how many
//! they are. On CUDA it is candle's ([`tensors`]). The tests hold the logits against candle-transformers' and llama.cpp's.

mod attention;
mod buffers;
mod kernels;
mod kv;
mod linear;
mod memory;
mod pack;
mod processor;
mod rope;
mod spec;
mod tensors;
#[cfg(test)]
mod tests;
mod threads;
mod weights;

use std::sync::Arc;

use candle_core::DType;
use half::f16;

use self::kernels::Isa;
use self::kv::{CopyBlock, Tables};
use self::processor::Processor;
use self::spec::Spec;
use self::tensors::Tensors;
use self::weights::Weights;
use super::placement::place_now;
use super::{
    BLOCK, Capabilities, EngineError, EngineKind, EngineOptions, KvType, Logits, Progress, Run, Slot, StepEngine,
};
use crate::catalogue::ModelFile;
use crate::device::{self, Device};
use crate::tokenizer::{BpeTokenizer, Tokenizer, TokenizerError};

/// Where a model computes. Tables say which blocks are whose; a model keeps what is in them.
trait Model: Send {
    /// Takes the memory of a block that is about to be written.
    fn take(&mut self, block: u32);

    /// Copies a block.
    fn copy(&mut self, copy: CopyBlock) -> Result<(), EngineError>;

    /// Computes a step; the tables have room for all its tokens.
    fn step(&mut self, tables: &Tables, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError>;

    /// The same weights, with room for keys and values of its own. Only models whose scores depend on the batch need it.
    fn twin(&self, _blocks: usize) -> Result<Box<dyn Model>, EngineError> {
        Err(unsupported("a twin, which its scores do not need"))
    }
}

/// A model on candle.
pub struct Candle {
    model: Box<dyn Model>,
    tables: Tables,
    tokenizer: Arc<dyn Tokenizer>,
    capabilities: Capabilities,
}

impl Candle {
    /// Loads a model: maps its file and packs its weights for the device.
    ///
    /// # Errors
    /// [`EngineError`] names what candle has not, or what failed.
    pub fn load(file: &ModelFile, options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        let device = match &options.device {
            Device::Cpu => None,
            Device::Cuda(ordinals) => {
                let placed = place_now(EngineKind::Candle, file, options, ordinals, false)?;
                // A model that fits whole lies on one.
                Some(device::tensors(placed.gpus[0]).map_err(failed("opening the CUDA device"))?)
            }
        };
        check_kept(options.kv_type)?;
        Self::on(device, DType::F16, file, options, progress)
    }

    /// Loads a model onto the processor, to compute by candle's own kernels with keys and values in f32: slow, and what tests
    /// hold the rest against. It is the code that runs on CUDA.
    ///
    /// # Errors
    /// As [`Candle::load`].
    pub fn reference(file: &ModelFile, options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        Self::on(Some(candle_core::Device::Cpu), DType::F32, file, options, progress)
    }

    /// Loads a model onto one of candle's devices, or onto the processor without its help.
    fn on(
        device: Option<candle_core::Device>,
        kept: DType,
        file: &ModelFile,
        options: &EngineOptions,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let weights = Weights::open(file)?;
        let context = options.context_for(&file.facts);
        let rotated = file
            .facts
            .attention
            .map_or(0, |attention| attention.key_length as usize);
        let factors = weights.vector("rope_freqs.weight", rotated / 2)?;
        let spec = Spec::of(&file.header, &file.facts, context, factors)?;
        spec.check_tensors(&file.header)?;
        let tokenizer = tokenizer(file)?;
        let (context, vocabulary) = (spec.context, spec.vocabulary);
        let slots = options.slots.max(1);
        let blocks = options.kv_blocks(EngineKind::Candle, &file.facts);
        let capabilities = Capabilities {
            context_length: context,
            slots,
            blocks,
            step_tokens: options.batch.max(1),
            vocabulary,
            batch_invariant: device.is_none(),
        };
        let threads = options.threads;
        let model: Box<dyn Model> = match device {
            None => Box::new(Processor::<f16>::load(&weights, spec, blocks, threads, progress)?),
            Some(device) => Box::new(Tensors::load(&weights, spec, blocks, kept, device, progress)?),
        };
        Ok(Self {
            model,
            tables: Tables::new(slots, blocks, context),
            tokenizer,
            capabilities,
        })
    }
}

impl StepEngine for Candle {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn step(&mut self, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError> {
        logits.clear(self.capabilities.vocabulary);
        let mut copies = Vec::new();
        for run in runs {
            let extended = self
                .tables
                .extend(run.slot.0, run.position, run.tokens.len(), &mut copies);
            extended.map_err(failed("making room for keys and values"))?;
            for &block in &self.tables.of(run.slot.0)[run.position / BLOCK..] {
                self.model.take(block);
            }
        }
        for copy in copies {
            self.model.copy(copy)?;
        }
        if runs.iter().all(|run| run.tokens.is_empty()) {
            return Ok(());
        }
        self.model.step(&self.tables, runs, logits)
    }

    fn fork(&mut self, from: Slot, to: Slot, tokens: usize) -> Result<usize, EngineError> {
        let copy = self.tables.fork(from.0, to.0, tokens);
        if let Some(copy) = copy.map_err(failed("sharing keys and values"))? {
            self.model.copy(copy)?;
        }
        Ok(self.tables.tokens(to.0))
    }

    fn truncate(&mut self, slot: Slot, tokens: usize) -> Result<usize, EngineError> {
        self.tables
            .truncate(slot.0, tokens)
            .map_err(failed("forgetting tokens"))
    }

    fn exact_twin(&self, piece: usize) -> Result<Box<dyn StepEngine>, EngineError> {
        let capabilities = self.capabilities.for_one(piece);
        Ok(Box::new(Self {
            model: self.model.twin(capabilities.blocks)?,
            tables: Tables::new(capabilities.slots, capabilities.blocks, capabilities.context_length),
            tokenizer: Arc::clone(&self.tokenizer),
            capabilities,
        }))
    }
}

/// Whether it is the engine to take for a model on this processor. Tells by the header alone.
///
/// # Errors
/// What speaks against it.
pub(super) fn suits(file: &ModelFile, options: &EngineOptions) -> Result<(), String> {
    if Isa::best() == Isa::Any {
        return Err("candle has no kernels for this processor, only for those with AVX2".to_owned());
    }
    if options.maps_weights(EngineKind::Candle, file) {
        return Err("the weights are to be mapped, and candle has them in memory".to_owned());
    }
    if weights::mostly_floats(&file.header) {
        return Err("the weights are not quantised, and llama.cpp is the faster one on such prompts".to_owned());
    }
    let wanted = options.context_for(&file.facts);
    let runs = || {
        check_kept(options.kv_type)?;
        let spec = Spec::of(&file.header, &file.facts, wanted, None)?;
        spec.check_tensors(&file.header)?;
        file.header
            .tensors
            .iter()
            .try_for_each(|tensor| weights::dtype(tensor).map(drop))?;
        Ok(spec.context)
    };
    match runs().map_err(|error: EngineError| error.to_string())? {
        has if has < wanted => Err(format!(
            "candle has {has} tokens of context for this model, of {wanted}"
        )),
        _ => Ok(()),
    }
}

/// Keys and values are kept in 16 bits.
fn check_kept(kv_type: KvType) -> Result<(), EngineError> {
    match kv_type {
        KvType::F16 => Ok(()),
        KvType::Q8 => Err(unsupported("kv_type = \"q8_0\": it keeps keys and values in f16")),
    }
}

/// A model's tokenizer, without its weights. SentencePiece vocabularies (Gemma, Phi 3, Mistral) are llama.cpp's to read:
/// ours knows byte-level BPE. So are texts that are split in a way that ours does not know.
pub(super) fn tokenizer(file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
    match BpeTokenizer::of(&file.header) {
        Ok(tokenizer) => Ok(Arc::new(tokenizer)),
        Err(TokenizerError::Kind(_)) => super::llama_cpp::tokenizer(file),
        // Where llama.cpp does not know the way either, ours names it.
        Err(error @ TokenizerError::PreTokenizer(_)) => super::llama_cpp::tokenizer(file).map_err(|_| error.into()),
        Err(error) => Err(error.into()),
    }
}

fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported {
        engine: EngineKind::Candle,
        what: what.into(),
    }
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError::Failed {
        engine: EngineKind::Candle,
        what,
        cause: error.into(),
    }
}
