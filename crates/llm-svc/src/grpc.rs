//! `solo.llm.v1.LlmService`: decode, ask [`Llm`], encode.

use futures::StreamExt;
use futures::stream::BoxStream;
use solo_proto::llm::v1::llm_service_server::LlmService;
use solo_proto::llm::v1::{
    CountTokensRequest, CountTokensResponse, GenerateRequest, GenerateResponse, GetModelRequest, GetModelResponse,
    ListModelsRequest, ListModelsResponse, LoadModelRequest, LoadModelResponse, RenderPromptRequest,
    RenderPromptResponse, UnloadModelRequest, UnloadModelResponse,
};
use solo_service::{IntoStatus, RequestContext};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::llm::{Caller, Llm};
use crate::pool::Stay;

/// The gRPC face of the service.
pub(crate) struct Grpc(pub(crate) Llm);

#[tonic::async_trait]
impl LlmService for Grpc {
    type GenerateStream = BoxStream<'static, Result<GenerateResponse, Status>>;
    type LoadModelStream = BoxStream<'static, Result<LoadModelResponse, Status>>;

    async fn generate(&self, request: Request<GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        let context = RequestContext::from_request(&request)?;
        let caller = Caller {
            client: convert::client(&context, request.remote_addr()),
            priority: context.priority,
            deadline: context.deadline,
        };
        let generation = convert::generation(request.into_inner(), self.0.config().sampling, caller)
            .map_err(IntoStatus::into_status)?;
        let answer = self.0.generate(generation).await.map_err(IntoStatus::into_status)?;
        let answer = answer.map(|item| item.map(convert::answered).map_err(IntoStatus::into_status));
        Ok(Response::new(answer.boxed()))
    }

    async fn count_tokens(
        &self,
        request: Request<CountTokensRequest>,
    ) -> Result<Response<CountTokensResponse>, Status> {
        let request = request.into_inner();
        let input = convert::input(request.messages, false).map_err(IntoStatus::into_status)?;
        let tools = convert::tools(request.tools);
        let estimate = self.0.estimate(&input, &tools).map_err(IntoStatus::into_status)?;
        if let Some((tokens, context_length)) = estimate {
            return Ok(Response::new(CountTokensResponse {
                tokens: convert::count(tokens),
                context_length: convert::count(context_length),
                model: self.0.id_or_default(&request.model).to_owned(),
                estimated: true,
            }));
        }
        let rendered = self.0.render(request.model, input, tools).await;
        let (prompt, file, context_length) = rendered.map_err(IntoStatus::into_status)?;
        Ok(Response::new(CountTokensResponse {
            tokens: convert::count(prompt.tokens.len()),
            context_length: convert::count(context_length),
            model: file.id.clone(),
            estimated: false,
        }))
    }

    async fn render_prompt(
        &self,
        request: Request<RenderPromptRequest>,
    ) -> Result<Response<RenderPromptResponse>, Status> {
        let request = request.into_inner();
        let input = convert::input(request.messages, false).map_err(IntoStatus::into_status)?;
        let tools = convert::tools(request.tools);
        let rendered = self.0.render(request.model, input, tools).await;
        let (prompt, ..) = rendered.map_err(IntoStatus::into_status)?;
        Ok(Response::new(RenderPromptResponse {
            prompt: prompt.text,
            tokens: prompt.tokens,
        }))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let models = self.0.list().await.map_err(IntoStatus::into_status)?;
        Ok(Response::new(ListModelsResponse {
            models: models.into_iter().map(convert::model).collect(),
        }))
    }

    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        let model = self
            .0
            .get(request.into_inner().model)
            .await
            .map_err(IntoStatus::into_status)?;
        Ok(Response::new(GetModelResponse {
            model: Some(convert::model(model)),
        }))
    }

    async fn load_model(&self, request: Request<LoadModelRequest>) -> Result<Response<Self::LoadModelStream>, Status> {
        let request = request.into_inner();
        let stay = request
            .keep_alive
            .map(|time| convert::stay(time, Stay::OneRequest))
            .transpose();
        let stay = stay.map_err(IntoStatus::into_status)?;
        let loading = self.0.load(request.model, stay);
        let loading = loading.map(|item| item.map(convert::loading).map_err(IntoStatus::into_status));
        Ok(Response::new(loading.boxed()))
    }

    async fn unload_model(
        &self,
        request: Request<UnloadModelRequest>,
    ) -> Result<Response<UnloadModelResponse>, Status> {
        let freed_bytes = self
            .0
            .unload(request.into_inner().model)
            .await
            .map_err(IntoStatus::into_status)?;
        Ok(Response::new(UnloadModelResponse { freed_bytes }))
    }
}
