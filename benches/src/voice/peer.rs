//! The Python stack (`benches/peers/voice`): one warm process that several callers share, driven through its standard streams.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use solo_audio::pcm;
use solo_testkit::fixtures::require_model;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{LLM, THREADS, defaults};
use crate::process::{self, HUGE_PAGES, tied};

/// What it says, and when that was here.
#[derive(Debug)]
pub struct News {
    /// When.
    pub at: Instant,
    /// What.
    pub said: Said,
}

/// What the Python stack says.
#[derive(Debug)]
pub enum Said {
    /// Somebody has been silent for 500 ms.
    Ended,
    /// What was said.
    Final(String),
    /// The model's first token.
    FirstToken,
    /// The reply's first sentence.
    FirstSentence,
    /// Speech.
    Audio {
        /// In Hz.
        rate: u32,
        /// One channel.
        samples: Vec<i16>,
    },
    /// The end: the reply, or the transcript that was asked for.
    Done(String),
}

type Routes = Arc<Mutex<HashMap<u64, mpsc::UnboundedSender<News>>>>;

/// The running process. Dropping it ends it.
pub struct Peer {
    child: Child,
    input: Arc<Mutex<ChildStdin>>,
    routes: Routes,
    callers: std::cell::Cell<u64>,
}

impl Peer {
    /// Starts it and waits until its models are loaded and warm.
    ///
    /// # Panics
    /// When it is not installed, or ends instead.
    pub async fn start() -> Self {
        let folder = folder();
        let mut command = python(&folder, "peer.py");
        command
            .arg("--vad")
            .arg(require_model("silero-vad", "silero_vad.onnx"))
            .arg("--whisper")
            .arg(folder.join("whisper-base"))
            .arg("--llm")
            .arg(require_model(LLM, "model.gguf"))
            .arg("--voice")
            .arg(require_model("piper-en-us-joe", "voice.onnx"))
            .args(["--threads", &THREADS.to_string()])
            .args(["--system", &defaults::prompt().0])
            .envs(HUGE_PAGES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = tied(&mut command).spawn().expect("Python runs");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = child.stdout.take().expect("its output is a pipe");
        let routes = Routes::default();
        let (ready, is_ready) = oneshot::channel();
        let known = Arc::clone(&routes);
        std::thread::spawn(move || listen(output, &known, ready));
        is_ready.await.expect("the Python stack loads its models");
        Self {
            child,
            input: Arc::new(Mutex::new(input)),
            routes,
            callers: std::cell::Cell::new(0),
        }
    }

    /// A caller of its own.
    pub fn caller(&self) -> Caller {
        let number = self.callers.get() + 1;
        self.callers.set(number);
        let (sender, news) = mpsc::unbounded_channel();
        lock(&self.routes).insert(number, sender);
        Caller {
            number,
            input: Arc::clone(&self.input),
            routes: Arc::clone(&self.routes),
            news,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One who talks to it. Dropping it cancels whatever runs for it.
pub struct Caller {
    number: u64,
    input: Arc<Mutex<ChildStdin>>,
    routes: Routes,
    news: mpsc::UnboundedReceiver<News>,
}

impl Caller {
    /// Opens a microphone; with `replies` each utterance is answered.
    pub fn open(&self, replies: bool) {
        let (system, max_tokens) = defaults::prompt();
        self.send(json!({"op": "open", "system": system, "max_tokens": max_tokens, "reply": replies}));
    }

    /// Hands samples over.
    pub fn hear(&self, samples: &[i16]) {
        self.send(json!({"op": "audio", "data": STANDARD.encode(pcm::to_s16le(samples))}));
    }

    /// Asks for the words of a recording.
    pub fn transcribe(&self, samples: &[i16]) {
        self.send(json!({"op": "transcribe", "data": STANDARD.encode(pcm::to_s16le(samples))}));
    }

    /// Asks for speech.
    pub fn speak(&self, text: &str) {
        self.send(json!({"op": "speak", "text": text}));
    }

    /// What is said next.
    ///
    /// # Panics
    /// When the process has ended.
    pub async fn next(&mut self) -> News {
        self.news.recv().await.expect("the Python stack runs")
    }

    fn send(&self, mut message: Value) {
        message["session"] = self.number.into();
        let mut input = lock(&self.input);
        writeln!(input, "{message}")
            .and_then(|()| input.flush())
            .expect("the Python stack listens");
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        lock(&self.routes).remove(&self.number);
        let message = json!({"op": "close", "session": self.number});
        // A process that has ended has nothing to cancel.
        let _ = writeln!(lock(&self.input), "{message}");
    }
}

/// Where the stack is installed.
///
/// # Panics
/// When it is not.
pub fn folder() -> PathBuf {
    let folder = process::peers().expect("HOME or XDG_CACHE_HOME is set").join("voice");
    assert!(
        folder.join("installed.txt").exists(),
        "the Python stack is not installed ({}): run `benches/peers/setup.sh voice`",
        folder.display()
    );
    folder
}

/// A script of the stack, run by its own Python, which leaves nothing beside it.
pub fn python(folder: &Path, script: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/voice").join(script);
    let mut command = Command::new(folder.join("venv/bin/python"));
    command.arg("-B").arg(script);
    command
}

/// Takes the time of each line, and hands it to whom it is for. What cannot be understood ends it, and with it every caller's
/// turn.
fn listen(output: ChildStdout, routes: &Routes, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    for line in BufReader::new(output).lines() {
        let at = Instant::now();
        let Ok(line) = line else { break };
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        if message["event"] == "ready" {
            if let Some(ready) = ready.take() {
                // Who no longer waits has given up.
                let _ = ready.send(());
            }
            continue;
        }
        let Some(said) = said(&message) else {
            eprintln!("the Python stack: {line}");
            break;
        };
        let number = message["session"].as_u64().unwrap_or_default();
        if let Some(caller) = lock(routes).get(&number) {
            // Who has just gone does not listen.
            let _ = caller.send(News { at, said });
        }
    }
    lock(routes).clear();
}

/// `None`: it failed, or says what nobody understands.
fn said(message: &Value) -> Option<Said> {
    let text = || message["text"].as_str().map(str::to_owned);
    Some(match message["event"].as_str()? {
        "ended" => Said::Ended,
        "final" => Said::Final(text()?),
        "first_token" => Said::FirstToken,
        "first_sentence" => Said::FirstSentence,
        "audio" => Said::Audio {
            rate: message["rate"].as_u64()?.try_into().ok()?,
            samples: pcm::from_s16le(&STANDARD.decode(message["data"].as_str()?).ok()?).ok()?,
        },
        "done" => Said::Done(text()?),
        _ => return None,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
