//! A service's log on disk: size-capped, so that a chatty service cannot fill the disk, with three old files kept.
//!
//! `stt-svc.log` is the newest, then `stt-svc.log.1` … `.3`. Reading (`solo logs`) needs no runner.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Size from which a new file is begun, in bytes.
const CAP: u64 = 8 * 1024 * 1024;
/// Old files that are kept.
const KEPT: usize = 3;

/// The folder of all logs.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("logs")
}

/// The log of a service, or of the runner in the background ("runner").
pub fn path(data_dir: &Path, name: &str) -> PathBuf {
    folder(data_dir).join(format!("{name}.log"))
}

/// A log that is being written.
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    cap: u64,
}

impl LogFile {
    /// Opens a log to append to; its folder is made.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Self::with_cap(path, CAP)
    }

    fn with_cap(path: PathBuf, cap: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, cap })
    }

    /// Appends one line, its newline included, and begins a new file when this one is full.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.cap {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for i in (1..=KEPT).rev() {
            let from = if i == 1 {
                self.path.clone()
            } else {
                old(&self.path, i - 1)
            };
            match std::fs::rename(&from, old(&self.path, i)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// The i-th old file, 1 the youngest.
fn old(path: &Path, i: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{i}"));
    PathBuf::from(name)
}

/// The last `count` lines of a log, old files included, and the length of the newest file in bytes: where following
/// goes on. A log that is not there is empty.
pub fn tail(path: &Path, count: usize) -> io::Result<(Vec<String>, u64)> {
    let mut lines = VecDeque::new();
    let mut length = 0;
    for i in 0..=KEPT {
        let file = match File::open(if i == 0 { path.to_owned() } else { old(path, i) }) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(e),
        };
        let missing = count - lines.len();
        let (mut older, bytes) = last_lines(file, missing)?;
        if i == 0 {
            length = bytes;
        }
        older.append(&mut lines);
        lines = older;
        if lines.len() >= count {
            break;
        }
    }
    Ok((lines.into(), length))
}

fn last_lines(file: File, count: usize) -> io::Result<(VecDeque<String>, u64)> {
    let (mut reader, mut bytes, mut line) = (BufReader::new(file), 0, Vec::new());
    let mut lines = VecDeque::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((lines, bytes));
        }
        // A line that is still being written is left to whoever follows.
        if !line.ends_with(b"\n") {
            return Ok((lines, bytes));
        }
        bytes += read as u64;
        lines.push_back(text(&line));
        if lines.len() > count {
            lines.pop_front();
        }
    }
}

/// What was appended to a log since a position; a file that became shorter is a new one and is read from its start.
/// Gives whole lines only, and the position to go on from.
pub fn since(path: &Path, position: u64) -> io::Result<(Vec<String>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let start = if length < position { 0 } else { position };
    if length == start {
        return Ok((Vec::new(), start));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut appended = Vec::new();
    file.take(length - start).read_to_end(&mut appended)?;
    let whole = appended
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let lines = appended[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .map(text)
        .collect();
    Ok((lines, start + whole as u64))
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_rotated_and_three_old_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "stt-svc");
        let mut log = LogFile::with_cap(path.clone(), 20).unwrap();
        for i in 0..12 {
            log.write_line(format!("line {i:04}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["stt-svc.log", "stt-svc.log.1", "stt-svc.log.2", "stt-svc.log.3"]
        );
        let (lines, _) = tail(&path, 5).unwrap();
        assert_eq!(lines, ["line 0007", "line 0008", "line 0009", "line 0010", "line 0011"]);
        assert_eq!(tail(&path, 100).unwrap().0.len(), 8, "two lines in each of four files");
    }

    #[test]
    fn following_gives_whole_lines_and_notices_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert_eq!(since(&path, 0).unwrap(), (vec![], 0));
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let (lines, position) = since(&path, 0).unwrap();
        assert_eq!(
            (lines.as_slice(), position),
            (["one".to_owned(), "two".to_owned()].as_slice(), 8)
        );
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let (lines, position) = since(&path, position).unwrap();
        assert_eq!((lines.as_slice(), position), (["three".to_owned()].as_slice(), 14));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(since(&path, position).unwrap().0, ["new"]);
    }

    #[test]
    fn a_log_that_is_not_there_is_empty() {
        assert_eq!(tail(Path::new("/nonexistent/x.log"), 10).unwrap(), (vec![], 0));
    }
}
