//! Answers that obey: JSON schemas, regular expressions and grammars become masks over the vocabulary.
//!
//! [`Grammars`] belongs to a model: a trie of its tokens, built once. It compiles what a request wants into a
//! [`Constraint`], which belongs to one answer and knows which tokens may come next. llguidance parses; this module
//! decides what it is given (whole JSON schemas or none: a keyword that would not be enforced is refused), bounds what a
//! hostile grammar may cost, and sees to it that an answer ends: see [`Constraint`] on winding down.

mod ending;
mod gbnf;
mod matcher;
mod schema;
mod vocabulary;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{ParserFactory, panic_utils};

use crate::llm::Format;
use crate::tokenizer::{Specials, Tokenizer};

pub use matcher::Constraint;
pub use schema::{Separators, prepare};

/// The most bytes of a grammar, as its text or as the JSON of a schema.
pub const MAX_GRAMMAR_BYTES: usize = 256 * 1024;

/// Why an answer cannot be held to what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// A JSON schema uses what cannot be enforced, or contradicts itself.
    #[error("{}: {problem}", if at.is_empty() { "at the root" } else { at.as_str() })]
    Schema {
        /// Where, as a JSON pointer; empty: the root.
        at: String,
        /// What is wrong.
        problem: String,
    },
    /// A regular expression or grammar cannot be compiled.
    #[error("is no {kind} that can be used: {problem}")]
    Grammar {
        /// `regex`, `lark` or `gbnf`.
        kind: &'static str,
        /// What is wrong and where.
        problem: String,
    },
    /// It is larger than [`MAX_GRAMMAR_BYTES`].
    #[error("has {bytes} bytes: at most {MAX_GRAMMAR_BYTES} are taken")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The model's vocabulary cannot be used.
    #[error("the model's vocabulary cannot be constrained: {0}")]
    Vocabulary(String),
    /// The grammar became too complex on the way, or its parser failed.
    #[error("the answer cannot go on under its grammar: {0}; simplify the grammar or schema")]
    Stuck(String),
    /// A token came that the grammar does not allow here.
    #[error("token {0} is not allowed here")]
    NotAllowed(u32),
}

impl ConstraintError {
    /// True when the request is to blame: what it asks for cannot be compiled.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Schema { .. } | Self::Grammar { .. } | Self::TooLarge { .. })
    }

    /// The reason that programs switch on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "SCHEMA_NOT_SUPPORTED",
            Self::Grammar { .. } => "GRAMMAR_NOT_SUPPORTED",
            Self::TooLarge { .. } => "GRAMMAR_TOO_LARGE",
            Self::Vocabulary(_) => "UNSUPPORTED_MODEL",
            Self::Stuck(_) | Self::NotAllowed(_) => "CONSTRAINT_FAILED",
        }
    }
}

/// The field of a request that a format came in, as a path.
pub fn field(format: &Format) -> &'static str {
    match format {
        Format::JsonSchema(_) => "response_format.json_schema",
        Format::Regex(_) => "response_format.regex",
        Format::Lark(_) => "response_format.lark",
        Format::Gbnf(_) => "response_format.gbnf",
    }
}

/// Compiles grammars for one model. Cheap to clone.
#[derive(Clone)]
pub struct Grammars {
    factory: Arc<ParserFactory>,
    environment: TokEnv,
    ends: Arc<[u32]>,
}

