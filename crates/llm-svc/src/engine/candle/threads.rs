//! The threads that a model computes with: as many as the configuration says, and no more.
//!
//! A step is some hundred short pieces of work one after the other, so waking a thread for each would cost more than the
//! work. Workers therefore look for the next piece for some microseconds before they sleep. The thread that asks works,
//! too, and waits only for workers that have begun: one that the system does not run just then is not missed, which
//! matters where other services share the processors.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Looks for work before a worker sleeps: about 20 µs.
const LOOKS: usize = 400;
/// In [`Shared::state`]: set while workers may begin. Below it: workers at work. Above it: the number of the work.
const OPEN: u64 = 1 << 31;
/// What is added to [`Shared::state`] for each piece of work.
const NEXT: u64 = 1 << 32;

/// A piece of work: called once for each index below the count.
type Task<'a> = dyn Fn(usize) + Sync + 'a;

struct Job {
    task: *const Task<'static>,
    count: usize,
}

struct Shared {
    state: AtomicU64,
    job: UnsafeCell<Job>,
    /// The next index that nobody has taken.
    next: AtomicUsize,
    sleeping: AtomicUsize,
    panicked: AtomicBool,
    stopped: AtomicBool,
}

// SAFETY: `job` is written only while no worker is at work and none may begin; `state` orders that.
unsafe impl Sync for Shared {}
// SAFETY: the task is `Sync`, and is called only while the caller that lent it waits.
unsafe impl Send for Shared {}

/// A fixed number of threads, the caller's among them.
pub(super) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
}

impl Threads {
    /// Starts `count` − 1 threads.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn new(count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(Job {
                task: &|_| {},
                count: 0,
            }),
            next: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let mut threads = Self {
            shared,
            workers: Vec::new(),
            handles: Vec::new(),
        };
        for index in 1..count.max(1) {
            let shared = Arc::clone(&threads.shared);
            let worker = std::thread::Builder::new()
                .name(format!("candle-{index}"))
                .spawn(move || shared.work())?;
            threads.handles.push(worker.thread().clone());
            threads.workers.push(worker);
        }
        Ok(threads)
    }

    /// Threads, the caller's among them.
    pub(super) fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` once for each index below `count`, on any of the threads, and returns when all calls have.
    ///
    /// # Panics
    /// When a call panics.
    pub(super) fn run(&mut self, count: usize, task: &Task<'_>) {
        if count <= 1 || self.workers.is_empty() {
            (0..count).for_each(task);
            return;
        }
        let shared = &*self.shared;
        let before = shared.state.load(Ordering::Relaxed);
        // SAFETY: nobody is at work and nobody may begin: `run` is exclusive and waits at its end. The lifetime is forgotten
        // for as long as `Closing` lives, which ends when no worker has the task.
        unsafe {
            *shared.job.get() = Job {
                task: std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task),
                count,
            };
        }
        shared.next.store(0, Ordering::Relaxed);
        shared
            .state
            .store((before & !(NEXT - 1)).wrapping_add(NEXT) | OPEN, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            self.handles.iter().for_each(Thread::unpark);
        }
        let closing = Closing(shared);
        shared.take(task, count);
        drop(closing);
        if shared.panicked.swap(false, Ordering::AcqRel) {
            std::panic::resume_unwind(Box::new("a computing thread panicked"));
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker does not panic: it catches what its task throws.
            let _ = worker.join();
        }
    }
}

/// Keeps workers from beginning, and waits for those that have begun, also when the caller's own part panics.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while state.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            looks += 1;
            if looks < LOOKS {
                spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Shared {
    /// Takes indices until there are none.
    fn take(&self, task: &Task<'_>, count: usize) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            task(index);
        }
    }

    /// A worker's life.
    fn work(&self) {
        let mut done = 0;
        while let Some(state) = self.wait(done) {
            let joined = self
                .state
                .compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if joined.is_err() {
                continue;
            }
            done = state / NEXT;
            // SAFETY: having joined while the work was open, this thread is waited for before the job changes or ends.
            let (task, count) = unsafe {
                let job = &*self.job.get();
                (&*job.task, job.count)
            };
            if catch_unwind(AssertUnwindSafe(|| self.take(task, count))).is_err() {
                self.panicked.store(true, Ordering::Release);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The state of work that is open and not `done`; `None` when there will be no more.
    fn wait(&self, done: u64) -> Option<u64> {
        let news = || {
            let state = self.state.load(Ordering::SeqCst);
            (state & OPEN != 0 && state / NEXT != done).then_some(state)
        };
        loop {
            for _ in 0..LOOKS {
                if let Some(state) = news() {
                    return Some(state);
                }
                spin_loop();
            }
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            // Work that came before the count went up sends no signal; work that comes after it does.
            if news().is_none() && !self.stopped.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
            if self.stopped.load(Ordering::SeqCst) {
                return None;
            }
        }
    }
}
