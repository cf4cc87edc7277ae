//! whisper.cpp through whisper-rs.
//!
//! The recipe was measured on two cores. Whisper always looks at 30 s; `audio_ctx` fitted to the clip makes a short
//! question five times as fast, but below 384 positions (7.7 s) it mishears, and sometimes it loops. Flash attention pads
//! what it looks at and is slower here; so are weights in eight bits (ADR 0017). Temperature stays at 0 without fallback:
//! warmer decodes make inventions look confident. One segment without timestamps: cutting is done by voice activity, which
//! knows better when somebody spoke.
//!
//! Its matrix products are llamafile's (`GGML_LLAMAFILE` in `.cargo/config.toml`): without them clips of 3 to
//! 7 s take 1.8 times as long.
//!
//! The abort callback is the raw one: whisper-rs's closure variant reads its closure through a pointer of the wrong type.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use solo_audio::pcm;
use solo_service::{CancelToken, StartupError};
use whisper_rs::whisper_rs_sys::{self, ggml_log_level};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError, WhisperState, WhisperToken,
};

use crate::config::Config;

use super::{Decoded, EngineError, EngineInfo, Request, SpeechToText, Task, Word};

/// Positions of the encoder for one second of audio.
const POSITIONS_PER_SECOND: usize = 50;
/// Fewer positions make the model mishear.
const MIN_AUDIO_CTX: usize = 384;
/// Positions beyond the end of the audio, so that the last word is not at the edge.
const AUDIO_CTX_MARGIN: usize = 64;
/// The model's whole window.
const FULL_AUDIO_CTX: usize = 1_500;
/// Shorter audio is filled up with silence: the model answers nonsense to less.
const MIN_SAMPLES: usize = 17_600;
/// Tokens of one segment that are no text.
const TIMESTAMPS: usize = 8;
/// Half of the decoder's context, less a token, is what whisper.cpp lets a prompt have.
const MAX_PROMPT_TOKENS: usize = 223;
/// A detected language counts from this probability; below, the clip is too short or too noisy to tell.
const MIN_LANGUAGE_PROBABILITY: f32 = 0.5;

/// A loaded model.
pub(super) struct Whisper {
    context: Arc<WhisperContext>,
    state: WhisperState,
    threads: c_int,
    info: EngineInfo,
    /// Where the model cannot tell the language.
    default_language: String,
    /// Parameters by language, because whisper-rs leaks the language's C string each time that it is set.
    parameters: HashMap<&'static str, FullParams<'static, 'static>>,
}

impl Whisper {
    /// Loads a ggml file and decodes a second of silence, so that the first caller does not pay for first touches.
    pub(super) fn load(config: &Config, path: &Path, threads: usize) -> Result<Self, StartupError> {
        log_to_tracing();
        let model = config.model.clone();
        let default_language = if config.language.is_empty() {
            "en"
        } else {
            &config.language
        }
        .to_lowercase();
        let mut parameters = WhisperContextParameters::new();
        parameters.use_gpu(false).flash_attn(false);
        let damaged = |error: WhisperError| StartupError::MissingModel {
            message: format!(
                "model \"{model}\" cannot be loaded from {} ({error}): the file is damaged or no whisper.cpp model; run \
                 `solo models rm {model}` and `solo models pull {model}`",
                path.display()
            ),
        };
        let context = WhisperContext::new_with_params(path, parameters).map_err(damaged)?;
        let state = context.create_state().map_err(StartupError::other)?;
        let languages = if context.is_multilingual() {
            (0..=whisper_rs::get_lang_max_id())
                .filter_map(whisper_rs::get_lang_str)
                .map(str::to_owned)
                .collect()
        } else {
            vec!["en".to_owned()]
        };
        let info = EngineInfo {
            engine: "whisper",
            model,
            languages,
        };
        let threads = c_int::try_from(threads.max(1)).unwrap_or(c_int::MAX);
        let mut engine = Self {
            context: Arc::new(context),
            state,
            threads,
            info,
            default_language,
            parameters: HashMap::new(),
        };
        let silence = Request {
            samples: vec![0; MIN_SAMPLES],
            language: Some("en".into()),
            max_tokens: Some(1),
            ..Request::default()
        };
        engine
            .transcribe(&silence, &CancelToken::new())
            .map_err(StartupError::other)?;
        Ok(engine)
    }

