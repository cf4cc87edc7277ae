//! What the service does, in its own terms: [`crate::grpc`] translates, this decides.
//!
//! Whatever can be refused is refused before it waits: prompts are rendered, tokenized and measured beside the worker's
//! thread, so that a prompt that is too long hears so at once. What is left is a [`Job`] for the thread.

mod terms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use solo_service::{Context, Worker, WorkerError};
use tokio::sync::{mpsc, watch};

use crate::catalogue::{Catalogue, ModelFile};
use crate::chat::ChatTemplate;
use crate::config::Config;
use crate::engine::{Choice, EngineKind, EngineOptions, Engines, Progress};
use crate::error::Error;
use crate::pool::{Key, Loaded, Pool, Stay, expire};
use crate::prompt::{Prompt, PromptError, Prompter};
use crate::sampling::Sampling;
use crate::session::{Event, Interrupted, Job};
use crate::tokenizer::{Specials, Tokenizer};

pub use terms::{Answered, Described, Generation, Input, Loading};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Llm(Arc<Parts>);

struct Parts {
    config: Config,
    choice: Choice,
    options: EngineOptions,
    engines: Arc<dyn Engines>,
    catalogue: Arc<Catalogue>,
    worker: Worker<Pool>,
    loaded: Loaded,
}

impl Llm {
    /// Loads the configured model and starts to answer. The second value is background work that belongs to the service.
    ///
    /// # Errors
    /// When the configured model cannot be loaded.
    pub async fn start(
        config: Config,
        context: &Context,
        choice: Choice,
        options: EngineOptions,
        engines: Arc<dyn Engines>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), solo_service::StartupError> {
        let catalogue = Arc::new(Catalogue::new(&config, &context.global.models_dir));
        let loaded = Loaded::default();
        let (expiry, expires) = watch::channel(None);
        let mut pool = Pool::new(
            Arc::clone(&engines),
            config.max_loaded_models,
            loaded.clone(),
            context.status.clone(),
            expiry,
        );
        let (engine, stay) = (choice.engine, configured_stay(&config));
        let first = Arc::clone(&catalogue);
        let worker = Worker::start(context, "llm", config.queue, move || {
            let file = first.open("")?;
            pool.load(engine, &file, None, stay, &unwatched())?;
            Ok(pool)
        });
        let worker = worker.await?;
        let expiring = expire(worker.clone(), expires, context.shutdown.clone());
        let parts = Parts {
            config,
            choice,
            options,
            engines,
            catalogue,
            worker,
            loaded,
        };
        Ok((Self(Arc::new(parts)), expiring))
    }

    /// The id of the model of requests that name none.
    pub fn default_model(&self) -> &str {
        self.0.catalogue.default_id()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Answers; the stream ends after [`Answered::Finished`] or an error. Dropping it stops the work.
    ///
    /// # Errors
    /// Whatever can be told before the request waits.
    pub async fn generate(&self, request: Generation) -> Result<BoxStream<'static, Result<Answered, Error>>, Error> {
        let engine = request.engine.unwrap_or(self.0.choice.engine);
        let llm = self.clone();
        let (file, job) = blocking(move || {
            let file = llm.0.catalogue.open(&request.model)?;
            let context = llm.0.options.context_for(&file.facts);
            let prompt = llm.prompt(engine, &file, &request.input)?;
            check_length(&prompt, context, &file)?;
            check_bias(&request.sampling, &file)?;
            let max_tokens = if request.max_tokens == 0 {
                llm.0.config.max_tokens
            } else {
                request.max_tokens
            };
            let job = Job {
                prompt: prompt.tokens,
                sampling: request.sampling,
                stop: request.stop,
                max_tokens: max_tokens.min(context),
                logprobs: request.logprobs,
                deadline: request.deadline,
            };
            Ok((file, (job, request.stay)))
        })
        .await?;
        let (job, stay) = job;
        let otherwise = configured_stay(&self.0.config);
        let queued = Instant::now();
        // Room for the whole answer: a client that reads slowly must not hold up the others.
        let room = job.max_tokens + 8;
        let mut items = self.0.worker.stream(room, move |pool: &mut Pool, emit, cancel| {
            let token = cancel.clone();
            let watched: Progress = Arc::new(move |_| !token.is_cancelled());
            let key = Key {
                engine,
                model: file.id.clone(),
            };
            let answered = pool.load(engine, &file, stay, otherwise, &watched).and_then(|session| {
                let mut show = |event| match event {
                    Event::Started {
                        prompt_tokens,
                        cached_tokens,
                    } => {
                        let (model, queued) = (file.id.clone(), queued.elapsed());
                        emit.send(Ok(Answered::Started {
                            model,
                            engine,
                            queued,
                            prompt_tokens,
                            cached_tokens,
                        }))
                    }
                    Event::Text { text, tokens } => emit.send(Ok(Answered::Text { text, tokens })),
                };
                session
                    .answer(&job, &mut show, cancel)
                    .map_err(|error| interrupted(error, &file, engine))
            });
            pool.release(&key, answered.as_ref().ok());
            // A caller that went away meanwhile wants to hear nothing.
            let _ = emit.send(answered.map(Answered::Finished));
        })?;
        Ok(Box::pin(async_stream::stream! {
            let mut complete = false;
            while let Some(item) = items.next().await {
                complete = matches!(item, Err(_) | Ok(Answered::Finished(_)));
                yield item;
            }
            if !complete {
                yield Err(Error::Worker(WorkerError::Panicked { worker: "llm" }));
            }
        }))
    }

