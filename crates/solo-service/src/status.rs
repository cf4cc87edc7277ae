//! What a service says about itself: engine, model, device, queue, figures, memory. One board a process, read when asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use solo_proto::status::v1::status_service_server::StatusService;
use solo_proto::status::v1::{Gauge, GetStatusRequest, GetStatusResponse, QueueStatus, ServiceState, ServiceStatus};
use tonic::{Request, Response, Status};

use crate::{gpu, memory};

/// The board on which a service writes what it says about itself. Cheap to clone; every clone writes the same board.
#[derive(Clone)]
pub struct StatusBoard(Arc<Board>);

struct Board {
    service: &'static str,
    version: &'static str,
    instance: String,
    started_at: SystemTime,
    started: Instant,
    facts: Mutex<Facts>,
}

struct Facts {
    state: ServiceState,
    engine: String,
    engine_reason: String,
    model: String,
    device: String,
    ready_ms: u64,
    gauges: BTreeMap<&'static str, (&'static str, f64)>,
    queues: Vec<QueueProbe>,
}

/// Reads a queue when somebody asks.
type QueueProbe = Box<dyn Fn() -> Option<QueueStatus> + Send + Sync>;

impl StatusBoard {
    /// An empty board of a service that is starting.
    pub fn new(service: &'static str, version: &'static str) -> Self {
        Self(Arc::new(Board {
            service,
            version,
            instance: uuid::Uuid::now_v7().to_string(),
            started_at: SystemTime::now(),
            started: Instant::now(),
            facts: Mutex::new(Facts {
                state: ServiceState::Starting,
                engine: String::new(),
                engine_reason: String::new(),
                model: String::new(),
                device: "cpu".into(),
                ready_ms: 0,
                gauges: BTreeMap::new(),
                queues: Vec::new(),
            }),
        }))
    }

    /// Name of the service.
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// Identifier of this process (UUIDv7), made anew at every start.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Where the service is in its life.
    pub fn state(&self) -> ServiceState {
        self.facts().state
    }

    /// Names the engine in use.
    pub fn set_engine(&self, engine: impl Into<String>) {
        self.facts().engine = engine.into();
    }

    /// Says why `auto` chose this engine.
    pub fn set_engine_reason(&self, reason: impl Into<String>) {
        self.facts().engine_reason = reason.into();
    }

    /// Names the model in use.
    pub fn set_model(&self, model: impl Into<String>) {
        self.facts().model = model.into();
    }

    /// Says where it computes: "cpu", "cuda:0".
    pub fn set_device(&self, device: impl Into<String>) {
        self.facts().device = device.into();
    }

    /// Sets a figure; `unit` in UCUM ("{token}/s", "ms", "By", "1").
    pub fn gauge(&self, name: &'static str, unit: &'static str, value: f64) {
        self.facts().gauges.insert(name, (unit, value));
    }

    /// Shows a queue; `probe` reads it when somebody asks, until it says that the queue is gone.
    pub fn add_queue(&self, probe: impl Fn() -> Option<QueueStatus> + Send + Sync + 'static) {
        self.facts().queues.push(Box::new(probe));
    }

    pub(crate) fn set_state(&self, state: ServiceState) {
        let mut facts = self.facts();
        facts.state = state;
        if state == ServiceState::Serving && facts.ready_ms == 0 {
            facts.ready_ms = u64::try_from(self.0.started.elapsed().as_millis())
                .unwrap_or(u64::MAX)
                .max(1);
        }
    }

    /// A snapshot, made now. Several queues are shown as one: depths and capacities add up, the oldest job is the oldest.
    pub fn snapshot(&self) -> ServiceStatus {
        let facts = self.facts();
        let queue = facts
            .queues
            .iter()
            .filter_map(|probe| probe())
            .reduce(|a, b| QueueStatus {
                depth: a.depth + b.depth,
                capacity: a.capacity + b.capacity,
                oldest_ms: a.oldest_ms.max(b.oldest_ms),
            });
        ServiceStatus {
            service: self.0.service.into(),
            version: self.0.version.into(),
            instance: self.0.instance.clone(),
            started_at: Some(self.0.started_at.into()),
            state: facts.state.into(),
            engine: facts.engine.clone(),
            engine_reason: facts.engine_reason.clone(),
            model: facts.model.clone(),
            device: facts.device.clone(),
            ready_ms: facts.ready_ms,
            rss_bytes: memory::resident_bytes().unwrap_or(0),
            queue,
            gauges: facts
                .gauges
                .iter()
                .map(|(name, (unit, value))| Gauge {
                    name: (*name).into(),
                    unit: (*unit).into(),
                    value: *value,
                })
                .collect(),
            gpus: Vec::new(),
            pid: std::process::id(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // The facts are plain values: a panic elsewhere cannot leave them half-written.
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the board.
pub(crate) struct StatusGrpc(pub(crate) StatusBoard);

#[tonic::async_trait]
impl StatusService for StatusGrpc {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let mut status = self.0.snapshot();
        status.gpus = gpu::readings();
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_says_what_was_written() {
        let board = StatusBoard::new("stt-svc", "1.2.3");
        assert_eq!(board.snapshot().state(), ServiceState::Starting);
        board.set_engine("whisper");
        board.gauge("real_time_factor", "1", 0.5);
        board.gauge("real_time_factor", "1", 0.25);
        board.set_state(ServiceState::Serving);
        let status = board.snapshot();
        assert_eq!((status.engine.as_str(), status.version.as_str()), ("whisper", "1.2.3"));
        assert_eq!(status.gauges.len(), 1);
        assert_eq!(status.gauges[0].value, 0.25);
        assert!(status.ready_ms >= 1);
        assert!(status.rss_bytes > 1024 * 1024, "{}", status.rss_bytes);
        assert_eq!(status.pid, std::process::id());
    }
}
