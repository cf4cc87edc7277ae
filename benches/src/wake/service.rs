//! A service by itself: the real binary on a free loopback port, with a configuration of its own.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use solo_proto::status::v1::ServiceState;
use solo_tests::Layout;
use tonic::transport::{Channel, Endpoint};

use crate::llm::service::status_at;
use crate::process::tied;

/// How long loading may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running service. Dropping it ends it.
pub struct Running {
    /// Its configuration, which `solo` shares.
    pub layout: Layout,
    name: &'static str,
    child: Child,
}

impl Running {
    /// Starts a service with this configuration and waits until it serves. From the main thread, which it is tied to.
    ///
    /// # Panics
    /// When it is not built, or does not serve.
    pub async fn start(name: &'static str, configuration: &str) -> Self {
        let layout = Layout::new(configuration);
        let log = layout.folder.path().join(format!("{name}.log"));
        let output = std::fs::File::create(&log).expect("a log file");
        let mut command = layout.command(name);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        let child = tied(&mut command).spawn().expect("a service that is built");
        let mut running = Self { layout, name, child };
        let limit = Instant::now() + PATIENCE;
        loop {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = running.child.try_wait() {
                panic!("{name} ended ({status}):\n{}", said());
            }
            let state = status_at(&running.endpoint()).await.map(|status| status.state());
            if matches!(state, Ok(ServiceState::Serving)) {
                return running;
            }
            assert!(Instant::now() < limit, "{name} does not serve ({state:?}):\n{}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn endpoint(&self) -> Endpoint {
        let address = format!("http://127.0.0.1:{}", self.layout.port(self.name));
        Endpoint::from_shared(address).expect("a URL")
    }

    /// A connection.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.expect("a service that serves")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
