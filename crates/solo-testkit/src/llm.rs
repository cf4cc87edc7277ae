//! A language model that says what the test wrote down for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_server::{LlmService, LlmServiceServer};
use solo_proto::llm::v1::{
    CountTokensRequest, CountTokensResponse, FinishReason, GenerateFinished, GenerateRequest, GenerateResponse,
    GenerateStarted, GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse, LoadModelRequest,
    LoadModelResponse, Message, Model, RenderPromptRequest, RenderPromptResponse, TextDelta, ToolCallDelta,
    UnloadModelRequest, UnloadModelResponse, Usage, content_part,
};
use tonic::{Request, Response, Status};

use crate::gate::Gate;
use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

/// Identifier of the fake's only model.
pub const MODEL: &str = "fake-model";

/// One thing that the fake does while it answers.
#[derive(Debug, Clone)]
pub enum LlmStep {
    /// Sends a delta.
    Text(String),
    /// Sends a piece of a tool call.
    ToolCall(ToolCallDelta),
    /// Waits.
    Gate(Gate),
    /// Ends the stream with an error.
    Fail(Status),
    /// Ends the answer; without it a script ends with `FINISH_REASON_STOP`.
    Finish(FinishReason),
}

/// What the fake does with one request.
#[derive(Debug, Clone, Default)]
pub struct LlmScript {
    steps: Vec<LlmStep>,
}

impl LlmScript {
    /// Says a text in deltas of one word each.
    pub fn text(text: &str) -> Self {
        Self::default().then_text(text)
    }

    /// Refuses the request before the stream begins.
    pub fn fail(status: Status) -> Self {
        Self::default().then(LlmStep::Fail(status))
    }

    /// Adds a text, in deltas of one word each.
    pub fn then_text(mut self, text: &str) -> Self {
        self.steps
            .extend(text.split_inclusive(' ').map(|delta| LlmStep::Text(delta.to_owned())));
        self
    }

    /// Adds a gate.
    pub fn then_gate(self, gate: &Gate) -> Self {
        self.then(LlmStep::Gate(gate.clone()))
    }

    /// Adds a step.
    pub fn then(mut self, step: LlmStep) -> Self {
        self.steps.push(step);
        self
    }
}

/// Decides a script from a request.
type Responder = Arc<dyn Fn(&GenerateRequest) -> LlmScript + Send + Sync>;

/// The fake; clones share everything.
#[derive(Clone)]
pub struct FakeLlm {
    state: Arc<State>,
}

