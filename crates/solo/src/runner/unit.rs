//! One service under supervision: started, watched, asked to end, started again. A task each; it alone writes its entry
//! on the board.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::board::{Board, State, Trouble};
use super::crashes::{Crashes, Verdict};
use super::output::Output;
use super::probe::Health;
use super::process::{self, LifePipe, Program};
use super::trouble;
use crate::connection::Address;
use crate::log_file::LogFile;
use crate::services::Service;

/// Time beyond the service's own drain deadline after which its process group is killed.
const GRACE: Duration = Duration::from_secs(3);

/// What a supervisor may be told.
pub enum Order {
    /// End it, start it again, and answer when it is SERVING or when it will not be.
    Restart(oneshot::Sender<Result<(), Trouble>>),
    /// End it for good; the running work is finished within the drain deadline.
    Stop,
    /// End it for good, now.
    Kill,
}

/// A service and all that its supervisor needs.
pub struct Unit {
    /// The service.
    pub service: &'static Service,
    /// How it is started.
    pub program: Program,
    /// Where it answers.
    pub address: Address,
    /// How long it may take to finish what is running.
    pub drain: Duration,
    /// What it dies by when the runner dies.
    pub life: Arc<LifePipe>,
    /// Where its output goes.
    pub log: LogFile,
    /// Where its state is shown.
    pub board: Board,
    /// What it is told.
    pub orders: mpsc::Receiver<Order>,
}

/// What is to happen when a process that was asked to end has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Stop,
    Restart,
}

/// How a process ended.
enum End {
    /// It was asked to.
    Asked(After),
    /// By itself, having been SERVING for so long.
    ByItself {
        status: ExitStatus,
        healthy: Duration,
        lines: Vec<String>,
    },
    /// It never began.
    NotStarted(std::io::Error),
}

/// What comes after an end.
enum Next {
    Stop,
    Start,
    StartAfter(Duration),
    Wait(Trouble),
}

/// Those who wait for a service to be SERVING again.
type Waiting = Vec<oneshot::Sender<Result<(), Trouble>>>;

impl Unit {
    /// Supervises until the service is stopped.
    pub async fn run(self) {
        let Self {
            service,
            program,
            address,
            drain,
            life,
            log,
            board,
            mut orders,
        } = self;
        let mut supervised = Supervised {
            service,
            program,
            address,
            drain,
            life,
            board,
            output: Output::new(service, log),
        };
        let (mut crashes, mut waiting) = (Crashes::default(), Waiting::new());
        loop {
            let end = supervised.live(&mut orders, &mut waiting).await;
            let next = supervised.judge(end, &mut crashes);
            if !supervised.pause(next, &mut orders, &mut crashes, &mut waiting).await {
                supervised.board.update(service, |entry| entry.state = State::Stopped);
                return;
            }
            supervised.board.update(service, |entry| entry.restarts += 1);
        }
    }
}

struct Supervised {
    service: &'static Service,
    program: Program,
    address: Address,
    drain: Duration,
    life: Arc<LifePipe>,
    board: Board,
    output: Output,
}

impl Supervised {
    /// One process, from its start to its end.
    async fn live(&mut self, orders: &mut mpsc::Receiver<Order>, waiting: &mut Waiting) -> End {
        let mut started = match self.program.start(&self.life) {
            Ok(started) => started,
            Err(error) => return End::NotStarted(error),
        };
        let (pid, begun) = (started.pid, Instant::now());
        self.board.update(self.service, |entry| {
            (entry.state, entry.pid, entry.ready, entry.about) = (State::Starting, Some(pid), None, None);
            (entry.note, entry.trouble) = (String::new(), None);
        });
        let lines = self.output.collect(started.output, pid);
        let (sender, mut news) = mpsc::channel(4);
        let follower = tokio::spawn(self.address.clone().follow(sender));
        let mut serving_since: Option<Instant> = None;
        let mut after: Option<After> = None;
        let mut deadline: Option<tokio::time::Instant> = None;
        let mut listening = true;
        let status = loop {
            let order = tokio::select! {
                status = started.child.wait() => break status,
                Some(health) = news.recv(), if after.is_none() => {
                    self.note_health(health, begun, &mut serving_since, waiting);
                    continue;
                }
                () = at(deadline) => {
                    deadline = None;
                    self.output.remark(&format!("{} did not end in time: killing it", self.service.name));
                    process::end_group(pid);
                    continue;
                }
                order = orders.recv(), if listening => order,
            };
            let wanted = match order {
                Some(Order::Kill) => {
                    after = Some(After::Stop);
                    process::end_group(pid);
                    continue;
                }
                Some(Order::Restart(reply)) => {
                    waiting.push(reply);
                    After::Restart
                }
                Some(Order::Stop) => After::Stop,
                None => {
                    listening = false;
                    After::Stop
                }
            };
            if after.is_none() {
                self.board.update(self.service, |entry| entry.state = State::Draining);
                process::ask_to_end(pid);
                deadline = Some(tokio::time::Instant::now() + self.drain + GRACE);
            }
            // An order to stop outlives one to restart.
            after = if after == Some(After::Stop) {
                after
            } else {
                Some(wanted)
            };
        };
        follower.abort();
        process::end_group(pid);
        let lines = lines.finish().await;
        self.board.update(self.service, |entry| {
            (entry.pid, entry.about, entry.ready) = (None, None, None)
        });
        let healthy = serving_since.map_or(Duration::ZERO, |since| since.elapsed());
        match (after, status) {
            (Some(after), _) => End::Asked(after),
            (None, Ok(status)) => End::ByItself { status, healthy, lines },
            (None, Err(error)) => End::NotStarted(error),
        }
    }

