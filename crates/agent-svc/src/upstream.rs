//! All calls that agent-svc makes: llm-svc writes, memory-svc recalls.
//!
//! Both wait for a service that is starting, bounded by the request's deadline, and are tried once more when it broke
//! before its first message; what that means is `solo_service::client`'s business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{CountTokensRequest, GenerateRequest, GenerateResponse, Sampling};
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{SearchMode, SearchRequest, search_request};
use solo_service::{Context, RequestContext, StartupError, Upstream, UpstreamStream};

use crate::convert;
use crate::dialogue::{Finish, Source, Usage};
use crate::error::Error;
use crate::prompt::Message;

/// The service that writes.
pub const LLM: &str = "llm-svc";
/// The service that recalls.
pub const MEMORY: &str = "memory-svc";

/// Characters of a question that are searched for: memory-svc takes 8,000, and an embedding holds a paragraph.
const QUERY_CHARS: usize = 2000;
/// How long the size of a model's context is believed: llm-svc may be restarted with another configuration.
const CONTEXT_KNOWN_FOR: Duration = Duration::from_secs(30);

/// llm-svc.
#[derive(Clone)]
pub struct Llm {
    upstream: Upstream,
    idle: Duration,
    wait: Duration,
    contexts: Arc<Mutex<HashMap<String, (u32, Instant)>>>,
}

/// How many tokens messages take, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Tokens of the messages, template included.
    pub tokens: u32,
    /// Tokens that the model can hold.
    pub context: u32,
}

/// What is wanted of the model.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Model; empty: the configured one.
    pub model: String,
    /// What it reads.
    pub messages: Vec<Message>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// Temperature.
    pub temperature: f32,
    /// Requests of one dialogue share a prefix.
    pub dialogue: String,
}

/// A piece of what the model says.
#[derive(Debug, Clone, PartialEq)]
pub enum Generated {
    /// It began.
    Started {
        /// Model that answers.
        model: String,
    },
    /// More text.
    Text(String),
    /// It ended.
    Finished {
        /// Why.
        finish: Finish,
        /// What it took.
        usage: Usage,
    },
}

/// An answer while it is written. Dropping it cancels the work in llm-svc.
pub struct Generation(UpstreamStream<GenerateResponse>);

impl Llm {
    /// A client for this service's life.
    pub fn connect(context: &Context, idle: Duration, wait: Duration) -> Result<Self, StartupError> {
        Ok(Self {
            upstream: context.upstream("llm-svc")?,
            idle,
            wait,
            contexts: Arc::default(),
        })
    }

    /// Waits for llm-svc to serve, but not for the whole turn: a person who waits wants to hear that it is gone.
    async fn serving(&self, context: &RequestContext) -> Result<(), Error> {
        let limit = deadline(context, self.idle).min(Instant::now() + self.wait);
        self.upstream.channel(limit).await?;
        Ok(())
    }

    /// Counts the tokens of messages.
    pub async fn count(&self, context: &RequestContext, model: &str, messages: &[Message]) -> Result<Count, Error> {
        self.serving(context).await?;
        let message = CountTokensRequest {
            model: model.to_owned(),
            messages: messages.iter().map(convert::message).collect(),
            tools: Vec::new(),
        };
        let counted = self
            .upstream
            .call(deadline(context, self.idle), |channel| {
                let request = context.request(message.clone());
                async move { LlmServiceClient::new(channel).count_tokens(request).await }
            })
            .await?;
        let entry = (counted.context_length, Instant::now());
        self.contexts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(model.to_owned(), entry);
        Ok(Count {
            tokens: counted.tokens,
            context: counted.context_length,
        })
    }

    /// The size of a model's context, if llm-svc said it lately.
    pub fn known_context(&self, model: &str) -> Option<u32> {
        let contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        contexts
            .get(model)
            .filter(|(_, said)| said.elapsed() < CONTEXT_KNOWN_FOR)
            .map(|(context, _)| *context)
    }

    /// Begins an answer.
    pub async fn generate(&self, context: &RequestContext, ask: Ask) -> Result<Generation, Error> {
        self.serving(context).await?;
        let message = GenerateRequest {
            model: ask.model,
            messages: ask.messages.iter().map(convert::message).collect(),
            sampling: Some(Sampling {
                temperature: Some(ask.temperature),
                ..Sampling::default()
            }),
            max_tokens: ask.max_tokens,
            cache_hint: ask.dialogue,
            ..GenerateRequest::default()
        };
        let stream = self
            .upstream
            .open(deadline(context, self.idle), self.idle, |channel| {
                let request = context.request(message.clone());
                async move { LlmServiceClient::new(channel).generate(request).await }
            })
            .await?;
        Ok(Generation(stream))
    }
}

impl Generation {
    /// The next piece; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Generated>, Error> {
        while let Some(response) = self.0.message().await? {
            if let Some(generated) = convert::generated(response) {
                return Ok(Some(generated));
            }
        }
        Ok(None)
    }
}

/// memory-svc.
#[derive(Clone)]
pub struct Memory {
    upstream: Upstream,
    deadline: Duration,
}

impl Memory {
    /// A client for this service's life.
    pub fn connect(context: &Context, deadline: Duration) -> Result<Self, StartupError> {
        Ok(Self {
            upstream: context.upstream("memory-svc")?,
            deadline,
        })
    }

    /// The pieces nearest to a question, best first, numbered from 1.
    pub async fn search(
        &self,
        context: &RequestContext,
        question: &str,
        limit: u32,
        min_score: f32,
    ) -> Result<Vec<Source>, Error> {
        let context = context.within(self.deadline);
        let message = SearchRequest {
            query: Some(search_request::Query::Text(
                question.chars().take(QUERY_CHARS).collect(),
            )),
            mode: SearchMode::Hybrid.into(),
            limit,
            min_score: Some(min_score),
            explain: true,
            ..SearchRequest::default()
        };
        let found = self
            .upstream
            .call(deadline(&context, self.deadline), |channel| {
                let request = context.request(message.clone());
                async move { MemoryServiceClient::new(channel).search(request).await }
            })
            .await?;
        Ok((1..)
            .zip(found.hits)
            .map(|(number, hit)| convert::source(number, hit))
            .collect())
    }
}

fn deadline(context: &RequestContext, otherwise: Duration) -> Instant {
    context.deadline_or(otherwise)
}