struct State {
    scripts: Mutex<VecDeque<LlmScript>>,
    otherwise: Mutex<Responder>,
    requests: Journal<Recorded<GenerateRequest>>,
    counts: Journal<Recorded<CountTokensRequest>>,
    context_length: AtomicU32,
    running: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Default for FakeLlm {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeLlm {
    /// Answers "Hello there." to everything, with a context of 4,096 tokens.
    pub fn new() -> Self {
        Self {
            state: Arc::new(State {
                scripts: Mutex::default(),
                otherwise: Mutex::new(Arc::new(|_| LlmScript::text("Hello there."))),
                requests: Journal::default(),
                counts: Journal::default(),
                context_length: AtomicU32::new(4096),
                running: Arc::default(),
                cancelled: Arc::default(),
            }),
        }
    }

    /// The next request without a script gets this one; several are used in order.
    pub fn script(&self, script: LlmScript) -> &Self {
        locked(&self.state.scripts).push_back(script);
        self
    }

    /// Every request without a script gets this text.
    pub fn reply(&self, text: &str) -> &Self {
        let script = LlmScript::text(text);
        self.respond_with(move |_| script.clone())
    }

    /// Every request without a script gets what this function says.
    pub fn respond_with(&self, responder: impl Fn(&GenerateRequest) -> LlmScript + Send + Sync + 'static) -> &Self {
        *locked(&self.state.otherwise) = Arc::new(responder);
        self
    }

    /// What CountTokens says of the model's context, in tokens.
    pub fn set_context_length(&self, tokens: u32) -> &Self {
        self.state.context_length.store(tokens, Ordering::SeqCst);
        self
    }

    /// What Generate was asked, oldest first.
    pub fn requests(&self) -> Vec<Recorded<GenerateRequest>> {
        self.state.requests.all()
    }

    /// What CountTokens was asked, oldest first.
    pub fn counts(&self) -> Vec<Recorded<CountTokensRequest>> {
        self.state.counts.all()
    }

    /// Streams that run now.
    pub fn running(&self) -> usize {
        self.state.running.load(Ordering::SeqCst)
    }

    /// Streams that the client dropped before their end.
    pub fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until that many streams were dropped by their clients.
    ///
    /// # Panics
    /// After 10 s.
    pub async fn wait_cancelled(&self, count: usize) {
        let what = format!("{count} cancelled generations");
        crate::wait_for(&what, Duration::from_secs(10), async || self.cancelled() >= count).await;
    }

    /// Waits until Generate was called that many times.
    ///
    /// # Panics
    /// After 10 s.
    pub async fn wait_requests(&self, count: usize) {
        let what = format!("{count} generations");
        crate::wait_for(&what, Duration::from_secs(10), async || {
            self.state.requests.len() >= count
        })
        .await;
    }

    /// The gRPC service.
    pub fn service(&self) -> LlmServiceServer<Self> {
        LlmServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }

    fn next_script(&self, request: &GenerateRequest) -> LlmScript {
        let scripted = locked(&self.state.scripts).pop_front();
        scripted.unwrap_or_else(|| {
            let otherwise = Arc::clone(&locked(&self.state.otherwise));
            otherwise(request)
        })
    }
}

/// The tokens that the fake counts: one for each word, and four for each message.
pub fn count_tokens(messages: &[Message]) -> u32 {
    messages
        .iter()
        .map(|message| 4 + message_text(message).split_whitespace().count() as u32)
        .sum()
}

/// The text of a message, its parts joined.
pub fn message_text(message: &Message) -> String {
    let parts = message.parts.iter().filter_map(|part| part.part.as_ref());
    parts.map(|content_part::Part::Text(text)| text.as_str()).collect()
}

/// Counts a stream while it runs, and as cancelled when it is dropped before its end.
struct Running {
    running: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    ended: bool,
}

impl Running {
    fn new(state: &State) -> Self {
        state.running.fetch_add(1, Ordering::SeqCst);
        Self {
            running: Arc::clone(&state.running),
            cancelled: Arc::clone(&state.cancelled),
            ended: false,
        }
    }

    /// The stream has ended by itself. (A method, so that streams capture the whole guard and not the flag alone.)
    fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn respond(payload: Payload) -> GenerateResponse {
    GenerateResponse { payload: Some(payload) }
}

#[tonic::async_trait]
impl LlmService for FakeLlm {
    type GenerateStream = BoxStream<'static, Result<GenerateResponse, Status>>;
    type LoadModelStream = BoxStream<'static, Result<LoadModelResponse, Status>>;

    async fn generate(&self, request: Request<GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let script = self.next_script(&message);
        let prompt_tokens = count_tokens(&message.messages);
        self.state.requests.push(Recorded { message, metadata });
        if let Some(LlmStep::Fail(status)) = script.steps.first() {
            return Err(status.clone());
        }
        let mut guard = Running::new(&self.state);
        Ok(Response::new(Box::pin(async_stream::stream! {
            yield Ok(respond(Payload::Started(GenerateStarted {
                model: MODEL.into(),
                engine: "fake".into(),
                queue_ms: 0,
                prompt_tokens,
                cached_tokens: 0,
            })));
            let mut completion_tokens = 0;
            let mut reason = FinishReason::Stop;
            for step in script.steps {
                match step {
                    LlmStep::Text(text) => {
                        completion_tokens += 1;
                        yield Ok(respond(Payload::Text(TextDelta { index: 0, text, logprobs: Vec::new() })));
                    }
                    LlmStep::ToolCall(delta) => yield Ok(respond(Payload::ToolCall(delta))),
                    LlmStep::Gate(gate) => gate.pass().await,
                    LlmStep::Fail(status) => {
                        guard.end();
                        yield Err(status);
                        return;
                    }
                    LlmStep::Finish(finish) => {
                        reason = finish;
                        break;
                    }
                }
            }
            guard.end();
            let usage = Usage { prompt_tokens, cached_tokens: 0, completion_tokens, prefill_ms: 1, decode_ms: 1 };
            yield Ok(respond(Payload::Finished(GenerateFinished { index: 0, reason: reason.into(), usage: Some(usage) })));
        })))
    }

    async fn count_tokens(
        &self,
        request: Request<CountTokensRequest>,
    ) -> Result<Response<CountTokensResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let tokens = count_tokens(&message.messages);
        self.state.counts.push(Recorded { message, metadata });
        let context_length = self.state.context_length.load(Ordering::SeqCst);
        Ok(Response::new(CountTokensResponse {
            estimated: false,
            tokens,
            context_length,
            model: MODEL.into(),
        }))
    }

    async fn render_prompt(
        &self,
        request: Request<RenderPromptRequest>,
    ) -> Result<Response<RenderPromptResponse>, Status> {
        let messages = request.into_inner().messages;
        let prompt = messages.iter().map(message_text).collect::<Vec<_>>().join("\n");
        Ok(Response::new(RenderPromptResponse {
            prompt,
            tokens: Vec::new(),
        }))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        Ok(Response::new(ListModelsResponse {
            models: vec![self.model()],
        }))
    }

    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        let id = request.into_inner().model;
        if !id.is_empty() && id != MODEL {
            return Err(Status::not_found(format!(
                "there is no model {id:?}; there is {MODEL:?}"
            )));
        }
        Ok(Response::new(GetModelResponse {
            model: Some(self.model()),
        }))
    }

    async fn load_model(&self, _: Request<LoadModelRequest>) -> Result<Response<Self::LoadModelStream>, Status> {
        Err(Status::unimplemented("the fake loads no models"))
    }

    async fn unload_model(&self, _: Request<UnloadModelRequest>) -> Result<Response<UnloadModelResponse>, Status> {
        Err(Status::unimplemented("the fake unloads no models"))
    }
}

impl FakeLlm {
    fn model(&self) -> Model {
        let context_length = self.state.context_length.load(Ordering::SeqCst);
        Model {
            id: MODEL.into(),
            architecture: "fake".into(),
            context_length,
            trained_context_length: context_length,
            installed: true,
            loaded: true,
            engine: "fake".into(),
            ..Model::default()
        }
    }
}
