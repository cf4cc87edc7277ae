//! llama.cpp, through llama-cpp-2.
//!
//! It runs every architecture that llama.cpp knows. All sequences share one cache of keys and values, so a fork marks cells
//! and copies nothing. Layers that see a window only keep less: a cell that its sequence will not see again as it goes on is
//! given to others, so a sequence that is cut back may lack what it would see from there ([`LlamaCpp::has`]). There is no way
//! to interrupt a running batch: a step is what cancellation waits for.

use std::sync::{Arc, OnceLock};

use llama_cpp_2::LogOptions;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::{LlamaModelParams, LlamaSplitMode};
use llama_cpp_2::token::LlamaToken;

use super::placement::place_now;
use super::{
    BLOCK, Capabilities, EngineError, EngineKind, EngineOptions, KvType, Logits, Progress, Run, Slot, StepEngine,
};
use crate::catalogue::ModelFile;
use crate::device::Device;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// A model in llama.cpp, with one context over it.
pub struct LlamaCpp {
    // Dropped before the model that it points into: fields drop in this order.
    context: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    model: Arc<LlamaModel>,
    options: EngineOptions,
    capabilities: Capabilities,
    /// Tokens that the layers see that do not see everything.
    window: Option<usize>,
}

impl LlamaCpp {
    /// Loads a model.
    ///
    /// # Errors
    /// [`EngineError`]; llama.cpp's own reasons go to the log at debug level of `llama-cpp-2`.
    pub fn load(file: &ModelFile, options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        let told = Arc::clone(progress);
        let mut parameters = LlamaModelParams::default()
            .with_n_gpu_layers(0)
            .with_use_mmap(options.maps_weights(EngineKind::LlamaCpp, file));
        if let Device::Cuda(ordinals) = &options.device {
            let placed = place_now(EngineKind::LlamaCpp, file, options, ordinals, true)?;
            backend()?;
            parameters = parameters
                .with_n_gpu_layers(placed.layers)
                .with_split_mode(LlamaSplitMode::Layer)
                .with_devices(&named(&placed.gpus)?)
                .map_err(failed("choosing GPUs"))?;
        }
        let parameters = parameters.with_progress_callback(move |share| told(share));
        let model = Arc::new(open(file, &parameters).map_err(|error| match progress(1.0) {
            true => error,
            false => EngineError::Abandoned,
        })?);
        let capabilities = Capabilities {
            context_length: options.context_for(&file.facts),
            slots: options.slots,
            blocks: options.kv_blocks(EngineKind::LlamaCpp, &file.facts),
            step_tokens: options.batch,
            vocabulary: file.facts.vocabulary as usize,
            // Its kernels sum in another order for other numbers of rows and other places in the cache.
            batch_invariant: false,
        };
        let window = model.meta_val_str(&format!("{}.attention.sliding_window", file.facts.architecture));
        let window = window.ok().and_then(|tokens| tokens.parse().ok());
        Self::over(model, options.clone(), capabilities, window)
    }

    /// A context over a model.
    fn over(
        model: Arc<LlamaModel>,
        options: EngineOptions,
        capabilities: Capabilities,
        window: Option<usize>,
    ) -> Result<Self, EngineError> {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        let (batch, kv) = (number(capabilities.step_tokens), options.kv_type);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(std::num::NonZeroU32::new(number(capabilities.blocks * BLOCK)))
            .with_n_batch(batch)
            .with_n_ubatch(batch)
            .with_n_seq_max(number(capabilities.slots))
            // One cache for all sequences, so that a fork copies nothing.
            .with_kv_unified(true)
            // Sliding windows keep everything: a sequence may be cut back.
            .with_swa_full(true)
            .with_type_k(cache_type(kv))
            .with_type_v(cache_type(kv))
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        // SAFETY: the model lives in an `Arc` that this struct keeps until after the context is dropped, and `Arc`
        // never moves what it holds.
        let borrowed: &'static LlamaModel = unsafe { &*Arc::as_ptr(&model) };
        let context = borrowed
            .new_context(backend()?, parameters)
            .map_err(failed("making a context"))?;
        Ok(Self {
            context,
            batch: LlamaBatch::new(capabilities.step_tokens, 1),
            model,
            options,
            capabilities,
            window,
        })
    }

    /// Whether a sequence of `tokens` tokens still has all that the next one sees.
    fn has(&self, sequence: i32, tokens: usize) -> bool {
        // Nothing is missing between the first token that all layers keep and the last.
        match usize::try_from(self.context.kv_cache_seq_pos_min(sequence)) {
            Ok(first) => first == 0 || self.window.is_some_and(|window| first + window <= tokens),
            Err(_) => tokens == 0,
        }
    }

    /// Forgets a sequence.
    fn forget(&mut self, sequence: i32) -> Result<(), EngineError> {
        let of = u32::try_from(sequence).map_err(failed("forgetting a sequence"))?;
        let forgotten = self.context.clear_kv_cache_seq(Some(of), None, None);
        forgotten.map(drop).map_err(failed("forgetting a sequence"))
    }
}

