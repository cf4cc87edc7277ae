//! What the service does, in its own terms: [`crate::grpc`] translates, this decides.
//!
//! Whatever can be refused is refused before it waits: prompts are rendered, tokenized and measured beside the thread that
//! computes, so that a prompt that is too long hears so at once. What is left is a [`Job`], which [`local`] has answered.

mod calls;
mod local;
mod prepare;
mod remote;
mod terms;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::BoxStream;
use solo_service::{Context, WorkerError};
use tokio::sync::mpsc;

use crate::backend::Answer;
use crate::backend::error::RemoteError;
use crate::catalogue::{Catalogue, ModelFile};
use crate::chat::{ChatTemplate, Tool};
use crate::config::Config;
use crate::engine::{EngineKind, EngineOptions, Engines, Progress};
use crate::error::Error;
use crate::pool::{Key, Stay};
use crate::prompt::Prompt;
use crate::tools::Trust;

use local::Local;

pub use remote::{Remotes, estimate};
pub use terms::{Answered, Caller, Described, Format, Generation, Input, Loading};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Llm(Arc<Parts>);

struct Parts {
    config: Config,
    catalogue: Arc<Catalogue>,
    local: Arc<Local>,
    remotes: Remotes,
    /// The fastest engine of each model that was asked for, and the file that it was chosen by.
    fastest: Mutex<HashMap<String, (Arc<ModelFile>, EngineKind)>>,
}

impl Llm {
    /// Loads the configured model and starts to answer. `why_cpu` tells why engines do not compute on a GPU. The second
    /// value is background work that belongs to the service.
    ///
    /// # Errors
    /// When the configured model cannot be loaded.
    pub async fn start(
        config: Config,
        context: &Context,
        why_cpu: &str,
        options: EngineOptions,
        engines: Arc<dyn Engines>,
        remotes: Remotes,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), solo_service::StartupError> {
        let catalogue = Arc::new(Catalogue::new(&config, &context.global.models_dir));
        let (local, expiring) = Local::start(&config, context, options, engines).await?;
        let local = Arc::new(local);
        if let Some(engine) = config.engine.remote() {
            context.status.set_engine(engine.as_str());
            remotes.ready(engine, catalogue.default_id()).await?;
        } else {
            let first = Arc::clone(&catalogue);
            let file = blocking(move || first.open("")).await?;
            let engine = config.engine.named().unwrap_or_else(|| {
                let (engine, why) = local.engines.fastest(&file);
                let beside = if why_cpu.is_empty() {
                    String::new()
                } else {
                    format!(" ({why_cpu})")
                };
                context.status.set_engine_reason(format!("auto: {why}{beside}"));
                engine
            });
            context.status.set_engine(engine.as_str());
            let key = Key {
                engine,
                model: file.id.clone(),
            };
            local.load(&key, &file, None, &unwatched()).await?;
        }
        let parts = Parts {
            config,
            catalogue,
            local,
            remotes,
            fastest: Mutex::default(),
        };
        Ok((Self(Arc::new(parts)), expiring))
    }

    /// The id of the model of requests that name none.
    pub fn default_model(&self) -> &str {
        self.0.catalogue.default_id()
    }

    /// The id that a request means.
    pub fn id_or_default<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.catalogue.id_or_default(id)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Answers; the stream ends after as many [`Answered::Finished`] as are wanted, or an error. Dropping it stops the
    /// work.
    ///
    /// # Errors
    /// Whatever can be told before the request waits.
    pub async fn generate(&self, request: Generation) -> Result<Answer, Error> {
        let engine = request.engine.or(self.0.config.engine.named());
        if let Some(engine) = engine.filter(|engine| !engine.is_local()) {
            let (remotes, config) = (&self.0.remotes, &self.0.config);
            let (tools, count) = (request.visible_tools().to_vec(), request.count);
            let answer = remotes.generate(engine, request, self.default_model(), config).await?;
            // Some servers leave calls in the text.
            return Ok(match tools.as_slice() {
                [] => answer,
                tools => calls::told(answer, tools, count, Trust::Free),
            });
        }
        let seeds = seeds(request.sampling.seed, request.count);
        let places = self.0.local.places(seeds.len())?;
        let llm = self.clone();
        let (key, file, job, request) = blocking(move || {
            let file = llm.0.catalogue.open(&request.model)?;
            let key = llm.key(request.engine, &file);
            let job = llm.job(&key, &file, &request)?;
            Ok((key, file, job, request))
        })
        .await?;
        let answer = self.0.local.answer(key, file, &job, &seeds, places, &request);
        Ok(match request.visible_tools() {
            [] => answer,
            tools => calls::told(answer, tools, seeds.len(), Trust::Constrained),
        })
    }

