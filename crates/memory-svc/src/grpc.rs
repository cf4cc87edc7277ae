//! `MemoryService`: decode, do, encode.

mod answers;
mod transfer;

use solo_proto::memory::v1::memory_service_server::MemoryService;
use solo_proto::memory::v1::put_document_request::Payload;
use solo_proto::memory::v1::*;
use solo_service::{IntoStatus, RequestContext};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::convert;
use crate::error::Error;
use crate::fact::{FactChange, Selector};
use crate::memory::Memory;
use crate::names::{CollectionName, Principal, parse_id};
use crate::page::PageRequest;
use crate::store::Verification;
use crate::watch::{Report, Watches};
use answers::{Answers, PROGRESS_BUFFER, exporting, progressing, reembedding};
use transfer::receive;

/// The contract over the service.
pub struct MemoryGrpc {
    memory: Memory,
    watches: Watches,
}

impl MemoryGrpc {
    /// Offers `memory` and its watched folders.
    pub fn new(memory: Memory, watches: Watches) -> Self {
        Self { memory, watches }
    }
}

/// Whose request it is.
fn principal<T>(request: &Request<T>) -> Result<Principal, Status> {
    let context = RequestContext::from_request(request)?;
    Principal::new(&context.principal).map_err(IntoStatus::into_status)
}

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(IntoStatus::into_status)
}

