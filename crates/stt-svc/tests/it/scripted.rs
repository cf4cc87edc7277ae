//! An engine that says what a test told it to, and stands still where a test wants to look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use solo_service::testing::Harness;
use solo_service::{CancelToken, StartupError};
use stt_svc::{Config, Decoded, EngineError, EngineInfo, Request, SpeechToText};

/// Loudness stands for voice, so that no model is needed.
pub(crate) const CONFIG: &str = "[stt]\nvad = { engine = \"level\", silence_ms = 300 }\nturn_end = { model = \"\" }\n";

/// The test's hand on the engine.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<Decoded>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    held: Arc<AtomicBool>,
    busy: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    languages: Vec<String>,
}

impl Script {
    /// An engine that answers these texts in turn, and "words" after them.
    pub(crate) fn saying(texts: &[&str]) -> Self {
        let answers = texts.iter().map(|text| answer(text, text.split_whitespace().count()));
        Self {
            answers: Arc::new(Mutex::new(answers.collect())),
            languages: vec!["en".into(), "de".into()],
            ..Self::default()
        }
    }

    /// Knows English only.
    pub(crate) fn english_only(mut self) -> Self {
        self.languages = vec!["en".into()];
        self
    }

    /// Adds an answer with so many tokens.
    pub(crate) fn then(self, text: &str, tokens: usize) -> Self {
        self.answers.lock().unwrap().push_back(answer(text, tokens));
        self
    }

    /// From now on the engine stands still in whatever it decodes.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Lets it go on.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// What it was asked.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many decodes were cancelled while they ran.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// True while it decodes.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// A service with this engine.
    pub(crate) async fn serve(&self, overrides: &str) -> Harness {
        self.try_serve(overrides).await.expect("the service starts")
    }

    /// The same, where it may not start.
    pub(crate) async fn try_serve(&self, overrides: &str) -> Result<Harness, StartupError> {
        let engine = self.clone();
        Harness::start(
            stt_svc::DEFINITION,
            &format!("{CONFIG}{overrides}"),
            |config: Config, context| {
                stt_svc::build_with(config, context, || Ok(Box::new(engine) as Box<dyn SpeechToText>))
            },
        )
        .await
    }
}

fn answer(text: &str, tokens: usize) -> Decoded {
    Decoded {
        text: text.into(),
        tokens,
        avg_logprob: -0.1,
        confidence: 0.9,
        ..Decoded::default()
    }
}

impl SpeechToText for Script {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            engine: "scripted",
            model: "whisper-base".into(),
            languages: self.languages.clone(),
        }
    }

    fn transcribe(&mut self, request: &Request, cancel: &CancelToken) -> Result<Decoded, EngineError> {
        self.requests.lock().unwrap().push(request.clone());
        self.busy.fetch_add(1, Ordering::SeqCst);
        // An engine looks at its token between steps; this one has steps of a millisecond.
        while self.held.load(Ordering::SeqCst) && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if cancel.is_cancelled() {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
            return Err(EngineError::Cancelled);
        }
        let next = self.answers.lock().unwrap().pop_front();
        let language = request.language.clone().unwrap_or_else(|| "de".into());
        Ok(Decoded {
            language,
            ..next.unwrap_or_else(|| answer("words", 1))
        })
    }
}