    /// The prompt that a model would see on the configured engine, and the tokens that its context holds.
    ///
    /// # Errors
    /// [`Error`] says why there is none.
    pub async fn render(&self, model: String, input: Input) -> Result<(Prompt, Arc<ModelFile>, usize), Error> {
        let llm = self.clone();
        blocking(move || {
            let file = llm.0.catalogue.open(&model)?;
            let prompt = llm.prompt(llm.0.choice.engine, &file, &input)?;
            let context = llm.0.options.context_for(&file.facts);
            Ok((prompt, file, context))
        })
        .await
    }

    /// All models, the configured one first.
    ///
    /// # Errors
    /// [`Error::Worker`] when the service stops meanwhile.
    pub async fn list(&self) -> Result<Vec<Described>, Error> {
        let llm = self.clone();
        blocking(move || {
            Ok(llm
                .0
                .catalogue
                .list()
                .into_iter()
                .map(|entry| llm.describe(entry.id, entry.file))
                .collect())
        })
        .await
    }

    /// One model.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`].
    pub async fn get(&self, model: String) -> Result<Described, Error> {
        let llm = self.clone();
        blocking(move || {
            let file = llm.0.catalogue.open(&model)?;
            Ok(llm.describe(file.id.clone(), Some(file)))
        })
        .await
    }

