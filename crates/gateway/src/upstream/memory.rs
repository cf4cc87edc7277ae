//! Calls of memory-svc: documents and what is found in them.

use std::future::Future;

use bytes::Bytes;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{self as memory, put_document_request, put_document_response};
use solo_service::{RequestContext, UpstreamError};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Upstreams, pieces};
use crate::error::Error;

impl Upstreams {
    /// Takes a document in, and waits until it is stored.
    pub(crate) async fn put_document(
        &self,
        caller: &RequestContext,
        header: memory::DocumentHeader,
        bytes: Bytes,
    ) -> Result<memory::PutDone, Error> {
        let mut answers = self
            .answers(&self.memory, |channel| {
                let first = put_document_request::Payload::Header(header.clone());
                let pieces = pieces(bytes.clone()).map(put_document_request::Payload::Data);
                let messages = std::iter::once(first)
                    .chain(pieces)
                    .map(|payload| memory::PutDocumentRequest { payload: Some(payload) });
                let request = caller.request(tokio_stream::iter(messages));
                async move { MemoryServiceClient::new(channel).put_document(request).await }
            })
            .await?;
        while let Some(answer) = answers.message().await? {
            if let Some(put_document_response::Payload::Done(done)) = answer.payload {
                return Ok(done);
            }
        }
        Err(Error::Contract {
            service: "memory-svc",
            problem: "it did not say whether the document is stored",
        })
    }

    /// Finds pieces of documents and facts.
    pub(crate) async fn search(
        &self,
        caller: &RequestContext,
        request: memory::SearchRequest,
    ) -> Result<memory::SearchResponse, UpstreamError> {
        self.memory_call(caller, request, |mut client, request| async move {
            client.search(request).await
        })
        .await
    }

    /// One document's description.
    pub(crate) async fn get_document(
        &self,
        caller: &RequestContext,
        request: memory::GetDocumentRequest,
    ) -> Result<memory::GetDocumentResponse, UpstreamError> {
        self.memory_call(caller, request, |mut client, request| async move {
            client.get_document(request).await
        })
        .await
    }

    /// A passage of a document.
    pub(crate) async fn get_passage(
        &self,
        caller: &RequestContext,
        request: memory::GetPassageRequest,
    ) -> Result<memory::GetPassageResponse, UpstreamError> {
        self.memory_call(caller, request, |mut client, request| async move {
            client.get_passage(request).await
        })
        .await
    }

    /// A page of documents.
    pub(crate) async fn list_documents(
        &self,
        caller: &RequestContext,
        request: memory::ListDocumentsRequest,
    ) -> Result<memory::ListDocumentsResponse, UpstreamError> {
        self.memory_call(caller, request, |mut client, request| async move {
            client.list_documents(request).await
        })
        .await
    }

    /// Deletes documents.
    pub(crate) async fn delete_documents(
        &self,
        caller: &RequestContext,
        request: memory::DeleteDocumentsRequest,
    ) -> Result<memory::DeleteDocumentsResponse, UpstreamError> {
        self.memory_call(caller, request, |mut client, request| async move {
            client.delete_documents(request).await
        })
        .await
    }

    async fn memory_call<M, T, F, Fut>(
        &self,
        caller: &RequestContext,
        message: M,
        mut call: F,
    ) -> Result<T, UpstreamError>
    where
        M: Clone,
        F: FnMut(MemoryServiceClient<Channel>, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(&self.memory, caller, message, |channel, request| {
            call(MemoryServiceClient::new(channel), request)
        })
        .await
    }
}
