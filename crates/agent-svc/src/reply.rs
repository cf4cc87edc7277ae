//! How one reply comes about: recall, prompt, model, clean text, citations.
//!
//! The whole of it is a stream of steps without side effects, so that it serves a draft as well as a committed turn: whoever
//! holds the stream decides when it runs (by polling it) and when it is cancelled (by dropping it, which drops the calls in
//! flight). Nothing is spawned.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use solo_service::{Priority, RequestContext};

use crate::citations;
use crate::cleaner::Cleaner;
use crate::clock;
use crate::config::Config;
use crate::dialogue::{Exchange, Finish, Key, Mode, Settings, Source, Usage};
use crate::error::Error;
use crate::facts::learner::Learner;
use crate::gauges::Gauges;
use crate::granting;
use crate::prompt::{Prompt, Style};
use crate::recall;
use crate::store::Store;
use crate::upstream::{Ask, Generated, Llm, Memory};
use crate::wishes::Wish;

/// Everything that replies are made with.
pub struct Mind {
    /// The `[agent]` section.
    pub config: Config,
    /// The dialogues.
    pub store: Store,
    /// Who writes.
    pub llm: Llm,
    /// Who recalls.
    pub memory: Memory,
    /// Who learns from what was said.
    pub learner: Learner,
    /// What the status page shows.
    pub gauges: Gauges,
}

/// What is to be answered.
#[derive(Debug, Clone)]
pub struct Question {
    /// The dialogue that it is asked in.
    pub key: Key,
    /// How that dialogue is held.
    pub settings: Arc<Settings>,
    /// The words.
    pub text: String,
    /// Most tokens of the reply.
    pub max_tokens: u32,
}

/// What happens while a reply comes about, in this order.
#[derive(Debug)]
pub enum Step {
    /// Memory is searched.
    Recalling,
    /// Memory has answered.
    Recalled,
    /// The model reads the prompt.
    Thinking,
    /// The model began.
    Started {
        /// Model that answers.
        model: String,
    },
    /// More of the reply.
    Text(String),
    /// More of the reply, in words that are not the model's.
    Added(String),
    /// A piece that the reply used.
    Citation(Source),
    /// The reply is complete.
    Done {
        /// Why it ended.
        finish: Finish,
        /// What it took.
        usage: Usage,
    },
}

/// A step and when it was taken.
#[derive(Debug)]
pub struct Taken {
    /// When.
    pub at: Instant,
    /// What. After an error nothing follows.
    pub step: Result<Step, Error>,
}

/// A reply that is being made, with the steps that nobody has looked at yet.
pub struct Preparation {
    steps: VecDeque<Taken>,
    stream: Option<BoxStream<'static, Taken>>,
}

impl Preparation {
    /// Begins a reply, to be complete within the deadline of `request`.
    pub fn begin(mind: Arc<Mind>, request: RequestContext, question: Question) -> Self {
        let request = match question.settings.mode {
            Mode::Voice => request.with_priority(Priority::Spoken),
            Mode::Text => request,
        };
        let stream = steps(mind, request, question).map(|step| Taken {
            at: Instant::now(),
            step,
        });
        Self {
            steps: VecDeque::new(),
            stream: Some(stream.boxed()),
        }
    }

    /// Takes one more step and keeps it. Never returns once all are taken. Cancel safe.
    pub async fn advance(&mut self) {
        let Some(stream) = &mut self.stream else {
            return std::future::pending().await;
        };
        match stream.next().await {
            Some(taken) => self.steps.push_back(taken),
            None => self.stream = None,
        }
    }

    /// Begins to do what the person wants of the memory itself in the turn `id`. This has side effects: it is for committed
    /// turns.
    pub fn grant(mind: Arc<Mind>, request: RequestContext, key: Key, id: String, wish: Wish) -> Self {
        let stream = async_stream::try_stream! {
            yield Step::Recalling;
            let answer = granting::grant(&mind, &request, &key, &id, &wish).await?;
            yield Step::Recalled;
            yield Step::Text(answer);
            yield Step::Done { finish: Finish::Stop, usage: Usage::default() };
        };
        let stream = stream.map(|step| Taken {
            at: Instant::now(),
            step,
        });
        Self {
            steps: VecDeque::new(),
            stream: Some(stream.boxed()),
        }
    }

