//! Reads documents: text here, every other format in a child process ([`super::child`]) that can be stopped. A program whose
//! grammar takes the child with it is a text all the same.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use solo_documents::{Extracted, Format, Refusal, extract};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::child::{Answer, SUBCOMMAND, Task};
use crate::config::ExtractConfig;
use crate::content::Content;
use crate::error::Error;

/// What a child may say on standard error before the rest is thrown away, in bytes.
const MAX_COMPLAINT_BYTES: u64 = 4096;
/// JSON takes up to six bytes for one of text ("\u0001"), and headings repeat a little of it.
const ANSWER_BYTES_PER_TEXT_BYTE: u64 = 8;
/// Bytes of an answer that are not text.
const ANSWER_OVERHEAD_BYTES: u64 = 1 << 20;
/// What is said on standard error by what gets no memory; the last two by tree-sitter.
const OUT_OF_MEMORY: [&str; 5] = [
    "memory allocation of",
    "out of memory",
    "Cannot allocate memory",
    "failed to allocate",
    "failed to reallocate",
];

/// Reads documents. Cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Parts>);

struct Parts {
    program: PathBuf,
    limits: ExtractConfig,
    running: Semaphore,
}

impl Reader {
    /// A reader whose child processes are `program`, which is memory-svc.
    pub fn new(program: PathBuf, limits: ExtractConfig) -> Self {
        Self(Arc::new(Parts {
            program,
            running: Semaphore::new(limits.processes),
            limits,
        }))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; a child process that cannot be started.
    pub async fn read(&self, format: Format, content: Content) -> Result<Extracted, Error> {
        // Closed never.
        let _turn = self.0.running.acquire().await;
        let limit = self.0.limits.max_text_bytes;
        if (format.is_text() || format.language.is_some()) && content.bytes() > limit as u64 {
            return Err(Refusal::TextTooLong { limit }.into());
        }
        if format.is_text() {
            return self.read_here(format, move || content.read()).await;
        }
        let spool = |source| Error::Spool { source };
        let file = content.into_file().map_err(spool)?;
        if format.language.is_none() {
            return self.read_in_child(format, file).await;
        }
        let mut again = file.try_clone().map_err(spool)?;
        let refusal = match self.read_in_child(format, file).await {
            Err(Error::Refused(
                refusal @ (Refusal::Broken { .. } | Refusal::TooMuchMemory { .. } | Refusal::TooSlow { .. }),
            )) => refusal,
            read => return read,
        };
        // Whatever its grammar made of it: a program is a text.
        let format = Format {
            language: None,
            ..format
        };
        let bytes = move || {
            let mut bytes = Vec::new();
            again.seek(SeekFrom::Start(0))?;
            again.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let mut extracted = self.read_here(format, bytes).await?;
        let warning = format!("the source text is not divided by its definitions: {refusal}");
        extracted.warnings.push(warning);
        Ok(extracted)
    }

    async fn read_here(
        &self,
        format: Format,
        bytes: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
    ) -> Result<Extracted, Error> {
        let limit = self.0.limits.max_text_bytes;
        let read = move || {
            let bytes = bytes().map_err(|source| Error::Spool { source })?;
            Ok(extract(format, bytes, limit)?)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Panicked {
            doing: "reading the document",
        })?
    }

    async fn read_in_child(&self, format: Format, document: File) -> Result<Extracted, Error> {
        let limits = &self.0.limits;
        let failed = |problem: String| Error::Reader { problem };
        let task = Task::new(
            format,
            limits.max_text_bytes,
            limits.memory_mb.saturating_mul(1 << 20),
            limits.timeout_s,
        );
        let task = serde_json::to_string(&task).map_err(|error| failed(error.to_string()))?;
        let mut child = Command::new(&self.0.program)
            .arg(SUBCOMMAND)
            .arg(task)
            .env_clear()
            .current_dir("/")
            .stdin(document)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{} cannot be started: {error}", self.0.program.display())))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let most = (limits.max_text_bytes as u64).saturating_mul(ANSWER_BYTES_PER_TEXT_BYTE) + ANSWER_OVERHEAD_BYTES;
        let working = async {
            let (answer, complaint) = tokio::join!(all_of(stdout, most), all_of(stderr, MAX_COMPLAINT_BYTES));
            Ok::<_, std::io::Error>((answer?, complaint?, child.wait().await?))
        };
        // Processor time is limited in the child; the clock is more patient, for the machine may be busy.
        let patience = Duration::from_secs(limits.timeout_s.saturating_mul(4));
        let Ok(done) = tokio::time::timeout(patience, working).await else {
            return Err(Refusal::TooSlow {
                limit_s: limits.timeout_s,
            }
            .into());
        };
        let (answer, complaint, status) = done.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            return Err(self.death(format, status, complaint.trim()).into());
        }
        let answer: Answer = serde_json::from_slice(&answer).map_err(|error| failed(error.to_string()))?;
        answer.map_err(|refusal| match refusal {
            Refusal::OutOfMemory => self.too_much_memory().into(),
            refusal => refusal.into(),
        })
    }

    fn too_much_memory(&self) -> Refusal {
        Refusal::TooMuchMemory {
            limit_mb: self.0.limits.memory_mb,
        }
    }

    /// What it means that a child died.
    fn death(&self, format: Format, status: ExitStatus, complaint: &str) -> Refusal {
        let limits = &self.0.limits;
        let out_of_time = || Refusal::TooSlow {
            limit_s: limits.timeout_s,
        };
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt;
            // The soft limit's signal, and the hard one's.
            if matches!(status.signal(), Some(24 | 9)) {
                return out_of_time();
            }
        }
        if OUT_OF_MEMORY.iter().any(|sign| complaint.contains(sign)) {
            return self.too_much_memory();
        }
        let what = format.media_type.what();
        if complaint.contains("overflowed its stack") {
            return Refusal::broken(what, "it is nested too deeply");
        }
        match complaint.lines().next() {
            Some(line) => Refusal::broken(what, line),
            None => Refusal::broken(what, format!("its parser died ({status})")),
        }
    }
}

/// Everything that comes, of which `most` bytes are kept.
async fn all_of(stream: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let Some(mut stream) = stream else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    (&mut stream).take(most).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(kept)
}
