//! `probe`: whether the running service is SERVING, asked from beside it. What health checks of containers run.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::app::complain;
use crate::client::Upstream;
use crate::config::GlobalConfig;
use crate::net;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How often one that holds asks.
const EVERY: Duration = Duration::from_secs(3);

/// Asks where the configuration listens, not at the endpoint that others are told: that may be a name of several replicas.
pub(crate) async fn probe(
    service: &'static str,
    global: &GlobalConfig,
    listen: SocketAddr,
    hold: Duration,
) -> ExitCode {
    let ask = || async {
        // A new connection each time: one that is there already says nothing of a process that was stopped.
        let upstream = Upstream::at(service, net::reachable(listen), global).map_err(|error| error.to_string())?;
        let channel = upstream.channel(Instant::now() + TIMEOUT).await;
        channel.map(drop).map_err(|error| error.to_string())
    };
    let mark = std::env::temp_dir().join(format!("{service}.serving"));
    match held(ask, &mark, hold).await {
        Ok(()) => {
            println!("{service} is serving");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Asks once, and after an answer, where the last one that held ended well, too, on and on for `hold`: who starts a process for
/// every question starts fewer, and still hears at once of a service that begins to serve or ceases to. `mark` is there as long as
/// all is well.
async fn held<F, Fut>(mut ask: F, mark: &Path, hold: Duration) -> Result<(), String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let end = tokio::time::Instant::now() + hold;
    let mut asked = ask().await;
    if !hold.is_zero() {
        while asked.is_ok() && mark.exists() && tokio::time::Instant::now() + EVERY <= end {
            tokio::time::sleep(EVERY).await;
            asked = ask().await;
        }
        // Where it cannot be written, no probe holds.
        let _ = match &asked {
            Ok(()) => std::fs::write(mark, ""),
            Err(_) => std::fs::remove_file(mark),
        };
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn what_serves_is_said_at_once_the_first_time_and_then_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("stt-svc.serving");
        let mut asked = 0;
        let started = tokio::time::Instant::now();
        let mut probe = async |hold| {
            let ask = || {
                asked += 1;
                async { Ok(()) }
            };
            held(ask, &mark, hold).await.unwrap();
            started.elapsed()
        };
        // One that does not hold leaves nothing behind.
        assert_eq!(probe(Duration::ZERO).await, Duration::ZERO);
        assert_eq!(probe(HOLD).await, Duration::ZERO);
        assert_eq!(probe(HOLD).await, HOLD);
        assert_eq!(asked, 1 + 1 + 11);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ceases_to_serve_is_said_at_once_and_so_is_that_it_serves_again() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("stt-svc.serving");
        std::fs::write(&mark, "").unwrap();
        let started = tokio::time::Instant::now();
        let mut answers = [Ok(()), Ok(()), Err("it is not serving".to_owned())].into_iter();
        let ask = || std::future::ready(answers.next().unwrap());
        assert_eq!(held(ask, &mark, HOLD).await, Err("it is not serving".to_owned()));
        assert_eq!(started.elapsed(), 2 * EVERY);
        assert_eq!(held(|| async { Ok(()) }, &mark, HOLD).await, Ok(()));
        assert_eq!(started.elapsed(), 2 * EVERY);
    }
}
