//! Somebody's whole memory in one file: a ZIP archive of JSON Lines, which other programs read as well.
//!
//! | entry | each line |
//! |---|---|
//! | `manifest.json` | the only one: what the file is, whose vectors are in it ([`Manifest`]) |
//! | `collections.jsonl` | a collection ([`CollectionRecord`]) |
//! | `facts.jsonl` | a version of a fact, those of one fact together ([`FactRecord`]) |
//! | `documents.jsonl` | a document with its pieces ([`DocumentRecord`]) |
//!
//! Times are RFC 3339 in UTC, vectors base64 of little-endian f32. A file may come from anywhere: each line has a longest
//! length and is checked like a request.

mod records;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

pub use records::{CollectionRecord, DocumentRecord, FactRecord, Manifest};

const MANIFEST: &str = "manifest.json";
const COLLECTIONS: &str = "collections.jsonl";
const FACTS: &str = "facts.jsonl";
const DOCUMENTS: &str = "documents.jsonl";
/// Longest line of what is not a document, in bytes.
const SHORT_LINE: u64 = 1 << 20;

/// A thing in a file.
#[derive(Debug, Clone)]
pub enum Record {
    /// First, once.
    Manifest(Manifest),
    /// Then these.
    Collection(CollectionRecord),
    /// Then these.
    Fact(Box<FactRecord>),
    /// Then these.
    Document(Box<DocumentRecord>),
}

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is something else.
    #[error("this is no exported memory: {0}")]
    Foreign(String),
    /// A later program wrote it.
    #[error(
        "the file has version {found} and this program reads version {}: use the program that wrote it",
        records::VERSION
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It was, but something happened to it.
    #[error("the file is damaged: {entry}, line {line}: {problem}")]
    Damaged {
        /// The entry.
        entry: &'static str,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The disk failed, or is full.
    #[error("the file cannot be kept in the data folder meanwhile: make room there and try again")]
    Io(#[source] io::Error),
}

/// Writes a file. Blocks.
pub struct Writer {
    zip: ZipWriter<BufWriter<File>>,
    entry: &'static str,
}

impl Writer {
    /// Begins in an empty file.
    pub fn new(file: File) -> Self {
        Self {
            zip: ZipWriter::new(BufWriter::new(file)),
            entry: "",
        }
    }

    /// Adds a record; they come in the order of [`Record`].
    ///
    /// # Errors
    /// A full disk.
    pub fn write(&mut self, record: &Record) -> Result<(), SnapshotError> {
        match record {
            Record::Manifest(manifest) => self.line(MANIFEST, manifest),
            Record::Collection(collection) => self.line(COLLECTIONS, collection),
            Record::Fact(fact) => self.line(FACTS, fact),
            Record::Document(document) => self.line(DOCUMENTS, document),
        }
    }

    fn line(&mut self, entry: &'static str, record: &impl Serialize) -> Result<(), SnapshotError> {
        self.begin(entry)?;
        serde_json::to_writer(&mut self.zip, record).map_err(|error| SnapshotError::Io(error.into()))?;
        self.zip.write_all(b"\n").map_err(SnapshotError::Io)
    }

    fn begin(&mut self, entry: &'static str) -> Result<(), SnapshotError> {
        if self.entry == entry {
            return Ok(());
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            // Vectors hardly get smaller, however long one tries.
            .compression_level(Some(1))
            .large_file(true);
        self.zip.start_file(entry, options).map_err(written)?;
        self.entry = entry;
        Ok(())
    }

    /// Ends the file and gives it back, at its beginning.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<File, SnapshotError> {
        let buffer = self.zip.finish().map_err(written)?;
        let flushed = buffer.into_inner().map_err(io::IntoInnerError::into_error);
        let mut file = flushed.map_err(SnapshotError::Io)?;
        file.rewind().map_err(SnapshotError::Io)?;
        Ok(file)
    }
}

fn written(error: ZipError) -> SnapshotError {
    SnapshotError::Io(error.into())
}

/// Reads a file, record by record, until `take` says that it wants no more. Blocks.
///
/// # Errors
/// A file that is no exported memory, of a newer version, or damaged; what was before the damage was given.
pub fn read(file: File, longest_line: u64, mut take: impl FnMut(Record) -> bool) -> Result<(), SnapshotError> {
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| SnapshotError::Foreign(error.to_string()))?;
    let mut known = false;
    let manifest = |manifest: Manifest| {
        known = true;
        manifest.check()?;
        Ok(take(Record::Manifest(manifest)))
    };
    let more = entry(&mut archive, MANIFEST, SHORT_LINE, manifest)?;
    if !known {
        return Err(SnapshotError::Foreign(format!("it has no {MANIFEST}")));
    }
    let more = more
        && entry(&mut archive, COLLECTIONS, SHORT_LINE, |it| {
            Ok(take(Record::Collection(it)))
        })?;
    let more = more && entry(&mut archive, FACTS, SHORT_LINE, |it| Ok(take(Record::Fact(it))))?;
    let _more = more
        && entry(&mut archive, DOCUMENTS, longest_line, |it| {
            Ok(take(Record::Document(it)))
        })?;
    Ok(())
}

/// Reads the lines of an entry, if the archive has it; false: no more is wanted.
fn entry<T: DeserializeOwned>(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &'static str,
    longest: u64,
    mut take: impl FnMut(T) -> Result<bool, SnapshotError>,
) -> Result<bool, SnapshotError> {
    let damaged = |line, problem: String| SnapshotError::Damaged {
        entry: name,
        line,
        problem,
    };
    let entry = match archive.by_name(name) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(true),
        Err(error) => return Err(damaged(1, error.to_string())),
    };
    let mut lines = BufReader::new(entry);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = (&mut lines).take(longest).read_until(b'\n', &mut bytes);
        match read.map_err(|error| damaged(line, error.to_string()))? as u64 {
            0 => break,
            read if read == longest => return Err(damaged(line, format!("it is longer than {longest} bytes"))),
            _ => {}
        }
        let record = serde_json::from_slice(&bytes).map_err(|error| damaged(line, error.to_string()))?;
        if !take(record)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
