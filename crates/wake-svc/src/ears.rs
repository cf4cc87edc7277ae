//! What the service knows of its own work, for its status: streams, audio heard, time spent. From the last two follows the
//! share of a core that a stream takes, which `solo wake bench` reports.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use solo_service::StatusBoard;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// How often the status is brought up to date while streams go on: reading a process's times costs more than a chunk does.
const PERIOD: Duration = Duration::from_secs(1);
const RATE: f64 = 16_000.0;

/// The count of all streams.
pub(crate) struct Ears {
    status: StatusBoard,
    count: Mutex<Count>,
}

struct Count {
    streams: u32,
    samples: u64,
    shown: Option<Instant>,
}

impl Ears {
    pub(crate) fn new(status: StatusBoard) -> Self {
        let ears = Self {
            status,
            count: Mutex::new(Count {
                streams: 0,
                samples: 0,
                shown: None,
            }),
        };
        ears.change(|_| {});
        ears
    }

    /// Counts one stream more, until what this gives is dropped.
    pub(crate) fn open(this: &Arc<Self>) -> Listening {
        this.change(|count| count.streams += 1);
        Listening(Arc::clone(this))
    }

    /// Changes the count and shows it.
    fn change(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut count);
        count.shown = Some(Instant::now());
        self.status.gauge("streams", "{stream}", f64::from(count.streams));
        self.status.gauge("audio_heard", "s", count.samples as f64 / RATE);
        // Where the system does not tell there is no figure, rather than a wrong one.
        if let Some(time) = cpu_time() {
            self.status.gauge("cpu_time", "s", time.as_secs_f64());
        }
    }
}

/// One stream that is being listened to.
pub(crate) struct Listening(Arc<Ears>);

impl Listening {
    pub(crate) fn heard(&mut self, samples: usize) {
        let due = {
            let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
            count.samples += samples as u64;
            count.shown.is_none_or(|shown| shown.elapsed() >= PERIOD)
        };
        if due {
            self.0.change(|_| {});
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.change(|count| count.streams -= 1);
    }
}

/// Processor time of this process since it began, of all its threads.
fn cpu_time() -> Option<Duration> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let only_time = ProcessRefreshKind::nothing().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, only_time);
    Some(Duration::from_millis(system.process(pid)?.accumulated_cpu_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_what_was_heard() {
        let status = StatusBoard::new("wake-svc", "0");
        let ears = Arc::new(Ears::new(status.clone()));
        let gauge = |name: &str| {
            let found = status.snapshot().gauges.into_iter().find(|gauge| gauge.name == name);
            found.unwrap_or_else(|| panic!("no {name}")).value
        };
        let mut one = Ears::open(&ears);
        let two = Ears::open(&ears);
        assert_eq!(gauge("streams"), 2.0);
        one.heard(8_000);
        drop(two);
        assert_eq!((gauge("streams"), gauge("audio_heard")), (1.0, 0.5));
        let before = gauge("cpu_time");
        // Work until the clock of the process, which ticks every 10 ms, has moved.
        let mut sum = 0u64;
        while cpu_time().unwrap().as_secs_f64() <= before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        drop(one);
        assert!(gauge("cpu_time") > before && gauge("streams") == 0.0);
    }
}