    /// The language of `samples`, or the configured one where the model is unsure.
    fn detect(&mut self, samples: &[f32]) -> Result<String, EngineError> {
        if !self.info.multilingual() {
            return Ok("en".into());
        }
        let threads = self.threads as usize;
        self.state.pcm_to_mel(samples, threads)?;
        let (id, probabilities) = self.state.lang_detect(0, threads)?;
        let language = whisper_rs::get_lang_str(id).unwrap_or_default();
        let probability = usize::try_from(id)
            .ok()
            .and_then(|id| probabilities.get(id))
            .copied()
            .unwrap_or(0.0);
        tracing::debug!(language, probability, "language detected");
        let sure = probability >= MIN_LANGUAGE_PROBABILITY;
        Ok(if sure { language } else { &self.default_language }.to_owned())
    }

    fn parameters(&mut self, language: &str) -> FullParams<'static, 'static> {
        // The model's own string lives for ever; an unknown language was refused at the border.
        let language = whisper_rs::get_lang_id(language)
            .and_then(whisper_rs::get_lang_str)
            .unwrap_or("en");
        let threads = self.threads;
        let make = || {
            let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
            parameters.set_language(Some(language));
            parameters.set_n_threads(threads);
            parameters.set_no_context(true);
            parameters.set_single_segment(true);
            parameters.set_temperature(0.0);
            parameters.set_temperature_inc(0.0);
            parameters.set_suppress_nst(true);
            parameters.set_print_progress(false);
            parameters.set_print_realtime(false);
            parameters.set_print_special(false);
            parameters.set_print_timestamps(false);
            parameters
        };
        self.parameters.entry(language).or_insert_with(make).clone()
    }

    fn prompt(&self, text: &str) -> Result<Vec<c_int>, EngineError> {
        // A C string ends at its first zero byte.
        let text = text.replace('\0', " ");
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        // A token is at least one byte.
        let tokens = self.context.tokenize(&format!(" {}", text.trim()), text.len() + 8)?;
        Ok(tokens[tokens.len().saturating_sub(MAX_PROMPT_TOKENS)..].to_vec())
    }

    fn decoded(&self, language: String, word_times: bool) -> Decoded {
        let end_of_text = self.context.token_eot();
        let mut decoded = Decoded {
            language,
            ..Decoded::default()
        };
        let mut text = Vec::new();
        let mut words = Words::default();
        let (mut logprobs, mut probabilities) = (0.0, 0.0);
        for segment in self.state.as_iter() {
            decoded.no_speech_prob = decoded.no_speech_prob.max(segment.no_speech_probability());
            let tokens = (0..segment.n_tokens()).filter_map(|index| segment.get_token(index));
            for token in tokens.filter(|token| token.token_id() < end_of_text) {
                let data = token.token_data();
                decoded.tokens += 1;
                logprobs += data.plog;
                probabilities += data.p;
                let bytes = token.to_bytes().unwrap_or_default();
                text.extend_from_slice(bytes);
                if word_times {
                    words.push(&token, bytes);
                }
            }
        }
        if decoded.tokens > 0 {
            decoded.avg_logprob = logprobs / decoded.tokens as f32;
            decoded.confidence = probabilities / decoded.tokens as f32;
        }
        // Tokens may cut a character in two; only the whole is UTF-8.
        decoded.text = String::from_utf8_lossy(&text).trim().to_owned();
        decoded.words = words.finish();
        decoded
    }
}

impl SpeechToText for Whisper {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn transcribe(&mut self, request: &Request, cancel: &CancelToken) -> Result<Decoded, EngineError> {
        let mut samples = pcm::to_f32(&request.samples);
        samples.resize(samples.len().max(MIN_SAMPLES), 0.0);
        let language = match &request.language {
            Some(language) => language.clone(),
            None => self.detect(&samples)?,
        };
        let prompt = self.prompt(&request.prompt)?;
        let mut parameters: FullParams<'_, '_> = self.parameters(&language);
        if !prompt.is_empty() {
            parameters.set_tokens(&prompt);
        }
        let audio_ctx = if request.full_window {
            FULL_AUDIO_CTX
        } else {
            audio_ctx(samples.len())
        };
        parameters.set_audio_ctx(audio_ctx as c_int);
        parameters.set_translate(request.task == Task::Translate);
        parameters.set_no_timestamps(!request.word_times);
        parameters.set_token_timestamps(request.word_times);
        // Timestamps are tokens too.
        let max_tokens = request.max_tokens.map(|tokens| tokens + TIMESTAMPS);
        parameters.set_max_tokens(max_tokens.and_then(|tokens| tokens.try_into().ok()).unwrap_or(0));
        // SAFETY: the flag outlives `full`, which is the only one to call back, and `aborted` expects just this type.
        unsafe {
            parameters.set_abort_callback(Some(aborted));
            parameters.set_abort_callback_user_data(std::ptr::from_ref(cancel.as_flag()).cast_mut().cast());
        }
        let outcome = self.state.full(parameters, &samples);
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        outcome?;
        Ok(self.decoded(language, request.word_times))
    }

