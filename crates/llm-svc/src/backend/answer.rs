//! From a response to an answer: bytes to events, events to pieces, pieces to what callers hear, each in its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_stream::try_stream;
use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reqwest::Response;
use solo_service::error::chain;
use tokio::time::timeout_at;

use crate::backend::Answer;
use crate::backend::error::{Problem, RemoteError};
use crate::backend::framing::{EventBound, Lines, MAX_EVENT};
use crate::backend::http::{Accepted, Http};
use crate::backend::piece::{Assembly, DecodeError, Piece};
use crate::backend::refusal::classify;
use crate::error::Error;
use crate::llm::{Answered, Generation};

/// Bytes of an answer that any request may have.
const ANSWER_BYTES: usize = 4 << 20;
/// Bytes that a token may add to it: a line of its own, with twenty alternatives.
const TOKEN_BYTES: usize = 16 << 10;

/// How long a server that is done may take to end its response.
const LAST_BREATH: Duration = Duration::from_millis(20);

/// How a body is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// Lines of JSON.
    Ndjson,
}

/// What is understood of one event.
pub type Decode = fn(&str) -> Result<Vec<Piece>, DecodeError>;

/// The answer that a server has begun to give to `request`.
pub fn answer(http: &Arc<Http>, request: &Generation, accepted: Accepted, framing: Framing, decode: Decode) -> Answer {
    let http = Arc::clone(http);
    let engine = http.engine();
    let (model, deadline) = (request.model.clone(), request.caller.deadline);
    let tokens = request.max_tokens.saturating_mul(request.count);
    let budget = tokens.saturating_mul(TOKEN_BYTES).saturating_add(ANSWER_BYTES);
    let mut assembly = Assembly::new(engine, request, accepted.asked);
    let Accepted {
        response,
        asked,
        first_until,
        permit,
    } = accepted;
    let mut events = events(response, framing, budget);
    let told = move |problem| Error::from(RemoteError::new(engine, problem));
    try_stream! {
        // Held until the answer ends or is dropped.
        let _permit = permit;
        yield Answered::Started {
            model,
            engine,
            queued: asked.elapsed(),
            prompt_tokens: 0,
            cached_tokens: 0,
        };
        let (mut begun, mut patient_until) = (false, first_until);
        while !assembly.is_done() {
            let until = deadline.map_or(patient_until, |deadline| patient_until.min(deadline.into()));
            let event = match timeout_at(until, events.next()).await {
                Ok(Some(event)) => event.map_err(told)?,
                Ok(None) => break,
                Err(_) if deadline.is_some_and(|deadline| until == deadline.into()) => Err(Error::Deadline)?,
                Err(_) if begun => Err(told(http.idle_timed_out()))?,
                Err(_) => Err(told(http.first_token_timed_out()))?,
            };
            let pieces = decode(&event).map_err(|error| told(Problem::Protocol { what: error.to_string() }))?;
            let now = Instant::now();
            for piece in pieces {
                begun |= shows(&piece);
                if let Piece::Failed { status, words } = piece {
                    Err(told(classify(status, http.sanitize(&words), None)))?;
                    continue;
                }
                if let Some(answered) = assembly.take(piece, now)? {
                    yield answered;
                }
            }
            if begun {
                patient_until = tokio::time::Instant::now() + http.limits().idle_timeout();
            }
        }
        if assembly.is_done() {
            // A connection whose response was read to its end can be used again. Most servers end it in the same breath;
            // whatever else they say counts no more.
            let _ = tokio::time::timeout(LAST_BREATH, events.next()).await;
        }
        for finished in assembly.finish(Instant::now())? {
            yield finished;
        }
    }
    .boxed()
}

/// True when the piece is a sign that the model works: servers open a stream long before that.
fn shows(piece: &Piece) -> bool {
    match piece {
        Piece::Text { text, tokens, .. } => !text.is_empty() || !tokens.is_empty(),
        Piece::Thinking | Piece::Call { .. } | Piece::End { .. } => true,
        Piece::Usage(_) | Piece::Failed { .. } | Piece::Done => false,
    }
}

/// The events of a body of at most `budget` bytes.
fn events(response: Response, framing: Framing, budget: usize) -> BoxStream<'static, Result<String, Problem>> {
    let mut left = budget;
    let bytes = response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(|error| Problem::Broken {
            cause: chain(&error.without_url()),
        })?;
        left = left.checked_sub(chunk.len()).ok_or_else(|| Problem::Protocol {
            what: format!("its answer has more than {budget} bytes"),
        })?;
        Ok(chunk)
    });
    match framing {
        Framing::Sse => server_sent(bytes.boxed()),
        Framing::Ndjson => lines(bytes.boxed()),
    }
}

fn server_sent(bytes: BoxStream<'static, Result<Bytes, Problem>>) -> BoxStream<'static, Result<String, Problem>> {
    let mut bound = EventBound::new(MAX_EVENT);
    let bounded = bytes.map(move |chunk| {
        let chunk = chunk?;
        bound.check(&chunk).map_err(protocol)?;
        Ok(chunk)
    });
    let events = bounded.eventsource().map(|event| match event {
        Ok(event) => Ok(event.data),
        Err(EventStreamError::Transport(problem)) => Err(problem),
        Err(EventStreamError::Utf8(error)) => Err(protocol(error)),
        // Its text is the rest of the buffer, which may be long.
        Err(EventStreamError::Parser(_)) => Err(protocol("what it sends is no stream of events")),
    });
    events.boxed()
}

fn lines(bytes: BoxStream<'static, Result<Bytes, Problem>>) -> BoxStream<'static, Result<String, Problem>> {
    let whole = |line: Vec<u8>| String::from_utf8(line).map_err(|error| protocol(error.utf8_error()));
    let state = (bytes, Some(Lines::new(MAX_EVENT)));
    let batches = stream::try_unfold(state, |(mut bytes, lines)| async move {
        let Some(mut lines) = lines else { return Ok(None) };
        Ok(Some(match bytes.try_next().await? {
            Some(chunk) => (lines.push(&chunk).map_err(protocol)?, (bytes, Some(lines))),
            None => (lines.finish().into_iter().collect(), (bytes, None)),
        }))
    });
    batches
        .map_ok(move |batch| stream::iter(batch.into_iter().map(whole)))
        .try_flatten()
        .boxed()
}

fn protocol(what: impl ToString) -> Problem {
    Problem::Protocol { what: what.to_string() }
}
