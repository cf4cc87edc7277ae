//! The gRPC surface: decode, call, encode.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use solo_proto::agent::v1::agent_service_server::AgentService;
use solo_proto::agent::v1::*;
use solo_service::{Context, IntoStatus, RequestContext};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::converse;
use crate::convert;
use crate::dialogue::Key;
use crate::error::Error;
use crate::reply::Mind;

/// Messages on their way to a client.
const OUTBOX: usize = 64;
/// Characters of a search.
const SEARCH_CHARS: usize = 1000;

/// Serves the mind.
pub struct Agent {
    mind: Arc<Mind>,
    context: Context,
    sessions: TaskTracker,
}

impl Agent {
    /// Serves `mind`; its sessions are counted in `sessions`, so that the service ends after they have.
    pub fn new(mind: Arc<Mind>, context: Context, sessions: TaskTracker) -> Self {
        Self {
            mind,
            context,
            sessions,
        }
    }
}

fn key(request: &RequestContext, dialogue: String) -> Key {
    Key {
        principal: request.principal.clone(),
        dialogue,
    }
}

fn not_built<T>(what: &'static str) -> Result<T, Status> {
    Err(Error::NotBuilt(what).into_status())
}

#[tonic::async_trait]
impl AgentService for Agent {
    type ConverseStream = BoxStream<'static, Result<ConverseResponse, Status>>;
    type WatchRunStream = BoxStream<'static, Result<WatchRunResponse, Status>>;

    async fn converse(
        &self,
        request: Request<Streaming<ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let context = RequestContext::from_request(&request)?;
        let inbound = request.into_inner().map(|message| message.map(convert::incoming));
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let (shutdown, draining) = (self.context.shutdown.clone(), self.context.draining_status());
        let session = converse::run(Arc::clone(&self.mind), context, inbound, outbox, shutdown, draining);
        self.sessions.spawn(session.in_current_span());
        let responses = ReceiverStream::new(outgoing).map(|message| message.map(convert::outgoing));
        Ok(Response::new(responses.boxed()))
    }

    async fn list_dialogues(
        &self,
        request: Request<ListDialoguesRequest>,
    ) -> Result<Response<ListDialoguesResponse>, Status> {
        let context = RequestContext::from_request(&request)?;
        let request = request.into_inner();
        let page = async {
            let limit = convert::limit("page_size", request.page_size, 100, 1000)?;
            let after = Some(request.page_token).filter(|token| !token.is_empty());
            let after = after.map(|token| token.parse()).transpose()?;
            self.mind.store.list(&context.principal, limit, after.as_ref()).await
        };
        let page = page.await.map_err(IntoStatus::into_status)?;
        Ok(Response::new(ListDialoguesResponse {
            dialogues: page.dialogues.into_iter().map(convert::dialogue).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_dialogue(
        &self,
        request: Request<GetDialogueRequest>,
    ) -> Result<Response<GetDialogueResponse>, Status> {
        let context = RequestContext::from_request(&request)?;
        let key = key(&context, request.into_inner().id);
        let found = async {
            let dialogue = self.mind.store.dialogue(&key).await?;
            Ok::<_, Error>((dialogue, self.mind.store.turns(&key).await?))
        };
        let (dialogue, turns) = found.await.map_err(IntoStatus::into_status)?;
        Ok(Response::new(GetDialogueResponse {
            dialogue: Some(convert::dialogue(dialogue)),
            turns: turns.into_iter().map(convert::turn).collect(),
        }))
    }

    async fn search_dialogues(
        &self,
        request: Request<SearchDialoguesRequest>,
    ) -> Result<Response<SearchDialoguesResponse>, Status> {
        let context = RequestContext::from_request(&request)?;
        let request = request.into_inner();
        let found = async {
            let limit = convert::limit("limit", request.limit, 20, 100)?;
            let chars = request.text.chars().count();
            if request.text.trim().is_empty() || chars > SEARCH_CHARS {
                let problem = format!("has {chars} characters; 1 to {SEARCH_CHARS} are wanted");
                return Err(Error::invalid("text", "OUT_OF_RANGE", problem));
            }
            self.mind.store.search(&context.principal, &request.text, limit).await
        };
        let found = found.await.map_err(IntoStatus::into_status)?;
        let hits = found.into_iter().map(|(dialogue, turn)| DialogueHit {
            dialogue: Some(convert::dialogue(dialogue)),
            turn: Some(convert::turn(turn)),
        });
        Ok(Response::new(SearchDialoguesResponse { hits: hits.collect() }))
    }

    async fn delete_dialogues(
        &self,
        request: Request<DeleteDialoguesRequest>,
    ) -> Result<Response<DeleteDialoguesResponse>, Status> {
        let context = RequestContext::from_request(&request)?;
        let selector = request.into_inner().selector;
        let deleted = async {
            let deleted = match selector {
                Some(delete_dialogues_request::Selector::Id(id)) => {
                    self.mind.store.delete(&key(&context, id)).await?;
                    1
                }
                Some(delete_dialogues_request::Selector::All(true)) => {
                    self.mind.store.delete_all(&context.principal).await?
                }
                Some(delete_dialogues_request::Selector::All(false)) | None => {
                    let problem = "is missing; id, or all = true, is wanted";
                    return Err(Error::invalid("selector", "SELECTOR_MISSING", problem));
                }
            };
            self.mind.gauges.set_totals(self.mind.store.counts().await?);
            Ok(deleted)
        };
        let deleted = deleted.await.map_err(IntoStatus::into_status)?;
        Ok(Response::new(DeleteDialoguesResponse {
            deleted: u32::try_from(deleted).unwrap_or(u32::MAX),
        }))
    }

    async fn start_run(&self, _: Request<StartRunRequest>) -> Result<Response<StartRunResponse>, Status> {
        not_built("runs")
    }

    async fn watch_run(&self, _: Request<WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        not_built("runs")
    }

    async fn control_run(&self, _: Request<ControlRunRequest>) -> Result<Response<ControlRunResponse>, Status> {
        not_built("runs")
    }

    async fn decide_action(&self, _: Request<DecideActionRequest>) -> Result<Response<DecideActionResponse>, Status> {
        not_built("actions")
    }

    async fn list_runs(&self, _: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        not_built("runs")
    }

    /// There is none yet, and that is the truth rather than a stub.
    async fn list_tools(&self, _: Request<ListToolsRequest>) -> Result<Response<ListToolsResponse>, Status> {
        Ok(Response::new(ListToolsResponse { tools: Vec::new() }))
    }
}
