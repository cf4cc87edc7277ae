//! A memory that finds what the test put into it.
//!
//! Search answers with scripted hits, or, when none are set, with the stored documents that share a word with the query,
//! so that a test of "remember, then ask" needs no script.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use solo_proto::memory::v1::memory_service_server::{MemoryService, MemoryServiceServer};
use solo_proto::memory::v1::*;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::Gate;
use crate::record::{Journal, Recorded, locked};
use crate::server::{FakeServer, serve};

/// A document that was put into the fake.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    /// Whose it is.
    pub principal: String,
    /// Its header as it came.
    pub header: DocumentHeader,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its description.
    pub document: Document,
}

/// The fake; clones share everything.
#[derive(Clone, Default)]
pub struct FakeMemory {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    hits: Mutex<Option<Vec<Hit>>>,
    documents: Mutex<Vec<StoredDocument>>,
    facts: Mutex<Vec<(String, Fact)>>,
    failure: Mutex<Option<Status>>,
    gate: Mutex<Option<Gate>>,
    searches: Journal<Recorded<SearchRequest>>,
}

/// A hit in a note: `title` names it, `text` is what it says, `score` is its cosine similarity.
pub fn hit(title: &str, text: &str, score: f32) -> Hit {
    let document = title.to_lowercase().replace(' ', "-");
    let range = TextRange {
        start: 0,
        end: text.len() as u64,
    };
    Hit {
        id: format!("{document}-1"),
        kind: HitKind::Document.into(),
        text: text.into(),
        score,
        parts: None,
        citation: Some(Citation {
            uri: format!("note:{document}"),
            document,
            title: title.into(),
            page: 0,
            heading: String::new(),
            range: Some(range),
            text: text.into(),
        }),
        created_at: None,
    }
}

impl FakeMemory {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every search finds these, cut to its limit and its lowest score.
    pub fn set_hits(&self, hits: Vec<Hit>) -> &Self {
        *locked(&self.state.hits) = Some(hits);
        self
    }

    /// Every call fails so, until `None` is set.
    pub fn fail_with(&self, status: Option<Status>) -> &Self {
        *locked(&self.state.failure) = status;
        self
    }

    /// Every search waits at this gate.
    pub fn hold_at(&self, gate: &Gate) -> &Self {
        *locked(&self.state.gate) = Some(gate.clone());
        self
    }

    /// What Search was asked, oldest first.
    pub fn searches(&self) -> Vec<Recorded<SearchRequest>> {
        self.state.searches.all()
    }

    /// The facts that hold, oldest first, with whose they are.
    pub fn facts(&self) -> Vec<(String, Fact)> {
        locked(&self.state.facts).clone()
    }

    /// What was stored, oldest first.
    pub fn documents(&self) -> Vec<StoredDocument> {
        locked(&self.state.documents).clone()
    }

    /// The gRPC service.
    pub fn service(&self) -> MemoryServiceServer<Self> {
        MemoryServiceServer::new(self.clone())
    }

    /// Serves it on a free port.
    pub async fn serve(&self) -> FakeServer {
        serve(self.service()).await
    }

    fn check(&self) -> Result<(), Status> {
        locked(&self.state.failure).clone().map_or(Ok(()), Err)
    }

    fn find(&self, principal: &str, query: &str) -> Vec<Hit> {
        let wanted: Vec<String> = words(query).collect();
        let documents = locked(&self.state.documents);
        let mut hits: Vec<Hit> = documents
            .iter()
            .filter(|stored| stored.principal == principal)
            .filter_map(|stored| {
                let text = String::from_utf8_lossy(&stored.data).into_owned();
                let shared = words(&text).filter(|word| wanted.contains(word)).count();
                let score = shared as f32 / wanted.len().max(1) as f32;
                let mut found = hit(&stored.document.title, &text, score);
                if let Some(citation) = &mut found.citation {
                    citation.document.clone_from(&stored.document.id);
                    citation.uri.clone_from(&stored.document.uri);
                }
                (shared > 0).then_some(found)
            })
            .collect();
        hits.sort_by(|left, right| right.score.total_cmp(&left.score));
        hits
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .map(str::to_lowercase)
}

fn principal<T>(request: &Request<T>) -> String {
    let value = request
        .metadata()
        .get("solo-principal")
        .and_then(|value| value.to_str().ok());
    value.unwrap_or("local").to_owned()
}

#[tonic::async_trait]
impl MemoryService for FakeMemory {
    type ExportStream = BoxStream<'static, Result<ExportResponse, Status>>;

    async fn export(&self, _: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Err(Status::unimplemented("the fake exports nothing"))
    }

    type ReembedStream = BoxStream<'static, Result<ReembedResponse, Status>>;

    async fn reembed(&self, _: Request<ReembedRequest>) -> Result<Response<Self::ReembedStream>, Status> {
        Err(Status::unimplemented("the fake has no vectors"))
    }

    type ImportStream = BoxStream<'static, Result<ImportResponse, Status>>;