#[tonic::async_trait]
impl MemoryService for MemoryGrpc {
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let principal = principal(&request)?;
        let CreateCollectionRequest { name, description } = request.into_inner();
        answer(
            async {
                let name = CollectionName::new(&name, "name")?;
                let description = convert::description(description)?;
                let writing = self.memory.writing().await;
                let made = writing
                    .store()
                    .create_collection(&principal, &name, &description)
                    .await?;
                Ok(CreateCollectionResponse {
                    collection: Some(convert::collection(made)),
                })
            }
            .await,
        )
    }

    async fn list_collections(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let principal = principal(&request)?;
        let ListCollectionsRequest { page_size, page_token } = request.into_inner();
        answer(
            async {
                let read = |token: &str| CollectionName::new(token, "page_token").ok();
                let page = PageRequest::new(page_size, &page_token, read)?;
                let page = self.memory.store().collections(&principal, &page).await?;
                let collections = page.items.into_iter().map(convert::collection).collect();
                Ok(ListCollectionsResponse {
                    collections,
                    next_page_token: page.next.unwrap_or_default(),
                })
            }
            .await,
        )
    }

    async fn delete_collection(
        &self,
        request: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        let principal = principal(&request)?;
        let DeleteCollectionRequest { name } = request.into_inner();
        answer(
            async {
                let name = CollectionName::new(&name, "name")?;
                let writing = self.memory.writing().await;
                let documents = writing.store().delete_collection(&principal, &name).await?;
                drop(writing);
                self.memory.count().await;
                Ok(DeleteCollectionResponse { documents })
            }
            .await,
        )
    }

    type PutDocumentStream = Answers<PutDocumentResponse>;

    async fn put_document(
        &self,
        request: Request<Streaming<PutDocumentRequest>>,
    ) -> Result<Response<Self::PutDocumentStream>, Status> {
        let principal = principal(&request)?;
        let mut messages = request.into_inner();
        let header = match messages.message().await?.and_then(|message| message.payload) {
            Some(Payload::Header(header)) => header,
            _ => {
                let message = "the first message must be the document's header";
                return Err(Error::invalid("header", "MISSING_HEADER", message).into_status());
            }
        };
        let upload = convert::upload(header).map_err(IntoStatus::into_status)?;
        let memory = self.memory.clone();
        let limit = memory.config().max_document_bytes;
        let too_large = |limit| Error::DocumentTooLarge { limit };
        let content = receive(&memory, &mut messages, limit, too_large).await?;
        let (progress, steps) = mpsc::channel(PROGRESS_BUFFER);
        let putting = async move { memory.put(&principal, upload, content, progress).await };
        Ok(progressing(steps, putting, convert::progress, convert::taken))
    }

    async fn get_document(
        &self,
        request: Request<GetDocumentRequest>,
    ) -> Result<Response<GetDocumentResponse>, Status> {
        let principal = principal(&request)?;
        let GetDocumentRequest { id } = request.into_inner();
        answer(
            async {
                let document = self.memory.store().document(&principal, parse_id(&id, "id")?).await?;
                Ok(GetDocumentResponse {
                    document: Some(convert::document(document)),
                })
            }
            .await,
        )
    }

    async fn list_documents(
        &self,
        request: Request<ListDocumentsRequest>,
    ) -> Result<Response<ListDocumentsResponse>, Status> {
        let principal = principal(&request)?;
        let ListDocumentsRequest {
            collection,
            uri_prefix,
            page_size,
            page_token,
        } = request.into_inner();
        answer(
            async {
                let filter = convert::document_filter(&collection, uri_prefix)?;
                let page = PageRequest::new(page_size, &page_token, |token| Uuid::try_parse(token).ok())?;
                let page = self.memory.store().documents(&principal, &filter, &page).await?;
                let documents = page.items.into_iter().map(convert::document).collect();
                Ok(ListDocumentsResponse {
                    documents,
                    next_page_token: page.next.unwrap_or_default(),
                })
            }
            .await,
        )
    }

    async fn delete_documents(
        &self,
        request: Request<DeleteDocumentsRequest>,
    ) -> Result<Response<DeleteDocumentsResponse>, Status> {
        let principal = principal(&request)?;
        let DeleteDocumentsRequest { ids } = request.into_inner();
        answer(
            async {
                let ids = convert::ids(&ids)?;
                let writing = self.memory.writing().await;
                let deleted = writing.store().delete_documents(&principal, &ids).await?;
                drop(writing);
                self.memory.count().await;
                Ok(DeleteDocumentsResponse {
                    deleted: u32::try_from(deleted).unwrap_or(u32::MAX),
                })
            }
            .await,
        )
    }

    async fn get_passage(&self, request: Request<GetPassageRequest>) -> Result<Response<GetPassageResponse>, Status> {
        let principal = principal(&request)?;
        let request = request.into_inner();
        answer(
            async {
                let (id, range, context) = convert::passage(&request)?;
                let passage = self.memory.passage(&principal, id, range, context).await?;
                Ok(convert::passage_response(passage))
            }
            .await,
        )
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let principal = principal(&request)?;
        let request = request.into_inner();
        answer(
            async {
                let explain = request.explain;
                let request = convert::search(request)?;
                Ok(convert::found(self.memory.search(&principal, request).await?, explain))
            }
            .await,
        )
    }

    async fn near_facts(&self, request: Request<NearFactsRequest>) -> Result<Response<NearFactsResponse>, Status> {
        let principal = principal(&request)?;
        let NearFactsRequest { text, limit } = request.into_inner();
        answer(
            async {
                let facts = self.memory.near_facts(&principal, text, limit as usize).await?;
                let scored = |(fact, score)| ScoredFact {
                    fact: Some(convert::fact(fact)),
                    score,
                };
                Ok(NearFactsResponse {
                    facts: facts.into_iter().map(scored).collect(),
                })
            }
            .await,
        )
    }

    async fn apply_facts(&self, request: Request<ApplyFactsRequest>) -> Result<Response<ApplyFactsResponse>, Status> {
        let principal = principal(&request)?;
        let ApplyFactsRequest { changes } = request.into_inner();
        answer(
            async {
                let changes: Result<Vec<FactChange>, Error> = changes.into_iter().map(convert::fact_change).collect();
                let facts = self.memory.apply_facts(&principal, changes?).await?;
                Ok(ApplyFactsResponse {
                    facts: facts.into_iter().map(convert::fact).collect(),
                })
            }
            .await,
        )
    }

    async fn list_facts(&self, request: Request<ListFactsRequest>) -> Result<Response<ListFactsResponse>, Status> {
        let principal = principal(&request)?;
        let ListFactsRequest {
            page_size,
            page_token,
            include_past,
        } = request.into_inner();
        answer(
            async {
                let page = PageRequest::new(page_size, &page_token, |token| Uuid::try_parse(token).ok())?;
                let page = self.memory.store().facts(&principal, include_past, &page).await?;
                let facts = page.items.into_iter().map(convert::fact).collect();
                Ok(ListFactsResponse {
                    facts,
                    next_page_token: page.next.unwrap_or_default(),
                })
            }
            .await,
        )
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        let principal = principal(&request)?;
        let ForgetRequest { selector } = request.into_inner();
        answer(
            async {
                let selector = convert::selector(selector)?;
                if selector == Selector::Everything {
                    // Or the folders would bring it all back.
                    self.watches.remove_all(&principal).await?;
                }
                let writing = self.memory.writing().await;
                let forgotten = writing.store().forget(&principal, &selector).await?;
                drop(writing);
                self.memory.count().await;
                Ok(ForgetResponse {
                    facts: forgotten.facts,
                    documents: forgotten.documents,
                })
            }
            .await,
        )
    }

    async fn add_watch(&self, request: Request<AddWatchRequest>) -> Result<Response<AddWatchResponse>, Status> {
        let principal = principal(&request)?;
        let AddWatchRequest { path, collection } = request.into_inner();
        answer(
            async {
                let collection = CollectionName::or_default(&collection, "collection")?;
                let watch = self.watches.add(&principal, &path, collection).await?;
                Ok(AddWatchResponse {
                    watch: Some(convert::watch(watch, Report::default())),
                })
            }
            .await,
        )
    }

    async fn remove_watch(
        &self,
        request: Request<RemoveWatchRequest>,
    ) -> Result<Response<RemoveWatchResponse>, Status> {
        let principal = principal(&request)?;
        let RemoveWatchRequest { id, keep_documents } = request.into_inner();
        answer(
            async {
                let id = parse_id(&id, "id")?;
                let documents = self.watches.remove(&principal, id, keep_documents).await?;
                Ok(RemoveWatchResponse { documents })
            }
            .await,
        )
    }

    async fn list_watches(
        &self,
        request: Request<ListWatchesRequest>,
    ) -> Result<Response<ListWatchesResponse>, Status> {
        let principal = principal(&request)?;
        answer(
            async {
                let watches = self.watches.list(&principal).await?.into_iter();
                Ok(ListWatchesResponse {
                    watches: watches.map(|(watch, report)| convert::watch(watch, report)).collect(),
                })
            }
            .await,
        )
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        // Whoever asks must be somebody, as everywhere.
        principal(&request)?;
        answer(
            async {
                let Verification {
                    documents,
                    chunks,
                    facts,
                    problems,
                } = self.memory.store().verify().await?;
                Ok(VerifyResponse {
                    documents,
                    chunks,
                    facts,
                    problems,
                })
            }
            .await,
        )
    }

    type ExportStream = Answers<ExportResponse>;

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Ok(exporting(self.memory.clone(), principal(&request)?))
    }

    type ImportStream = Answers<ImportResponse>;

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Self::ImportStream>, Status> {
        let principal = principal(&request)?;
        let mut messages = request.into_inner();
        let memory = self.memory.clone();
        let limit = memory.config().max_import_bytes;
        let content = receive(&memory, &mut messages, limit, |limit| Error::ImportTooLarge { limit }).await?;
        let (progress, steps) = mpsc::channel(PROGRESS_BUFFER);
        let importing = async move { memory.import(&principal, content, progress).await };
        Ok(progressing(
            steps,
            importing,
            convert::import_progress,
            convert::imported,
        ))
    }

    type ReembedStream = Answers<ReembedResponse>;

    async fn reembed(&self, request: Request<ReembedRequest>) -> Result<Response<Self::ReembedStream>, Status> {
        // Whoever asks must be somebody, as everywhere.
        principal(&request)?;
        let wanted = convert::embedding(request.into_inner(), &self.memory.config().embedding)
            .map_err(IntoStatus::into_status)?;
        let steps = self.memory.reembed(wanted).await.map_err(IntoStatus::into_status)?;
        Ok(reembedding(steps))
    }
}
