//! An assistant that says what the test wrote down for it: what the gateway's tests talk to.
//!
//! It keeps the contract of Converse (opened first, accepted before words, done or failed last, an equal draft adopted,
//! dropping the stream cancels) and has no mind of its own.

mod script;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use solo_proto::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use solo_proto::agent::v1::converse_request::Payload as In;
use solo_proto::agent::v1::converse_response::Payload as Out;
use solo_proto::agent::v1::*;
use solo_proto::llm::v1::{FinishReason, Usage};
use tonic::{Request, Response, Status, Streaming};

use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

pub use script::{AgentScript, AgentStep};

/// The fake; clones share everything.
#[derive(Clone, Default)]
pub struct FakeAgent {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<VecDeque<AgentScript>>,
    otherwise: Mutex<Option<AgentScript>>,
    received: Journal<Recorded<ConverseRequest>>,
    dialogues: Mutex<Vec<(Dialogue, Vec<Turn>)>>,
    opened: AtomicUsize,
    cancelled: AtomicUsize,
}

impl FakeAgent {
    /// Answers "Hello there." to everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next turn without a script gets this one; several are used in order.
    pub fn script(&self, script: AgentScript) -> &Self {
        locked(&self.state.scripts).push_back(script);
        self
    }

    /// Every turn without a script gets this text.
    pub fn reply(&self, text: &str) -> &Self {
        *locked(&self.state.otherwise) = Some(AgentScript::text(text));
        self
    }

    /// A dialogue that is there: it can be opened, listed, got, searched and deleted.
    pub fn add_dialogue(&self, dialogue: Dialogue, turns: Vec<Turn>) -> &Self {
        locked(&self.state.dialogues).push((dialogue, turns));
        self
    }

    /// Everything that came in on Converse, oldest first.
    pub fn received(&self) -> Vec<Recorded<ConverseRequest>> {
        self.state.received.all()
    }

