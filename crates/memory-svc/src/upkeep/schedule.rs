//! What upkeep does when, and how long it waits where other processes are in the way: times and outcomes in, times out.

use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::retention;
use crate::store::StoreError;

/// Wait where other processes of a shared store were in the way, at first; up to twice as long, by chance.
const LATER: Duration = Duration::from_secs(5);
/// And later on, again up to twice as long.
const LATEST: Duration = Duration::from_secs(150);

/// When what is due.
pub(super) struct Schedule {
    /// How long states stay, and a moment longer, so that the one before a compaction is old enough.
    retained: Duration,
    /// At once.
    pub(super) index_due: bool,
    pub(super) prune_at: Option<Instant>,
    pub(super) expire_at: Option<Instant>,
    compacted_at: Option<Instant>,
}

impl Schedule {
    /// Of a start at `now`. What the last process left is removed soon afterwards.
    pub(super) fn new(retain: Duration, now: Instant) -> Self {
        Self {
            retained: retain + Duration::from_millis(100),
            index_due: false,
            prune_at: Some(now + retain),
            expire_at: None,
            compacted_at: None,
        }
    }

    /// Notes what came of work that lasted from `begun` to `ended`.
    pub(super) fn note(&mut self, work: Work, done: &Result<(), StoreError>, begun: Instant, ended: Instant) {
        match (work, done) {
            (Work::Compact, done) => {
                // Where others were in the way of one table the rest were joined. It does not come sooner for that: after a conflict
                // there is a wait, whatever is due.
                self.index_due |= matches!(done, Ok(()) | Err(StoreError::Busy));
                self.compacted_at = Some(ended);
                // After a failure too: pruning makes the room that joining files may have lacked. Not later than it was due, or
                // a store that is always written to would never be pruned.
                self.prune_at = self.prune_at.or(Some(ended + self.retained));
            }
            (Work::Index, done) => self.index_due = done.is_err(),
            // What was compacted since was not old enough.
            (Work::Prune, Ok(())) => {
                let next = self.compacted_at.map(|at| at + self.retained);
                self.prune_at = next.filter(|at| *at > begun);
            }
            (Work::Prune, Err(_)) => {}
            (Work::Expire, _) => self.expire_at = Some(ended + retention::EVERY),
        }
    }
}

/// Conflicts with other processes, one after another.
#[derive(Default)]
pub(super) struct Conflicts {
    wait: Duration,
    /// What was in conflict.
    works: Vec<Work>,
}

impl Conflicts {
    /// The wait after another one: twice as long as after the one before.
    pub(super) fn another(&mut self, work: Work) -> Duration {
        if !self.works.contains(&work) {
            self.works.push(work);
        }
        let before = self.wait;
        self.wait = (before * 2).clamp(LATER, LATEST);
        if before.is_zero() {
            tracing::debug!("another process is writing to the store: its upkeep waits");
        } else if before < LATEST && self.wait == LATEST {
            tracing::warn!(
                "other processes have been in the way of the store's upkeep again and again: it waits longer"
            );
        }
        self.wait
    }

    /// Work was done. Others are out of the way once all is that they were in the way of.
    pub(super) fn end(&mut self, work: Work) {
        self.works.retain(|other| *other != work);
        if self.works.is_empty() {
            self.wait = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETAIN: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn failed() -> Result<(), StoreError> {
        Err(StoreError::Corrupt { problem: "x".into() })
    }

    #[test]
    fn a_store_that_is_always_written_to_is_pruned_too() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RETAIN, start);
        let due = schedule.prune_at.unwrap();
        for minute in 0..120 {
            let at = start + MINUTE * minute;
            schedule.note(Work::Compact, &Ok(()), at, at);
            assert_eq!(schedule.prune_at, Some(due));
        }
        let begun = start + MINUTE * 121;
        schedule.note(Work::Prune, &Ok(()), begun, begun);
        let last = start + MINUTE * 119;
        assert_eq!(
            schedule.prune_at,
            Some(last + schedule.retained),
            "the last one's files"
        );
        let begun = last + schedule.retained;
        schedule.note(Work::Prune, &Ok(()), begun, begun);
        assert_eq!(schedule.prune_at, None, "nothing is left to remove");
        schedule.note(Work::Compact, &Ok(()), begun, begun + MINUTE);
        assert_eq!(schedule.prune_at, Some(begun + MINUTE + schedule.retained));
    }

    #[test]
    fn what_failed_is_due_again() {
        let now = Instant::now();
        let mut schedule = Schedule::new(RETAIN, now);
        let due = schedule.prune_at;
        schedule.note(Work::Prune, &failed(), now, now);
        assert_eq!(schedule.prune_at, due);
        schedule.note(Work::Prune, &Ok(()), now, now);
        schedule.note(Work::Compact, &Err(StoreError::Busy), now, now);
        assert!(
            schedule.prune_at.is_some() && schedule.index_due,
            "some tables may have been joined"
        );
        let mut schedule = Schedule::new(RETAIN, now);
        schedule.note(Work::Prune, &Ok(()), now, now);
        schedule.note(Work::Compact, &failed(), now, now);
        assert!(schedule.prune_at.is_some() && !schedule.index_due, "pruning makes room");
        schedule.note(Work::Compact, &Ok(()), now, now);
        assert!(schedule.index_due);
        schedule.note(Work::Index, &failed(), now, now);
        assert!(schedule.index_due);
        schedule.note(Work::Index, &Ok(()), now, now);
        assert!(!schedule.index_due);
        for done in [Ok(()), failed()] {
            schedule.note(Work::Expire, &done, now, now + MINUTE);
            assert_eq!(schedule.expire_at, Some(now + MINUTE + retention::EVERY));
        }
    }

    #[test]
    fn conflicts_are_waited_out_longer_and_longer() {
        let mut conflicts = Conflicts::default();
        let seconds = |conflicts: &mut Conflicts| conflicts.another(Work::Compact).as_secs();
        let waits: Vec<u64> = (0..8).map(|_| seconds(&mut conflicts)).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 150, 150, 150]);
        conflicts.end(Work::Expire);
        assert_eq!(seconds(&mut conflicts), 150, "that was in nobody's way");
        conflicts.end(Work::Compact);
        assert_eq!(seconds(&mut conflicts), 5);
    }
}
