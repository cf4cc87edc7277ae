//! A model's side of the prompt: template, tokenizer, control tokens. Needs no weights, so that counting tokens and
//! refusing a prompt that is too long never wait behind a running answer.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::chat::{ChatTemplate, Message, TemplateError, Tool, choose_guard};
use crate::constraint::{ConstraintError, Grammars};
use crate::tokenizer::{Specials, Tokenizer, TokenizerError};
use crate::tools::ToolForm;

/// A prompt cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The model has no chat template.
    #[error("the model has no chat template; send one rendered prompt with `raw_prompt`, or choose another model")]
    NoTemplate,
    /// The template does not take the messages.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The messages use every character that could break a control token.
    #[error("the messages use all of Unicode's noncharacters U+FDD0 to U+FDEF; remove one of them")]
    Guard,
}

/// A prompt as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

/// Makes a model's prompts.
pub struct Prompter {
    template: Option<ChatTemplate>,
    tokenizer: Arc<dyn Tokenizer>,
    specials: Specials,
    /// Made when they are first needed: that takes some tenths of a second.
    grammars: OnceLock<Result<Grammars, ConstraintError>>,
}

impl Prompter {
    /// From what a model's file says.
    pub fn new(template: Option<ChatTemplate>, tokenizer: Arc<dyn Tokenizer>, specials: Specials) -> Self {
        Self {
            template,
            tokenizer,
            specials,
            grammars: OnceLock::new(),
        }
    }

    /// What holds answers to grammars; the model has scores for `vocabulary` tokens. Takes its time when it is first asked.
    ///
    /// # Errors
    /// [`ConstraintError::Vocabulary`].
    pub fn grammars(&self, vocabulary: usize) -> Result<&Grammars, ConstraintError> {
        let make = || Grammars::new(Arc::clone(&self.tokenizer), vocabulary, &self.specials);
        self.grammars.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// The prompt that asks for the next message. Control tokens come from the template alone.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn chat(&self, messages: &[Message]) -> Result<Prompt, PromptError> {
        self.chat_with_tools(messages, &[])
    }

    /// The prompt that asks for the next message and offers tools. The same messages and tools give the same prompt, and
    /// the tools come first, so that a dialogue's turns begin alike.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn chat_with_tools(&self, messages: &[Message], tools: &[Tool]) -> Result<Prompt, PromptError> {
        let template = self.template.as_ref().ok_or(PromptError::NoTemplate)?;
        let texts = texts(messages, tools);
        let guard = choose_guard(texts.iter().map(Cow::as_ref)).ok_or(PromptError::Guard)?;
        let rendered = template.render_with_tools(messages, tools, &self.specials, guard)?;
        self.tokenize(&rendered, Some(guard))
    }

    /// How the model is asked to call tools: see [`crate::tools::format`].
    pub fn tool_form(&self) -> ToolForm {
        self.template.as_ref().map_or(ToolForm::Bare, ChatTemplate::tool_form)
    }

    /// A prompt that somebody else has rendered: control tokens in it are control tokens.
    ///
    /// # Errors
    /// [`PromptError::Tokenizer`].
    pub fn raw(&self, text: &str) -> Result<Prompt, PromptError> {
        self.tokenize(text, None)
    }

    /// Splits text at its control tokens and tokenizes what lies between them, without the guards.
    fn tokenize(&self, text: &str, guard: Option<char>) -> Result<Prompt, PromptError> {
        let mut prompt = Prompt {
            text: String::with_capacity(text.len()),
            tokens: Vec::new(),
        };
        let bytes = text.as_bytes();
        let (mut start, mut at) = (0, 0);
        while at < bytes.len() {
            match self.specials.starting(&bytes[at..]) {
                Some((token, length)) if text.is_char_boundary(at) && text.is_char_boundary(at + length) => {
                    self.plain(&text[start..at], guard, &mut prompt)?;
                    prompt.text.push_str(&text[at..at + length]);
                    prompt.tokens.push(token);
                    at += length;
                    start = at;
                }
                _ => at += 1,
            }
        }
        self.plain(&text[start..], guard, &mut prompt)?;
        if let (true, Some(bos)) = (self.specials.add_bos, self.specials.bos)
            && prompt.tokens.first() != Some(&bos)
        {
            prompt.tokens.insert(0, bos);
        }
        Ok(prompt)
    }

    fn plain(&self, text: &str, guard: Option<char>, prompt: &mut Prompt) -> Result<(), TokenizerError> {
        if text.is_empty() {
            return Ok(());
        }
        let start = prompt.text.len();
        match guard {
            Some(guard) => prompt.text.extend(text.chars().filter(|&character| character != guard)),
            None => prompt.text.push_str(text),
        }
        self.tokenizer.encode(&prompt.text[start..], &mut prompt.tokens)
    }
}

/// All that messages and tools say.
fn texts<'a>(messages: &'a [Message], tools: &'a [Tool]) -> Vec<Cow<'a, str>> {
    let mut texts: Vec<Cow<'a, str>> = Vec::new();
    for message in messages {
        texts.extend([Cow::from(&message.content), Cow::from(&message.tool_call_id)]);
        for call in &message.tool_calls {
            texts.extend([
                Cow::from(&call.id),
                Cow::from(&call.name),
                Cow::from(call.arguments.to_string()),
            ]);
        }
    }
    for tool in tools {
        texts.extend([
            Cow::from(&tool.name),
            Cow::from(&tool.description),
            Cow::from(tool.parameters.to_string()),
        ]);
    }
    texts
}