    /// The next step; `None` when the reply has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Taken> {
        if let Some(taken) = self.steps.pop_front() {
            return Some(taken);
        }
        self.stream.as_mut()?.next().await
    }

    /// The reply's text in the steps that wait, from step `seen` on, and how many steps wait.
    pub fn text_from(&self, seen: usize) -> (String, usize) {
        let text = self.steps.iter().skip(seen).filter_map(|taken| match &taken.step {
            Ok(Step::Text(text) | Step::Added(text)) => Some(text.as_str()),
            _ => None,
        });
        (text.collect(), self.steps.len())
    }

    /// Why no reply will come of it, if that is known already.
    pub fn failure(&self) -> Option<&Error> {
        self.steps.iter().find_map(|taken| taken.step.as_ref().err())
    }
}

fn steps(
    mind: Arc<Mind>,
    request: RequestContext,
    question: Question,
) -> impl futures::Stream<Item = Result<Step, Error>> + Send {
    async_stream::try_stream! {
        let config = &mind.config;
        let settings = &question.settings;
        let history = mind.store.history(&question.key, config.max_history_turns).await?;
        let mut notes = None;
        if settings.recalls && config.max_recalled > 0 {
            yield Step::Recalling;
            let query = recall::query(&question.text, &history);
            let found = mind.memory.search(&request, &query, config.max_recalled, config.min_recall_score);
            notes = Some(found.await?);
            yield Step::Recalled;
        }
        yield Step::Thinking;
        let prompt = prompt(&mind, &request, &question, history, notes).await?;
        let ask = Ask {
            model: settings.model.clone(),
            messages: prompt.messages(),
            max_tokens: question.max_tokens,
            temperature: config.temperature,
            dialogue: question.key.dialogue.clone(),
        };
        let mut generation = mind.llm.generate(&request, ask).await?;
        let pieces = u32::try_from(prompt.notes.len()).unwrap_or(u32::MAX);
        let mut cleaner = Cleaner::new(settings.mode == Mode::Voice, pieces);
        let (mut written, mut sent) = (String::new(), String::new());
        let (finish, usage) = loop {
            match generation.next().await?.ok_or(Error::BrokenOff)? {
                Generated::Started { model } => yield Step::Started { model },
                Generated::Text(delta) => {
                    written.push_str(&delta);
                    let clean = cleaner.push(&delta);
                    if !clean.is_empty() {
                        sent.push_str(&clean);
                        yield Step::Text(clean);
                    }
                }
                Generated::Finished { finish, usage } => break (finish, usage),
            }
        };
        let used = citations::used(&question.text, &written, &prompt.notes);
        let rest = cleaner.finish();
        sent.push_str(&rest);
        if sent.is_empty() {
            Err(Error::EmptyReply)?;
        }
        if !rest.is_empty() {
            yield Step::Text(rest);
        }
        if config.name_sources && let Some(attribution) = citations::attribution(&sent, &used, &settings.locale) {
            let gap = if sent.ends_with(char::is_alphanumeric) { ". " } else { " " };
            yield Step::Added(format!("{gap}{attribution}"));
        }
        for source in used {
            yield Step::Citation(source.clone());
        }
        yield Step::Done { finish, usage };
    }
}

/// The prompt, shortened until it and the reply fit into the model's context.
async fn prompt(
    mind: &Mind,
    request: &RequestContext,
    question: &Question,
    history: Vec<Exchange>,
    notes: Option<Vec<Source>>,
) -> Result<Prompt, Error> {
    let (config, settings) = (&mind.config, &question.settings);
    let style = Style {
        system: &config.system_prompt,
        voice: &config.voice_style,
        text: &config.text_style,
    };
    let mut prompt = Prompt {
        system: style.system_message(settings.mode, &settings.locale),
        history,
        recalled: notes.is_some(),
        notes: notes.unwrap_or_default(),
        question: question.text.trim().to_owned(),
        now: clock::spoken(Timestamp::now(), &settings.zone),
    };
    // Most prompts are so short that counting, a call to another process, would tell nothing new.
    let known = mind.llm.known_context(&settings.model);
    if known.is_some_and(|context| prompt.most_tokens() <= room(context, question.max_tokens)) {
        return Ok(prompt);
    }
    loop {
        let count = mind.llm.count(request, &settings.model, &prompt.messages()).await?;
        let room = room(count.context, question.max_tokens);
        if count.tokens <= room {
            return Ok(prompt);
        }
        prompt.shorten(count.tokens, room)?;
    }
}

/// Tokens that a prompt may take: what the reply leaves. A reply may claim at most half of the context.
fn room(context: u32, max_tokens: u32) -> u32 {
    context - max_tokens.min(context / 2)
}
