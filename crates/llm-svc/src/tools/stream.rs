//! An answer's text, as it comes, to text and calls.
//!
//! What may be the beginning of a call waits until it is known to be one or not; the beginning of a call is short, and
//! everything else goes out at once. What comes out does not depend on how the text was cut.

use rand::Rng as _;
use rand::distr::Alphanumeric;

use super::MAX_CALLS;
use super::head::{self, Miss, Written};
use crate::chat::ToolCall;

/// Whether a call that has begun is sure to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The text is constrained by [`super::format`]: arguments go out as they come.
    Constrained,
    /// The text is anybody's: a call goes out when it is whole and its arguments are JSON, and is text otherwise.
    Free,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text; never empty.
    Text(String),
    /// More of a call.
    Call {
        /// Its number within the answer, from 0.
        call: usize,
        /// Identifier and name of the tool; in the first piece of a call only.
        begins: Option<(String, String)>,
        /// The next piece of the arguments' JSON, as the model wrote it.
        arguments: String,
    },
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What had waited.
    pub pieces: Vec<Piece>,
    /// Calls of the whole answer.
    pub calls: usize,
    /// True when the text ends within a call that has gone out already.
    pub cut: bool,
}

/// Tells calls from text.
#[derive(Debug)]
pub struct ToolStream {
    names: Vec<String>,
    trust: Trust,
    /// Text that has not gone out. Within a call it begins with the blanks before it, then its head.
    pending: String,
    state: State,
    calls: usize,
    /// True while there was nothing but blanks since the beginning, or since a call.
    gap: bool,
    /// True while an object may be a bare call.
    bare: bool,
}

#[derive(Debug, Clone)]
enum State {
    Text,
    Call(Call),
}

#[derive(Debug, Clone)]
struct Call {
    written: Written,
    tool: usize,
    /// Where the arguments begin in `pending`; how far they are read.
    start: usize,
    read: usize,
    scan: Scan,
    /// Where they end, once they do.
    end: Option<usize>,
    /// The text of arguments that were not written.
    implied: bool,
    begun: bool,
}

impl ToolStream {
    /// A stream for an answer that may call tools of these names.
    pub fn new(names: impl IntoIterator<Item = String>, trust: Trust) -> Self {
        Self {
            names: names.into_iter().collect(),
            trust,
            pending: String::new(),
            state: State::Text,
            calls: 0,
            gap: true,
            bare: true,
        }
    }