    fn note_health(&self, health: Health, begun: Instant, since: &mut Option<Instant>, waiting: &mut Waiting) {
        match health {
            Health::Serving(about) => {
                since.get_or_insert_with(Instant::now);
                self.board.update(self.service, |entry| {
                    entry.state = State::Serving;
                    entry.ready.get_or_insert_with(|| begun.elapsed());
                    entry.about = about;
                });
                answer(waiting, &Ok(()));
            }
            Health::NotServing => {
                *since = None;
                self.board.update(self.service, |entry| entry.state = State::NotServing);
            }
        }
    }

    fn judge(&mut self, end: End, crashes: &mut Crashes) -> Next {
        let (status, healthy, lines) = match end {
            End::Asked(After::Stop) => return Next::Stop,
            End::Asked(After::Restart) => {
                *crashes = Crashes::default();
                return Next::Start;
            }
            End::NotStarted(error) => return Next::Wait(trouble::not_started(&self.program, &error)),
            End::ByItself { status, healthy, lines } => (status, healthy, lines),
        };
        let ended = process::describe(status);
        self.output.remark(&format!("{} {ended}", self.service.name));
        if let Some(trouble) = trouble::refusal(self.service, &self.program, status, &lines) {
            return Next::Wait(trouble);
        }
        match crashes.crashed(Instant::now(), healthy) {
            Verdict::GiveUp => Next::Wait(trouble::crash_loop(self.service, status, &lines)),
            Verdict::Retry(wait) => {
                let note = format!("{ended}; starting it again in {} ms", wait.as_millis());
                self.board.update(self.service, |entry| {
                    (entry.state, entry.note) = (State::Restarting, note)
                });
                Next::StartAfter(wait)
            }
        }
    }

    /// Waits until the service is to be started again; false when it is to stay stopped.
    async fn pause(
        &self,
        next: Next,
        orders: &mut mpsc::Receiver<Order>,
        crashes: &mut Crashes,
        waiting: &mut Waiting,
    ) -> bool {
        let until = match next {
            Next::Start => return true,
            Next::Stop => {
                answer(waiting, &Err(trouble::stopping(self.service)));
                return false;
            }
            Next::StartAfter(wait) => Some(tokio::time::Instant::now() + wait),
            Next::Wait(trouble) => {
                answer(waiting, &Err(trouble.clone()));
                self.board.update(self.service, |entry| {
                    (entry.state, entry.note, entry.trouble) = (State::Failed, trouble.what.clone(), Some(trouble));
                });
                None
            }
        };
        tokio::select! {
            () = at(until) => true,
            order = orders.recv() => match order {
                Some(Order::Restart(reply)) => {
                    *crashes = Crashes::default();
                    waiting.push(reply);
                    true
                }
                Some(Order::Stop | Order::Kill) | None => {
                    answer(waiting, &Err(trouble::stopping(self.service)));
                    false
                }
            },
        }
    }
}

/// Completes at an instant, or never.
async fn at(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn answer(waiting: &mut Waiting, result: &Result<(), Trouble>) {
    for reply in waiting.drain(..) {
        // Who asked may have gone; then nobody wants to know.
        let _ = reply.send(result.clone());
    }
}
