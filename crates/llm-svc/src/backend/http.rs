//! Asking a server over HTTP: where it is, who asks, how long to wait, when to ask again, and what its refusals mean.
//!
//! Requests go to the configured address and nowhere else: no redirect is followed and no proxy of the environment is
//! used, because what they carry is private. They are sent again only while nothing of the answer has come, so that no
//! text is ever made twice. Dropping a response closes its connection, which is how these servers learn that nobody
//! listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use serde_json::Value;
use solo_service::error::chain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::backend::error::{ApiKey, Problem, RemoteError};
use crate::backend::refusal::{classify, words};
use crate::backend::settings::{Limits, in_the_clear, parse_base_url};
use crate::engine::EngineKind;
use crate::error::Error;

/// The most bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 << 10;
/// The most bytes of a list of models.
const MAX_LIST: usize = 8 << 20;
/// The most characters of a server's own words that are repeated.
const MAX_WORDS: usize = 600;
/// What a list of models may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a server's `Retry-After` is obeyed; what is longer is told to the caller.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A server.
pub struct Http {
    engine: EngineKind,
    client: Client,
    base: String,
    key: Option<ApiKey>,
    key_env: String,
    limits: Limits,
    running: Arc<Semaphore>,
}

/// A response that begins well.
pub struct Accepted {
    /// The response; its body has not been read.
    pub response: Response,
    /// When it was asked for.
    pub asked: Instant,
    /// Until when the first token may come.
    pub first_until: tokio::time::Instant,
    /// The request's place among those that may run.
    pub permit: OwnedSemaphorePermit,
}

