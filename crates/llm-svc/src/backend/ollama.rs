//! Ollama servers.
//!
//! Dialogues go to `/api/chat`, rendered prompts to `/api/generate` with `raw`; both answer in lines of JSON
//! (<https://docs.ollama.com/api>). Ollama gives one answer to a request, lets the model decide about tools, and knows JSON
//! schemas as its only constraint; what goes beyond that is refused. It is told how much context to hold, and not to cut a
//! prompt that does not fit, which it would else do in silence.

mod body;
mod wire;

use std::sync::Arc;

use serde_json::Value;

use crate::backend::answer::{Framing, answer};
use crate::backend::error::{ApiKey, Problem, RemoteError};
use crate::backend::http::Http;
use crate::backend::openai::explain;
use crate::backend::settings::{Names, OllamaConfig};
use crate::backend::{Answer, Backend};
use crate::engine::EngineKind;
use crate::error::Error;
use crate::llm::{Generation, Input};

pub use body::{chat, completion};
pub use wire::decode;

/// An Ollama server.
pub struct Ollama {
    http: Arc<Http>,
    config: OllamaConfig,
    names: Names,
}

impl Ollama {
    /// The configured server; `key` is what the environment variable that configuration names holds.
    ///
    /// # Errors
    /// When the address or the key is none.
    pub fn new(config: OllamaConfig, key: Option<ApiKey>) -> Result<Self, Error> {
        let engine = EngineKind::Ollama;
        let names = Names::parse(&config.models)
            .map_err(|problem| RemoteError::unsupported(engine, format!("llm.ollama.models: {problem}")))?;
        let http = Http::new(engine, &config.base_url, &config.api_key_env, key, config.limits)?;
        Ok(Self {
            http: Arc::new(http),
            config,
            names,
        })
    }
}

#[async_trait::async_trait]
impl Backend for Ollama {
    async fn generate(&self, request: Generation) -> Result<Answer, Error> {
        let model = self.names.there(&request.model);
        let (path, body) = match &request.input {
            Input::Chat(messages) => ("/api/chat", chat(&request, messages, model, &self.config)?),
            Input::Raw(prompt) => ("/api/generate", completion(&request, prompt, model, &self.config)?),
        };
        match self.http.post(path, &body, request.caller.deadline).await {
            Ok(accepted) => Ok(answer(&self.http, &request, accepted, Framing::Ndjson, decode)),
            Err(error) => Err(explain(&self.http, self, &request.model, model, error).await),
        }
    }

    async fn models(&self) -> Result<Vec<String>, Error> {
        let list = self.http.get("/api/tags").await?;
        let Value::Array(models) = &list["models"] else {
            let what = "/api/tags has no list `models`".to_owned();
            return Err(self.http.error(Problem::Protocol { what }));
        };
        let names = models.iter().filter_map(|model| model["name"].as_str());
        Ok(names.map(|name| self.names.here(name).to_owned()).collect())
    }
}
