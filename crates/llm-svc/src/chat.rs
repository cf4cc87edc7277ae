//! Messages to a prompt, by the model's own chat template.
//!
//! Templates are Jinja, written for Hugging Face's renderer: its whitespace rules, Python's string methods,
//! `raise_exception`. They come out of model files, so what one may cost is bounded by fuel. What messages say cannot
//! become a control token: see [`guard`]. Tools are shown as the template wants them; a template that knows none has them
//! told in words.

mod json;
mod plain;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error as JinjaError, ErrorKind, Value};

use crate::tokenizer::Specials;
use crate::tools::{TAGS, ToolForm};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// Its name in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a dialogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Calls that the model made (assistant only).
    pub tool_calls: Vec<ToolCall>,
    /// The call that this answers (tool only); empty otherwise.
    pub tool_call_id: String,
}

impl Message {
    /// A message of words alone.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_call_id: String::new(),
        }
    }
}

/// A call of a tool, as the model made it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Identifier, unique in the dialogue.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Its arguments: a JSON object.
    pub arguments: serde_json::Value,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Letters, digits, "_" and "-", 1 to 64 characters.
    pub name: String,
    /// What it does, for the model to read.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: serde_json::Value,
}

/// Whether tools are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool is called.
    None,
    /// At least one tool is called.
    Required,
    /// This tool is called.
    Named(String),
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
    tool_form: ToolForm,
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
        environment.add_filter("tojson", json::tojson);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(TemplateError::Syntax)?;
        let template = environment.get_template(NAME).map_err(TemplateError::Syntax)?;
        let supports_tools = template.undeclared_variables(false).contains("tools");
        let tagged = supports_tools && source.contains(TAGS.0);
        Ok(Self {
            environment,
            supports_tools,
            tool_form: if tagged { ToolForm::Tagged } else { ToolForm::Bare },
        })
    }

    /// True when the template asks for tools.
    pub fn supports_tools(&self) -> bool {
        self.supports_tools
    }

    /// How the model is asked to call tools.
    pub fn tool_form(&self) -> ToolForm {
        self.tool_form
    }

    /// The prompt that asks the model for the next message, without tools: [`ChatTemplate::render_with_tools`].
    ///
    /// # Errors
    /// As there.
    pub fn render(&self, messages: &[Message], specials: &Specials, guard: char) -> Result<String, TemplateError> {
        self.render_with_tools(messages, &[], specials, guard)
    }

    /// The prompt that asks the model for the next message and shows it tools. Control tokens in what messages and tools
    /// say are broken by `guard`.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] in the template's words, [`TemplateError::Render`].
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[Tool],
        specials: &Specials,
        guard: char,
    ) -> Result<String, TemplateError> {
        let shown = Shown { specials, guard };
        let calls = |message: &Message| message.role == Role::Tool || !message.tool_calls.is_empty();
        let folded = !self.supports_tools && (!tools.is_empty() || messages.iter().any(calls));
        let folded = folded.then(|| plain::fold(messages, tools));
        let messages = folded.as_deref().unwrap_or(messages);
        let values: Vec<Value> = (0..messages.len())
            .map(|index| shown.message(messages, index))
            .collect();
        let tools: Option<Vec<Value>> =
            (self.supports_tools && !tools.is_empty()).then(|| tools.iter().map(|tool| shown.tool(tool)).collect());
        let variables: BTreeMap<&str, Value> = BTreeMap::from([
            ("tools", tools.map_or(Value::from(()), Value::from)),
            ("messages", values.into()),
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

/// Messages and tools as templates know them from Hugging Face, with their control tokens broken.
struct Shown<'a> {
    specials: &'a Specials,
    guard: char,
}

impl Shown<'_> {
    fn message(&self, messages: &[Message], index: usize) -> Value {
        let message = &messages[index];
        let mut pairs = vec![
            ("role", Value::from(message.role.as_str())),
            ("content", self.text(&message.content)),
        ];
        if !message.tool_calls.is_empty() {
            let calls: Vec<Value> = message.tool_calls.iter().map(|call| self.call(call)).collect();
            pairs.push(("tool_calls", calls.into()));
        }
        if message.role == Role::Tool {
            pairs.push(("tool_call_id", self.text(&message.tool_call_id)));
            pairs.extend(called(messages, index).map(|name| ("name", self.text(name))));
        }
        Value::from_pairs(pairs)
    }

    fn call(&self, call: &ToolCall) -> Value {
        let function = [
            ("name", self.text(&call.name)),
            ("arguments", self.json(&call.arguments)),
        ];
        Value::from_pairs([
            ("id", self.text(&call.id)),
            ("type", Value::from("function")),
            ("function", Value::from_pairs(function)),
        ])
    }

    fn tool(&self, tool: &Tool) -> Value {
        let function = [
            ("name", self.text(&tool.name)),
            ("description", self.text(&tool.description)),
            ("parameters", self.json(&tool.parameters)),
        ];
        Value::from_pairs([
            ("type", Value::from("function")),
            ("function", Value::from_pairs(function)),
        ])
    }

    fn text(&self, text: &str) -> Value {
        Value::from(guard(text, self.specials, self.guard))
    }

    fn json(&self, json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::from(()),
            serde_json::Value::Bool(value) => Value::from(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Value::from(number),
                (None, Some(number)) => Value::from(number),
                (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(values) => values.iter().map(|value| self.json(value)).collect::<Vec<_>>().into(),
            serde_json::Value::Object(map) => {
                Value::from_pairs(map.iter().map(|(key, value)| (self.text(key), self.json(value))))
            }
        }
    }
}

/// The name of the tool whose result the message at `index` is, from the call that it answers.
fn called(messages: &[Message], index: usize) -> Option<&str> {
    let id = &messages[index].tool_call_id;
    let calls = messages[..index].iter().rev().flat_map(|message| &message.tool_calls);
    calls
        .into_iter()
        .find(|call| call.id == *id)
        .map(|call| call.name.as_str())
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
