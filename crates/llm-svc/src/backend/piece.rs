//! What the events of a server say, in terms that all servers share, and what they make together.
//!
//! Servers differ in when they say what: some give usage with the last token, some after all answers, some after each;
//! some number tool calls, some only give them ids. [`Assembly`] is told one piece after another and says what callers
//! hear of it. It is pure, so that it can be tested without a server.

use std::time::{Duration, Instant};

use crate::answer::{Finished, Reason, TokenScore};
use crate::backend::error::{Problem, RemoteError};
use crate::chat::ToolChoice;
use crate::engine::EngineKind;
use crate::llm::{Answered, Generation};

/// The most tool calls of an answer.
const MAX_CALLS: usize = 128;

/// Something that a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More text.
    Text {
        /// The answer that it belongs to.
        index: usize,
        /// The text.
        text: String,
        /// Its tokens, where the server tells them.
        tokens: Vec<TokenScore>,
    },
    /// The model thinks; what it thinks is no part of the answer.
    Thinking,
    /// More of a tool call.
    Call {
        /// The answer that it belongs to.
        index: usize,
        /// The call's number, where the server counts.
        call: Option<usize>,
        /// The call's id, where the server says it.
        id: Option<String>,
        /// The tool's name, where the server says it.
        name: Option<String>,
        /// More of the arguments' JSON.
        arguments: String,
    },
    /// An answer is complete.
    End {
        /// The answer.
        index: usize,
        /// Why.
        reason: Reason,
    },
    /// What it took.
    Usage(Usage),
    /// The server gives up.
    Failed {
        /// A status like HTTP's.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// Nothing follows.
    Done,
}

/// What an answer took, as far as a server tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<usize>,
    /// Of these, tokens that were there already.
    pub cached: Option<usize>,
    /// Tokens made.
    pub completion: Option<usize>,
    /// Time for the prompt.
    pub prefill: Option<Duration>,
    /// Time for the answer.
    pub decode: Option<Duration>,
}

impl Usage {
    fn or(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.or(other.prompt),
            cached: self.cached.or(other.cached),
            completion: self.completion.or(other.completion),
            prefill: self.prefill.or(other.prefill),
            decode: self.decode.or(other.decode),
        }
    }
}

/// An event that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// An answer as far as it has come.
#[derive(Debug)]
pub struct Assembly {
    engine: EngineKind,
    /// Names of the tools that may be called.
    tools: Vec<String>,
    /// True: an answer without a call is none.
    must_call: bool,
    /// Alternatives that are wanted for each token.
    logprobs: Option<usize>,
    choices: Vec<Choice>,
    /// The answer that ended last: whose usage comes next.
    ended: Option<usize>,
    /// Usage that came before any answer had ended.
    early: Option<Usage>,
    asked: Instant,
    first: Option<Instant>,
    done: bool,
}

