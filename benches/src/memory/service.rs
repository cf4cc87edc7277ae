//! memory-svc by itself: the real binary on a free loopback port, with a store of its own or a given one.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::put_document_request::Payload;
use solo_proto::memory::v1::put_document_response::Payload as Answer;
use solo_proto::memory::v1::{DocumentHeader, PutDocumentRequest, PutDone, SearchRequest, SearchResponse};
use solo_proto::status::v1::ServiceState;
use solo_tests::Layout;
use tonic::transport::{Channel, Endpoint};

use super::{MODEL, THREADS};
use crate::llm::service::status_at;
use crate::process::{peak_mib, tied};

/// How long reading a large store into memory may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What it says once it has.
const HELD: &str = "searches are answered from memory";

/// A running memory-svc. Dropping it ends it.
pub struct MemorySvc {
    layout: Layout,
    child: Child,
}

impl MemorySvc {
    /// Starts it, on the store in `path` where one is given, and waits until it serves and holds the store in memory.
    pub async fn start(path: Option<&Path>) -> Self {
        Self::start_on(Layout::new(&config(path))).await
    }

    /// The same where a layout says.
    pub async fn start_on(layout: Layout) -> Self {
        let log = std::fs::File::create(layout.folder.path().join("memory-svc.log")).expect("a log file");
        let mut command = layout.command("memory-svc");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        let child = tied(&mut command).spawn().expect("memory-svc runs");
        let mut service = Self { layout, child };
        service.serving().await;
        service
    }

    async fn serving(&mut self) {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("memory-svc ended ({status}):\n{}", self.log());
            }
            let state = status_at(&self.endpoint()).await.map(|status| status.state());
            if matches!(state, Ok(ServiceState::Serving)) && self.log().contains(HELD) {
                return;
            }
            assert!(
                Instant::now() < limit,
                "memory-svc does not serve ({state:?}):\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn endpoint(&self) -> Endpoint {
        let address = format!("http://127.0.0.1:{}", self.layout.port("memory-svc"));
        Endpoint::from_shared(address).expect("a URL")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.layout.folder.path().join("memory-svc.log")).unwrap_or_default()
    }

    /// A connection of its own.
    pub async fn client(&self) -> Client {
        let channel = self.endpoint().connect().await.expect("memory-svc listens");
        Client(MemoryServiceClient::new(channel))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.layout.folder.path().join("data")
    }

    /// The most memory that it ever had resident, in MiB.
    pub fn peak_mib(&self) -> f64 {
        peak_mib(self.child.id())
    }
}

impl Drop for MemorySvc {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it is told for the measurements; the store is in `path` where one is given.
pub fn config(path: Option<&Path>) -> String {
    let path = path.map(|path| format!("path = {path:?}\n")).unwrap_or_default();
    format!(
        "[global]\nthreads = {THREADS}\n[memory]\n{path}\
         [memory.search]\nresident_mb = 4096\n[memory.embedding]\nmodel = \"{MODEL}\"\n"
    )
}

/// memory-svc as any client sees it.
#[derive(Clone)]
pub struct Client(MemoryServiceClient<Channel>);

impl Client {
    /// Searches.
    pub async fn search(&mut self, request: SearchRequest) -> SearchResponse {
        self.0.search(request).await.expect("an answer").into_inner()
    }

    /// Takes a document in and waits until it is stored.
    pub async fn put(&mut self, uri: &str, text: &str) -> PutDone {
        let header = DocumentHeader {
            uri: uri.into(),
            media_type: "text/plain".into(),
            ..DocumentHeader::default()
        };
        let payloads = [Payload::Header(header), Payload::Data(text.as_bytes().to_vec())];
        let messages = payloads.map(|payload| PutDocumentRequest { payload: Some(payload) });
        let mut answers = self
            .0
            .put_document(tokio_stream::iter(messages))
            .await
            .expect("an answer")
            .into_inner();
        while let Some(answer) = answers.message().await.expect("it is taken in") {
            if let Some(Answer::Done(done)) = answer.payload {
                return done;
            }
        }
        panic!("the answer ended before it was done")
    }
}
