//! What is said on a Converse stream, in this service's own words.

use crate::dialogue::{Finish, Settings, Source, Usage};
use crate::error::Error;

/// What a client says.
#[derive(Debug)]
pub enum Incoming {
    /// First message.
    Open {
        /// Dialogue to go on with; empty: a new one.
        dialogue: String,
        /// How it is held.
        settings: Settings,
    },
    /// What may be said.
    Draft {
        /// The words so far.
        text: String,
    },
    /// What was said.
    Commit {
        /// Identifier of the turn.
        turn: String,
        /// The words.
        text: String,
        /// Most tokens of the reply; `None`: from configuration.
        max_tokens: Option<u32>,
    },
    /// What of a reply was heard.
    Heard {
        /// The turn.
        turn: String,
        /// Bytes of its reply.
        bytes: usize,
        /// Whether it was cut short.
        interrupted: bool,
    },
    /// A decision about an action.
    Decision {
        /// The action.
        action: String,
    },
}

/// What the client is told.
#[derive(Debug)]
pub struct Outgoing {
    /// Turn that it belongs to; empty: none.
    pub turn: String,
    /// What is said.
    pub said: Said,
}

/// What is said to a client.
#[derive(Debug)]
pub enum Said {
    /// The dialogue is open.
    Opened {
        /// Its identifier.
        dialogue: String,
        /// Whether it is new.
        created: bool,
        /// Turns that it has.
        turns: u32,
    },
    /// The turn was written down.
    Accepted {
        /// Whether a prepared draft was adopted.
        draft_adopted: bool,
    },
    /// What is being done.
    Doing {
        /// The stage.
        stage: Stage,
        /// Time since the commit.
        milliseconds: u32,
    },
    /// More of the reply.
    Text(String),
    /// More of what is prepared for a draft.
    DraftText {
        /// Which draft of the stream, from 1.
        draft: u32,
        /// The text.
        text: String,
    },
    /// A piece that the reply used.
    Citation(Source),
    /// The reply is complete.
    Done(Done),
    /// The turn failed.
    Failed(Error),
}

/// The stages of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Memory is searched.
    Recalling,
    /// Memory has answered.
    Recalled,
    /// The model reads.
    Thinking,
}

/// A complete reply.
#[derive(Debug)]
pub struct Done {
    /// The reply.
    pub reply: String,
    /// What it took.
    pub usage: Usage,
    /// Why it ended.
    pub finish: Finish,
    /// Model that answered.
    pub model: String,
    /// When what happened.
    pub times: Times,
}

/// Times from the commit, in ms; 0 for what a draft had ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Memory had answered.
    pub recalled_ms: Option<u32>,
    /// The first text was there.
    pub first_token_ms: Option<u32>,
    /// The first sentence was complete.
    pub first_sentence_ms: Option<u32>,
    /// The reply was complete.
    pub done_ms: u32,
}
