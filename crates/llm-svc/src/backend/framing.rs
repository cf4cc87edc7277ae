//! Where one event of a stream ends and the next begins, with a bound on what an event may take.
//!
//! Bytes come in whatever pieces the network makes of them, which may cut characters. NDJSON is cut at line ends here;
//! server-sent events by the crate eventsource-stream, which knows no bound: [`EventBound`] watches the bytes on their way.

use std::mem;

/// The most bytes of one event: a token with its alternatives takes some thousands, a tool call's arguments some more.
pub const MAX_EVENT: usize = 1 << 20;

/// An event is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {limit} bytes")]
pub struct TooLarge {
    /// Bytes that it may have.
    pub limit: usize,
}

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    rest: Vec<u8>,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            rest: Vec::new(),
        }
    }

    /// Takes more bytes; returns the lines that they complete, without their ends. Empty lines are left out.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (piece, ended) = match piece {
                [piece @ .., b'\n'] => (piece, true),
                piece => (piece, false),
            };
            if self.rest.len() + piece.len() > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
            self.rest.extend_from_slice(piece);
            if ended {
                lines.extend(self.finish());
            }
        }
        Ok(lines)
    }

    /// The line that has begun, when nothing follows.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let mut line = mem::take(&mut self.rest);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        (!line.is_empty()).then_some(line)
    }
}

/// Counts the bytes since the last empty line, which is where a server-sent event ends.
#[derive(Debug)]
pub struct EventBound {
    limit: usize,
    event: usize,
    line: usize,
    after_return: bool,
}

impl EventBound {
    /// Events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            event: 0,
            line: 0,
            after_return: false,
        }
    }

    /// Looks at more bytes.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        for &byte in bytes {
            self.event += 1;
            let second_half = byte == b'\n' && mem::take(&mut self.after_return);
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    if mem::take(&mut self.line) == 0 {
                        self.event = 0;
                    }
                    self.after_return = byte == b'\r';
                }
                _ => {
                    self.line += 1;
                    self.after_return = false;
                }
            }
            if self.event > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let text = "{\"é\":1}\r\n\n{\"b\":\"🦀\"}\n{}".as_bytes();
        for size in 1..text.len() {
            let mut lines = Lines::new(100);
            let mut all: Vec<Vec<u8>> = Vec::new();
            for piece in text.chunks(size) {
                all.extend(lines.push(piece).unwrap());
            }
            all.extend(lines.finish());
            assert_eq!(all, ["{\"é\":1}".as_bytes(), "{\"b\":\"🦀\"}".as_bytes(), b"{}"]);
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"1234\n12").unwrap(), [b"1234"]);
        assert_eq!(lines.push(b"345"), Err(TooLarge { limit: 4 }));
    }

    #[test]
    fn an_event_is_bounded_but_a_stream_is_not() {
        for ends in ["\n\n", "\r\n\r\n", "\r\r"] {
            let mut bound = EventBound::new(16);
            for _ in 0..100 {
                bound.check(b"data: 1").unwrap();
                bound.check(ends.as_bytes()).unwrap();
            }
        }
        let mut bound = EventBound::new(16);
        assert_eq!(
            bound.check(b"data: 1\ndata: 23\ndata: 45\n"),
            Err(TooLarge { limit: 16 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed(bytes in proptest::collection::vec(any::<u8>(), 0..256), size in 1_usize..40) {
            let (mut lines, mut bound) = (Lines::new(32), EventBound::new(32));
            for piece in bytes.chunks(size) {
                match lines.push(piece) {
                    Ok(lines) => prop_assert!(lines.iter().all(|line| !line.is_empty() && line.len() <= 32)),
                    Err(_) => break,
                }
            }
            let _ = bound.check(&bytes);
        }
    }
}
