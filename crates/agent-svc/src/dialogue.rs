//! What a dialogue is made of, in this service's own words; `convert.rs` translates to and from the wire.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How a dialogue is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By voice: what is written will be spoken.
    Voice,
    /// In writing.
    Text,
}

/// What a client asked for when it opened the dialogue.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How it is held.
    pub mode: Mode,
    /// Language and region, BCP 47.
    pub locale: String,
    /// Where the person is.
    pub zone: TimeZone,
    /// Model to answer with; empty: llm-svc's own choice.
    pub model: String,
    /// Whether memory is searched.
    pub recalls: bool,
    /// Whether what is prepared for a draft is shown.
    pub shows_drafts: bool,
}

/// Names a dialogue: whose it is and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whose it is.
    pub principal: String,
    /// Which.
    pub dialogue: String,
}

/// A dialogue as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// Identifier.
    pub id: String,
    /// Its first words.
    pub title: String,
    /// Number of its turns.
    pub turns: u32,
    /// When it began.
    pub created_at: Timestamp,
    /// When its last turn was.
    pub updated_at: Timestamp,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Identifier.
    pub id: String,
    /// What the person said.
    pub text: String,
    /// What was answered, or heard of it.
    pub reply: String,
    /// What became of it.
    pub state: TurnState,
    /// What the reply rests on.
    pub sources: Vec<Source>,
    /// When it was committed.
    pub created_at: Timestamp,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnState {
    /// The reply is being written.
    Running,
    /// Complete; nobody said that it was heard.
    Unconfirmed,
    /// Heard to its end.
    Heard,
    /// Cut short by the person.
    Interrupted,
    /// It failed.
    Failed,
}

impl TurnState {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Unconfirmed => "unconfirmed",
            Self::Heard => "heard",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Running,
            Self::Unconfirmed,
            Self::Heard,
            Self::Interrupted,
            Self::Failed,
        ]
        .into_iter()
        .find(|state| state.as_str() == name)
    }
}

/// A piece of memory: recalled for a question, and cited when the reply used it. Kept as JSON beside its turn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Number by which a reply refers to it, from 1.
    pub number: u32,
    /// How near it is to the question, −1.0 to 1.0.
    pub score: f32,
    /// True for a fact learnt in a dialogue, false for a piece of a document.
    pub is_fact: bool,
    /// Document or fact.
    pub document: String,
    /// Title of the document.
    pub title: String,
    /// Where the document comes from.
    pub uri: String,
    /// Page, from 1; 0: none.
    pub page: u32,
    /// Headings above it.
    pub heading: String,
    /// First byte in the document's text.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// The text itself.
    pub text: String,
}

/// An earlier exchange, as a prompt needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the person said.
    pub text: String,
    /// What was answered, or heard of it.
    pub reply: String,
    /// Whether the reply was cut short.
    pub interrupted: bool,
}

/// What a reply took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens found in the prefix cache.
    pub cached_tokens: u32,
    /// Tokens made.
    pub completion_tokens: u32,
    /// Time for the prompt, in ms.
    pub prefill_ms: u32,
    /// Time for the answer, in ms.
    pub decode_ms: u32,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// Its tokens were used up.
    Length,
    /// It called tools.
    ToolCalls,
}

impl Finish {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// The first words of a text: at most `limit` characters, cut between words.
pub fn title_of(text: &str, limit: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let whole = words.join(" ");
    if whole.chars().count() <= limit {
        return whole;
    }
    let mut title = String::new();
    let mut length = 0;
    for word in words {
        let chars = word.chars().count() + usize::from(!title.is_empty());
        if length + chars >= limit {
            break;
        }
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(word);
        length += chars;
    }
    if title.is_empty() {
        title = whole.chars().take(limit - 1).collect();
    }
    title + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_cut_between_words() {
        assert_eq!(title_of("  Where are\nmy keys?  ", 60), "Where are my keys?");
        assert_eq!(title_of("one two three four", 10), "one two…");
        assert_eq!(title_of("Donaudampfschifffahrt", 10), "Donaudamp…");
        for limit in 2..30 {
            let title = title_of("ein Übermaß an schönen Wörtern, größer als nötig", limit);
            assert!(title.chars().count() <= limit, "{title}");
        }
    }

    #[test]
    fn states_have_names() {
        for state in ["running", "unconfirmed", "heard", "interrupted", "failed"] {
            assert_eq!(TurnState::from_name(state).expect(state).as_str(), state);
        }
        assert_eq!(TurnState::from_name("lost"), None);
    }
}
