//! The gRPC face: decode, call the domain, encode.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use solo_proto::stt::v1::stt_service_server::SttService;
use solo_proto::stt::v1::{
    ListModelsRequest, ListModelsResponse, ListenRequest, ListenResponse, TranscribeRequest, TranscribeResponse,
};
use solo_service::{IntoStatus, RequestContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status, Streaming};

use crate::error::SttError;
use crate::{Stt, convert, listen, transcribe};

/// The service.
pub(crate) struct Grpc {
    stt: Stt,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Grpc {
    pub(crate) fn new(stt: Stt) -> Self {
        Self { stt }
    }

    /// The first message of a stream, unless the process drains before it comes.
    async fn first<T>(&self, inbound: &mut Streaming<T>) -> Result<Option<T>, Status> {
        tokio::select! {
            message = inbound.message() => message,
            () = self.stt.context.shutdown.cancelled() => Err(self.stt.context.draining_status()),
        }
    }

    async fn recording(&self, inbound: &mut Streaming<TranscribeRequest>) -> Result<Vec<u8>, Status> {
        let limit = self.stt.config.max_bytes;
        let mut bytes = Vec::new();
        while let Some(message) = inbound.message().await? {
            bytes.extend(convert::piece(message).map_err(IntoStatus::into_status)?);
            if bytes.len() as u64 > limit {
                return Err(SttError::TooManyBytes { bytes: limit }.into_status());
            }
        }
        Ok(bytes)
    }
}

#[tonic::async_trait]
impl SttService for Grpc {
    type TranscribeStream = Answers<TranscribeResponse>;
    type ListenStream = Answers<ListenResponse>;

    async fn transcribe(
        &self,
        request: Request<Streaming<TranscribeRequest>>,
    ) -> Result<Response<Self::TranscribeStream>, Status> {
        RequestContext::from_request(&request)?;
        let limit = self.stt.config.max_files;
        let slot = slot(
            &self.stt.file_slots,
            limit,
            "recordings are being transcribed",
            "stt.max_files",
        )?;
        let mut inbound = request.into_inner();
        let first = self.first(&mut inbound).await?;
        let settings = convert::transcribe_config(first, &self.stt).map_err(IntoStatus::into_status)?;
        let bytes = self.recording(&mut inbound).await?;
        let context = self.stt.context.clone();
        let outputs = transcribe::run(self.stt.clone(), settings, bytes).map(move |output| {
            let _busy = &slot;
            output
                .map(convert::transcribe_output)
                .map_err(|error| status(error, &context))
        });
        Ok(Response::new(Box::pin(outputs)))
    }

    async fn listen(&self, request: Request<Streaming<ListenRequest>>) -> Result<Response<Self::ListenStream>, Status> {
        RequestContext::from_request(&request)?;
        let limit = self.stt.config.max_streams;
        let slot = slot(
            &self.stt.listen_slots,
            limit,
            "live streams are open",
            "stt.max_streams",
        )?;
        let mut inbound = request.into_inner();
        let first = self.first(&mut inbound).await?;
        let settings = convert::listen_config(first, &self.stt).map_err(IntoStatus::into_status)?;
        let inputs = inbound.map(|message| convert::listen_input(message.map_err(SttError::Inbound)?));
        let stt = self.stt.clone();
        let outputs = listen::run(self.stt.clone(), settings, inputs).map(move |output| {
            let _busy = &slot;
            output
                .map(|output| convert::listen_output(output, &stt))
                .map_err(|error| status(error, &stt.context))
        });
        Ok(Response::new(Box::pin(outputs)))
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        RequestContext::from_request(&request)?;
        Ok(Response::new(convert::models(&self.stt)))
    }
}

fn slot(
    slots: &Arc<Semaphore>,
    limit: usize,
    what: &'static str,
    key: &'static str,
) -> Result<OwnedSemaphorePermit, Status> {
    let full = |_| SttError::TooManyCalls { limit, what, key }.into_status();
    Arc::clone(slots).try_acquire_owned().map_err(full)
}

fn status(error: SttError, context: &solo_service::Context) -> Status {
    match error {
        SttError::Draining => context.draining_status(),
        SttError::Inbound(status) => status,
        error => error.into_status(),
    }
}
