//! One connection: events in and out, with limits in size and time.
//!
//! Reading never loses a byte when it is dropped halfway, so requests wait for the client and for a service at once. Writing
//! does not have that property and is always finished.
//!
//! A request that fails is answered with an `error` event, and then the connection ends: Home Assistant reads until the one
//! answer that it knows or the end of the connection, and would wait for ever on a connection that only said `error`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solo_service::problem::Problem;
use solo_service::{Priority, RequestContext, UpstreamError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::Port;
use super::framing::{Event, FrameLimits, Framer};
use super::info;
use crate::Gateway;
use crate::error::Error;

/// Room for what is read in one go, in bytes.
const READ: usize = 16 * 1024;
/// What a client may still send after its connection was ended, so that it reads the error before it learns of the end.
const LINGER: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has gone, or takes nothing.
    Gone,
    /// The client is told why.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<UpstreamError> for End {
    fn from(error: UpstreamError) -> Self {
        Self::Failed(error.into())
    }
}

/// One connection.
pub(super) struct Line {
    pub(super) gateway: Arc<Gateway>,
    pub(super) port: Port,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    framer: Framer,
    /// When something was last said, by either side.
    last: Instant,
    /// When the event that is being read began.
    begun: Option<Instant>,
}

impl Line {
    pub(super) fn new(gateway: Arc<Gateway>, port: Port, stream: TcpStream) -> Self {
        let config = &gateway.config.wyoming;
        let limits = FrameLimits {
            header: config.max_header_bytes,
            data: config.max_data_bytes,
            payload: config.max_payload_bytes,
        };
        let (reader, writer) = stream.into_split();
        Self {
            gateway,
            port,
            reader,
            writer,
            framer: Framer::new(limits),
            last: Instant::now(),
            begun: None,
        }
    }

    /// What a request carries to other services: a person waits for it.
    pub(super) fn caller(&self) -> RequestContext {
        RequestContext {
            priority: Priority::Spoken,
            ..self.gateway.caller()
        }
    }

    /// The client's next event between requests; the time for it is long, and the gateway may stop meanwhile.
    pub(super) async fn request(&mut self) -> Result<Event, End> {
        let idle = self.gateway.config.wyoming.idle();
        let stopping = self.gateway.context.shutdown.clone();
        loop {
            let event = tokio::select! {
                event = self.next(idle) => event?,
                () = stopping.cancelled() => return Err(Error::Draining.into()),
            };
            if let Some(event) = self.settle(event).await? {
                return Ok(event);
            }
        }
    }

    /// Answers what every port answers at any time; gives back what is the port's own business.
    pub(super) async fn settle(&mut self, event: Event) -> Result<Option<Event>, End> {
        match event.kind.as_str() {
            "ping" => {
                let text = event.data.get("text").cloned().unwrap_or(Value::Null);
                self.send(Event::new("pong", json!({ "text": text }))).await?;
            }
            "describe" => {
                let info = info::of(&self.gateway, self.port).await?;
                self.send(info).await?;
            }
            // There is one program on each port.
            "select-program" => {}
            kind => {
                if let Some(port) = Port::of_request(kind).filter(|port| *port != self.port) {
                    let problem = format!(
                        "`{kind}` is not answered here but where {port} listens ({})",
                        port.key()
                    );
                    return Err(Error::invalid("WRONG_PORT", problem).into());
                }
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Does `work` unless the client goes away first.
    pub(super) async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let done = tokio::select! {
            biased;
            done = work => done,
            () = self.gone() => return Err(End::Gone),
        };
        self.last = Instant::now();
        Ok(done)
    }

    /// Returns when the client has gone. What it says meanwhile is kept for later, up to one event.
    pub(super) async fn gone(&mut self) {
        while self.framer.waiting() < self.framer.largest() {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends an event; it has the time that a client may stand still.
    pub(super) async fn send(&mut self, event: Event) -> Result<(), End> {
        let stall = self.gateway.config.wyoming.stall();
        let bytes = event.encode();
        match tokio::time::timeout(stall, self.writer.write_all(&bytes)).await {
            Ok(Ok(())) => {
                self.last = Instant::now();
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a wyoming client is gone");
                Err(End::Gone)
            }
            Err(_) => {
                tracing::info!(kind = event.kind, "a wyoming client takes nothing; it is sent away");
                Err(End::Gone)
            }
        }
    }

    /// Tells the client what went wrong, and ends the connection so that it can read it.
    pub(super) async fn end(mut self, end: End) {
        let End::Failed(error) = end else { return };
        let problem = Problem::of(error);
        tracing::info!(
            reason = problem.reason,
            detail = problem.detail,
            "wyoming request failed"
        );
        let error = json!({ "text": problem.detail, "code": problem.reason });
        if self.send(Event::new("error", error)).await.is_err() || self.writer.shutdown().await.is_err() {
            return;
        }
        // A socket that is closed with bytes unread takes back what was not yet read at the other side.
        let drained = async {
            let mut rest = [0; READ];
            while matches!(self.reader.read(&mut rest).await, Ok(1..)) {}
        };
        tokio::select! {
            () = drained => {}
            // Whoever goes on talking has been told.
            () = tokio::time::sleep(LINGER) => {}
            () = self.gateway.context.shutdown.cancelled() => {}
        }
    }

    /// The client's next event, which comes before both sides were silent for `patience`. Loses nothing when it is dropped;
    /// so what every port answers is left to [`Line::settle`], for half an answer may not be dropped.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Event, End> {
        loop {
            match self.framer.next_event() {
                Ok(Some(event)) => {
                    self.begun = None;
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error) => return Err(Error::invalid(error.reason(), error.to_string()).into()),
            }
            let mut until = self.last + patience;
            if self.framer.is_amid() {
                let begun = *self.begun.get_or_insert_with(Instant::now);
                until = until.min(begun + self.gateway.config.wyoming.stall());
            }
            match tokio::time::timeout_at(until, self.fill()).await {
                Ok(filled) => filled?,
                Err(_) => return Err(self.late().into()),
            }
        }
    }

    fn late(&self) -> Error {
        let problem = if self.framer.is_amid() {
            "the event was not complete in time (gateway.wyoming.stall_ms)"
        } else {
            "nothing was said for too long (gateway.wyoming.idle_ms, stall_ms)"
        };
        Error::Exhausted {
            reason: "CLIENT_TOO_SLOW",
            problem: problem.into(),
        }
    }

    /// Reads what is there. Loses nothing when it is dropped.
    async fn fill(&mut self) -> Result<(), End> {
        let buffer = self.framer.buffer();
        buffer.reserve(READ);
        match self.reader.read_buf(buffer).await {
            Ok(1..) => {
                self.last = Instant::now();
                Ok(())
            }
            Ok(0) => Err(End::Gone),
            Err(error) => {
                tracing::debug!(%error, "a wyoming connection broke");
                Err(End::Gone)
            }
        }
    }
}

/// What an event says, as a type.
///
/// # Errors
/// When it says it in another shape.
pub(super) fn data<T: DeserializeOwned>(event: Event) -> Result<T, Error> {
    let kind = event.kind;
    serde_json::from_value(Value::Object(event.data))
        .map_err(|error| Error::invalid("BAD_DATA", format!("the data of `{kind}` is wrong: {error}")))
}
