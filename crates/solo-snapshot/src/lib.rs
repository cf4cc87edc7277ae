//! Somebody's whole memory in one file: a ZIP archive of JSON Lines, which other programs read as well.
//!
//! | entry | each line |
//! |---|---|
//! | `manifest.json` | the only one: what the file is, whose vectors are in it ([`Manifest`]) |
//! | `collections.jsonl` | a collection ([`CollectionRecord`]) |
//! | `facts.jsonl` | a version of a fact, those of one fact together ([`FactRecord`]) |
//! | `documents.jsonl` | a document ([`DocumentRecord`]), or a piece of the one before ([`PieceRecord`]) |
//!
//! Times are RFC 3339 in UTC, vectors base64 of little-endian f32. A file may come from anywhere: it is read from its beginning
//! on, each entry once at most and in this order, each line has a longest length, and the archive's own directory at its end, which may be of any size, is
//! not looked at. What the lines say is for whoever takes them in to check, like a request.

mod records;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zip::read::read_zipfile_from_stream;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub use records::{CollectionRecord, DocumentRecord, FactRecord, Manifest, PieceRecord, Vector};

const MANIFEST: &str = "manifest.json";
const COLLECTIONS: &str = "collections.jsonl";
const FACTS: &str = "facts.jsonl";
const DOCUMENTS: &str = "documents.jsonl";
/// All of them, in their order.
const ENTRIES: [&str; 4] = [MANIFEST, COLLECTIONS, FACTS, DOCUMENTS];
/// Longest line of what is not a piece, in bytes.
const SHORT_LINE: u64 = 2 << 20;
/// How a line of a piece begins: no other may be longer than [`SHORT_LINE`].
const PIECE: &[u8] = b"{\"piece\":";

/// A thing in a file.
#[derive(Debug, Clone)]
pub enum Record {
    /// First, once.
    Manifest(Manifest),
    /// Then these.
    Collection(CollectionRecord),
    /// Then these.
    Fact(Box<FactRecord>),
    /// Then these,
    Document(Box<DocumentRecord>),
    /// each with its pieces.
    Piece(PieceRecord),
}

/// A line of `documents.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DocumentLine<D, P> {
    Document(D),
    Piece(P),
}

/// Why a file could not be read.
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
        /// What is wrong, in short.
        problem: String,
    },
}

/// Writes a file. Blocks.
pub struct Writer<W: Write + Seek> {
    zip: ZipWriter<BufWriter<W>>,
    entry: &'static str,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins in an empty file.
    pub fn new(file: W) -> Self {
        Self {
            zip: ZipWriter::new(BufWriter::new(file)),
            entry: "",
        }
    }

    /// Adds a record; they come in the order of [`Record`].
    ///
    /// # Errors
    /// A full disk.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Manifest(manifest) => self.line(MANIFEST, manifest),
            Record::Collection(collection) => self.line(COLLECTIONS, collection),
            Record::Fact(fact) => self.line(FACTS, fact),
            Record::Document(document) => self.line(DOCUMENTS, &DocumentLine::<_, ()>::Document(document)),
            Record::Piece(piece) => self.line(DOCUMENTS, &DocumentLine::<(), _>::Piece(piece)),
        }
    }

    fn line(&mut self, entry: &'static str, record: &impl Serialize) -> io::Result<()> {
        self.begin(entry)?;
        serde_json::to_writer(&mut self.zip, record)?;
        self.zip.write_all(b"\n")
    }

    fn begin(&mut self, entry: &'static str) -> io::Result<()> {
        if self.entry == entry {
            return Ok(());
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            // Vectors hardly get smaller, however long one tries.
            .compression_level(Some(1))
            .large_file(true);
        self.zip.start_file(entry, options)?;
        self.entry = entry;
        Ok(())
    }

    /// Ends the file and gives it back, at its beginning.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> io::Result<W> {
        let buffer = self.zip.finish()?;
        let mut file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Reads a file, record by record, until `take` says that it wants no more. `longest_piece`: longest line of a piece, in
/// bytes. Blocks.
///
/// # Errors
/// A file that is no exported memory, of a newer version, or damaged; what was before the damage was given.
pub fn read(file: impl Read, longest_piece: u64, mut take: impl FnMut(Record) -> bool) -> Result<(), SnapshotError> {
    let mut file = BufReader::new(file);
    let mut known = false;
    // First of `ENTRIES` that may come.
    let mut next = 0;
    loop {
        let entry = match read_zipfile_from_stream(&mut file) {
            Ok(Some(entry)) => entry,
            Ok(None) if known => return Ok(()),
            Ok(None) => return Err(foreign("it is empty")),
            Err(error) if known => return Err(damaged("the archive", 0, &error.to_string())),
            Err(error) => return Err(foreign(&format!("it is no ZIP archive ({error})"))),
        };
        let name = entry.name().to_owned();
        let lines = BufReader::new(entry);
        let place = ENTRIES.iter().position(|entry| *entry == name);
        if !known && place != Some(0) {
            let problem = format!("it begins with {} instead of {MANIFEST}", shorten(&name));
            return Err(foreign(&problem));
        }
        if let Some(place) = place {
            if place < next {
                return Err(foreign(&format!("{name} stands twice in it, or too late")));
            }
            next = place + 1;
        }
        let more = match name.as_str() {
            MANIFEST => read_lines(lines, MANIFEST, SHORT_LINE, |manifest: Manifest| {
                if known {
                    return Err(damaged(MANIFEST, 2, "it has one line"));
                }
                manifest.check()?;
                known = true;
                Ok(take(Record::Manifest(manifest)))
            })?,
            COLLECTIONS => read_lines(lines, COLLECTIONS, SHORT_LINE, |it| Ok(take(Record::Collection(it))))?,
            FACTS => read_lines(lines, FACTS, SHORT_LINE, |it| Ok(take(Record::Fact(it))))?,
            DOCUMENTS => read_lines(lines, DOCUMENTS, longest_piece, |line| {
                Ok(take(match line {
                    DocumentLine::Document(document) => Record::Document(document),
                    DocumentLine::Piece(piece) => Record::Piece(piece),
                }))
            })?,
            _ => return Err(foreign(&format!("it has {}", shorten(&name)))),
        };
        if !more {
            return Ok(());
        }
    }
}

/// Reads the lines of an entry; false: no more is wanted.
fn read_lines<T: DeserializeOwned>(
    mut lines: impl BufRead,
    name: &'static str,
    longest: u64,
    mut take: impl FnMut(T) -> Result<bool, SnapshotError>,
) -> Result<bool, SnapshotError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = (&mut lines).take(longest).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| damaged(name, line, &error.to_string()))? as u64;
        if read == 0 {
            break;
        }
        let most = if bytes.starts_with(PIECE) {
            longest
        } else {
            longest.min(SHORT_LINE)
        };
        if read >= most {
            return Err(damaged(name, line, &format!("it is longer than {most} bytes")));
        }
        let record = serde_json::from_slice(&bytes).map_err(|error| damaged(name, line, &error.to_string()))?;
        if !take(record)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn foreign(problem: &str) -> SnapshotError {
    SnapshotError::Foreign(problem.to_owned())
}

/// What a file says, so that it can be shown in a message: escaped, and no longer than 80 characters.
fn shorten(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(80).collect();
    if text.escape_debug().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

/// `problem` may quote the file, as long as a line is.
fn damaged(entry: &'static str, line: u64, problem: &str) -> SnapshotError {
    SnapshotError::Damaged {
        entry,
        line,
        problem: shorten(problem),
    }
}

#[cfg(test)]
mod tests;