    /// Loads a model on the configured engine, telling how far it has come. Dropping the stream gives it up.
    pub fn load(&self, model: String, stay: Option<Stay>) -> BoxStream<'static, Result<Loading, Error>> {
        let llm = self.clone();
        Box::pin(async_stream::try_stream! {
            let (catalogue, engine) = (Arc::clone(&llm.0.catalogue), llm.0.choice.engine);
            let id = model.clone();
            let file = blocking(move || catalogue.open(&id)).await?;
            let (told, mut progress) = mpsc::unbounded_channel();
            let otherwise = configured_stay(&llm.0.config);
            let loading = llm.0.worker.run(move |pool, cancel| {
                let token = cancel.clone();
                let watched: Progress = Arc::new(move |share| told.send(share).is_ok() && !token.is_cancelled());
                pool.load(engine, &file, stay, otherwise, &watched).map(drop)
            });
            let mut loading = std::pin::pin!(loading);
            let mut last = -1.0_f32;
            let loaded = loop {
                tokio::select! {
                    Some(share) = progress.recv() => {
                        // A percent at a time: engines report every tensor.
                        if share - last >= 0.01 {
                            last = share;
                            yield Loading::Progress(share.clamp(0.0, 1.0));
                        }
                    }
                    loaded = &mut loading => break loaded,
                }
            };
            loaded.map_err(Error::Worker)??;
            yield Loading::Done(llm.get(model).await?);
        })
    }

    /// Unloads a model from every engine when its running request has ended; returns the memory that it needed.
    ///
    /// # Errors
    /// [`Error::NotLoaded`].
    pub async fn unload(&self, model: String) -> Result<u64, Error> {
        let id = self.0.catalogue.id_or_default(&model).to_owned();
        let asked = id.clone();
        let freed = self.0.worker.run(move |pool, _| pool.unload_everywhere(&asked)).await?;
        freed.ok_or(Error::NotLoaded { model: id })
    }

    fn describe(&self, id: String, file: Option<Arc<ModelFile>>) -> Described {
        let on = |engine| {
            self.0.loaded.contains(&Key {
                engine,
                model: id.clone(),
            })
        };
        let configured = self.0.choice.engine;
        let others = [EngineKind::LlamaCpp, EngineKind::Candle];
        let loaded = on(configured)
            .then_some(configured)
            .or_else(|| others.into_iter().find(|&engine| on(engine)));
        let template = file.as_ref().and_then(|file| file.facts.chat_template.as_deref());
        Described {
            context_length: file.as_ref().map_or(0, |file| self.0.options.context_for(&file.facts)),
            supports_tools: template
                .and_then(|text| ChatTemplate::new(text).ok())
                .is_some_and(|t| t.supports_tools()),
            loaded: loaded.is_some(),
            engine: loaded.unwrap_or(configured),
            id,
            file,
        }
    }

    /// Renders and tokenizes. Takes time: not for the reactor's threads.
    fn prompt(&self, engine: EngineKind, file: &Arc<ModelFile>, input: &Input) -> Result<Prompt, Error> {
        let (bytes, limit) = (input.bytes(), self.0.config.max_prompt_bytes);
        if bytes > limit {
            return Err(Error::PromptTooLarge { bytes, limit });
        }
        let prompter = self.prompter(engine, file)?;
        let prompt = match input {
            Input::Chat(messages) => prompter.chat(messages),
            Input::Raw(text) => prompter.raw(text),
        };
        prompt.map_err(|error| Error::Prompt {
            model: file.id.clone(),
            error,
        })
    }

    fn prompter(&self, engine: EngineKind, file: &Arc<ModelFile>) -> Result<Arc<Prompter>, Error> {
        let key = Key {
            engine,
            model: file.id.clone(),
        };
        if let Some(prompter) = self.0.loaded.prompter(&key, file) {
            return Ok(prompter);
        }
        let tokenizer: Arc<dyn Tokenizer> = match self.0.loaded.tokenizer(&key) {
            Some(tokenizer) => tokenizer,
            None => {
                let tokenizer = self.0.engines.tokenizer(engine, file);
                tokenizer.map_err(|error| Error::Engine {
                    model: file.id.clone(),
                    error,
                })?
            }
        };
        let template = file.facts.chat_template.as_deref().map(ChatTemplate::new).transpose();
        let template = template.map_err(|error| Error::Prompt {
            model: file.id.clone(),
            error: PromptError::Template(error),
        })?;
        let prompter = Arc::new(Prompter::new(template, tokenizer, Specials::of(&file.header)));
        self.0.loaded.keep(key, file, &prompter);
        Ok(prompter)
    }
}

/// Runs what reads disks or takes its time beside the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Worker(WorkerError::Stopped { worker: "llm" })),
    }
}

fn configured_stay(config: &Config) -> Stay {
    u64::try_from(config.keep_alive_s).map_or(Stay::Forever, |seconds| Stay::For(Duration::from_secs(seconds)))
}

/// Loads whether anybody looks or not.
fn unwatched() -> Progress {
    Arc::new(|_| true)
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

fn interrupted(error: Interrupted, file: &ModelFile, engine: EngineKind) -> Error {
    let model = file.id.clone();
    match error {
        Interrupted::Cancelled => Error::Cancelled,
        Interrupted::Deadline => Error::Deadline,
        Interrupted::Engine(error) => Error::Engine { model, error },
        Interrupted::NoScores(error) => Error::NoScores { model, engine, error },
    }
}
