//! `solo ask --raw "…"`: a question to llm-svc itself, without memory, agent or dialogue; for trying models, schemas and
//! tools.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::response_format::Format;
use solo_proto::llm::v1::tool_choice::Mode;
use solo_proto::llm::v1::{
    ContentPart, FinishReason, GenerateRequest, Message, ResponseFormat, Role, Sampling, ToolCallDelta, ToolChoice,
    Usage, content_part,
};

use super::files;
use super::{SILENCE, text_of};
use crate::connection;
use crate::failure::{Exit, Failure};
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, STRONG, paint};

/// The service that answers.
const LLM: &str = "llm-svc";

/// What `solo ask` takes with `--raw`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options that need --raw")]
pub struct RawArguments {
    /// The answer is JSON that satisfies this JSON schema; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "raw", group = "form")]
    schema: Option<PathBuf>,
    /// Tools that may be called: a JSON array of {name, description, parameters}, or as OpenAI's API has it
    #[arg(long, value_name = "FILE", requires = "raw", group = "form")]
    tools: Option<PathBuf>,
    /// The answer is matched by this regular expression as a whole
    #[arg(long, value_name = "REGEX", requires = "raw", group = "form")]
    regex: Option<String>,
    /// The answer is of this grammar: GBNF (where the file has `::=` or ends in .gbnf) or Lark
    #[arg(long, value_name = "FILE", requires = "raw", group = "form")]
    grammar: Option<PathBuf>,
    /// Whether tools are called: auto, none, required, or the name of one [default: auto]
    #[arg(long, value_name = "CHOICE", requires = "tools")]
    tool_choice: Option<String>,
    /// Model to ask [default: the configured one]
    #[arg(long, value_name = "ID", requires = "raw")]
    model: Option<String>,
    /// Engine to ask: llama-cpp, candle, openai or ollama [default: the configured one]
    #[arg(long, value_name = "ENGINE", requires = "raw")]
    engine: Option<String>,
    /// Most tokens of the answer [default: the configured number]
    #[arg(long, value_name = "N", requires = "raw", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// 0 (always the likeliest token) to 2 [default: the configured one]
    #[arg(long, value_name = "T", requires = "raw", value_parser = temperature)]
    temperature: Option<f32>,
    /// Same seed, same text [default: a random one]
    #[arg(long, value_name = "N", requires = "raw")]
    seed: Option<u64>,
    /// Instructions before the question
    #[arg(long, value_name = "TEXT", requires = "raw")]
    system: Option<String>,
}

fn temperature(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "a number from 0 to 2 is wanted".to_owned())?;
    match (0.0..=2.0).contains(&number) {
        true => Ok(number),
        false => Err("0 to 2 is possible".into()),
    }
}

/// Asks, and prints what comes while it comes.
pub(super) async fn run(settings: &Settings, question: &[String], arguments: &RawArguments) -> Result<(), Failure> {
    let request = request(question, arguments)?;
    let service = services::parse(LLM).map_err(Failure::failed)?;
    let channel = connection::to(settings, service).await?;
    let failed = |status: &tonic::Status| Failure::from_status(LLM, status);
    let mut client = LlmServiceClient::new(channel);
    let asked = tokio::time::timeout(SILENCE, client.generate(request))
        .await
        .map_err(|_| silent())?;
    let mut responses = asked.map_err(|status| failed(&status))?.into_inner();
    let mut answer = Answer::default();
    while answer.finished.is_none() {
        let next = tokio::time::timeout(SILENCE, responses.message()).await;
        let message = next.map_err(|_| silent())?.map_err(|status| failed(&status))?;
        let payload = message.ok_or_else(cut_off)?.payload;
        for words in payload.into_iter().filter_map(|payload| answer.take(payload)) {
            if !settings.json {
                terminal::write(words)?;
            }
        }
    }
    if settings.json {
        return terminal::json(&answer.written());
    }
    if !answer.text.is_empty() && !answer.text.ends_with('\n') && answer.calls.is_empty() {
        terminal::line("")?;
    }
    if answer.finish_reason() == "length" {
        terminal::remark(paint(FAINT, "(cut off: `--max-tokens` or the context was used up)"));
    }
    Ok(())
}

fn request(question: &[String], arguments: &RawArguments) -> Result<GenerateRequest, Failure> {
    let form = [&arguments.schema, &arguments.tools, &arguments.grammar];
    if question == ["-"] && form.into_iter().flatten().any(|path| path.as_os_str() == "-") {
        let failure = Failure::new(
            Exit::Usage,
            "the question and a file cannot both come from standard input",
        );
        return Err(failure.help("give the question in quotes, or the file by its name"));
    }
    let mut messages = Vec::new();
    if let Some(system) = &arguments.system {
        messages.push(message(Role::System, system));
    }
    let tools = match &arguments.tools {
        Some(path) => files::tools(path)?,
        None => Vec::new(),
    };
    let tool_choice = match (tools.is_empty(), arguments.tool_choice.as_deref()) {
        (true, _) => None,
        (false, choice) => Some(choose(choice.unwrap_or("auto"), &tools)?),
    };
    let format = if let Some(path) = &arguments.schema {
        Some(Format::JsonSchema(files::schema(path)?))
    } else if let Some(path) = &arguments.grammar {
        Some(files::grammar(path)?)
    } else {
        arguments.regex.clone().map(Format::Regex)
    };
    messages.push(message(Role::User, &text_of(question)?));
    Ok(GenerateRequest {
        model: arguments.model.clone().unwrap_or_default(),
        engine: arguments.engine.clone().unwrap_or_default(),
        messages,
        tools,
        tool_choice,
        response_format: format.map(|format| ResponseFormat { format: Some(format) }),
        sampling: Some(Sampling {
            temperature: arguments.temperature,
            seed: arguments.seed,
            ..Sampling::default()
        }),
        max_tokens: arguments.max_tokens.unwrap_or(0),
        ..GenerateRequest::default()
    })
}

