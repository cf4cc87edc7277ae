//! What a service writes: into its log file, and the last lines into memory, to be shown when it fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::log_file::LogFile;
use crate::services::Service;
use crate::terminal;

/// Lines that are kept in memory.
const KEPT: usize = 40;
/// A longer line is cut into several, so that a service cannot fill the runner's memory.
const LONGEST_LINE: u64 = 64 * 1024;
/// How long the last words of a process are waited for once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The log of one service.
pub struct Output {
    service: &'static Service,
    log: Arc<Mutex<LogFile>>,
}

/// The output of one process, being collected.
pub struct Lines {
    last: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Output {
    /// Output of a service goes into `log`.
    pub fn new(service: &'static Service, log: LogFile) -> Self {
        Self {
            service,
            log: Arc::new(Mutex::new(log)),
        }
    }

    /// Begins to collect what a process writes.
    pub fn collect(&self, output: pipe::Receiver, pid: u32) -> Lines {
        self.remark(&format!("{} started, process {pid}", self.service.name));
        let last = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT)));
        let reader = tokio::spawn(read(output, self.service, self.log.clone(), last.clone()));
        Lines { last, reader }
    }

    /// Writes a line of the runner's own between those of the service.
    pub fn remark(&self, text: &str) {
        write(
            self.service,
            &self.log,
            format!("{:.3} solo: {text}\n", jiff::Timestamp::now()).as_bytes(),
        );
    }
}

impl Lines {
    /// The last lines of a process that has ended.
    pub async fn finish(mut self) -> Vec<String> {
        if tokio::time::timeout(LAST_WORDS, &mut self.reader).await.is_err() {
            // Something that the process started still holds its pipe.
            self.reader.abort();
        }
        std::mem::take(&mut *lock(&self.last)).into()
    }
}

async fn read(
    output: pipe::Receiver,
    service: &'static Service,
    log: Arc<Mutex<LogFile>>,
    last: Arc<Mutex<VecDeque<String>>>,
) {
    let (mut reader, mut line) = (BufReader::new(output), Vec::new());
    loop {
        line.clear();
        match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        write(service, &log, &line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut last = lock(&last);
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(text);
    }
}

/// A log that cannot be written (a full disk) must not stop the service whose pipe is being read.
fn write(service: &Service, log: &Mutex<LogFile>, line: &[u8]) {
    if let Err(error) = lock(log).write_line(line) {
        terminal::remark(format_args!(
            "warning: the log of {} cannot be written: {error}",
            service.name
        ));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