impl Http {
    /// A server at `base_url`, which is told `key`. `key_env` is the variable that the key came from, for remedies.
    ///
    /// # Errors
    /// When the address or the key is none, or this machine's certificates cannot be read.
    pub fn new(
        engine: EngineKind,
        base_url: &str,
        key_env: &str,
        key: Option<ApiKey>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let unusable = |what: String| RemoteError::unsupported(engine, what);
        let url = parse_base_url(base_url).map_err(|problem| unusable(format!("llm.{engine}.base_url: {problem}")))?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let mut value = value.map_err(|_| {
                unusable(format!(
                    "the environment variable {key_env} holds characters that no key can have"
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
            if in_the_clear(&url) {
                tracing::warn!(%engine, "the API key goes over the network unencrypted: use https:// if the server can");
            }
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(limits.connect_timeout())
            .default_headers(headers)
            .build()
            .map_err(|error| unusable(format!("no HTTP client can be made: {}", chain(&error))))?;
        Ok(Self {
            engine,
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            key,
            key_env: key_env.to_owned(),
            limits,
            running: Arc::new(Semaphore::new(limits.max_requests)),
        })
    }

    /// The engine that the server is.
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How patient to be.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// An error of this server.
    pub fn error(&self, problem: Problem) -> Error {
        RemoteError::new(self.engine, problem).into()
    }

    /// Sends a request, again where that may help, until the server takes it, the time for the first token is over or
    /// the caller's `deadline` has passed.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn post(&self, path: &str, body: &Value, deadline: Option<Instant>) -> Result<Accepted, Error> {
        let permit = Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let (engine, limit) = (self.engine, self.limits.max_requests);
            self.error(Problem::Full { engine, limit })
        })?;
        let asked = Instant::now();
        let first_until = asked + self.limits.first_token_timeout();
        let until = deadline.map_or(first_until, |deadline| deadline.min(first_until));
        let mut attempt = 0;
        loop {
            let sent = timeout_at(until.into(), self.once(Method::POST, path, Some(body))).await;
            let problem = match sent {
                Err(_) if deadline == Some(until) => return Err(Error::Deadline),
                Err(_) => return Err(self.error(self.first_token_timed_out())),
                Ok(Ok(response)) => {
                    return Ok(Accepted {
                        response,
                        asked,
                        first_until: first_until.into(),
                        permit,
                    });
                }
                Ok(Err(problem)) => problem,
            };
            let Some(wait) = self.wait(&problem, attempt) else {
                return Err(self.error(problem));
            };
            let again = Instant::now() + wait;
            if again >= until {
                return Err(self.error(problem));
            }
            tracing::debug!(engine = %self.engine, attempt, ?wait, %problem, "the request is sent again");
            tokio::time::sleep_until(again.into()).await;
            attempt += 1;
        }
    }

    /// Reads a document, which must be there at once and not too large.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let read = async {
            let response = self.once(Method::GET, path, None).await?;
            let (bytes, whole) = self.body(response, MAX_LIST).await?;
            if !whole {
                let what = format!("{path} has more than {MAX_LIST} bytes");
                return Err(Problem::Protocol { what });
            }
            serde_json::from_slice(&bytes).map_err(|error| Problem::Protocol {
                what: format!("{path} is no JSON: {error}"),
            })
        };
        match tokio::time::timeout(LIST_TIMEOUT, read).await {
            Ok(result) => result.map_err(|problem| self.error(problem)),
            Err(_) => Err(self.error(Problem::TimedOut {
                url: self.base.clone(),
                what: "list of models",
                after: LIST_TIMEOUT,
                key: format!("is llm.{}.base_url right?", self.engine),
            })),
        }
    }

    /// The first token did not come.
    pub fn first_token_timed_out(&self) -> Problem {
        self.timed_out(
            "first token",
            self.limits.first_token_timeout(),
            "first_token_timeout_s",
        )
    }

    /// The next token did not come.
    pub fn idle_timed_out(&self) -> Problem {
        self.timed_out("further token", self.limits.idle_timeout(), "idle_timeout_s")
    }

    fn timed_out(&self, what: &'static str, after: Duration, key: &str) -> Problem {
        Problem::TimedOut {
            url: self.base.clone(),
            what,
            after,
            key: format!("llm.{}.limits.{key}", self.engine),
        }
    }

    /// How long to wait before the next try; `None`: it would not help, or there were enough.
    fn wait(&self, problem: &Problem, attempt: u32) -> Option<Duration> {
        if attempt >= self.limits.retries {
            return None;
        }
        match problem {
            Problem::Unreachable { .. } => Some(self.limits.backoff(attempt)),
            Problem::Busy { after: None, .. } => Some(self.limits.backoff(attempt)),
            Problem::Busy { after: Some(after), .. } => (*after <= MAX_RETRY_AFTER).then_some(*after),
            _ => None,
        }
    }

    async fn once(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Problem> {
        let url = format!("{}{path}", self.base);
        let request = self.client.request(method, &url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(|error| Problem::Unreachable {
            url: self.base.clone(),
            engine: self.engine,
            cause: chain(&error.without_url()),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(url, response).await)
    }

    async fn refusal(&self, url: String, response: Response) -> Problem {
        let (status, engine) = (response.status(), self.engine);
        let header = |name| response.headers().get(&name).and_then(|value| value.to_str().ok());
        let after = header(RETRY_AFTER)
            .and_then(|text| text.trim().parse::<f64>().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if status.is_redirection() {
            let target = self.sanitize(header(LOCATION).unwrap_or("nowhere"));
            return Problem::Redirect { url, target, engine };
        }
        let words = match self.body(response, MAX_REFUSAL).await {
            Ok((bytes, _)) => self.sanitize(&words(&bytes)),
            Err(problem) => problem.to_string(),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Problem::Unauthorized {
                url: self.base.clone(),
                status: status.as_u16(),
                words,
                remedy: if self.key.is_some() {
                    format!("correct the environment variable {}", self.key_env)
                } else {
                    format!("name the environment variable that holds one in llm.{engine}.api_key_env")
                },
            },
            StatusCode::NOT_FOUND => Problem::NoSuchPath {
                url,
                engine,
                words,
                hint: if engine == EngineKind::OpenAi && !self.base.contains("/v1") {
                    " (such addresses mostly end in /v1)"
                } else {
                    ""
                },
            },
            status => classify(status.as_u16(), words, after),
        }
    }

    /// A server's own words, fit to be repeated: on one line, not too long, and without the key.
    pub fn sanitize(&self, words: &str) -> String {
        let words = match &self.key {
            Some(key) if !key.expose().is_empty() => words.replace(key.expose(), "…"),
            _ => words.to_owned(),
        };
        let words: String = words
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match words.char_indices().nth(MAX_WORDS) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None if words.is_empty() => "it says nothing".to_owned(),
            None => words,
        }
    }

    /// At most `limit` bytes of a body, and whether that is all of it.
    async fn body(&self, response: Response, limit: usize) -> Result<(Vec<u8>, bool), Problem> {
        let (mut bytes, mut stream) = (Vec::new(), response.bytes_stream());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Problem::Broken {
                cause: chain(&error.without_url()),
            })?;
            let room = limit - bytes.len();
            if chunk.len() > room {
                bytes.extend_from_slice(&chunk[..room]);
                return Ok((bytes, false));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, true))
    }
}
