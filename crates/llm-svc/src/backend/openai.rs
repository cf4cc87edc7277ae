//! Servers that speak OpenAI's HTTP interface: vLLM, LM Studio, llama.cpp's own, and OpenAI's.
//!
//! Dialogues go to `/chat/completions`, rendered prompts to `/completions`, always streamed
//! (<https://platform.openai.com/docs/api-reference/chat-streaming>). What the interface leaves open, and servers do each
//! in its own way, is said by configuration: `grammar_style` and `extended_sampling`. Nothing that a caller asked for is
//! left out in silence: what the server has no way to do is refused.
//!
//! What holds for such an engine is what its server makes hold: schemas, seeds and the arguments of tool calls are passed
//! on. Checked here is only that no other tools are called than were offered, and that one is where one must be.

mod body;
mod wire;

use std::sync::Arc;

use serde_json::Value;

use crate::backend::answer::{Framing, answer};
use crate::backend::error::{ApiKey, Problem, RemoteError};
use crate::backend::http::Http;
use crate::backend::settings::{Names, OpenAiConfig};
use crate::backend::{Answer, Backend};
use crate::engine::EngineKind;
use crate::error::Error;
use crate::llm::{Generation, Input};

pub use body::{chat, completion};
pub(crate) use body::{number, small_seed};
pub use wire::decode;
pub(crate) use wire::{Token, score};

/// The most models that a refusal lists.
const MAX_LISTED: usize = 20;

/// A server that speaks OpenAI's interface.
pub struct OpenAi {
    http: Arc<Http>,
    config: OpenAiConfig,
    names: Names,
}

impl OpenAi {
    /// The configured server; `key` is what the environment variable that configuration names holds.
    ///
    /// # Errors
    /// When the address or the key is none.
    pub fn new(config: OpenAiConfig, key: Option<ApiKey>) -> Result<Self, Error> {
        let engine = EngineKind::OpenAi;
        let names = Names::parse(&config.models)
            .map_err(|problem| RemoteError::unsupported(engine, format!("llm.openai.models: {problem}")))?;
        let http = Http::new(engine, &config.base_url, &config.api_key_env, key, config.limits)?;
        Ok(Self {
            http: Arc::new(http),
            config,
            names,
        })
    }
}

#[async_trait::async_trait]
impl Backend for OpenAi {
    async fn generate(&self, request: Generation) -> Result<Answer, Error> {
        let model = self.names.there(&request.model);
        let (path, body) = match &request.input {
            Input::Chat(messages) => ("/chat/completions", chat(&request, messages, model, &self.config)?),
            Input::Raw(prompt) => ("/completions", completion(&request, prompt, model, &self.config)?),
        };
        match self.http.post(path, &body, request.caller.deadline).await {
            Ok(accepted) => Ok(answer(&self.http, &request, accepted, Framing::Sse, decode)),
            Err(error) => Err(explain(&self.http, self, &request.model, model, error).await),
        }
    }

    async fn models(&self) -> Result<Vec<String>, Error> {
        let list = self.http.get("/models").await?;
        let Value::Array(models) = &list["data"] else {
            let what = "/models has no list `data`".to_owned();
            return Err(self.http.error(Problem::Protocol { what }));
        };
        let ids = models.iter().filter_map(|model| model["id"].as_str());
        Ok(ids.map(|id| self.names.here(id).to_owned()).collect())
    }
}

/// A server that refuses a request may not know the model: then it is asked which ones it knows.
///
/// `id` is what the model is called here, `model` what it is called there.
pub(super) async fn explain(http: &Http, backend: &dyn Backend, id: &str, model: &str, error: Error) -> Error {
    let Error::Remote(remote) = &error else { return error };
    let about_the_model = match &remote.problem {
        Problem::NoSuchPath { .. } => true,
        Problem::Refused { words, .. } => words.contains(model),
        _ => false,
    };
    if !about_the_model {
        return error;
    }
    match backend.models().await {
        Ok(models) if !models.iter().any(|offered| same_model(offered, model) || offered == id) => {
            let (count, listed) = (models.len(), models.iter().take(MAX_LISTED));
            let mut offered = listed.map(|name| http.sanitize(name)).collect::<Vec<_>>().join(", ");
            if count == 0 {
                offered.push_str("none");
            } else if count > MAX_LISTED {
                offered.push_str(&format!(" and {} more", count - MAX_LISTED));
            }
            http.error(Problem::UnknownModel {
                url: http.base().to_owned(),
                model: model.to_owned(),
                offered,
            })
        }
        // It knows the model, or does not say: then its first words stand.
        Ok(_) | Err(_) => error,
    }
}

/// True when a server that lists `offered` answers to `asked`: Ollama means `:latest` where no tag is said.
pub(crate) fn same_model(offered: &str, asked: &str) -> bool {
    offered == asked || offered.strip_suffix(":latest") == Some(asked)
}