#[derive(Debug, Default)]
struct Choice {
    calls: Vec<Call>,
    /// Pieces of text and calls: about as many as tokens.
    pieces: usize,
    reason: Option<Reason>,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct Call {
    /// The server's number.
    number: Option<usize>,
    id: String,
}

impl Assembly {
    /// An assembly of the answers to `request`, on this engine's server, asked for at `asked`.
    pub fn new(engine: EngineKind, request: &Generation, asked: Instant) -> Self {
        Self {
            engine,
            tools: match &request.tool_choice {
                ToolChoice::None => Vec::new(),
                ToolChoice::Named(name) => vec![name.clone()],
                ToolChoice::Auto | ToolChoice::Required => request.tools.iter().map(|tool| tool.name.clone()).collect(),
            },
            must_call: matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_)),
            logprobs: request.logprobs,
            choices: (0..request.count).map(|_| Choice::default()).collect(),
            ended: None,
            early: None,
            asked,
            first: None,
            done: false,
        }
    }

    /// True when the server has said that nothing follows.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Takes a piece that came at `now`; returns what callers hear of it.
    ///
    /// # Errors
    /// When the server gives up or says what it cannot mean.
    pub fn take(&mut self, piece: Piece, now: Instant) -> Result<Option<Answered>, RemoteError> {
        match piece {
            Piece::Text {
                index,
                text,
                mut tokens,
            } => {
                // Some servers must be asked for one alternative at least.
                let wanted = self.logprobs;
                tokens.truncate(if wanted.is_some() { tokens.len() } else { 0 });
                for token in &mut tokens {
                    token.alternatives.truncate(wanted.unwrap_or(0));
                }
                if text.is_empty() && tokens.is_empty() {
                    return Ok(None);
                }
                self.first.get_or_insert(now);
                self.choice(index)?.pieces += 1;
                Ok(Some(Answered::Text { index, text, tokens }))
            }
            Piece::Thinking => {
                self.first.get_or_insert(now);
                Ok(None)
            }
            Piece::Call {
                index,
                call,
                id,
                name,
                arguments,
            } => {
                self.first.get_or_insert(now);
                self.call(index, call, id, name, arguments)
            }
            Piece::End { index, reason } => {
                let choice = self.choice(index)?;
                // Some servers say "stop" where a call ends the answer.
                let reason = match reason {
                    Reason::Stop if !choice.calls.is_empty() => Reason::ToolCalls,
                    reason => reason,
                };
                choice.reason.get_or_insert(reason);
                self.ended = Some(index);
                Ok(None)
            }
            Piece::Usage(usage) => {
                match self.ended.and_then(|index| self.choices.get_mut(index)) {
                    Some(choice) => choice.usage = Some(usage.or(choice.usage.unwrap_or_default())),
                    None => self.early = Some(usage.or(self.early.unwrap_or_default())),
                }
                Ok(None)
            }
            Piece::Failed { status, words } => Err(self.error(Problem::Failed { status, words })),
            Piece::Done => {
                self.done = true;
                Ok(None)
            }
        }
    }

    /// The ends of all answers, when the stream has ended at `now`.
    ///
    /// Where several answers were wanted, a server may count their tokens together; then the answer that ended last bears
    /// the whole count and the others none, so that sums are right. A server that counts nothing at all leaves the number
    /// of pieces that came, which is about the number of tokens.
    ///
    /// # Errors
    /// When an answer has no end, or calls no tool where it must.
    pub fn finish(self, now: Instant) -> Result<Vec<Answered>, RemoteError> {
        let (wanted, complete) = (
            self.choices.len(),
            self.choices.iter().filter(|choice| choice.reason.is_some()).count(),
        );
        if complete < wanted {
            let cause = if self.done {
                format!("the server says that it is done after {complete} of {wanted} answers")
            } else {
                "the server closed the connection".to_owned()
            };
            return Err(self.error(Problem::Broken { cause }));
        }
        if self.must_call && self.choices.iter().any(|choice| choice.calls.is_empty()) {
            // Some servers pass over `tool_choice` in silence where a model's template knows no tools.
            let what = "it called no tool where one had to be called; its model may know none".to_owned();
            return Err(self.error(Problem::Protocol { what }));
        }
        let first = self.first.unwrap_or(now);
        let told = self.choices.iter().any(|choice| choice.usage.is_some()) || self.early.is_some();
        let shared = self.choices.iter().find_map(|choice| choice.usage).or(self.early);
        let mut early = self.early;
        let finished = self.choices.into_iter().enumerate().filter_map(|(index, choice)| {
            let own = choice.usage.or_else(|| early.take()).unwrap_or_default();
            let usage = Usage {
                completion: own.completion.or((!told).then_some(choice.pieces)),
                ..own
            }
            .or(Usage {
                completion: None,
                ..shared.unwrap_or_default()
            });
            Some(Answered::Finished {
                index,
                finished: Finished {
                    reason: choice.reason?,
                    prompt_tokens: usage.prompt.unwrap_or(0),
                    cached_tokens: usage.cached.unwrap_or(0),
                    completion_tokens: usage.completion.unwrap_or(0),
                    prefill: usage.prefill.unwrap_or(first.duration_since(self.asked)),
                    decode: usage.decode.unwrap_or(now.duration_since(first)),
                },
            })
        });
        Ok(finished.collect())
    }

    fn call(
        &mut self,
        index: usize,
        number: Option<usize>,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    ) -> Result<Option<Answered>, RemoteError> {
        let (id, name) = (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty()));
        let engine = self.engine;
        let protocol = |what: String| RemoteError::new(engine, Problem::Protocol { what });
        let offered = name.as_ref().is_none_or(|name| self.tools.contains(name));
        let choice = self.choice(index)?;
        choice.pieces += 1;
        let known = match number {
            // Some servers number all calls 0 and tell them apart by id.
            Some(_) => choice.calls.iter().rposition(|call| {
                call.number == number && !(name.is_some() && id.as_ref().is_some_and(|id| *id != call.id))
            }),
            None if name.is_some() => None,
            None => choice.calls.len().checked_sub(1),
        };
        if let Some(call) = known {
            let more = Answered::ToolCall {
                index,
                call,
                begins: None,
                arguments: arguments.clone(),
            };
            return Ok((!arguments.is_empty()).then_some(more));
        }
        let name = name.ok_or_else(|| protocol("a tool call has no name".to_owned()))?;
        if !offered {
            let name = name.escape_debug().to_string();
            let name: String = name.chars().take(64).collect();
            return Err(protocol(format!(
                "it calls the tool `{name}`, which it was not offered"
            )));
        }
        if choice.calls.len() == MAX_CALLS {
            return Err(protocol(format!("an answer calls more than {MAX_CALLS} tools")));
        }
        let id = id.unwrap_or_else(|| format!("call_{:016x}", rand::random::<u64>()));
        choice.calls.push(Call { number, id: id.clone() });
        Ok(Some(Answered::ToolCall {
            index,
            call: choice.calls.len() - 1,
            begins: Some((id, name)),
            arguments,
        }))
    }

    fn choice(&mut self, index: usize) -> Result<&mut Choice, RemoteError> {
        let (engine, count) = (self.engine, self.choices.len());
        self.choices.get_mut(index).ok_or_else(|| {
            let what = format!("it gives answer {index} where {count} were wanted");
            RemoteError::new(engine, Problem::Protocol { what })
        })
    }

    fn error(&self, problem: Problem) -> RemoteError {
        RemoteError::new(self.engine, problem)
    }
}
