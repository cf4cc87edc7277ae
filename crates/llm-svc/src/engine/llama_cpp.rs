//! llama.cpp, through llama-cpp-2.
//!
//! It runs every architecture that llama.cpp knows. The model is mapped, not read; the context's buffers are sized for
//! small batches, because there is no way to interrupt a running one: a batch is what cancellation waits for.

use std::sync::{Arc, OnceLock};

use llama_cpp_2::LogOptions;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use super::{Device, Engine, EngineError, EngineKind, EngineOptions, Progress};
use crate::catalogue::ModelFile;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// The only sequence of a context.
const SEQUENCE: i32 = 0;

/// A model in llama.cpp.
pub struct LlamaCpp {
    // Dropped before the model that it points into: fields drop in this order.
    context: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    model: Arc<LlamaModel>,
    context_length: usize,
    batch_tokens: usize,
}

impl LlamaCpp {
    /// Loads a model.
    ///
    /// # Errors
    /// [`EngineError`]; llama.cpp's own reasons go to the log at debug level of `llama-cpp-2`.
    pub fn load(file: &ModelFile, options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        let backend = backend()?;
        let told = Arc::clone(progress);
        let gpu_layers = match options.device {
            Device::Cpu => 0,
            Device::Cuda(_) => u32::MAX >> 1,
        };
        let mut parameters = LlamaModelParams::default().with_n_gpu_layers(gpu_layers);
        if let Device::Cuda(ordinal) = options.device {
            // The probe opened this very device, so it is a small number.
            parameters = parameters.with_main_gpu(ordinal as i32);
        }
        let parameters = parameters.with_progress_callback(move |share| told(share));
        let model = Arc::new(open(file, &parameters).map_err(|error| match progress(1.0) {
            true => error,
            false => EngineError::Abandoned,
        })?);
        let context_length = options.context_for(&file.facts);
        let tokens = u32::try_from(context_length).unwrap_or(u32::MAX);
        let batch = u32::try_from(options.batch).unwrap_or(u32::MAX);
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(std::num::NonZeroU32::new(tokens))
            .with_n_batch(batch)
            .with_n_ubatch(batch)
            .with_n_seq_max(1)
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        // SAFETY: the model lives in an `Arc` that this struct keeps until after the context is dropped, and `Arc`
        // never moves what it holds.
        let borrowed: &'static LlamaModel = unsafe { &*Arc::as_ptr(&model) };
        let context = borrowed
            .new_context(backend, parameters)
            .map_err(failed("making a context"))?;
        Ok(Self {
            context,
            batch: LlamaBatch::new(options.batch, 1),
            model,
            context_length,
            batch_tokens: options.batch,
        })
    }
}

impl Engine for LlamaCpp {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(Vocabulary(Arc::clone(&self.model)))
    }

    fn context_length(&self) -> usize {
        self.context_length
    }

    fn batch(&self) -> usize {
        self.batch_tokens
    }

    fn truncate(&mut self, tokens: usize) -> Result<usize, EngineError> {
        let from = u32::try_from(tokens).map_err(failed("forgetting tokens"))?;
        let forgotten = self
            .context
            .clear_kv_cache_seq(Some(SEQUENCE as u32), Some(from), None)
            .map_err(failed("forgetting tokens"))?;
        if forgotten {
            return Ok(tokens);
        }
        // Recurrent models keep one state for the whole sequence.
        self.context.clear_kv_cache();
        Ok(0)
    }

    fn forward(&mut self, tokens: &[u32], position: usize, logits: Option<&mut Vec<f32>>) -> Result<(), EngineError> {
        self.batch.clear();
        for (index, &token) in tokens.iter().enumerate() {
            let at = i32::try_from(position + index).map_err(failed("placing a token"))?;
            let scored = logits.is_some() && index + 1 == tokens.len();
            self.batch
                .add(LlamaToken(token as i32), at, &[SEQUENCE], scored)
                .map_err(failed("filling a batch"))?;
        }
        self.context
            .decode(&mut self.batch)
            .map_err(failed("computing a batch"))?;
        if let Some(logits) = logits {
            let scores = self.context.get_logits_ith(self.batch.n_tokens() - 1);
            logits.clear();
            logits.extend_from_slice(scores);
        }
        Ok(())
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
