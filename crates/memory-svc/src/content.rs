//! A document's bytes as they came: in memory while they are few, else in a file that has no name and is gone with the
//! process. Their SHA-256 is known once they are all there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::SpooledTempFile;

/// Up to so many bytes stay in memory.
const IN_MEMORY: usize = 1 << 20;
/// Bytes that are kept to tell the format by.
const HEAD: usize = 8192;
/// Bytes that are copied at once.
const PIECE: usize = 1 << 16;

/// A document's bytes, all of them.
pub struct Content {
    body: SpooledTempFile,
    bytes: u64,
    sha256: [u8; 32],
    head: Vec<u8>,
}

/// A document's bytes while they arrive.
pub struct Incoming {
    body: SpooledTempFile,
    bytes: u64,
    hash: Sha256,
    head: Vec<u8>,
}

impl Incoming {
    /// Nothing yet; what does not stay in memory goes to `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            body: tempfile::spooled_tempfile_in(IN_MEMORY, folder),
            bytes: 0,
            hash: Sha256::new(),
            head: Vec::new(),
        }
    }

    /// How many bytes there are so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True when so many bytes more stay in memory.
    pub fn stays_in_memory(&self, more: usize) -> bool {
        self.bytes + more as u64 <= IN_MEMORY as u64
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// A full disk.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        self.body.write_all(piece)?;
        self.hash.update(piece);
        let missing = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(missing)]);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// That was all.
    pub fn finish(self) -> Content {
        Content {
            body: self.body,
            bytes: self.bytes,
            sha256: self.hash.finalize().into(),
            head: self.head,
        }
    }
}

impl Content {
    /// Bytes that are there already.
    ///
    /// # Errors
    /// A full disk.
    pub fn of(bytes: &[u8], folder: &Path) -> io::Result<Self> {
        let mut incoming = Incoming::new(folder);
        incoming.push(bytes)?;
        Ok(incoming.finish())
    }

    /// A copy of a file as it is now, unless it has more than `most` bytes; then `None`.
    ///
    /// # Errors
    /// A file that cannot be read, a full disk.
    pub fn copy(file: &mut File, most: u64, folder: &Path) -> io::Result<Option<Self>> {
        let mut incoming = Incoming::new(folder);
        let mut piece = vec![0; PIECE];
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => return Ok(Some(incoming.finish())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if incoming.bytes + read as u64 > most {
                return Ok(None);
            }
            incoming.push(&piece[..read])?;
        }
    }

    /// The beginning of a file, as [`Content::head`] would have it; the file stands at its beginning again.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn head_of(file: &mut File) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        file.take(HEAD as u64).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(head)
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their SHA-256.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The first few thousand of them.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// All of them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(mut self) -> io::Result<Vec<u8>> {
        self.body.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        self.body.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A file that stands at its beginning.
    ///
    /// # Errors
    /// A full disk.
    pub fn into_file(mut self) -> io::Result<File> {
        self.body.seek(SeekFrom::Start(0))?;
        let mut file = self.body.into_file()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes, SHA-256 {}", self.bytes, hex::encode(self.sha256))
    }
}
