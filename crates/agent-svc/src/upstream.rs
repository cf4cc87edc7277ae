//! All calls that agent-svc makes: llm-svc writes, memory-svc recalls.
//!
//! Both wait for a service that is starting, bounded by the request's deadline, and are tried once more when it broke
//! before its first message; what that means is `solo_service::client`'s business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{CountTokensRequest, GenerateRequest, GenerateResponse, Sampling};
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{
    ApplyFactsRequest, ForgetRequest, ListFactsRequest, NearFactsRequest, SearchMode, SearchRequest, forget_request,
    search_request,
};
use solo_service::{Context, RequestContext, StartupError, Upstream, UpstreamStream};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

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

impl Llm {
    /// An answer of the likeliest words that satisfies a JSON schema.
    pub async fn structured(
        &self,
        context: &RequestContext,
        messages: Vec<Message>,
        schema: Value,
        max_tokens: u32,
    ) -> Result<Value, Error> {
        self.serving(context).await?;
        let message = GenerateRequest {
            messages: messages.iter().map(convert::message).collect(),
            sampling: Some(Sampling {
                temperature: Some(0.0),
                ..Sampling::default()
            }),
            response_format: Some(convert::json_schema(schema)),
            max_tokens,
            ..GenerateRequest::default()
        };
        let stream = self
            .upstream
            .open(deadline(context, self.idle), self.idle, |channel| {
                let request = context.request(message.clone());
                async move { LlmServiceClient::new(channel).generate(request).await }
            })
            .await?;
        let mut generation = Generation(stream);
        let mut text = String::new();
        while let Some(generated) = generation.next().await? {
            if let Generated::Text(delta) = generated {
                text.push_str(&delta);
            }
        }
        serde_json::from_str(&text).map_err(|error| Error::BadAnswer {
            problem: error.to_string(),
        })
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

/// A fact that memory-svc has.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownFact {
    /// Identifier.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// The statement.
    pub text: String,
    /// Dialogue and turn where it was learnt.
    pub provenance: String,
    /// Cosine similarity to what was asked for; 0 where nothing was.
    pub likeness: f32,
}

/// A change of facts.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new fact.
    Add(String),
    /// A statement takes a fact's place.
    Supersede(KnownFact, String),
    /// A fact no longer holds.
    Retract(KnownFact),
}

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// A fact.
    Fact(String),
    /// Everything of this principal.
    Everything,
}

impl Memory {
    /// Facts that hold, nearest to a text first.
    pub async fn near_facts(&self, context: &RequestContext, text: &str, limit: u32) -> Result<Vec<KnownFact>, Error> {
        let message = NearFactsRequest {
            text: text.to_owned(),
            limit,
        };
        let near = self
            .call(context, message, |mut client, request| async move {
                client.near_facts(request).await
            })
            .await?;
        Ok(near.facts.into_iter().filter_map(convert::near_fact).collect())
    }

    /// Changes facts, all or none.
    pub async fn apply_facts(
        &self,
        context: &RequestContext,
        changes: Vec<Change>,
        provenance: &str,
    ) -> Result<(), Error> {
        let changes = changes
            .into_iter()
            .map(|change| convert::fact_change(change, provenance));
        let message = ApplyFactsRequest {
            changes: changes.collect(),
        };
        self.call(context, message, |mut client, request| async move {
            client.apply_facts(request).await
        })
        .await
        .map(drop)
    }

    /// Facts that hold, newest first, and whether there are more.
    pub async fn list_facts(&self, context: &RequestContext, limit: u32) -> Result<(Vec<KnownFact>, bool), Error> {
        let message = ListFactsRequest {
            page_size: limit,
            ..ListFactsRequest::default()
        };
        let page = self
            .call(context, message, |mut client, request| async move {
                client.list_facts(request).await
            })
            .await?;
        let facts = page.facts.into_iter().map(|fact| convert::known_fact(fact, 0.0));
        Ok((facts.collect(), !page.next_page_token.is_empty()))
    }

    /// Forgets for good; how many facts and documents.
    pub async fn forget(&self, context: &RequestContext, what: Forget) -> Result<(u64, u64), Error> {
        let selector = Some(match what {
            Forget::Fact(id) => forget_request::Selector::FactId(id),
            Forget::Everything => forget_request::Selector::Everything(true),
        });
        let forgotten = self
            .call(context, ForgetRequest { selector }, |mut client, request| async move {
                client.forget(request).await
            })
            .await?;
        Ok((forgotten.facts, forgotten.documents))
    }

    async fn call<M, T, F, Fut>(&self, context: &RequestContext, message: M, mut call: F) -> Result<T, Error>
    where
        M: Clone,
        F: FnMut(MemoryServiceClient<Channel>, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let context = context.within(self.deadline);
        let answer = self
            .upstream
            .call(deadline(&context, self.deadline), |channel| {
                call(MemoryServiceClient::new(channel), context.request(message.clone()))
            })
            .await?;
        Ok(answer)
    }
}

fn deadline(context: &RequestContext, otherwise: Duration) -> Instant {
    context.deadline_or(otherwise)
}
