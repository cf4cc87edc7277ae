//! The result must work: our own reader takes its header, llama.cpp loads it and computes a step, and all scores are
//! numbers.
//!
//! This speaks llama.cpp's C interface itself: the engine ([`crate::engine`]) owns the process's one safe handle, and what
//! is checked here must not depend on how the engine is set up.

use std::ffi::{CString, c_void};
use std::path::Path;

use llama_cpp_2::LogOptions;
use llama_cpp_sys_2 as sys;
use solo_models::gguf::{Facts, Header};

use super::{Event, QuantizeError, Told};

/// Tokens of the step.
const STEP: u32 = 4;
/// Tokens that there is room for.
const CONTEXT: u32 = 64;

/// Checks a file.
pub(super) fn check(path: &Path, told: Told<'_>) -> Result<(), QuantizeError> {
    let read = Header::open(path).and_then(|header| Facts::of(&header));
    let facts = read.map_err(|reason| QuantizeError::Check(reason.to_string()))?;
    // Any tokens will do; these are spread over the vocabulary, which has at least one.
    let tokens: Vec<u32> = (1..=STEP).map(|i| (facts.vocabulary - 1).min(i * 97)).collect();
    let scores = scores(path, &facts, &tokens, told)?;
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(()),
        Some(token) => Err(QuantizeError::Check(format!(
            "the score of token {token} is {}",
            scores[token]
        ))),
    }
}

/// llama.cpp's scores for what follows `tokens` (1 to 64, each below the vocabulary's size), a number for each token of
/// the vocabulary.
///
/// # Errors
/// [`QuantizeError::Check`] when llama.cpp does not run the file, [`QuantizeError::Interrupted`].
pub fn scores(path: &Path, facts: &Facts, tokens: &[u32], told: Told<'_>) -> Result<Vec<f32>, QuantizeError> {
    if tokens.is_empty() || tokens.len() > CONTEXT as usize || tokens.iter().any(|&token| token >= facts.vocabulary) {
        return Err(QuantizeError::Check("these tokens cannot be computed".into()));
    }
    let name = path.to_str().and_then(|path| CString::new(path).ok());
    let name = name.ok_or_else(|| QuantizeError::Check("its path is no text that llama.cpp can read".into()))?;
    // It writes a hundred lines to standard error otherwise.
    llama_cpp_2::send_logs_to_tracing(LogOptions::default().with_logs_enabled(false));
    crate::ggml::load().map_err(QuantizeError::Check)?;
    step(&name, facts, tokens, told)
}

/// A model of llama.cpp's, freed with this.
struct Model(*mut sys::llama_model);

/// A context over it.
struct Context(*mut sys::llama_context);

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: it was given to this struct alone, and no context is left: those are dropped before.
        unsafe { sys::llama_model_free(self.0) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was given to this struct alone.
        unsafe { sys::llama_free(self.0) }
    }
}

/// Called while the model loads; false stops it.
extern "C" fn loading(_share: f32, told: *mut c_void) -> bool {
    // SAFETY: `step` passes a pointer to its own `told`, which lives until the model is loaded.
    let told = unsafe { &*told.cast::<Told<'_>>() };
    told(Event::Checking)
}

/// The scores after a few tokens.
fn step(path: &CString, facts: &Facts, tokens: &[u32], told: Told<'_>) -> Result<Vec<f32>, QuantizeError> {
    let refused = |what: &str| QuantizeError::Check(format!("llama.cpp {what}"));
    let mut told = told;
    // SAFETY: the path is a C string, `told` outlives the call, and the parameters are llama.cpp's own defaults but for
    // plain values.
    let model = unsafe {
        sys::llama_backend_init();
        let mut parameters = sys::llama_model_default_params();
        parameters.n_gpu_layers = 0;
        parameters.progress_callback = Some(loading);
        parameters.progress_callback_user_data = (&raw mut told).cast();
        sys::llama_model_load_from_file(path.as_ptr(), parameters)
    };
    if model.is_null() {
        return match told(Event::Checking) {
            true => Err(refused("does not load it")),
            false => Err(QuantizeError::Interrupted),
        };
    }
    let model = Model(model);
    // SAFETY: the model is loaded and outlives the context, which is declared after it.
    let context = unsafe {
        let mut parameters = sys::llama_context_default_params();
        parameters.n_ctx = CONTEXT;
        parameters.n_batch = CONTEXT;
        parameters.n_ubatch = CONTEXT;
        sys::llama_init_from_model(model.0, parameters)
    };
    if context.is_null() {
        return Err(refused("makes no context for it"));
    }
    let context = Context(context);
    let mut tokens: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    // SAFETY: the batch points into `tokens`, which outlives the call; its tokens are below the vocabulary's size. The
    // scores of the last token are as many as the vocabulary has tokens, and are copied before anything else is computed.
    unsafe {
        let batch = sys::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
        if sys::llama_decode(context.0, batch) != 0 {
            return Err(refused("cannot compute a step with it"));
        }
        let scores = sys::llama_get_logits_ith(context.0, -1);
        if scores.is_null() {
            return Err(refused("gives no scores"));
        }
        Ok(std::slice::from_raw_parts(scores, facts.vocabulary as usize).to_vec())
    }
}
