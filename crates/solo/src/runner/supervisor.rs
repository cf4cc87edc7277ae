//! All services of one runner: started at once, settled together, stopped gateway first.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Entry, Row, State};
use super::plan::Plan;
use super::process::LifePipe;
use super::trouble;
use super::unit::{Order, Unit};
use crate::connection::Address;
use crate::failure::{Exit, Failure};
use crate::log_file::{self, LogFile};
use crate::services::{self, GATEWAY, Service};

/// Once one service has failed, how long the others may take to say whether they fail too.
const COLLECT: Duration = Duration::from_secs(3);

/// What everybody may do with the running services. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// How they are.
    pub board: Board,
    /// Cancelled by whoever wants the runner to stop.
    pub stop: CancellationToken,
    /// Cancelled when everything has stopped.
    pub stopped: CancellationToken,
    /// How the start ended; `None` while it goes on.
    pub outcome: watch::Sender<Option<Result<(), Failure>>>,
    orders: Arc<HashMap<&'static str, (mpsc::Sender<Order>, Address)>>,
}

/// The running services.
pub struct Supervisor {
    /// What everybody may do with them.
    pub handle: Handle,
    tasks: Vec<(&'static Service, JoinHandle<()>)>,
}

impl Supervisor {
    /// Starts all services of a plan, at once.
    pub fn start(plan: &Plan, data_dir: &Path, drain: Duration) -> Result<Self, Failure> {
        let cannot = |what: &str, e: std::io::Error| Failure::failed(format!("cannot {what}: {e}"));
        let life = Arc::new(LifePipe::new().map_err(|e| cannot("make a pipe", e))?);
        let board = Board::new(
            plan.services
                .iter()
                .map(|p| (p.service, services::address(&p.address.url))),
        );
        let (mut orders, mut tasks) = (HashMap::new(), Vec::new());
        for planned in &plan.services {
            let path = log_file::path(data_dir, planned.service.name);
            let log = LogFile::open(path.clone()).map_err(|e| cannot(&format!("write {}", path.display()), e))?;
            let (sender, receiver) = mpsc::channel(8);
            let unit = Unit {
                service: planned.service,
                program: planned.program.clone(),
                address: planned.address.clone(),
                drain,
                life: life.clone(),
                log,
                board: board.clone(),
                orders: receiver,
            };
            orders.insert(planned.service.name, (sender, planned.address.clone()));
            tasks.push((planned.service, tokio::spawn(unit.run())));
        }
        let handle = Handle {
            board,
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            outcome: watch::Sender::new(None),
            orders: Arc::new(orders),
        };
        Ok(Self { handle, tasks })
    }

    /// Stops the gateway, so that nothing new comes in, then the others. `hurry`: what is left is killed.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let (gateway, others): (Vec<_>, Vec<_>) =
            self.tasks.into_iter().partition(|(service, _)| service.name == GATEWAY);
        let handle = &self.handle;
        let orderly = async {
            for group in [gateway, others] {
                for (service, _) in &group {
                    handle.order(service, Order::Stop).await;
                }
                for (service, task) in group {
                    if let Err(error) = task.await {
                        crate::terminal::remark(format_args!(
                            "warning: the supervisor of {} failed: {error}",
                            service.name
                        ));
                    }
                }
            }
        };
        let kill = async {
            hurry.await;
            for entry in handle.board.entries() {
                handle.order(entry.service, Order::Kill).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = orderly => {}
            () = kill => {}
        }
        handle.stopped.cancel();
    }
}

impl Handle {
    /// Waits until every service is SERVING, or says what failed: all of it.
    pub async fn settle(&self, timeout: Duration) -> Result<(), Failure> {
        let settled = async {
            let serving = self.all(|entry| entry.state == State::Serving);
            let failed = async {
                self.any(|entry| entry.state == State::Failed).await;
                let _ = tokio::time::timeout(
                    COLLECT,
                    self.all(|entry| matches!(entry.state, State::Serving | State::Failed)),
                )
                .await;
            };
            tokio::select! {
                () = serving => {}
                () = failed => {}
            }
        };
        let in_time = tokio::time::timeout(timeout, settled).await.is_ok();
        let entries = self.board.entries();
        match trouble::summary(&entries) {
            Some(failure) => Err(failure),
            None if in_time => Ok(()),
            None => Err(late(&entries, timeout)),
        }
    }

    async fn all(&self, is: impl Fn(&Entry) -> bool) {
        self.until(|entries| entries.iter().all(&is)).await;
    }

    async fn any(&self, is: impl Fn(&Entry) -> bool) {
        self.until(|entries| entries.iter().any(&is)).await;
    }

    async fn until(&self, holds: impl FnMut(&Vec<Entry>) -> bool) {
        // The board outlives this handle, so the sender cannot be gone.
        let _ = self.board.watch().wait_for(holds).await;
    }

    /// Restarts a service and waits until it is SERVING again.
    pub async fn restart(&self, service: &Service, timeout: Duration) -> Result<Row, Failure> {
        let (reply, answer) = oneshot::channel();
        if !self.order(service, Order::Restart(reply)).await {
            return Err(
                Failure::failed(format!("{} does not belong to this runner", service.name))
                    .help("`solo ps` lists those that do; `solo down`, then `solo up` starts all"),
            );
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(trouble))) => return Err(trouble::failure(service, &trouble)),
            Ok(Err(_)) => return Err(trouble::failure(service, &trouble::stopping(service))),
            Err(_) => {
                return Err(Failure::new(
                    Exit::Unavailable,
                    format!(
                        "{} is not serving {} s after its restart",
                        service.name,
                        timeout.as_secs()
                    ),
                )
                .help(format!(
                    "`solo logs {}` may say why; `--timeout` waits longer",
                    service.name
                )));
            }
        }
        let rows = self.rows().await;
        rows.into_iter()
            .find(|row| row.service == service.name)
            .ok_or_else(|| Failure::failed(format!("{} left the board", service.name)))
    }

    async fn order(&self, service: &Service, order: Order) -> bool {
        match self.orders.get(service.name) {
            Some((sender, _)) => sender.send(order).await.is_ok(),
            None => false,
        }
    }

    /// All services as they are now, each asked afresh for what it says of itself.
    pub async fn rows(&self) -> Vec<Row> {
        let entries = self.board.entries();
        join_all(entries.into_iter().map(|mut entry| async move {
            if let (true, Some((_, address))) = (entry.pid.is_some(), self.orders.get(entry.service.name)) {
                entry.about = address.about().await.or(entry.about);
            }
            let mut row = Row::from(&entry);
            row.rss_bytes = row.rss_bytes.or_else(|| super::memory::resident_bytes(entry.pid?));
            row
        }))
        .await
    }
}

fn late(entries: &[Entry], timeout: Duration) -> Failure {
    let missing: Vec<String> = entries
        .iter()
        .filter(|entry| entry.state != State::Serving)
        .map(|entry| match entry.note.as_str() {
            "" => format!("{} ({})", entry.service.name, entry.state.as_str()),
            note => format!("{} ({note})", entry.service.name),
        })
        .collect();
    Failure::new(
        Exit::Unavailable,
        format!(
            "Solo is not ready after {} s: {}",
            timeout.as_secs(),
            missing.join(", ")
        ),
    )
    .help("`solo logs` may say why; `--timeout` waits longer")
}
