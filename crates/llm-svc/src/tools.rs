//! Tool calls: what the model may write so that a call is a call, and how calls are told from text.
//!
//! Models write calls in three forms, and so does this module read and constrain them:
//!
//! - tagged: `<tool_call>\n{"name": …, "arguments": …}\n</tool_call>`, anywhere, as Qwen's template asks for;
//! - fenced: the same object in a "```json" fence, anywhere;
//! - bare: the object alone, at the beginning of the answer.
//!
//! [`format`] holds the arguments to their tool's schema from the moment that a call has begun. A tag begins a call: a
//! listed name must follow. A fence or a bare object may be JSON that somebody asked for: it is a call once it has spelled
//! a listed name and the key of the arguments. [`ToolStream`] recognises exactly these, so that what comes out as a call
//! has been constrained.

mod format;
mod head;
mod stream;

use crate::chat::{Tool, ToolChoice};
use crate::constraint::ConstraintError;

pub use format::format;
pub use stream::{Ended, Piece, ToolStream, Trust, parse};

/// The most tools of a request.
pub const MAX_TOOLS: usize = 128;
/// The most characters of a tool's name.
pub const MAX_NAME: usize = 64;
/// The most calls of one answer.
pub const MAX_CALLS: usize = 16;
/// The tag that begins a call, and the one that ends it.
pub const TAGS: (&str, &str) = ("<tool_call>", "</tool_call>");

/// The form in which a model is made to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolForm {
    /// Between tags.
    Tagged,
    /// A JSON object alone.
    Bare,
}

/// Why tools cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// There are too many.
    #[error("tools: has {0}: at most {MAX_TOOLS} are taken")]
    TooMany(usize),
    /// A name is no name.
    #[error("tools[{index}].name: is {name:?}: 1 to {MAX_NAME} letters, digits, \"_\" and \"-\" are wanted")]
    Name {
        /// The tool.
        index: usize,
        /// Its name.
        name: String,
    },
    /// Two tools have one name.
    #[error("tools[{index}].name: is {name:?}, as another tool's is")]
    Twice {
        /// The second tool.
        index: usize,
        /// Their name.
        name: String,
    },
    /// A call is wanted, and there is nothing to call.
    #[error("tool_choice: wants a call, and there are no tools")]
    NoTools,
    /// The tool that is to be called is not there.
    #[error("tool_choice.name: is {0:?}, which is none of the tools")]
    Unknown(String),
    /// A tool's schema cannot be enforced.
    #[error("tools[{index}].parameters: {error}")]
    Parameters {
        /// The tool.
        index: usize,
        /// What is wrong.
        error: ConstraintError,
    },
}

impl ToolError {
    /// The field of the request that is wrong, as a path.
    pub fn field(&self) -> String {
        match self {
            Self::TooMany(_) => "tools".to_owned(),
            Self::Name { index, .. } | Self::Twice { index, .. } => format!("tools[{index}].name"),
            Self::NoTools => "tool_choice".to_owned(),
            Self::Unknown(_) => "tool_choice.name".to_owned(),
            Self::Parameters { index, .. } => format!("tools[{index}].parameters"),
        }
    }

    /// The reason that programs switch on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parameters { error, .. } => error.reason(),
            _ => "INVALID_REQUEST",
        }
    }
}

/// Tools that can be called, and that the choice among them can be made.
///
/// # Errors
/// [`ToolError`], except [`ToolError::Parameters`].
pub fn check(tools: &[Tool], choice: &ToolChoice) -> Result<(), ToolError> {
    if tools.len() > MAX_TOOLS {
        return Err(ToolError::TooMany(tools.len()));
    }
    for (index, tool) in tools.iter().enumerate() {
        let name = tool.name.clone();
        let letters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || name.len() > MAX_NAME || !letters {
            return Err(ToolError::Name { index, name });
        }
        if tools[..index].iter().any(|other| other.name == name) {
            return Err(ToolError::Twice { index, name });
        }
    }
    match choice {
        ToolChoice::Required if tools.is_empty() => Err(ToolError::NoTools),
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(ToolError::Unknown(name.clone()))
        }
        _ => Ok(()),
    }
}

/// The tools that the model may call under a choice; none of them is shown to it otherwise.
pub fn offered<'a>(tools: &'a [Tool], choice: &ToolChoice) -> &'a [Tool] {
    match choice {
        ToolChoice::None => &[],
        _ => tools,
    }
}

#[cfg(test)]
mod tests;
