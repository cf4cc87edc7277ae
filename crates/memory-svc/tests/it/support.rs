//! A memory-svc with a made-up embedding engine, and short words for calling it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memory_svc::embedding::{Embedder, EmbeddingError, Identity, Loader, TokenCounter};
use memory_svc::{Config, DEFINITION, Engines};
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::put_document_request::Payload;
use solo_proto::memory::v1::put_document_response::Payload as Answer;
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_service::{CancelToken, Context, ErrorCode, StartupError};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub const DIMENSION: usize = 384;

/// Texts that share words are near: each word sets a few components, by its hash.
pub struct WordVectors;

impl WordVectors {
    pub fn of(text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSION];
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            for salt in 0..4 {
                let mut hasher = DefaultHasher::new();
                (salt, word.to_lowercase()).hash(&mut hasher);
                let hash = hasher.finish();
                vector[(hash % DIMENSION as u64) as usize] += if hash & (1 << 40) == 0 { 1.0 } else { -1.0 };
            }
        }
        vector[0] += 0.01;
        let length = vector.iter().map(|x: &f32| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    }
}

impl Embedder for WordVectors {
    fn embed(&mut self, texts: &[String], _: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        Ok(texts.iter().map(|text| Self::of(text)).collect())
    }
}

impl TokenCounter for WordVectors {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
}

/// Embeds as [`WordVectors`], each batch only once the test lets it; a cancelled one ends at once.
pub struct Held {
    entered: std::sync::mpsc::Sender<()>,
    released: std::sync::mpsc::Receiver<()>,
    /// The warm-up is not held.
    warm: bool,
}

/// The test's end of [`Held`].
pub struct Holder {
    entered: std::sync::mpsc::Receiver<()>,
    release: std::sync::mpsc::Sender<()>,
}

impl Held {
    pub fn new() -> (Self, Holder) {
        let (enter, entered) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        (
            Self {
                entered: enter,
                released,
                warm: false,
            },
            Holder { entered, release },
        )
    }
}

impl Holder {
    /// Waits until the engine stands in a batch.
    pub async fn reached(self) -> Self {
        tokio::task::spawn_blocking(|| {
            self.entered
                .recv_timeout(std::time::Duration::from_secs(10))
                .expect("the engine is called");
            self
        })
        .await
        .unwrap()
    }

    /// Lets one batch go on.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

impl Embedder for Held {
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if std::mem::replace(&mut self.warm, true) {
            self.entered.send(()).unwrap();
            let tick = std::time::Duration::from_millis(2);
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = self.released.recv_timeout(tick) {
                if cancel.is_cancelled() {
                    return Err(EmbeddingError::Cancelled);
                }
            }
        }
        WordVectors.embed(texts, cancel)
    }
}

pub fn loader() -> Loader {
    loader_with("words", WordVectors)
}

pub fn loader_with(model: &str, embedder: impl Embedder) -> Loader {
    Loader {
        engine: "words",
        device: "cpu".into(),
        batch: 1,
        identity: Identity {
            model: model.into(),
            dimension: DIMENSION,
        },
        counter: Arc::new(WordVectors),
        load: Box::new(|| Ok(Box::new(embedder))),
    }
}

/// A running service and the folder that its store is in.
pub struct Fixture {
    pub harness: Harness,
    pub folder: TempDir,
    pub client: Client,
}

pub async fn start() -> Fixture {
    start_with("").await
}

/// Starts with more lines of configuration, for `[memory]` and sections inside it.
pub async fn start_with(overrides: &str) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let harness = start_in(folder.path(), overrides, loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    Fixture {
        harness,
        folder,
        client,
    }
}

/// `engines`: a [`Loader`] of embeddings, or that and a reranker.
pub async fn start_in(folder: &Path, overrides: &str, engines: impl Into<Engines>) -> Result<Harness, StartupError> {
    let (program, engines) = (PathBuf::from(env!("CARGO_BIN_EXE_memory-svc")), engines.into());
    let overrides = format!("[memory]\npath = {:?}\n{overrides}", folder.to_str().unwrap());
    let build = |config: Config, context: Context| memory_svc::assemble(config, context, engines, program);
    Harness::start(DEFINITION, &overrides, build).await
}