    /// Takes more of the answer.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.pending.push_str(text);
        let mut out = Out::default();
        self.run(&mut out);
        out.0
    }

    /// Ends the answer.
    pub fn finish(&mut self) -> Ended {
        let mut out = Out::default();
        let mut cut = false;
        self.run(&mut out);
        while let State::Call(call) = self.state.clone() {
            let end = call.end.unwrap_or(self.pending.len());
            let behind = self.pending[end..].trim_start().strip_prefix('}').map(str::len);
            match behind {
                Some(behind) => {
                    // What has come of the closing mark is no text.
                    let rest = self.pending[self.pending.len() - behind..].trim_start();
                    let begun = head::mark(call.written).is_some_and(|mark| mark.starts_with(rest));
                    self.close(&call, self.pending.len() - if begun { 0 } else { behind }, &mut out);
                }
                None if self.trust == Trust::Constrained => {
                    cut = true;
                    self.close(&call, self.pending.len(), &mut out);
                }
                None => self.fall_back(&mut out),
            }
            self.run(&mut out);
        }
        let blank = self.gap && self.calls > 0 && self.pending.trim().is_empty();
        let rest = std::mem::take(&mut self.pending);
        if !blank {
            out.text(&rest);
        }
        Ended {
            pieces: out.0,
            calls: self.calls,
            cut,
        }
    }

    fn run(&mut self, out: &mut Out) {
        loop {
            let on = match self.state.clone() {
                State::Text => self.text(out),
                State::Call(call) => self.call(call, out),
            };
            if !on {
                return;
            }
        }
    }

    /// Looks for the beginning of a call; false when more text is needed.
    fn text(&mut self, out: &mut Out) -> bool {
        let mut from = 0;
        while let Some(at) = self.pending[from..].find(['<', '`', '{']).map(|at| from + at) {
            let blank = self.pending[..at].trim().is_empty();
            let written = match self.pending.as_bytes()[at] {
                b'<' => Some(Written::Tagged),
                b'`' => Some(Written::Fenced),
                _ => (self.bare && self.gap && blank && at <= head::MAX_BLANKS).then_some(Written::Bare),
            };
            let begins = match written {
                Some(written) if self.calls < MAX_CALLS => {
                    head::begins(&self.pending[at..], written, &self.names).map(|head| (written, head))
                }
                _ => Err(Miss::No),
            };
            match begins {
                Err(Miss::No) => from = at + 1,
                Err(Miss::Partial) => {
                    self.say(at, out);
                    return false;
                }
                Ok((written, head)) => {
                    self.say(at, out);
                    // What is left in front are blanks that wait for what becomes of the call.
                    let lead = if self.gap {
                        self.pending.len() - self.pending.trim_start().len()
                    } else {
                        0
                    };
                    let start = lead + head.length;
                    self.state = State::Call(Call {
                        written,
                        tool: head.tool,
                        start,
                        read: start,
                        scan: Scan::default(),
                        end: (!head.arguments).then_some(start),
                        implied: !head.arguments,
                        begun: false,
                    });
                    return true;
                }
            }
        }
        self.say(self.pending.len(), out);
        false
    }

    /// Lets the first `length` bytes go as text, unless they are blanks that may only separate calls.
    fn say(&mut self, length: usize, out: &mut Out) {
        if self.gap && self.pending[..length].trim().is_empty() {
            return;
        }
        if length > 0 {
            out.text(&self.pending[..length]);
            self.pending.drain(..length);
            self.gap = false;
            self.bare = false;
        }
    }

    /// Goes on with a call; false when more text is needed.
    fn call(&mut self, mut call: Call, out: &mut Out) -> bool {
        if call.end.is_none() {
            call.end = call
                .scan
                .run(&self.pending.as_bytes()[call.read..])
                .map(|length| call.read + length);
            let read = call.end.unwrap_or(self.pending.len());
            if self.trust == Trust::Constrained {
                let arguments = self.pending[call.read..read].to_owned();
                self.send(&mut call, arguments, out);
            }
            call.read = read;
        }
        let Some(end) = call.end else {
            self.state = State::Call(call);
            return false;
        };
        let json =
            || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.pending[call.start..end]);
        if self.trust == Trust::Free && !call.implied && json().is_err() {
            self.fall_back(out);
            return true;
        }
        match head::ends(&self.pending[end..], call.written) {
            Ok(length) => {
                self.close(&call, end + length, out);
                true
            }
            Err(Miss::Partial) => {
                self.state = State::Call(call);
                false
            }
            Err(Miss::No) if self.trust == Trust::Constrained => {
                self.close(&call, end, out);
                true
            }
            Err(Miss::No) => {
                self.fall_back(out);
                true
            }
        }
    }

    /// A call is over; its text ends at `rest`.
    fn close(&mut self, call: &Call, rest: usize, out: &mut Out) {
        let mut call = call.clone();
        if call.implied {
            self.send(&mut call, "{}".to_owned(), out);
        } else if self.trust == Trust::Free {
            let arguments = self.pending[call.start..call.end.unwrap_or(rest)].to_owned();
            self.send(&mut call, arguments, out);
        } else {
            self.send(&mut call, String::new(), out);
        }
        self.pending.drain(..rest);
        self.state = State::Text;
        self.calls += 1;
        self.gap = true;
        self.bare &= call.written == Written::Bare;
    }

    fn send(&mut self, call: &mut Call, arguments: String, out: &mut Out) {
        let begins = (!call.begun).then(|| (id(), self.names[call.tool].clone()));
        call.begun = true;
        out.arguments(self.calls, begins, arguments);
    }

    /// What looked like a call is none: its first character is text, and the rest is looked at again.
    fn fall_back(&mut self, out: &mut Out) {
        self.state = State::Text;
        let lead = if self.gap {
            self.pending.len() - self.pending.trim_start().len()
        } else {
            0
        };
        self.say((lead + 1).min(self.pending.len()), out);
    }
}

/// Text and calls of a whole answer.
pub fn parse(text: &str, names: impl IntoIterator<Item = String>) -> (String, Vec<ToolCall>) {
    let mut stream = ToolStream::new(names, Trust::Free);
    let mut pieces = stream.push(text);
    pieces.extend(stream.finish().pieces);
    let (mut said, mut calls) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => said.push_str(&text),
            // A call of free text comes whole, and its arguments have been read.
            Piece::Call { begins, arguments, .. } => {
                let (id, name) = begins.unwrap_or_default();
                let arguments = serde_json::from_str(&arguments).unwrap_or_default();
                calls.push(ToolCall { id, name, arguments });
            }
        }
    }
    (said, calls)
}

/// Pieces on their way out; neighbours of one kind are one.
#[derive(Default)]
struct Out(Vec<Piece>);

impl Out {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    fn arguments(&mut self, call: usize, begins: Option<(String, String)>, arguments: String) {
        match self.0.last_mut() {
            Some(Piece::Call {
                call: last,
                arguments: sent,
                ..
            }) if *last == call && begins.is_none() => sent.push_str(&arguments),
            _ if begins.is_none() && arguments.is_empty() => {}
            _ => self.0.push(Piece::Call {
                call,
                begins,
                arguments,
            }),
        }
    }
}

/// Finds the end of a JSON object.
#[derive(Debug, Clone, Default)]
struct Scan {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Scan {
    /// Reads on; how many of the bytes belong to the object, when it ends in them.
    fn run(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn id() -> String {
    let random: String = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from).collect();
    format!("call_{random}")
}