fn message(role: Role, text: &str) -> Message {
    let part = Some(content_part::Part::Text(text.to_owned()));
    Message {
        role: role.into(),
        parts: vec![ContentPart { part }],
        ..Message::default()
    }
}

fn choose(choice: &str, tools: &[solo_proto::llm::v1::Tool]) -> Result<ToolChoice, Failure> {
    let (mode, name) = match choice {
        "auto" => (Mode::Auto, ""),
        "none" => (Mode::None, ""),
        "required" => (Mode::Required, ""),
        name if tools.iter().any(|tool| tool.name == name) => (Mode::Named, name),
        other => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
            let failure = Failure::new(Exit::Usage, format!("--tool-choice: there is no tool \"{other}\""));
            return Err(failure.help(format!("choose auto, none, required, or one of {}", names.join(", "))));
        }
    };
    Ok(ToolChoice {
        mode: mode.into(),
        name: name.to_owned(),
        parallel: mode != Mode::Named,
    })
}

/// What has come so far.
#[derive(Debug, Default)]
struct Answer {
    model: String,
    engine: String,
    queue_ms: u32,
    text: String,
    calls: Vec<Call>,
    finished: Option<(FinishReason, Usage)>,
}

#[derive(Debug, Default)]
struct Call {
    number: u32,
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    /// Takes in a message; what there is to print of it.
    fn take(&mut self, payload: Payload) -> Option<String> {
        match payload {
            Payload::Started(started) => {
                self.model = started.model;
                self.engine = started.engine;
                self.queue_ms = started.queue_ms;
                None
            }
            Payload::Text(delta) => {
                self.text.push_str(&delta.text);
                Some(delta.text)
            }
            Payload::ToolCall(delta) => self.call(delta),
            Payload::Finished(finished) => {
                self.finished = Some((finished.reason(), finished.usage.unwrap_or_default()));
                self.calls.last().map(Call::shown)
            }
        }
    }

    /// A call is printed when it is whole: when the next one begins, or at the end.
    fn call(&mut self, delta: ToolCallDelta) -> Option<String> {
        let known = self.calls.iter_mut().find(|call| call.number == delta.call);
        if let Some(call) = known {
            call.arguments.push_str(&delta.arguments_json_delta);
            return None;
        }
        let before = match self.calls.last() {
            Some(call) => Some(call.shown()),
            None => (!self.text.is_empty() && !self.text.ends_with('\n')).then(|| "\n".to_owned()),
        };
        self.calls.push(Call {
            number: delta.call,
            id: delta.id,
            name: delta.name,
            arguments: delta.arguments_json_delta,
        });
        before
    }

    fn finish_reason(&self) -> &'static str {
        match self.finished.as_ref().map(|(reason, _)| *reason) {
            Some(FinishReason::Stop) => "stop",
            Some(FinishReason::Length) => "length",
            Some(FinishReason::ToolCalls) => "tool_calls",
            Some(FinishReason::Unspecified) | None => "unknown",
        }
    }

    fn written(&self) -> Written<'_> {
        let usage = self.finished.as_ref().map(|(_, usage)| *usage).unwrap_or_default();
        Written {
            model: &self.model,
            engine: &self.engine,
            text: &self.text,
            tool_calls: self.calls.iter().map(Call::written).collect(),
            finish_reason: self.finish_reason(),
            usage: WrittenUsage {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                completion_tokens: usage.completion_tokens,
                prefill_ms: usage.prefill_ms,
                decode_ms: usage.decode_ms,
            },
            queue_ms: self.queue_ms,
        }
    }
}

impl Call {
    /// Arguments as JSON, or as text where they are none.
    fn arguments(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::String(self.arguments.clone()))
    }

    fn shown(&self) -> String {
        let arguments = self.arguments();
        format!("{} {arguments:#}\n", paint(STRONG, &self.name))
    }

    fn written(&self) -> WrittenCall<'_> {
        WrittenCall {
            id: &self.id,
            name: &self.name,
            arguments: self.arguments(),
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Written<'a> {
    model: &'a str,
    engine: &'a str,
    text: &'a str,
    tool_calls: Vec<WrittenCall<'a>>,
    finish_reason: &'static str,
    usage: WrittenUsage,
    queue_ms: u32,
}

#[derive(Debug, Serialize)]
struct WrittenCall<'a> {
    id: &'a str,
    name: &'a str,
    /// An object; a text where the model wrote no JSON.
    arguments: Value,
}

#[derive(Debug, Serialize)]
struct WrittenUsage {
    prompt_tokens: u32,
    cached_tokens: u32,
    completion_tokens: u32,
    prefill_ms: u32,
    decode_ms: u32,
}

fn silent() -> Failure {
    let text = format!("{LLM}: no word for {} s", SILENCE.as_secs());
    Failure::new(Exit::Unavailable, text).help(format!("`solo logs {LLM}` may say why"))
}

fn cut_off() -> Failure {
    let text = format!("{LLM}: the answer broke off");
    Failure::new(Exit::Unavailable, text).help(format!("`solo logs {LLM}` may say why"))
}
