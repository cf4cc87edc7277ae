//! llm-svc by itself: the real binary on a free loopback port, with a configuration of its own.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use solo_proto::status::v1::status_service_client::StatusServiceClient;
use solo_proto::status::v1::{GetStatusRequest, ServiceState, ServiceStatus};
use solo_tests::Layout;
use tonic::transport::{Channel, Endpoint};

use super::{CONTEXT, MODEL, THREADS};
use crate::process::tied;

/// How long loading may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running llm-svc. Dropping it ends it.
pub struct LlmSvc {
    layout: Layout,
    child: Child,
}

impl LlmSvc {
    /// Starts it with what the measurements need; `extra` goes into `[llm]`. Does not wait.
    ///
    /// # Panics
    /// When it is not built.
    pub fn launch(extra: &str) -> Self {
        let layout = Layout::new(&format!(
            "[global]\nthreads = {THREADS}\n[llm]\nmodel = \"{MODEL}\"\n\
             context_length = {CONTEXT}\n{extra}"
        ));
        let child = spawn(&layout);
        Self { layout, child }
    }

    /// [`Self::launch`], and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(extra: &str) -> Self {
        let mut service = Self::launch(extra);
        service.serving().await;
        service
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// When it ends instead, or needs longer than three minutes.
    pub async fn serving(&mut self) {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("llm-svc ended ({status}):\n{}", self.log());
            }
            let state = self.status().await.map(|status| status.state());
            if matches!(state, Ok(ServiceState::Serving)) {
                return;
            }
            assert!(
                Instant::now() < limit,
                "llm-svc does not serve ({state:?}):\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it anew on the same port after [`Self::kill`]. Does not wait.
    pub fn relaunch(&mut self) {
        self.child = spawn(&self.layout);
    }

    /// Kills it as the kernel's out-of-memory killer would, and buries it.
    ///
    /// # Panics
    /// When it has ended already, by itself.
    pub fn kill(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("llm-svc had ended by itself ({status}):\n{}", self.log());
        }
        solo_tests::kill_9(self.child.id());
        self.child.wait().expect("a killed process ends");
    }

    /// True while the process is there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        let address = format!("http://127.0.0.1:{}", self.layout.port("llm-svc"));
        Endpoint::from_shared(address).expect("a URL")
    }

    /// A connection.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        self.endpoint().connect().await
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<ServiceStatus, tonic::Status> {
        status_at(&self.endpoint()).await
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.layout.folder.path().join("llm-svc.log")).unwrap_or_default()
    }
}

impl Drop for LlmSvc {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the service at an address says of itself.
///
/// # Errors
/// When it does not answer within ten seconds.
pub async fn status_at(endpoint: &Endpoint) -> Result<ServiceStatus, tonic::Status> {
    let unavailable = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
    let channel = endpoint.connect().await.map_err(unavailable)?;
    let mut request = tonic::Request::new(GetStatusRequest {});
    request.set_timeout(Duration::from_secs(10));
    let answer = StatusServiceClient::new(channel).get_status(request).await?;
    answer
        .into_inner()
        .status
        .ok_or_else(|| tonic::Status::internal("the answer holds no status"))
}

/// Value of a gauge.
pub fn gauge(status: &ServiceStatus, name: &str) -> Option<f64> {
    status
        .gauges
        .iter()
        .find(|gauge| gauge.name == name)
        .map(|gauge| gauge.value)
}

fn spawn(layout: &Layout) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(layout.folder.path().join("llm-svc.log"))
        .expect("a log file");
    let mut command = layout.command("llm-svc");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log);
    tied(&mut command).spawn().expect("llm-svc runs")
}