impl Grammars {
    /// From a model's tokenizer. `vocabulary` is the number of its tokens: as many as it has scores. Takes some tenths of
    /// a second for 150,000 tokens: do it once for each model.
    ///
    /// # Errors
    /// [`ConstraintError::Vocabulary`] when there are too many tokens, or none that ends a turn.
    pub fn new(tokenizer: Arc<dyn Tokenizer>, vocabulary: usize, specials: &Specials) -> Result<Self, ConstraintError> {
        let (environment, ends) = vocabulary::environment(tokenizer, vocabulary, specials)?;
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let factory = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
        }));
        let mut factory = factory.map_err(|error| ConstraintError::Vocabulary(first_line(&error)))?;
        factory.quiet();
        bound(factory.limits_mut());
        Ok(Self {
            factory: Arc::new(factory),
            environment,
            ends,
        })
    }

    /// A constraint for one answer, at its beginning. Takes some milliseconds.
    ///
    /// # Errors
    /// [`ConstraintError::Schema`], [`ConstraintError::Grammar`] and [`ConstraintError::TooLarge`] say what is wrong with
    /// the request.
    pub fn compile(&self, format: &Format) -> Result<Constraint, ConstraintError> {
        let (kind, grammar) = match format {
            Format::JsonSchema(json) => {
                let schema = schema::prepare(json, schema::Separators::Compact)?;
                ("JSON schema", TopLevelGrammar::from_json_schema(schema))
            }
            Format::Regex(pattern) => ("regex", TopLevelGrammar::from_regex(whole(bounded("regex", pattern)?))),
            Format::Lark(text) => {
                let text = bounded("lark", text)?;
                refuse_backtracking(text)?;
                ("lark", TopLevelGrammar::from_lark(text.to_owned()))
            }
            Format::Gbnf(text) => {
                let text = bounded("gbnf", text)?;
                let problem = |error: gbnf::GbnfError| ConstraintError::Grammar {
                    kind: "gbnf",
                    problem: error.to_string(),
                };
                (
                    "gbnf",
                    TopLevelGrammar::from_lark(gbnf::to_lark(text).map_err(problem)?),
                )
            }
        };
        let refused = |problem: String| match format {
            Format::JsonSchema(_) => ConstraintError::Schema {
                at: String::new(),
                problem,
            },
            _ => ConstraintError::Grammar { kind, problem },
        };
        let mut parser = self
            .factory
            .create_parser(grammar)
            .map_err(|error| refused(first_line(&error)))?;
        let warnings = parser.grammar_warnings();
        if !warnings.is_empty() {
            return Err(refused(warnings.join("; ")));
        }
        Constraint::new(parser, self.environment.clone(), self.ends.clone())
    }
}

/// What one grammar may cost. Times are a fast core's.
fn bound(limits: &mut llguidance::api::ParserLimits) {
    // Compiling its regular expressions: 20 ms.
    limits.initial_lexer_fuel = 1_000_000;
    // A mask: some 5 ms in its expressions (50 times as much as usual ones need), 3 ms in its rules.
    limits.step_lexer_fuel = 50_000;
    limits.step_max_items = 50_000;
    limits.max_items_in_row = 5_000;
    // Memory: 2 kB a state.
    limits.max_lexer_states = 20_000;
    limits.max_grammar_size = 200_000;
    // Errors are shown to callers: no dump of the parser in them.
    limits.verbose_errors = false;
}

fn bounded<'a>(kind: &'static str, text: &'a str) -> Result<&'a str, ConstraintError> {
    if text.len() > MAX_GRAMMAR_BYTES {
        return Err(ConstraintError::TooLarge { bytes: text.len() });
    }
    if text.trim().is_empty() {
        let problem = "it is empty".to_owned();
        return Err(ConstraintError::Grammar { kind, problem });
    }
    Ok(text)
}

/// The expression matches the whole answer, so anchors around it say nothing; llguidance knows none.
fn whole(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    match pattern.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 0 => rest,
        _ => pattern,
    }
}

/// `stop=` takes text back that has been sampled, which an answer that streams cannot.
fn refuse_backtracking(text: &str) -> Result<(), ConstraintError> {
    for (number, line) in text.lines().enumerate() {
        let Some((head, _)) = line.split_once(':') else {
            continue;
        };
        let Some((_, attributes)) = head.split_once('[') else {
            continue;
        };
        let attribute = attributes
            .split([',', ']', '='])
            .map(str::trim)
            .find(|&name| matches!(name, "stop" | "max_tokens" | "temperature" | "stop_capture"));
        if let Some(name) = attribute {
            let problem = format!(
                "line {}: the attribute `{name}` is not supported, use `suffix` or `lazy`",
                number + 1
            );
            return Err(ConstraintError::Grammar { kind: "lark", problem });
        }
    }
    Ok(())
}

/// What llguidance says, without the dumps that follow.
fn first_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let end = ["\n<backtrace>", "\n<state>", "\n<non-verbose/>"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].trim().to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
