//! Dying with the runner. The runner keeps the write end of a pipe open and gives each service the read end; when the
//! runner ends — however it ends — the read end says so. PDEATHSIG would follow the thread that spawned us instead.

/// Environment variable with the number of the pipe's read end.
pub const PIPE_VARIABLE: &str = "SOLO_RUNNER_PIPE_FD";

/// Calls `ended` on a thread of its own once the runner is gone. Does nothing when there is no runner.
#[cfg(unix)]
pub(crate) fn watch(ended: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    use std::io::Read;
    use std::os::fd::FromRawFd;

    let Some(fd) = std::env::var(PIPE_VARIABLE)
        .ok()
        .and_then(|fd| fd.parse::<i32>().ok())
        .filter(|fd| *fd > 2)
    else {
        return Ok(());
    };
    // SAFETY: the runner opened this descriptor for us alone, and nothing else in this process knows its number.
    let mut pipe = unsafe { std::fs::File::from_raw_fd(fd) };
    std::thread::Builder::new().name("runner-watch".into()).spawn(move || {
        let mut byte = [0_u8; 1];
        loop {
            match pipe.read(&mut byte) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        ended();
    })?;
    Ok(())
}

/// Other systems have no such pipe; the runner ends its services itself.
#[cfg(not(unix))]
pub(crate) fn watch(_ended: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    Ok(())
}
