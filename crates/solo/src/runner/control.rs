//! The runner's control socket: `<data_dir>/run/solo.sock`, for this user only. One JSON object a line, both ways:
//! `{"command":"ps"}` → `{"ok":true,"services":[…]}`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::board::Row;
use super::lock;
use super::supervisor::Handle;
use crate::failure::Failure;
use crate::services;

/// A longer request is no request.
const LONGEST: u64 = 64 * 1024;
/// How long the last answers may take to be read when the runner ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// What a runner can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the services are.
    Ps {},
    /// How the start ended; answered when it has.
    Wait {},
    /// Restart a service; answered when it is SERVING again.
    Restart {
        /// "stt-svc" or "stt".
        service: String,
        /// Longest wait, in ms; two minutes if unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Stop everything; answered when it has stopped.
    Down {},
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// True when it did what it was asked.
    pub ok: bool,
    /// The services that the request was about.
    #[serde(default)]
    pub services: Vec<Row>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl From<Result<Vec<Row>, Failure>> for Answer {
    fn from(result: Result<Vec<Row>, Failure>) -> Self {
        match result {
            Ok(services) => Self {
                ok: true,
                services,
                failure: None,
            },
            Err(failure) => Self {
                ok: false,
                services: Vec::new(),
                failure: Some(failure),
            },
        }
    }
}

/// Where the socket is.
pub fn path(data_dir: &Path) -> PathBuf {
    lock::folder(data_dir).join("solo.sock")
}

/// The listening socket; it is removed with this.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket. Whoever calls this holds the lock, so a socket that is there is a dead runner's.
    pub fn bind(data_dir: &Path) -> Result<Self, Failure> {
        let path = path(data_dir);
        let cannot = |e: std::io::Error| {
            Failure::failed(format!("cannot open the control socket {}: {e}", path.display()))
                .help("a socket's path has at most about 100 bytes: choose a shorter data folder if that is it")
        };
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cannot(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        Ok(Self { listener, path })
    }

    /// Answers until the runner has stopped; the last answers are given time to be read.
    pub async fn serve(self, handle: Handle) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(answer_all(stream, handle.clone()))),
                    // Out of descriptors, say: others may close theirs.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                Some(_) = connections.join_next() => {}
                () = handle.stopped.cancelled() => break,
            }
        }
        // From here on nobody must find a socket that does not answer.
        let _ = std::fs::remove_file(&self.path);
        let _ = tokio::time::timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    }
}

async fn answer_all(stream: UnixStream, handle: Handle) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = tokio::select! {
            read = async { (&mut reader).take(LONGEST).read_until(b'\n', &mut line).await } => read,
            // An idle connection does not hold up the end.
            () = handle.stopped.cancelled() => return,
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, &handle).await,
            Err(error) => Err(Failure::failed(format!("no such request: {error}"))),
        };
        let Ok(mut text) = serde_json::to_vec(&Answer::from(answer)) else {
            return;
        };
        text.push(b'\n');
        if writer.write_all(&text).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request, handle: &Handle) -> Result<Vec<Row>, Failure> {
    match request {
        Request::Ps {} => Ok(handle.rows().await),
        Request::Wait {} => {
            let mut outcome = handle.outcome.subscribe();
            match outcome
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|outcome| outcome.clone())
            {
                Some(Err(failure)) => Err(failure),
                _ => Ok(handle.rows().await),
            }
        }
        Request::Restart { service, timeout_ms } => {
            let service = services::parse(&service).map_err(Failure::failed)?;
            let timeout = Duration::from_millis(timeout_ms.unwrap_or(super::PATIENCE.as_secs() * 1000));
            Ok(vec![handle.restart(service, timeout).await?])
        }
        Request::Down {} => {
            handle.stop.cancel();
            handle.stopped.cancelled().await;
            Ok(Vec::new())
        }
    }
}

/// Asks the runner of a data folder.
///
/// # Errors
/// `Ok(None)` when there is no runner; a failure when it does not answer or could not do it.
pub async fn ask(data_dir: &Path, request: &Request, timeout: Duration) -> Result<Option<Vec<Row>>, Failure> {
    let path = path(data_dir);
    let broken = |what: String| {
        Failure::failed(format!("the runner does not answer at {}: {what}", path.display()))
            .help("if it hangs, kill its process (`solo doctor` names it): the services end with it")
    };
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(broken(e.to_string())),
    };
    let (reader, mut writer) = stream.into_split();
    let exchange = async {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        writer.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).await?;
        if line.is_empty() {
            return Err(std::io::Error::other("it ended without an answer"));
        }
        Ok(serde_json::from_str::<Answer>(&line)?)
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(Answer { ok: true, services, .. })) => Ok(Some(services)),
        Ok(Ok(Answer {
            failure: Some(failure), ..
        })) => Err(failure),
        Ok(Ok(_)) => Err(broken("it refused and did not say why".into())),
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(_) => Err(broken(format!("no answer within {} s", timeout.as_secs()))),
    }
}

/// What commands say when there is no runner.
pub fn not_running() -> Failure {
    Failure::new(crate::failure::Exit::Unavailable, "Solo is not running").help("start it with `solo up`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_documented() {
        let read = |text: &str| serde_json::from_str::<Request>(text).unwrap();
        assert_eq!(read(r#"{"command":"ps"}"#), Request::Ps {});
        assert_eq!(read(r#"{"command":"down"}"#), Request::Down {});
        let restart = Request::Restart {
            service: "stt-svc".into(),
            timeout_ms: None,
        };
        assert_eq!(read(r#"{"command":"restart","service":"stt-svc"}"#), restart);
        assert!(serde_json::from_str::<Request>(r#"{"command":"dance"}"#).is_err());
    }
}
