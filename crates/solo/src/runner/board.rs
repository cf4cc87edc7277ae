//! What the runner knows of its services, in one place that everybody may watch: the table, the control socket, the
//! code that waits for the start to settle. Supervisors write their own entry; nobody else does.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::failure::Exit;
use crate::services::Service;

/// Where a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its process runs and is not SERVING yet.
    Starting,
    /// Its health says SERVING.
    Serving,
    /// Its process runs, it has been SERVING, and it is no more.
    NotServing,
    /// It was asked to end and finishes what is running.
    Draining,
    /// It crashed and will be started again.
    Restarting,
    /// It will not be started again by itself.
    Failed,
    /// It ended because it was asked to.
    Stopped,
}

impl State {
    /// As people and programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Draining => "draining",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Why a service will not be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What `solo` exits with when it fails for this.
    pub exit: Exit,
    /// What happened: "exited with code 66: a model is missing".
    pub what: String,
    /// The last lines that it wrote.
    pub lines: Vec<String>,
    /// The remedy.
    pub help: String,
}

/// One service on the board.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The service.
    pub service: &'static Service,
    /// Where it answers: "127.0.0.1:50051".
    pub address: String,
    /// Where it is.
    pub state: State,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// How many times it was started again, by itself or by `solo restart`.
    pub restarts: u32,
    /// From the start of its process to SERVING.
    pub ready: Option<Duration>,
    /// What it says of itself; unset before it is SERVING.
    pub about: Option<About>,
    /// How its last process ended and what follows: "was killed by signal 9 (SIGKILL); starting it again in 200 ms".
    pub note: String,
    /// Why it will not be started again.
    pub trouble: Option<Trouble>,
}

/// What a service says of itself through `StatusService`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Engine. Empty: it has none.
    pub engine: String,
    /// Model. Empty: it has none.
    pub model: String,
    /// Where it computes.
    pub device: String,
    /// From its start to SERVING, by its own clock, in ms; 0 before.
    pub ready_ms: u64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
}

/// One line of `solo ps --json`: exactly these fields, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// "stt-svc".
    pub service: String,
    /// "127.0.0.1:50051".
    pub address: String,
    /// Process, null when there is none.
    pub pid: Option<u32>,
    /// Where it is.
    pub state: State,
    /// How many times it was started again.
    pub restarts: u32,
    /// Null before it is SERVING and where it has none.
    pub engine: Option<String>,
    /// Null before it is SERVING and where it has none.
    pub model: Option<String>,
    /// Null before it is SERVING.
    pub device: Option<String>,
    /// From start to SERVING, in ms; null before.
    pub ready_ms: Option<u64>,
    /// Resident memory, in bytes; null when there is no process.
    pub rss_bytes: Option<u64>,
}

impl From<&Entry> for Row {
    fn from(entry: &Entry) -> Self {
        let about = entry.about.clone().unwrap_or_default();
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let measured = entry
            .ready
            .map(|ready| u64::try_from(ready.as_millis()).unwrap_or(u64::MAX));
        Self {
            service: entry.service.name.into(),
            address: entry.address.clone(),
            pid: entry.pid,
            state: entry.state,
            restarts: entry.restarts,
            engine: said(about.engine),
            model: said(about.model),
            device: said(about.device),
            ready_ms: measured.map(|measured| if about.ready_ms > 0 { about.ready_ms } else { measured }),
            rss_bytes: Some(about.rss_bytes).filter(|bytes| *bytes > 0 && entry.pid.is_some()),
        }
    }
}

/// The board. Cheap to clone; every clone shows the same.
#[derive(Clone)]
pub struct Board(Arc<watch::Sender<Vec<Entry>>>);

impl Board {
    /// One entry a service, all of them starting.
    pub fn new(services: impl IntoIterator<Item = (&'static Service, String)>) -> Self {
        let entries = services.into_iter().map(|(service, address)| Entry {
            service,
            address,
            state: State::Starting,
            pid: None,
            restarts: 0,
            ready: None,
            about: None,
            note: String::new(),
            trouble: None,
        });
        Self(Arc::new(watch::Sender::new(entries.collect())))
    }

    /// Changes the entry of `service` and tells everybody who watches.
    pub fn update(&self, service: &Service, change: impl FnOnce(&mut Entry)) {
        self.0.send_modify(|entries| {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.service == service) {
                change(entry);
            }
        });
    }

    /// All entries as they are now.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.borrow().clone()
    }

    /// The entry of a service; none when it does not belong to this runner.
    pub fn entry(&self, service: &Service) -> Option<Entry> {
        self.0.borrow().iter().find(|entry| entry.service == service).cloned()
    }

    /// Watches every change from now on.
    pub fn watch(&self) -> watch::Receiver<Vec<Entry>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services;

    #[test]
    fn a_row_has_exactly_the_documented_fields() {
        let stt = services::find("stt").unwrap();
        let board = Board::new([(stt, "127.0.0.1:50051".to_owned())]);
        board.update(stt, |entry| {
            entry.state = State::Serving;
            entry.pid = Some(42);
            entry.ready = Some(Duration::from_millis(900));
            entry.about = Some(About {
                engine: "whisper".into(),
                model: "whisper-base".into(),
                device: "cpu".into(),
                ready_ms: 812,
                rss_bytes: 310_000_000,
            });
        });
        let row = Row::from(&board.entry(stt).unwrap());
        let json = serde_json::to_string(&row).unwrap();
        let wanted = r#"{"service":"stt-svc","address":"127.0.0.1:50051","pid":42,"state":"serving","restarts":0,"engine":"whisper","model":"whisper-base","device":"cpu","ready_ms":812,"rss_bytes":310000000}"#;
        assert_eq!(json, wanted);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let tts = services::find("tts").unwrap();
        let board = Board::new([(tts, "127.0.0.1:50052".to_owned())]);
        let row = serde_json::to_value(Row::from(&board.entry(tts).unwrap())).unwrap();
        for field in ["pid", "engine", "model", "device", "ready_ms", "rss_bytes"] {
            assert!(row[field].is_null(), "{field} is {}", row[field]);
        }
        assert_eq!(row["state"], "starting");
    }
}
