//! The servers that answer in place of an engine of this process: which there are, and what is known of their models.
//!
//! They keep their models, queues and prefixes to themselves. What this service adds is what it knows of the request: the
//! model of requests that name none, the most tokens of an answer, the largest prompt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_service::{ErrorCode, ServiceError, StartupError};

use crate::backend::error::{ApiKey, Problem, RemoteError};
use crate::backend::ollama::Ollama;
use crate::backend::openai::{OpenAi, same_model};
use crate::backend::{Answer, Backend};
use crate::chat::{Message, Tool};
use crate::config::Config;
use crate::engine::EngineKind;
use crate::error::Error;
use crate::llm::{Described, Generation, Input};

/// How often start-up looks whether a server answers.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The servers that configuration names.
#[derive(Default)]
pub struct Remotes {
    openai: Option<Remote>,
    ollama: Option<Remote>,
}

struct Remote {
    backend: Arc<dyn Backend>,
    context_length: usize,
    start_timeout: Duration,
}

impl Remotes {
    /// The servers that are enabled, and the one that is the `default` engine. `environment` gives a variable's value.
    ///
    /// # Errors
    /// When a key's variable is not set, or an address or key cannot be used.
    pub fn new(
        config: &Config,
        default: Option<EngineKind>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartupError> {
        let key = |engine: EngineKind, variable: &str| -> Result<Option<ApiKey>, StartupError> {
            if variable.is_empty() {
                return Ok(None);
            }
            let value = environment(variable).map(|value| value.trim().to_owned());
            let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
                StartupError::Config(format!(
                    "llm.{engine}.api_key_env names the environment variable {variable}, which is not set: set it, or \
                     leave the key empty for a server that wants none"
                ))
            })?;
            Ok(Some(ApiKey::new(value)))
        };
        let unusable = |error: Error| StartupError::Config(error.to_string());
        let mut remotes = Self::default();
        let (openai, ollama) = (&config.openai, &config.ollama);
        if openai.enabled || default == Some(EngineKind::OpenAi) {
            let key = key(EngineKind::OpenAi, &openai.api_key_env)?;
            remotes.openai = Some(Remote {
                backend: Arc::new(OpenAi::new(openai.clone(), key).map_err(unusable)?),
                context_length: openai.context_length,
                start_timeout: openai.limits.start_timeout(),
            });
        }
        if ollama.enabled || default == Some(EngineKind::Ollama) {
            let key = key(EngineKind::Ollama, &ollama.api_key_env)?;
            remotes.ollama = Some(Remote {
                backend: Arc::new(Ollama::new(ollama.clone(), key).map_err(unusable)?),
                context_length: ollama.context_length,
                start_timeout: ollama.limits.start_timeout(),
            });
        }
        Ok(remotes)
    }

    /// Waits until the server of the default engine has answered once.
    ///
    /// # Errors
    /// When it does not within the configured time, or an Ollama server has not the configured model.
    pub(super) async fn ready(&self, engine: EngineKind, model: &str) -> Result<(), StartupError> {
        let remote = self.get(engine)?;
        let until = Instant::now() + remote.start_timeout;
        let offered = loop {
            match remote.backend.models().await {
                Ok(offered) => break offered,
                Err(error) => {
                    let passing = matches!(error.code(), ErrorCode::Unavailable | ErrorCode::ResourceExhausted);
                    if !passing || Instant::now() + LOOK_AGAIN >= until {
                        return Err(error.into());
                    }
                    tracing::info!(%engine, %error, "the server does not answer yet");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        };
        if offered.iter().any(|offered| same_model(offered, model)) {
            return Ok(());
        }
        let offered = offered.join(", ");
        if engine == EngineKind::Ollama {
            return Err(StartupError::MissingModel {
                message: format!(
                    "the ollama server has no model \"{model}\": run `ollama pull {model}`, or set llm.model to one that \
                     it has ({offered})"
                ),
            });
        }
        // Servers of one model, like llama.cpp's, list it under another name and answer to any.
        tracing::warn!(%engine, model, offered, "the server does not list the configured model");
        Ok(())
    }

    /// Answers on a server.
    ///
    /// # Errors
    /// [`Error::PromptTooLarge`], and whatever the server says before the answer begins.
    pub(super) async fn generate(
        &self,
        engine: EngineKind,
        mut request: Generation,
        default_model: &str,
        config: &Config,
    ) -> Result<Answer, Error> {
        let remote = self.get(engine)?;
        let (bytes, limit) = (request.input.bytes(), config.max_prompt_bytes);
        if bytes > limit {
            return Err(Error::PromptTooLarge { bytes, limit });
        }
        if request.model.is_empty() {
            default_model.clone_into(&mut request.model);
        }
        if request.max_tokens == 0 {
            request.max_tokens = config.max_tokens;
        }
        request.max_tokens = request.max_tokens.min(remote.context_length);
        remote.backend.generate(request).await
    }

    /// A model of a server.
    ///
    /// # Errors
    /// When the server does not answer, or has not the model.
    pub(super) async fn describe(&self, engine: EngineKind, model: &str, default: &str) -> Result<Described, Error> {
        let remote = self.get(engine)?;
        let offered = remote.backend.models().await?;
        if model != default && !offered.iter().any(|offered| same_model(offered, model)) {
            let problem = Problem::UnknownModel {
                url: format!("llm.{engine}.base_url"),
                model: model.to_owned(),
                offered: offered.join(", "),
            };
            return Err(RemoteError::new(engine, problem).into());
        }
        Ok(remote.described(engine, model.to_owned()))
    }

    /// All models: those of the default engine's server first, the configured one before all, then the local ones, then
    /// those of other servers. A server that is no default and does not answer is left out, and the log says so.
    ///
    /// # Errors
    /// When the default engine's server does not answer.
    pub(super) async fn list(
        &self,
        default: Option<EngineKind>,
        model: &str,
        local: Vec<Described>,
    ) -> Result<Vec<Described>, Error> {
        let (mut all, mut others) = (Vec::new(), Vec::new());
        for engine in [EngineKind::OpenAi, EngineKind::Ollama] {
            let Ok(remote) = self.get(engine) else { continue };
            let offered = match remote.backend.models().await {
                Ok(offered) => offered,
                Err(error) if Some(engine) == default => return Err(error),
                Err(error) => {
                    tracing::warn!(%engine, %error, "the server's models are left out of the list");
                    continue;
                }
            };
            let described = offered.into_iter().map(|id| remote.described(engine, id));
            if Some(engine) == default {
                all = described.collect();
                all.sort_by_key(|described| !same_model(&described.id, model));
            } else {
                others.extend(described);
            }
        }
        // Where a server is the default, the configured model is its own, not one of the local files.
        all.extend(local.into_iter().filter(|local| default.is_none() || local.id != model));
        all.extend(others);
        Ok(all)
    }

    /// Tokens that a server's models hold, as configured.
    ///
    /// # Errors
    /// When the engine is not enabled.
    pub(super) fn context_length(&self, engine: EngineKind) -> Result<usize, Error> {
        Ok(self.get(engine)?.context_length)
    }

    fn get(&self, engine: EngineKind) -> Result<&Remote, Error> {
        let remote = match engine {
            EngineKind::OpenAi => &self.openai,
            EngineKind::Ollama => &self.ollama,
            EngineKind::LlamaCpp | EngineKind::Candle => &None,
        };
        remote
            .as_ref()
            .ok_or_else(|| RemoteError::new(engine, Problem::NotEnabled(engine)).into())
    }
}

impl Remote {
    fn described(&self, engine: EngineKind, id: String) -> Described {
        Described {
            id,
            file: None,
            context_length: self.context_length,
            kv_bytes_per_token: 0,
            // Whether the model's template knows them is the server's to say, when it is asked.
            supports_tools: true,
            // Ollama lists what it can load, the others what they serve.
            loaded: engine == EngineKind::OpenAi,
            engine,
        }
    }
}

/// About how many tokens messages and tools take in a model that is elsewhere, whose tokenizer is not to be had: a token
/// for every three bytes of ASCII, one for every other character, and what templates put around a message. That is more
/// than English takes in any model of today (about four bytes a token), so that who goes by it rarely sends too much.
pub fn estimate(input: &Input, tools: &[Tool]) -> usize {
    const ANSWER: usize = 16;
    const MESSAGE: usize = 8;
    const TOOL: usize = 16;
    let said = match input {
        Input::Raw(prompt) => return text(prompt) + 1,
        Input::Chat(messages) => messages
            .iter()
            .map(|message| MESSAGE + of_message(message))
            .sum::<usize>(),
    };
    let offered = tools
        .iter()
        .map(|tool| TOOL + text(&tool.name) + text(&tool.description) + text(&tool.parameters.to_string()));
    ANSWER + said + offered.sum::<usize>()
}

fn of_message(message: &Message) -> usize {
    let calls = message
        .tool_calls
        .iter()
        .map(|call| text(&call.id) + text(&call.name) + text(&call.arguments.to_string()));
    text(&message.content) + text(&message.tool_call_id) + calls.sum::<usize>()
}

fn text(text: &str) -> usize {
    let (ascii, other) = text.chars().fold((0_usize, 0_usize), |(ascii, other), character| {
        if character.is_ascii() {
            (ascii + 1, other)
        } else {
            (ascii, other + 1)
        }
    });
    ascii.div_ceil(3) + other
}