    async fn import(&self, _: Request<Streaming<ImportRequest>>) -> Result<Response<Self::ImportStream>, Status> {
        Err(Status::unimplemented("the fake imports nothing"))
    }

    type PutDocumentStream = BoxStream<'static, Result<PutDocumentResponse, Status>>;

    async fn put_document(
        &self,
        request: Request<Streaming<PutDocumentRequest>>,
    ) -> Result<Response<Self::PutDocumentStream>, Status> {
        self.check()?;
        let principal = principal(&request);
        let mut incoming = request.into_inner();
        let mut header = None;
        let mut data = Vec::new();
        while let Some(message) = incoming.message().await? {
            match message.payload {
                Some(put_document_request::Payload::Header(first)) => header = Some(first),
                Some(put_document_request::Payload::Data(piece)) => data.extend_from_slice(&piece),
                None => return Err(Status::invalid_argument("a message without payload")),
            }
        }
        let header = header.ok_or_else(|| Status::invalid_argument("the first message must be the header"))?;
        let mut documents = locked(&self.state.documents);
        let id = format!("document-{}", documents.len() + 1);
        let uri = if header.uri.is_empty() {
            format!("note:{id}")
        } else {
            header.uri.clone()
        };
        let title = if header.title.is_empty() {
            String::from_utf8_lossy(&data)
                .split_whitespace()
                .take(6)
                .collect::<Vec<_>>()
                .join(" ")
        } else {
            header.title.clone()
        };
        let document = Document {
            id,
            collection: if header.collection.is_empty() {
                "default".into()
            } else {
                header.collection.clone()
            },
            uri,
            title,
            media_type: "text/plain".into(),
            version: 1,
            chunks: 1,
            bytes: data.len() as u64,
            ..Document::default()
        };
        documents.push(StoredDocument {
            principal,
            header,
            data,
            document: document.clone(),
        });
        drop(documents);
        let done = PutDone {
            document: Some(document),
            chunks_embedded: 1,
            ..PutDone::default()
        };
        let response = PutDocumentResponse {
            payload: Some(put_document_response::Payload::Done(done)),
        };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(response)]))))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let principal = principal(&request);
        let (metadata, _, message) = request.into_parts();
        self.state.searches.push(Recorded {
            message: message.clone(),
            metadata,
        });
        let gate = locked(&self.state.gate).clone();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        self.check()?;
        let query = match &message.query {
            Some(search_request::Query::Text(text)) => text.as_str(),
            _ => return Err(Status::invalid_argument("the fake searches by text only")),
        };
        let scripted = locked(&self.state.hits).clone();
        let mut hits = scripted.unwrap_or_else(|| self.find(&principal, query));
        hits.retain(|hit| message.min_score.is_none_or(|least| hit.score >= least));
        hits.truncate(if message.limit == 0 { 8 } else { message.limit as usize });
        let searched = locked(&self.state.documents).len() as u64;
        Ok(Response::new(SearchResponse { hits, searched }))
    }

    async fn get_document(
        &self,
        request: Request<GetDocumentRequest>,
    ) -> Result<Response<GetDocumentResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let id = request.into_inner().id;
        let documents = locked(&self.state.documents);
        let found = documents
            .iter()
            .find(|stored| stored.principal == principal && stored.document.id == id);
        let found = found.ok_or_else(|| Status::not_found(format!("there is no document {id:?}")))?;
        Ok(Response::new(GetDocumentResponse {
            document: Some(found.document.clone()),
        }))
    }

    async fn list_documents(
        &self,
        request: Request<ListDocumentsRequest>,
    ) -> Result<Response<ListDocumentsResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let documents = locked(&self.state.documents);
        let mine = documents.iter().rev().filter(|stored| stored.principal == principal);
        let documents = mine.map(|stored| stored.document.clone()).collect();
        Ok(Response::new(ListDocumentsResponse {
            documents,
            next_page_token: String::new(),
        }))
    }

    async fn delete_documents(
        &self,
        request: Request<DeleteDocumentsRequest>,
    ) -> Result<Response<DeleteDocumentsResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let ids = request.into_inner().ids;
        let mut documents = locked(&self.state.documents);
        let is_mine = |stored: &StoredDocument, id: &String| stored.principal == principal && stored.document.id == *id;
        if let Some(missing) = ids
            .iter()
            .find(|id| !documents.iter().any(|stored| is_mine(stored, id)))
        {
            return Err(Status::not_found(format!("there is no document {missing:?}")));
        }
        documents.retain(|stored| !ids.iter().any(|id| is_mine(stored, id)));
        Ok(Response::new(DeleteDocumentsResponse {
            deleted: ids.len() as u32,
        }))
    }

    async fn create_collection(
        &self,
        _: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        Err(not_faked())
    }

    async fn list_collections(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        Err(not_faked())
    }

    async fn delete_collection(
        &self,
        _: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        Err(not_faked())
    }

    async fn get_passage(&self, request: Request<GetPassageRequest>) -> Result<Response<GetPassageResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let message = request.into_inner();
        let documents = locked(&self.state.documents);
        let stored = documents
            .iter()
            .find(|stored| stored.principal == principal && stored.document.id == message.document_id)
            .ok_or_else(|| Status::not_found("there is no such document"))?;
        let length = stored.data.len() as u64;
        let asked = message.range.unwrap_or(TextRange { start: 0, end: length });
        let range = TextRange {
            start: asked.start.min(length),
            end: asked.end.min(length),
        };
        let text = &stored.data[range.start as usize..range.end as usize];
        Ok(Response::new(GetPassageResponse {
            document: Some(stored.document.clone()),
            text: String::from_utf8_lossy(text).into_owned(),
            range: Some(range),
        }))
    }

    async fn near_facts(&self, request: Request<NearFactsRequest>) -> Result<Response<NearFactsResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let message = request.into_inner();
        let wanted: Vec<String> = words(&message.text).collect();
        let facts = locked(&self.state.facts);
        let mut near: Vec<ScoredFact> = facts
            .iter()
            .filter(|(owner, _)| *owner == principal)
            .map(|(_, fact)| {
                let shared = words(&fact.text).filter(|word| wanted.contains(word)).count();
                ScoredFact {
                    fact: Some(fact.clone()),
                    score: shared as f32 / wanted.len().max(1) as f32,
                }
            })
            .collect();
        near.sort_by(|left, right| right.score.total_cmp(&left.score));
        near.truncate(message.limit as usize);
        Ok(Response::new(NearFactsResponse { facts: near }))
    }

    async fn apply_facts(&self, request: Request<ApplyFactsRequest>) -> Result<Response<ApplyFactsResponse>, Status> {
        use fact_change::Change;
        self.check()?;
        let principal = principal(&request);
        let mut facts = locked(&self.state.facts);
        let mut changed = Vec::new();
        for change in request.into_inner().changes {
            let (old, new) = match change.change {
                Some(Change::Add(fact)) => (None, Some(fact)),
                Some(Change::Supersede(change)) => (Some((change.id, change.expected_version)), change.fact),
                Some(Change::Retract(change)) => (Some((change.id, change.expected_version)), None),
                None => return Err(Status::invalid_argument("the change is empty")),
            };
            let known = old.as_ref().map(|(id, version)| {
                facts
                    .iter()
                    .position(|(owner, fact)| *owner == principal && fact.id == *id && fact.version == *version)
                    .ok_or_else(|| Status::failed_precondition("the fact has changed"))
            });
            let known = known.transpose()?.map(|place| facts.remove(place).1);
            if let Some(new) = new {
                let fact = Fact {
                    id: known
                        .as_ref()
                        .map_or_else(|| format!("fact-{}", facts.len() + 1), |fact| fact.id.clone()),
                    version: known.as_ref().map_or(1, |fact| fact.version + 1),
                    ..new
                };
                facts.push((principal.clone(), fact.clone()));
                changed.push(fact);
            } else {
                changed.extend(known);
            }
        }
        Ok(Response::new(ApplyFactsResponse { facts: changed }))
    }

    async fn list_facts(&self, request: Request<ListFactsRequest>) -> Result<Response<ListFactsResponse>, Status> {
        self.check()?;
        let principal = principal(&request);
        let facts = locked(&self.state.facts);
        let own = facts.iter().rev().filter(|(owner, _)| *owner == principal);
        Ok(Response::new(ListFactsResponse {
            facts: own.map(|(_, fact)| fact.clone()).collect(),
            next_page_token: String::new(),
        }))
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        use forget_request::Selector;
        self.check()?;
        let principal = principal(&request);
        let selector = request.into_inner().selector;
        let mut facts = locked(&self.state.facts);
        let before = facts.len();
        facts.retain(|(owner, fact)| {
            let meant = match &selector {
                Some(Selector::FactId(id)) => fact.id == *id,
                Some(Selector::DialogueId(id)) => fact.provenance.starts_with(&format!("{id}/")),
                Some(Selector::Everything(_)) => true,
                None => false,
            };
            *owner != principal || !meant
        });
        let forgotten = (before - facts.len()) as u64;
        let mut documents = 0;
        if matches!(selector, Some(Selector::Everything(true))) {
            let mut stored = locked(&self.state.documents);
            documents = stored.len() as u64;
            stored.retain(|document| document.principal != principal);
            documents -= stored.len() as u64;
        }
        Ok(Response::new(ForgetResponse {
            facts: forgotten,
            documents,
        }))
    }

    async fn verify(&self, _: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        Err(not_faked())
    }

    async fn add_watch(&self, _: Request<AddWatchRequest>) -> Result<Response<AddWatchResponse>, Status> {
        Err(not_faked())
    }

    async fn remove_watch(&self, _: Request<RemoveWatchRequest>) -> Result<Response<RemoveWatchResponse>, Status> {
        Err(not_faked())
    }

    async fn list_watches(&self, _: Request<ListWatchesRequest>) -> Result<Response<ListWatchesResponse>, Status> {
        Err(not_faked())
    }
}

fn not_faked() -> Status {
    Status::unimplemented("the fake memory does not do this")
}