impl Fixture {
    /// Stops the service and starts it again on the same store.
    pub async fn restart(self) -> Self {
        self.restart_with("").await
    }

    pub async fn restart_with(self, overrides: &str) -> Self {
        self.harness.stop().await.unwrap();
        let harness = start_in(self.folder.path(), overrides, loader()).await.unwrap();
        let client = Client::new(harness.channel().await);
        Self {
            harness,
            folder: self.folder,
            client,
        }
    }

    pub fn gauge(&self, name: &str) -> f64 {
        let status = self.harness.context().status.snapshot();
        status
            .gauges
            .iter()
            .find(|gauge| gauge.name == name)
            .unwrap_or_else(|| panic!("no gauge {name}"))
            .value
    }
}

/// A client that speaks for one principal.
#[derive(Clone)]
pub struct Client {
    inner: MemoryServiceClient<Channel>,
    principal: Option<String>,
}

/// What a put said.
#[derive(Debug)]
pub struct Put {
    pub document: Document,
    pub unchanged: bool,
    pub embedded: u32,
    pub warnings: Vec<String>,
    pub steps: Vec<PutProgress>,
}

macro_rules! calls {
    ($($name:ident: $request:ty => $response:ty),+ $(,)?) => {$(
        pub async fn $name(&self, message: $request) -> Result<$response, Status> {
            Ok(self.inner.clone().$name(self.request(message)).await?.into_inner())
        }
    )+};
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Self {
            inner: MemoryServiceClient::new(channel),
            principal: None,
        }
    }

    pub fn of(&self, principal: &str) -> Self {
        Self {
            principal: Some(principal.into()),
            ..self.clone()
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(principal) = &self.principal {
            request
                .metadata_mut()
                .insert("solo-principal", principal.parse().unwrap());
        }
        request
    }

    calls! {
        create_collection: CreateCollectionRequest => CreateCollectionResponse,
        list_collections: ListCollectionsRequest => ListCollectionsResponse,
        delete_collection: DeleteCollectionRequest => DeleteCollectionResponse,
        get_document: GetDocumentRequest => GetDocumentResponse,
        list_documents: ListDocumentsRequest => ListDocumentsResponse,
        delete_documents: DeleteDocumentsRequest => DeleteDocumentsResponse,
        get_passage: GetPassageRequest => GetPassageResponse,
        search: SearchRequest => SearchResponse,
        near_facts: NearFactsRequest => NearFactsResponse,
        apply_facts: ApplyFactsRequest => ApplyFactsResponse,
        list_facts: ListFactsRequest => ListFactsResponse,
        forget: ForgetRequest => ForgetResponse,
        add_watch: AddWatchRequest => AddWatchResponse,
        remove_watch: RemoveWatchRequest => RemoveWatchResponse,
        list_watches: ListWatchesRequest => ListWatchesResponse,
        verify: VerifyRequest => VerifyResponse,
    }

    pub async fn send(&self, messages: Vec<PutDocumentRequest>) -> Result<Put, Status> {
        let request = self.request(tokio_stream::iter(messages));
        let mut answers = self.inner.clone().put_document(request).await?.into_inner();
        let mut steps = Vec::new();
        while let Some(answer) = answers.message().await? {
            match answer.payload.expect("an answer has a payload") {
                Answer::Progress(step) => steps.push(step),
                Answer::Done(done) => {
                    assert!(answers.message().await?.is_none(), "`done` is the last message");
                    let document = done.document.expect("`done` has the document");
                    return Ok(Put {
                        document,
                        unchanged: done.unchanged,
                        embedded: done.chunks_embedded,
                        warnings: done.warnings,
                        steps,
                    });
                }
            }
        }
        panic!("the stream ended without `done`");
    }

    /// An exported file, and what was said of it.
    pub async fn export(&self) -> Result<(Vec<u8>, ExportDone), Status> {
        let request = self.request(ExportRequest {});
        let mut answers = self.inner.clone().export(request).await?.into_inner();
        let mut file = Vec::new();
        while let Some(answer) = answers.message().await? {
            match answer.payload.expect("an answer has a payload") {
                export_response::Payload::Progress(_) => {}
                export_response::Payload::Data(piece) => file.extend(piece),
                export_response::Payload::Done(done) => return Ok((file, done)),
            }
        }
        panic!("the stream ended without `done`");
    }

    pub async fn import(&self, file: &[u8]) -> Result<ImportDone, Status> {
        let pieces: Vec<ImportRequest> = file
            .chunks(100_000)
            .map(|piece| ImportRequest { data: piece.into() })
            .collect();
        let request = self.request(tokio_stream::iter(pieces));
        let mut answers = self.inner.clone().import(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(import_response::Payload::Done(done)) = answer.payload {
                return Ok(done);
            }
        }
        panic!("the stream ended without `done`");
    }

    pub async fn reembed(&self, model: &str) -> Result<ReembedDone, Status> {
        let request = self.request(ReembedRequest {
            model: model.into(),
            ..Default::default()
        });
        let mut answers = self.inner.clone().reembed(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(reembed_response::Payload::Done(done)) = answer.payload {
                return Ok(done);
            }
        }
        panic!("the stream ended without `done`");
    }

    pub async fn put_with(&self, header: DocumentHeader, content: &[u8]) -> Result<Put, Status> {
        self.send(messages(header, content)).await
    }

    pub async fn put(&self, uri: &str, content: &str) -> Put {
        self.put_with(
            DocumentHeader {
                uri: uri.into(),
                ..Default::default()
            },
            content.as_bytes(),
        )
        .await
        .unwrap()
    }

    pub async fn put_in(&self, collection: &str, uri: &str, content: &str) -> Result<Put, Status> {
        let header = DocumentHeader {
            collection: collection.into(),
            uri: uri.into(),
            ..Default::default()
        };
        self.put_with(header, content.as_bytes()).await
    }

    /// Everything that a search for `text` may find, best first.
    pub async fn find(&self, text: &str) -> Vec<Hit> {
        self.search(query(text)).await.unwrap().hits
    }

    pub async fn delete(&self, ids: &[&str]) -> Result<u32, Status> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Ok(self.delete_documents(DeleteDocumentsRequest { ids }).await?.deleted)
    }

    pub async fn text_of(&self, id: &str) -> Result<String, Status> {
        let request = GetPassageRequest {
            document_id: id.into(),
            ..Default::default()
        };
        Ok(self.get_passage(request).await?.text)
    }

    pub async fn documents(&self) -> Vec<Document> {
        self.list_documents(ListDocumentsRequest {
            page_size: 1000,
            ..Default::default()
        })
        .await
        .unwrap()
        .documents
    }

    pub async fn facts(&self, include_past: bool) -> Vec<Fact> {
        self.list_facts(ListFactsRequest {
            include_past,
            ..Default::default()
        })
        .await
        .unwrap()
        .facts
    }
}