    /// The commits that came in, oldest first.
    pub fn commits(&self) -> Vec<Commit> {
        let payloads = self
            .received()
            .into_iter()
            .filter_map(|recorded| recorded.message.payload);
        payloads
            .filter_map(|payload| {
                if let In::Commit(commit) = payload {
                    Some(commit)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The drafts that came in, oldest first.
    pub fn drafts(&self) -> Vec<String> {
        let payloads = self
            .received()
            .into_iter()
            .filter_map(|recorded| recorded.message.payload);
        payloads
            .filter_map(|payload| {
                if let In::Draft(draft) = payload {
                    Some(draft.text)
                } else {
                    None
                }
            })
            .collect()
    }

    /// What was said to have been heard, oldest first.
    pub fn heard(&self) -> Vec<Heard> {
        let payloads = self
            .received()
            .into_iter()
            .filter_map(|recorded| recorded.message.payload);
        payloads
            .filter_map(|payload| {
                if let In::Heard(heard) = payload {
                    Some(heard)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Turns that were cut off: their stream was dropped, or another commit came.
    pub fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// The gRPC service.
    pub fn service(&self) -> AgentServiceServer<Self> {
        AgentServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }

    fn open(&self, open: &OpenDialogue) -> Result<DialogueOpened, Status> {
        if open.dialogue_id.is_empty() {
            let number = self.state.opened.fetch_add(1, Ordering::SeqCst) + 1;
            let dialogue_id = format!("dialogue-{number}");
            let dialogue = Dialogue {
                id: dialogue_id.clone(),
                ..Dialogue::default()
            };
            self.add_dialogue(dialogue, Vec::new());
            return Ok(DialogueOpened {
                dialogue_id,
                created: true,
                turns: 0,
            });
        }
        let dialogues = locked(&self.state.dialogues);
        let found = dialogues.iter().find(|(dialogue, _)| dialogue.id == open.dialogue_id);
        let (dialogue, turns) =
            found.ok_or_else(|| Status::not_found(format!("there is no dialogue {:?}", open.dialogue_id)))?;
        Ok(DialogueOpened {
            dialogue_id: dialogue.id.clone(),
            created: false,
            turns: turns.len() as u32,
        })
    }

    fn next_script(&self) -> AgentScript {
        let scripted = locked(&self.state.scripts).pop_front();
        scripted
            .or_else(|| locked(&self.state.otherwise).clone())
            .unwrap_or_else(|| AgentScript::text("Hello there."))
    }

    /// The answers to one commit.
    fn turn(&self, commit: Commit, draft_adopted: bool) -> BoxStream<'static, Result<ConverseResponse, Status>> {
        let script = self.next_script();
        let mut guard = Running {
            state: Arc::clone(&self.state),
            ended: false,
        };
        Box::pin(async_stream::try_stream! {
            let respond = |payload| ConverseResponse { turn_id: commit.turn_id.clone(), payload: Some(payload) };
            yield respond(Out::Accepted(TurnAccepted { draft_adopted }));
            let mut reply = String::new();
            let mut completion_tokens = 0;
            for step in script.steps {
                match step {
                    AgentStep::Text(text) => {
                        reply.push_str(&text);
                        completion_tokens += 1;
                        yield respond(Out::Text(ReplyDelta { text }));
                    }
                    AgentStep::Status(stage) => {
                        let status = TurnStatus { stage: stage.into(), tool: String::new(), milliseconds: 1 };
                        yield respond(Out::Status(status));
                    }
                    AgentStep::Citation(citation) => yield respond(Out::Citation(citation)),
                    AgentStep::Action(action) => yield respond(Out::Action(action)),
                    AgentStep::Gate(gate) => gate.pass().await,
                    AgentStep::FailTurn(failed) => {
                        guard.end();
                        yield respond(Out::Failed(failed));
                        return;
                    }
                    AgentStep::FailStream(status) => {
                        guard.end();
                        Err(status)?;
                    }
                }
            }
            guard.end();
            let usage = Usage { prompt_tokens: 10, completion_tokens, ..Usage::default() };
            let times = TurnTimes {
                recalled_ms: Some(1),
                first_token_ms: Some(2),
                first_sentence_ms: Some(3),
                done_ms: 4,
            };
            yield respond(Out::Done(TurnDone {
                reply,
                usage: Some(usage),
                finish_reason: FinishReason::Stop.into(),
                model: crate::llm::MODEL.into(),
                times: Some(times),
            }));
        })
    }
}

/// Counts a turn as cancelled when it is dropped before its end.
struct Running {
    state: Arc<State>,
    ended: bool,
}

impl Running {
    /// The turn has ended by itself. (A method, so that streams capture the whole guard and not the flag alone.)
    fn end(&mut self) {
        self.ended = true;
    }
}

/// What a Converse stream waits for.
enum Next {
    Reply(Option<Result<ConverseResponse, Status>>),
    Message(Result<Option<ConverseRequest>, Status>),
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.state.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tonic::async_trait]
impl AgentService for FakeAgent {
    type ConverseStream = BoxStream<'static, Result<ConverseResponse, Status>>;
    type WatchRunStream = BoxStream<'static, Result<WatchRunResponse, Status>>;

    async fn converse(
        &self,
        request: Request<Streaming<ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let metadata = request.metadata().clone();
        let fake = self.clone();
        let mut incoming = request.into_inner();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let mut draft = None;
            let mut turn: Option<BoxStream<'static, Result<ConverseResponse, Status>>> = None;
            let mut half_closed = false;
            loop {
                let running = async {
                    match &mut turn {
                        Some(turn) => futures::StreamExt::next(turn).await,
                        None => std::future::pending().await,
                    }
                };
                let next = tokio::select! {
                    reply = running => Next::Reply(reply),
                    message = incoming.message(), if !half_closed => Next::Message(message),
                };
                let message = match next {
                    Next::Reply(Some(response)) => {
                        yield response?;
                        continue;
                    }
                    Next::Reply(None) if half_closed => return,
                    Next::Reply(None) => {
                        turn = None;
                        continue;
                    }
                    Next::Message(message) => message?,
                };
                let Some(message) = message else {
                    half_closed = true;
                    if turn.is_none() {
                        return;
                    }
                    continue;
                };
                fake.state.received.push(Recorded { message: message.clone(), metadata: metadata.clone() });
                match message.payload {
                    Some(In::Open(open)) => {
                        let opened = fake.open(&open)?;
                        yield ConverseResponse { turn_id: String::new(), payload: Some(Out::Opened(opened)) };
                    }
                    Some(In::Draft(latest)) => draft = Some(latest.text),
                    Some(In::Commit(commit)) => {
                        let adopted = draft.take().is_some_and(|draft| draft.trim() == commit.text.trim());
                        turn = Some(fake.turn(commit, adopted));
                    }
                    Some(In::Heard(_) | In::Decision(_)) => {}
                    None => Err(Status::invalid_argument("a message without payload"))?,
                }
            }
        })))
    }

    async fn list_dialogues(
        &self,
        _: Request<ListDialoguesRequest>,
    ) -> Result<Response<ListDialoguesResponse>, Status> {
        let dialogues = locked(&self.state.dialogues)
            .iter()
            .rev()
            .map(|(dialogue, _)| dialogue.clone())
            .collect();
        Ok(Response::new(ListDialoguesResponse {
            dialogues,
            next_page_token: String::new(),
        }))
    }

    async fn get_dialogue(
        &self,
        request: Request<GetDialogueRequest>,
    ) -> Result<Response<GetDialogueResponse>, Status> {
        let id = request.into_inner().id;
        let dialogues = locked(&self.state.dialogues);
        let found = dialogues.iter().find(|(dialogue, _)| dialogue.id == id).cloned();
        let (dialogue, turns) = found.ok_or_else(|| Status::not_found(format!("there is no dialogue {id:?}")))?;
        Ok(Response::new(GetDialogueResponse {
            dialogue: Some(dialogue),
            turns,
        }))
    }

    async fn search_dialogues(
        &self,
        request: Request<SearchDialoguesRequest>,
    ) -> Result<Response<SearchDialoguesResponse>, Status> {
        let text = request.into_inner().text;
        let dialogues = locked(&self.state.dialogues);
        let turns = dialogues
            .iter()
            .flat_map(|(dialogue, turns)| turns.iter().map(move |turn| (dialogue, turn)));
        let found = turns.filter(|(_, turn)| turn.text.contains(&text) || turn.reply.contains(&text));
        let hits = found
            .map(|(dialogue, turn)| DialogueHit {
                dialogue: Some(dialogue.clone()),
                turn: Some(turn.clone()),
            })
            .collect();
        Ok(Response::new(SearchDialoguesResponse { hits }))
    }

    async fn delete_dialogues(
        &self,
        request: Request<DeleteDialoguesRequest>,
    ) -> Result<Response<DeleteDialoguesResponse>, Status> {
        let selector = request.into_inner().selector;
        let mut dialogues = locked(&self.state.dialogues);
        let before = dialogues.len();
        match selector {
            Some(delete_dialogues_request::Selector::Id(id)) => dialogues.retain(|(dialogue, _)| dialogue.id != id),
            Some(delete_dialogues_request::Selector::All(true)) => dialogues.clear(),
            _ => return Err(Status::invalid_argument("a selector is wanted")),
        }
        Ok(Response::new(DeleteDialoguesResponse {
            deleted: (before - dialogues.len()) as u32,
        }))
    }

    async fn start_run(&self, _: Request<StartRunRequest>) -> Result<Response<StartRunResponse>, Status> {
        Err(not_faked())
    }

    async fn watch_run(&self, _: Request<WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        Err(not_faked())
    }

    async fn control_run(&self, _: Request<ControlRunRequest>) -> Result<Response<ControlRunResponse>, Status> {
        Err(not_faked())
    }

    async fn decide_action(&self, _: Request<DecideActionRequest>) -> Result<Response<DecideActionResponse>, Status> {
        Err(not_faked())
    }

    async fn list_runs(&self, _: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        Err(not_faked())
    }

    async fn list_tools(&self, _: Request<ListToolsRequest>) -> Result<Response<ListToolsResponse>, Status> {
        Ok(Response::new(ListToolsResponse { tools: Vec::new() }))
    }
}

fn not_faked() -> Status {
    Status::unimplemented("the fake agent does not do this")
}
