//! The gRPC border of wake-svc: decode, listen, encode.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use solo_proto::wake::v1::wake_service_server::WakeService;
use solo_proto::wake::v1::{DetectRequest, DetectResponse, ListKeywordsRequest, ListKeywordsResponse};
use solo_service::{Context, IntoStatus, Worker};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::WakeError;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::convert::{self, Defaults};
use crate::ears::Ears;
use crate::engine::KeywordEngine;
use crate::watch::{Rule, Wake, Watch};

/// Serves `solo.wake.v1`.
pub struct WakeGrpc {
    worker: Worker<Box<dyn KeywordEngine>>,
    catalogue: Arc<Catalogue>,
    context: Context,
    ears: Arc<Ears>,
    defaults: Defaults,
    max_streams: usize,
    streams: Arc<Semaphore>,
}

impl WakeGrpc {
    /// Listens with `worker`'s engine; what a request leaves open is as `config` says.
    pub fn new(
        worker: Worker<Box<dyn KeywordEngine>>,
        catalogue: Arc<Catalogue>,
        context: Context,
        config: &Config,
    ) -> Self {
        let defaults = Defaults {
            engine: config.engine,
            rules: config.rules(),
            refractory_ms: config.refractory_ms,
            trigger_count: config.trigger_count,
        };
        Self {
            worker,
            catalogue,
            ears: Arc::new(Ears::new(context.status.clone())),
            context,
            defaults,
            max_streams: config.max_streams,
            streams: Arc::new(Semaphore::new(config.max_streams)),
        }
    }

    /// Opens a detector on the engine's thread.
    async fn watch(&self, rules: Vec<Rule>) -> Result<Watch, WakeError> {
        self.worker
            .run(move |engine, _| Ok(Watch::new(engine.open(&rules)?, &rules)))
            .await?
    }
}

/// Lends a watch to the engine's thread for one chunk. A stream has at most one chunk there, so the queue, as long as there
/// may be streams, is never full.
async fn feed(
    worker: &Worker<Box<dyn KeywordEngine>>,
    mut watch: Watch,
    (first_sample, samples): (u64, Vec<i16>),
) -> Result<(Watch, Vec<Wake>), WakeError> {
    worker
        .run(move |_, _| {
            let wakes = watch.feed(first_sample, &samples)?;
            Ok((watch, wakes))
        })
        .await?
}

#[tonic::async_trait]
impl WakeService for WakeGrpc {
    type DetectStream = Pin<Box<dyn Stream<Item = Result<DetectResponse, Status>> + Send>>;

    async fn detect(&self, request: Request<Streaming<DetectRequest>>) -> Result<Response<Self::DetectStream>, Status> {
        let mut requests = request.into_inner();
        let context = self.context.clone();
        let place = Arc::clone(&self.streams).try_acquire_owned();
        let place = place.map_err(|_| {
            WakeError::TooManyStreams {
                limit: self.max_streams,
            }
            .into_status()
        })?;
        let first = tokio::select! {
            first = requests.message() => first?,
            () = context.shutdown.cancelled() => return Err(context.draining_status()),
        };
        let config = convert::first(first).map_err(IntoStatus::into_status)?;
        let rules = convert::rules(config, &self.defaults, &self.catalogue).map_err(IntoStatus::into_status)?;
        let started = convert::started(&rules, self.defaults.engine.name());
        let mut watch = self.watch(rules).await.map_err(IntoStatus::into_status)?;
        let worker = self.worker.clone();
        let mut listening = Ears::open(&self.ears);
        let answers = async_stream::try_stream! {
            let _place = place;
            yield started;
            loop {
                // Nothing of a watch is worth finishing: the client goes on at another instance, at the same position.
                let request = tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => Err(context.draining_status()),
                    request = requests.message() => request,
                };
                let Some(request) = request? else { break };
                let chunk = convert::audio(request).map_err(IntoStatus::into_status)?;
                let samples = chunk.1.len();
                let (same, wakes) = feed(&worker, watch, chunk).await.map_err(IntoStatus::into_status)?;
                watch = same;
                listening.heard(samples);
                for wake in wakes {
                    tracing::info!(
                        keyword = wake.keyword, score = wake.score, end_sample = wake.end_sample, "keyword heard"
                    );
                    yield convert::wake(wake);
                }
            }
        };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_keywords(&self, _: Request<ListKeywordsRequest>) -> Result<Response<ListKeywordsResponse>, Status> {
        let active = |id: &str| self.defaults.rules.iter().any(|rule| rule.keyword == id);
        let keywords = self.catalogue.all(|keyword| active(&keyword.id));
        let keywords = keywords
            .into_iter()
            .map(|keyword| convert::keyword(keyword, active(&keyword.id)))
            .collect();
        Ok(Response::new(ListKeywordsResponse { keywords }))
    }
}
