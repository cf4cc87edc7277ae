//! Events as bytes: a JSON header on one line, more data, a payload. Pure: bytes in, events out, no socket.
//!
//! ```text
//! {"type": "audio-chunk", "data_length": 46, "payload_length": 2048}\n
//! {"rate": 16000, "width": 2, "channels": 1, …}                        data_length bytes; merged over the header's "data"
//! …                                                                    payload_length bytes
//! ```
//!
//! Lengths come from strangers, so each has a limit that is checked before anything is kept for it. After an error the
//! next event cannot be found any more: there is nothing in the stream to look for.
//!
//! Public for the fuzz target alone.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The version of the protocol that is spoken: that of the Python package whose client the tests use.
const VERSION: &str = "1.10.2";

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// What it is: "audio-chunk".
    pub kind: String,
    /// What it says.
    pub data: Map<String, Value>,
    /// Raw bytes; audio, where there are any.
    pub payload: Bytes,
}

impl Event {
    /// An event without payload. `data` that is no object says nothing.
    pub fn new(kind: &str, data: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            data: match data {
                Value::Object(data) => data,
                _ => Map::new(),
            },
            payload: Bytes::new(),
        }
    }

    /// The event as it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("type".into(), self.kind.as_str().into());
        header.insert("version".into(), VERSION.into());
        let data = if self.data.is_empty() {
            String::new()
        } else {
            Value::Object(self.data.clone()).to_string()
        };
        if !data.is_empty() {
            header.insert("data_length".into(), data.len().into());
        }
        if !self.payload.is_empty() {
            header.insert("payload_length".into(), self.payload.len().into());
        }
        let mut bytes = Value::Object(header).to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(data.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// How much of each part is taken, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Of the header's line, without its end.
    pub header: usize,
    /// Of the data after it.
    pub data: usize,
    /// Of the payload.
    pub payload: usize,
}

/// Why bytes are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line does not end.
    #[error("the header is longer than {limit} bytes (gateway.wyoming.max_header_bytes)")]
    HeaderTooLong {
        /// The limit.
        limit: usize,
    },
    /// The line is no header.
    #[error("the header is no JSON object with a `type` and lengths: {problem}")]
    BadHeader {
        /// What the parser says.
        problem: String,
    },
    /// A part is longer than it may be.
    #[error("{length} bytes of {part}; at most {limit} are taken (gateway.wyoming.max_{part}_bytes)")]
    TooLong {
        /// "data" or "payload".
        part: &'static str,
        /// What the header says.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// The data is no JSON object.
    #[error("the data of `{kind}` is no JSON object: {problem}")]
    BadData {
        /// The event.
        kind: String,
        /// What the parser says.
        problem: String,
    },
}

impl FrameError {
    /// Programs switch on it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::HeaderTooLong { .. } => "HEADER_TOO_LONG",
            Self::BadHeader { .. } => "BAD_HEADER",
            Self::TooLong { part: "data", .. } => "DATA_TOO_LONG",
            Self::TooLong { .. } => "PAYLOAD_TOO_LONG",
            Self::BadData { .. } => "BAD_DATA",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    data_length: Option<u64>,
    #[serde(default)]
    payload_length: Option<u64>,
}

/// A header whose data and payload are still coming.
struct Pending {
    kind: String,
    data: Map<String, Value>,
    data_length: usize,
    payload_length: usize,
}

/// Cuts a stream of bytes into events.
pub struct Framer {
    limits: FrameLimits,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no end of line.
    scanned: usize,
    pending: Option<Pending>,
}

impl Framer {
    /// A framer at the beginning of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            scanned: 0,
            pending: None,
        }
    }

    /// Where bytes that arrive are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that wait for an event to be whole.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// True in the middle of an event.
    pub fn is_amid(&self) -> bool {
        self.pending.is_some() || !self.buffer.is_empty()
    }

    /// The largest event that can be taken, all its parts together.
    pub fn largest(&self) -> usize {
        self.limits.header + 1 + self.limits.data + self.limits.payload
    }

    /// The next event, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes are no event; nothing that follows can be read.
    pub fn next_event(&mut self) -> Result<Option<Event>, FrameError> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => match self.header()? {
                Some(pending) => pending,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < pending.data_length + pending.payload_length {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending {
            kind,
            mut data,
            data_length,
            payload_length,
        } = pending;
        if data_length > 0 {
            let text = self.buffer.split_to(data_length);
            match serde_json::from_slice::<Map<String, Value>>(&text) {
                Ok(more) => data.extend(more),
                Err(error) => {
                    let problem = error.to_string();
                    return Err(FrameError::BadData { kind, problem });
                }
            }
        }
        let payload = self.buffer.split_to(payload_length).freeze();
        Ok(Some(Event { kind, data, payload }))
    }

    fn header(&mut self) -> Result<Option<Pending>, FrameError> {
        let limit = self.limits.header;
        let found = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        let end = self.scanned + found.unwrap_or(self.buffer.len() - self.scanned);
        if end > limit {
            return Err(FrameError::HeaderTooLong { limit });
        }
        if found.is_none() {
            self.scanned = end;
            return Ok(None);
        }
        self.scanned = 0;
        let line = self.buffer.split_to(end);
        self.buffer.advance(1);
        let header: Header = serde_json::from_slice(&line).map_err(|error| FrameError::BadHeader {
            problem: error.to_string(),
        })?;
        let length = |part, length: Option<u64>, limit: usize| {
            let length = length.unwrap_or(0);
            match usize::try_from(length) {
                Ok(length) if length <= limit => Ok(length),
                _ => Err(FrameError::TooLong { part, length, limit }),
            }
        };
        Ok(Some(Pending {
            data_length: length("data", header.data_length, self.limits.data)?,
            payload_length: length("payload", header.payload_length, self.limits.payload)?,
            kind: header.kind,
            data: header.data.unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests;