impl StepEngine for LlamaCpp {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(Vocabulary(Arc::clone(&self.model)))
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn step(&mut self, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError> {
        logits.clear(self.capabilities.vocabulary);
        self.batch.clear();
        let mut scored = Vec::new();
        for run in runs {
            let sequence = sequence(run.slot)?;
            for (index, &token) in run.tokens.iter().enumerate() {
                let at = i32::try_from(run.position + index).map_err(failed("placing a token"))?;
                let last = run.scored && index + 1 == run.tokens.len();
                if last {
                    scored.push(self.batch.n_tokens());
                }
                self.batch
                    .add(LlamaToken(token as i32), at, &[sequence], last)
                    .map_err(failed("filling a batch"))?;
            }
        }
        self.context
            .decode(&mut self.batch)
            .map_err(failed("computing a batch"))?;
        for row in scored {
            logits.push(self.context.get_logits_ith(row));
        }
        Ok(())
    }

    fn fork(&mut self, from: Slot, to: Slot, tokens: usize) -> Result<usize, EngineError> {
        // Recurrent models keep one state for the whole sequence, at its end.
        if self.model.is_recurrent() || self.model.is_hybrid() {
            return Ok(0);
        }
        let end = u32::try_from(tokens).map_err(failed("copying a sequence"))?;
        let (from, to) = (sequence(from)?, sequence(to)?);
        self.context
            .copy_kv_cache_seq(from, to, Some(0), Some(end))
            .map_err(failed("copying a sequence"))?;
        if self.has(to, tokens) {
            return Ok(tokens);
        }
        self.forget(to).map(|()| 0)
    }

    fn truncate(&mut self, slot: Slot, tokens: usize) -> Result<usize, EngineError> {
        let from = u32::try_from(tokens).map_err(failed("forgetting tokens"))?;
        let of = sequence(slot)?;
        let forgotten = self
            .context
            .clear_kv_cache_seq(Some(of.unsigned_abs()), Some(from), None)
            .map_err(failed("forgetting tokens"))?;
        if forgotten && self.has(of, tokens) {
            return Ok(tokens);
        }
        // A state cannot be cut back, only let go; nor can a sequence that lacks its beginning.
        self.forget(of).map(|()| 0)
    }

    fn exact_twin(&self, piece: usize) -> Result<Box<dyn StepEngine>, EngineError> {
        let capabilities = self.capabilities.for_one(piece);
        let twin = Self::over(Arc::clone(&self.model), self.options.clone(), capabilities, self.window)?;
        Ok(Box::new(twin))
    }
}

/// llama.cpp's own numbers of CUDA devices: it counts those of all its back-ends together.
fn named(ordinals: &[usize]) -> Result<Vec<usize>, EngineError> {
    let devices = llama_cpp_2::list_llama_ggml_backend_devices();
    let index = |ordinal: &usize| {
        let name = format!("CUDA{ordinal}");
        let device = devices.iter().find(|device| device.name == name);
        device
            .map(|device| device.index)
            .ok_or_else(|| failed("choosing GPUs")(format!("llama.cpp knows no device {name}")))
    };
    ordinals.iter().map(index).collect()
}

/// llama.cpp's name of a slot.
fn sequence(slot: Slot) -> Result<i32, EngineError> {
    i32::try_from(slot.0).map_err(failed("naming a sequence"))
}

fn cache_type(kv: KvType) -> KvCacheType {
    match kv {
        KvType::F16 => KvCacheType::F16,
        KvType::Q8 => KvCacheType::Q8_0,
    }
}

/// A model's vocabulary, which keeps the model in memory.
struct Vocabulary(Arc<LlamaModel>);

impl Tokenizer for Vocabulary {
    fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let encoded = self.0.vocab().tokenize(text.as_bytes(), false, false);
        tokens.extend(encoded.into_iter().map(|token| token.0 as u32));
        Ok(())
    }

    fn piece(&self, token: u32) -> Vec<u8> {
        match i32::try_from(token) {
            Ok(token) if token < self.0.vocab().n_tokens() => {
                self.0.vocab().token_to_piece(LlamaToken(token), false, None)
            }
            _ => Vec::new(),
        }
    }

    fn is_end(&self, token: u32) -> bool {
        let vocabulary = self.0.vocab();
        i32::try_from(token).is_ok_and(|id| id < vocabulary.n_tokens() && vocabulary.is_eog(LlamaToken(id)))
    }
}

/// A model's tokenizer, without its weights.
pub(super) fn tokenizer(file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
    backend()?;
    let model = open(file, &LlamaModelParams::default().with_vocab_only(true))?;
    Ok(Arc::new(Vocabulary(Arc::new(model))))
}

fn open(file: &ModelFile, parameters: &LlamaModelParams) -> Result<LlamaModel, EngineError> {
    LlamaModel::load_from_file(backend()?, &file.path, parameters).map_err(|error| match error {
        // llama.cpp says why only to its log. The header is checked already, so mostly it does not know the architecture.
        llama_cpp_2::LlamaModelLoadError::NullResult => EngineError::Architecture {
            engine: EngineKind::LlamaCpp,
            architecture: file.facts.architecture.clone(),
            advice: ", or not in this form (its log says why: RUST_LOG=info,llama-cpp-2=debug)",
        },
        other => failed("opening the file")(other),
    })
}

/// llama.cpp's state, one for the process.
fn backend() -> Result<&'static LlamaBackend, EngineError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        // It writes a hundred lines for a model; they are for those who ask.
        let asked = tracing::enabled!(target: "llama-cpp-2", tracing::Level::DEBUG);
        llama_cpp_2::send_logs_to_tracing(LogOptions::default().with_logs_enabled(asked));
        crate::ggml::load()?;
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    backend.as_ref().map_err(|error| failed("starting")(error.clone()))
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError::Failed {
        engine: EngineKind::LlamaCpp,
        what,
        cause: error.into(),
    }
}