    fn another(&self) -> Result<Option<Box<dyn SpeechToText + Send>>, EngineError> {
        Ok(Some(Box::new(Self {
            context: Arc::clone(&self.context),
            state: self.context.create_state()?,
            threads: self.threads,
            info: self.info.clone(),
            default_language: self.default_language.clone(),
            parameters: HashMap::new(),
        })))
    }
}

/// How many of the encoder's positions to look at for so many samples.
fn audio_ctx(samples: usize) -> usize {
    let positions = samples * POSITIONS_PER_SECOND / 16_000 + AUDIO_CTX_MARGIN;
    positions.next_multiple_of(32).clamp(MIN_AUDIO_CTX, FULL_AUDIO_CTX)
}

unsafe extern "C" fn aborted(flag: *mut c_void) -> bool {
    // SAFETY: `transcribe` passes a pointer to an AtomicBool that outlives the call.
    unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Acquire)
}

/// Puts tokens together to words: one begins where a token begins with a space.
#[derive(Default)]
struct Words {
    done: Vec<Word>,
    bytes: Vec<u8>,
    start_ms: u64,
    end_ms: u64,
    probability: f32,
    tokens: usize,
}

impl Words {
    fn push(&mut self, token: &WhisperToken<'_, '_>, bytes: &[u8]) {
        let data = token.token_data();
        let ms = |centiseconds: i64| u64::try_from(centiseconds).unwrap_or(0) * 10;
        if bytes.first() == Some(&b' ') {
            self.end_word();
        }
        if self.tokens == 0 {
            self.start_ms = ms(data.t0);
        }
        self.end_ms = ms(data.t1).max(self.start_ms);
        self.probability += data.p;
        self.tokens += 1;
        self.bytes.extend_from_slice(bytes);
    }

    fn end_word(&mut self) {
        let text = String::from_utf8_lossy(&self.bytes).trim().to_owned();
        if !text.is_empty() {
            let probability = self.probability / self.tokens as f32;
            self.done.push(Word {
                text,
                start_ms: self.start_ms,
                end_ms: self.end_ms,
                probability,
            });
        }
        (self.tokens, self.probability) = (0, 0.0);
        self.bytes.clear();
    }

    fn finish(mut self) -> Vec<Word> {
        self.end_word();
        self.done
    }
}

/// whisper.cpp's and ggml's lines, one level more quietly than they think: their "info" is our "debug".
fn log_to_tracing() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback is a plain function and needs no user data.
    ONCE.call_once(|| unsafe {
        whisper_rs_sys::whisper_log_set(Some(log_line), std::ptr::null_mut());
        whisper_rs_sys::ggml_log_set(Some(log_line), std::ptr::null_mut());
    });
}

unsafe extern "C" fn log_line(level: ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: both libraries hand over a string that ends in a zero byte and lives until the callback returns.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim();
    if line.is_empty() {
        return;
    }
    match level {
        whisper_rs_sys::ggml_log_level_GGML_LOG_LEVEL_ERROR => tracing::error!(target: "whisper.cpp", "{line}"),
        whisper_rs_sys::ggml_log_level_GGML_LOG_LEVEL_WARN => tracing::warn!(target: "whisper.cpp", "{line}"),
        whisper_rs_sys::ggml_log_level_GGML_LOG_LEVEL_INFO => tracing::debug!(target: "whisper.cpp", "{line}"),
        _ => tracing::trace!(target: "whisper.cpp", "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_fits_the_clip_but_is_never_too_small_or_too_large() {
        assert_eq!(audio_ctx(0), 384);
        assert_eq!(audio_ctx(3 * 16_000), 384);
        assert_eq!(audio_ctx(7 * 16_000), 416);
        assert_eq!(audio_ctx(10 * 16_000), 576);
        assert_eq!(audio_ctx(28 * 16_000), 1_472);
        assert_eq!(audio_ctx(300 * 16_000), 1_500);
    }
}