pub fn messages(header: DocumentHeader, content: &[u8]) -> Vec<PutDocumentRequest> {
    let header = PutDocumentRequest {
        payload: Some(Payload::Header(header)),
    };
    let pieces = content.chunks(1 << 20).map(|piece| PutDocumentRequest {
        payload: Some(Payload::Data(piece.into())),
    });
    std::iter::once(header).chain(pieces).collect()
}

/// A search by meaning without a floor for its score.
pub fn query(text: &str) -> SearchRequest {
    SearchRequest {
        query: Some(search_request::Query::Text(text.into())),
        mode: SearchMode::Dense.into(),
        min_score: Some(-1.0),
        limit: 100,
        ..Default::default()
    }
}

/// What an error says to programs: its code and reason.
pub fn fault(status: &Status) -> (ErrorCode, String) {
    let fault = solo_service::error::Fault::from(status);
    (fault.code, fault.reason)
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: ErrorCode, reason: &str) -> String {
    let status = result.expect_err("it is refused");
    assert_eq!(fault(&status), (code, reason.to_owned()), "{}", status.message());
    status.message().to_owned()
}

pub fn citation(hit: &Hit) -> &Citation {
    hit.citation.as_ref().expect("a hit has a citation")
}

pub fn range(range: Option<TextRange>) -> std::ops::Range<usize> {
    let range = range.expect("there is a range");
    range.start as usize..range.end as usize
}

/// So many words, each its own.
pub fn words(prefix: &str, count: usize) -> String {
    (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().join(" ")
}
