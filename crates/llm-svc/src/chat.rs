//! Messages to a prompt, by the model's own chat template.
//!
//! Templates are Jinja, written for Hugging Face's renderer: its whitespace rules, Python's string methods,
//! `raise_exception`. They come out of model files, so what one may cost is bounded by fuel. What messages say cannot
//! become a control token: see [`guard`].

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error as JinjaError, ErrorKind, Value};

use crate::tokenizer::Specials;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is no Jinja that can be read.
    #[error("the model's chat template cannot be read: {0}")]
    Syntax(JinjaError),
    /// It refuses the messages, in its own words.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
    /// It fails, or takes more steps than it may.
    #[error("the model's chat template cannot render these messages: {0}")]
    Render(JinjaError),
}

/// Steps that a template may take; a long dialogue takes some thousands, and a step more for every 64 bytes it handles.
const FUEL: u64 = 10_000_000;
/// Where the template stands in its environment.
const NAME: &str = "chat_template";

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    supports_tools: bool,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`].
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(TemplateError::Syntax)?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, JinjaError> {
            Err(JinjaError::new(
                ErrorKind::InvalidOperation,
                format!("{REFUSAL}{message}"),
            ))
        });
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(TemplateError::Syntax)?;
        let template = environment.get_template(NAME).map_err(TemplateError::Syntax)?;
        let supports_tools = template.undeclared_variables(false).contains("tools");
        Ok(Self {
            environment,
            supports_tools,
        })
    }

    /// True when the template asks for tools.
    pub fn supports_tools(&self) -> bool {
        self.supports_tools
    }

    /// The prompt that asks the model for the next message. The messages' control tokens are broken by `guard`.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] in the template's words, [`TemplateError::Render`].
    pub fn render(&self, messages: &[Message], specials: &Specials, guard: char) -> Result<String, TemplateError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let content = self::guard(&message.content, specials, guard);
                BTreeMap::from([("role", message.role.as_str().to_owned()), ("content", content)]).into()
            })
            .collect();
        let variables: BTreeMap<&str, Value> = BTreeMap::from([
            ("messages", messages.into()),
            ("add_generation_prompt", true.into()),
            ("bos_token", specials.bos_text.as_str().into()),
            ("eos_token", specials.eos_text.as_str().into()),
        ]);
        let template = self.environment.get_template(NAME).map_err(TemplateError::Syntax)?;
        template.render(Value::from(variables)).map_err(|error| {
            let refusal = error
                .detail()
                .and_then(|detail| detail.strip_prefix(REFUSAL))
                .map(str::to_owned);
            refusal.map_or_else(|| TemplateError::Render(error), TemplateError::Refused)
        })
    }
}

/// Marks what `raise_exception` was given.
const REFUSAL: &str = "refused: ";

/// A character that occurs in none of the texts, to break control tokens with: one of Unicode's noncharacters, which
/// text has no use for. `None` if the texts use all 32 of them.
pub fn choose_guard<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<char> {
    ('\u{FDD0}'..='\u{FDEF}').find(|&guard| texts.clone().all(|text| !text.contains(guard)))
}

/// Puts `guard` behind the first character of everything in `text` that spells a control token. The template's own
/// control tokens stay whole, so that [`crate::prompt`] can tell them apart; it takes the guards out again.
pub fn guard(text: &str, specials: &Specials, guard: char) -> String {
    let mut guarded = String::with_capacity(text.len());
    for (index, character) in text.char_indices() {
        guarded.push(character);
        if specials.starting(&text.as_bytes()[index..]).is_some() {
            guarded.push(guard);
        }
    }
    guarded
}
