//! What answers a request: an engine in this process, or a server somewhere else.
//!
//! A backend is asynchronous and takes one request at a time; how requests share an engine is its own business. Local
//! engines stand behind [`crate::llm::Llm`]'s scheduler. Remote ones are below: [`openai`] and [`ollama`] know what their
//! servers are told and what they say, as pure functions ([`openai::decode`], [`ollama::decode`]) between a
//! [`crate::llm::Generation`] and [`piece::Piece`]s; [`http`] knows how to ask a server, how long to wait for it and when to
//! ask again; [`answer`] makes an answer of the pieces.

use futures::stream::BoxStream;

use crate::error::Error;
use crate::llm::{Answered, Generation};

pub mod answer;
pub mod error;
pub mod framing;
pub mod http;
pub mod ollama;
pub mod openai;
pub mod piece;
pub mod refusal;
pub mod settings;

/// An answer while it is made; ends after as many [`Answered::Finished`] as were wanted, or after an error. Dropping it
/// stops the work.
pub type Answer = BoxStream<'static, Result<Answered, Error>>;

/// A server that answers in this service's stead.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Answers.
    ///
    /// # Errors
    /// Whatever can be told before the answer begins.
    async fn generate(&self, request: Generation) -> Result<Answer, Error>;

    /// The ids of the models that it offers.
    ///
    /// # Errors
    /// When it does not answer.
    async fn models(&self) -> Result<Vec<String>, Error>;
}
