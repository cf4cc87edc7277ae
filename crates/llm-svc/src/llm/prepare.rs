//! A request made ready for the thread that computes: its prompt rendered and measured, what its answer must obey compiled.
//! Whatever can be refused is refused here.

use std::sync::Arc;

use super::terms::Generation;
use super::{Input, Llm};
use crate::answer::Job;
use crate::catalogue::ModelFile;
use crate::chat::{ChatTemplate, Tool};
use crate::constraint::{self, Constraint};
use crate::error::Error;
use crate::pool::Key;
use crate::prompt::{Prompt, PromptError, Prompter};
use crate::sampling::Sampling;
use crate::tokenizer::{Specials, Tokenizer};
use crate::tools;

impl Llm {
    /// What the engine has to do for a request. Whatever can be refused is refused here, before it waits.
    pub(super) fn job(&self, key: &Key, file: &Arc<ModelFile>, request: &Generation) -> Result<Job, Error> {
        let context = self.0.local.options.context_for(&file.facts);
        let tools = request.visible_tools();
        let prompt = self.prompt(key, file, &request.input, tools)?;
        check_length(&prompt, context, file)?;
        check_bias(&request.sampling, file)?;
        let max_tokens = match request.max_tokens {
            0 => self.0.config.max_tokens,
            wanted => wanted,
        };
        Ok(Job {
            prompt: prompt.tokens,
            sampling: request.sampling.clone(),
            constraint: self.constraint(key, file, request)?,
            stop: request.stop.clone(),
            max_tokens: max_tokens.min(context),
            logprobs: request.logprobs,
        })
    }

    /// What the answer must obey; `None`: nothing.
    fn constraint(&self, key: &Key, file: &Arc<ModelFile>, request: &Generation) -> Result<Option<Constraint>, Error> {
        let prompter = self.prompter(key, file)?;
        let format = match &request.format {
            Some(format) => Some(format.clone()),
            None => {
                let (tools, form) = (request.visible_tools(), prompter.tool_form());
                tools::format(tools, &request.tool_choice, request.parallel_tools, form)?
            }
        };
        let Some(format) = format else { return Ok(None) };
        let compiled = prompter
            .grammars(file.facts.vocabulary as usize)
            .and_then(|grammars| grammars.compile(&format));
        compiled.map(Some).map_err(|error| match error.is_request() {
            true => Error::Format {
                field: constraint::field(&format),
                error,
            },
            false => Error::Constraint {
                model: file.id.clone(),
                error,
            },
        })
    }

    /// Renders and tokenizes. Takes time: not for the reactor's threads.
    pub(super) fn prompt(
        &self,
        key: &Key,
        file: &Arc<ModelFile>,
        input: &Input,
        tools: &[Tool],
    ) -> Result<Prompt, Error> {
        let (bytes, limit) = (input.bytes(), self.0.config.max_prompt_bytes);
        if bytes > limit {
            return Err(Error::PromptTooLarge { bytes, limit });
        }
        let prompter = self.prompter(key, file)?;
        let prompt = match input {
            Input::Chat(messages) => prompter.chat_with_tools(messages, tools),
            Input::Raw(text) => prompter.raw(text),
        };
        prompt.map_err(|error| Error::Prompt {
            model: file.id.clone(),
            error,
        })
    }

    fn prompter(&self, key: &Key, file: &Arc<ModelFile>) -> Result<Arc<Prompter>, Error> {
        if let Some(prompter) = self.0.local.loaded.prompter(key, file) {
            return Ok(prompter);
        }
        let tokenizer: Arc<dyn Tokenizer> = match self.0.local.loaded.tokenizer(key) {
            Some(tokenizer) => tokenizer,
            None => {
                let tokenizer = self.0.local.engines.tokenizer(key.engine, file);
                tokenizer.map_err(|error| Error::Engine {
                    model: file.id.clone(),
                    error: Arc::new(error),
                })?
            }
        };
        let template = file.facts.chat_template.as_deref().map(ChatTemplate::new).transpose();
        let template = template.map_err(|error| Error::Prompt {
            model: file.id.clone(),
            error: PromptError::Template(error),
        })?;
        let prompter = Arc::new(Prompter::new(template, tokenizer, Specials::of(&file.header)));
        self.0.local.loaded.keep(key.clone(), file, &prompter);
        Ok(prompter)
    }
}

fn check_length(prompt: &Prompt, context: usize, file: &ModelFile) -> Result<(), Error> {
    let tokens = prompt.tokens.len();
    if tokens == 0 {
        return Err(Error::invalid("messages", "make an empty prompt: some text is wanted"));
    }
    if tokens >= context {
        return Err(Error::ContextExceeded {
            tokens,
            context,
            model: file.id.clone(),
        });
    }
    Ok(())
}

fn check_bias(sampling: &Sampling, file: &ModelFile) -> Result<(), Error> {
    let vocabulary = file.facts.vocabulary;
    match sampling.logit_bias.iter().find(|(token, _)| *token >= vocabulary) {
        Some((token, _)) => {
            let problem = format!("names token {token}; {} knows {vocabulary}", file.id);
            Err(Error::invalid("sampling.logit_bias", problem))
        }
        None => Ok(()),
    }
}