    /// The prompt that a model would see on the configured engine, and the tokens that its context holds.
    ///
    /// # Errors
    /// [`Error`] says why there is none.
    pub async fn render(
        &self,
        model: String,
        input: Input,
        tools: Vec<Tool>,
    ) -> Result<(Prompt, Arc<ModelFile>, usize), Error> {
        self.local("its server makes prompts of messages and shows them to nobody: use a local engine")?;
        let llm = self.clone();
        blocking(move || {
            let file = llm.0.catalogue.open(&model)?;
            let prompt = llm.prompt(&llm.key(None, &file), &file, &input, &tools)?;
            let context = llm.0.local.options.context_for(&file.facts);
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
        let local = blocking(move || {
            Ok(llm
                .0
                .catalogue
                .list()
                .into_iter()
                .map(|entry| llm.describe(entry.id, entry.file))
                .collect())
        })
        .await?;
        let default = self.0.config.engine.remote();
        self.0.remotes.list(default, self.default_model(), local).await
    }

    /// One model.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`].
    pub async fn get(&self, model: String) -> Result<Described, Error> {
        if let Some(engine) = self.0.config.engine.remote() {
            let (id, default) = (self.0.catalogue.id_or_default(&model), self.default_model());
            return self.0.remotes.describe(engine, id, default).await;
        }
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
            llm.local("its server loads its models itself")?;
            let (local, opening, id) = (Arc::clone(&llm.0.local), llm.clone(), model.clone());
            let (key, file) = blocking(move || {
                let file = opening.0.catalogue.open(&id)?;
                Ok((opening.key(None, &file), file))
            })
            .await?;
            // Progress that nobody can be told any more gives the loading up.
            let (told, mut progress) = mpsc::unbounded_channel();
            let watched: Progress = Arc::new(move |share| told.send(share).is_ok());
            let loading = async move { local.load(&key, &file, stay, &watched).await };
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
            loaded?;
            yield Loading::Done(llm.get(model).await?);
        })
    }

    /// Unloads a model from every engine when its running requests have ended; returns the memory that it needed.
    ///
    /// # Errors
    /// [`Error::NotLoaded`].
    pub async fn unload(&self, model: String) -> Result<u64, Error> {
        let id = self.0.catalogue.id_or_default(&model).to_owned();
        self.0.local.unload(id).await
    }

    /// About how many tokens messages take on the configured engine, and the tokens that its models hold, where that
    /// engine is another server; `None` where it is a local one, which can count.
    ///
    /// # Errors
    /// When the engine is not enabled.
    pub fn estimate(&self, input: &Input, tools: &[Tool]) -> Result<Option<(usize, usize)>, Error> {
        let Some(engine) = self.0.config.engine.remote() else {
            return Ok(None);
        };
        Ok(Some((estimate(input, tools), self.0.remotes.context_length(engine)?)))
    }

    /// Refuses what only an engine of this process can do.
    fn local(&self, otherwise: &str) -> Result<(), Error> {
        match self.0.config.engine.remote() {
            None => Ok(()),
            Some(engine) => Err(RemoteError::unsupported(engine, otherwise).into()),
        }
    }

    /// A model on the engine of this process that a request means: the one that it asks for, or the configured one, or the
    /// fastest.
    fn key(&self, asked: Option<EngineKind>, file: &Arc<ModelFile>) -> Key {
        let named = asked.or(self.0.config.engine.named());
        let named = named.filter(|engine| engine.is_local());
        Key {
            engine: named.unwrap_or_else(|| self.fastest(file)),
            model: file.id.clone(),
        }
    }

    /// The fastest engine of this process for a model. Looks at the whole header and at the machine, once for each file.
    fn fastest(&self, file: &Arc<ModelFile>) -> EngineKind {
        // Entries are whole or absent: a panic elsewhere cannot leave one half-written.
        let mut known = self.0.fastest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, engine)) = known.get(&file.id)
            && Arc::ptr_eq(of, file)
        {
            return *engine;
        }
        let (engine, _) = self.0.local.engines.fastest(file);
        known.insert(file.id.clone(), (Arc::clone(file), engine));
        engine
    }

    fn describe(&self, id: String, file: Option<Arc<ModelFile>>) -> Described {
        let on = |engine| {
            self.0.local.loaded.contains(&Key {
                engine,
                model: id.clone(),
            })
        };
        let configured = file
            .as_ref()
            .map_or(EngineKind::LlamaCpp, |file| self.key(None, file).engine);
        let others = [EngineKind::LlamaCpp, EngineKind::Candle];
        let loaded = on(configured)
            .then_some(configured)
            .or_else(|| others.into_iter().find(|&engine| on(engine)));
        let template = file.as_ref().and_then(|file| file.facts.chat_template.as_deref());
        Described {
            context_length: file
                .as_ref()
                .map_or(0, |file| self.0.local.options.context_for(&file.facts)),
            supports_tools: template
                .and_then(|text| ChatTemplate::new(text).ok())
                .is_some_and(|t| t.supports_tools()),
            kv_bytes_per_token: file.as_ref().map_or(0, |file| {
                let kv = self.0.local.options.kv_type;
                loaded.unwrap_or(configured).kv_bytes_per_token(&file.facts, kv)
            }),
            loaded: loaded.is_some(),
            engine: loaded.unwrap_or(configured),
            id,
            file,
        }
    }
}

/// Runs what reads disks or takes its time beside the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Worker(WorkerError::Stopped { worker: local::WORKER })),
    }
}

/// The seeds of `count` answers: each its own, all decided by the first.
fn seeds(seed: Option<u64>, count: usize) -> Vec<Option<u64>> {
    let count = count.max(1) as u64;
    (0..count)
        .map(|index| seed.map(|seed| seed.wrapping_add(index)))
        .collect()
}

/// Loads whether anybody looks or not.
fn unwatched() -> Progress {
    Arc::new(|_| true)
}
