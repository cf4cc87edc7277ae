//! A reader that knows how much of the file is left, and claims bytes before it allocates room for them.

use std::io::{ErrorKind, Read};

use super::{GgufError, MAX_HEADER_BYTES};

/// The file from its beginning, as far as the header may go.
pub(super) struct Source<R> {
    reader: R,
    position: u64,
    /// Length of the file.
    end: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R, end: u64) -> Self {
        Self {
            reader,
            position: 0,
            end,
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Makes sure that the file can hold `needs` more bytes of header.
    pub(super) fn claim(&self, needs: u64, what: &str) -> Result<(), GgufError> {
        let left = self.end.saturating_sub(self.position);
        if needs > left {
            return Err(GgufError::CutShort {
                what: what.to_owned(),
                needs,
                left,
            });
        }
        if needs > MAX_HEADER_BYTES.saturating_sub(self.position) {
            let limit = MAX_HEADER_BYTES >> 20;
            return Err(GgufError::Wrong(format!(
                "{what} needs {needs} bytes; headers have at most {limit} MiB"
            )));
        }
        Ok(())
    }

    /// Appends `count` bytes to `buffer`.
    pub(super) fn append(&mut self, count: u64, buffer: &mut Vec<u8>, what: &str) -> Result<(), GgufError> {
        self.claim(count, what)?;
        let start = buffer.len();
        // Claimed bytes fit the header's limit, which fits memory.
        buffer.resize(start + count as usize, 0);
        self.fill(&mut buffer[start..], what)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.claim(N as u64, what)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each.
    pub(super) fn count(&mut self, what: &str, limit: u64, least: u64) -> Result<u64, GgufError> {
        let count = self.u64(what)?;
        if count > limit {
            return Err(GgufError::Wrong(format!(
                "it claims {count} {what}; at most {limit} are possible"
            )));
        }
        self.claim(count.saturating_mul(least), &format!("{count} {what}"))?;
        Ok(count)
    }

    /// A text of at most `limit` bytes. Bytes that are no UTF-8 are replaced, zeros at the end dropped.
    pub(super) fn text(&mut self, what: &str, limit: u64) -> Result<String, GgufError> {
        let length = self.u64(what)?;
        if length > limit {
            return Err(GgufError::Wrong(format!(
                "{what} has {length} bytes; at most {limit} are possible"
            )));
        }
        let mut bytes = Vec::new();
        self.append(length, &mut bytes, what)?;
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Ok(String::from_utf8_lossy(&bytes[..used]).into_owned())
    }

    fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), GgufError> {
        let needs = buffer.len() as u64;
        self.reader.read_exact(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => GgufError::CutShort {
                what: what.to_owned(),
                needs,
                left: 0,
            },
            _ => GgufError::Io(error),
        })?;
        self.position += needs;
        Ok(())
    }
}
