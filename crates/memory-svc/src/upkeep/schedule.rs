//! What upkeep does when, and how long it waits where other processes are in the way: times and outcomes in, times out.

use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::retention;
use crate::store::StoreError;

/// Wait where other processes of a shared store were in the way, at first; up to twice as long, by chance.
pub(super) const LATER: Duration = Duration::from_secs(5);
/// And later on, again up to twice as long.
const LATEST: Duration = Duration::from_secs(150);

/// Time after a write until what was written is in the indexes by words: more comes together, and nobody waits for it.
const WORDS_AFTER: Duration = Duration::from_secs(2);
/// Time that indexing words leaves to other work, in multiples of what it took.
const REST: u32 = 4;

/// When what is due.
pub(super) struct Schedule {
    /// How long states stay, and a moment longer, so that the one before a compaction is old enough.
    retained: Duration,
    /// At once.
    pub(super) index_due: bool,
    pub(super) prune_at: Option<Instant>,
    pub(super) expire_at: Option<Instant>,
    pub(super) words_at: Option<Instant>,
    /// Indexing words rests until then.
    rested_at: Instant,
    /// When files were last replaced by others.
    replaced_at: Option<Instant>,
}

impl Schedule {
    /// Of a start at `now`. What the last process left is removed soon afterwards.
    pub(super) fn new(retain: Duration, now: Instant) -> Self {
        Self {
            retained: retain + Duration::from_millis(100),
            index_due: false,
            prune_at: Some(now + retain),
            expire_at: None,
            // What the last process left is indexed as well.
            words_at: Some(now + WORDS_AFTER),
            rested_at: now,
            replaced_at: None,
        }
    }

    /// Notes that something was written at `now`.
    pub(super) fn written(&mut self, now: Instant) {
        self.words_at = self.words_at.or(Some(self.rested_at.max(now + WORDS_AFTER)));
    }

    /// Notes what came of work that lasted from `begun` to `ended`. `done`: whether files were replaced.
    pub(super) fn note(&mut self, work: Work, done: &Result<bool, StoreError>, begun: Instant, ended: Instant) {
        match (work, done) {
            (Work::Compact, done) => {
                // Where others were in the way of one table the rest were joined. It does not come sooner for that: after a conflict
                // there is a wait, whatever is due.
                self.index_due |= matches!(done, Ok(_) | Err(StoreError::Busy));
                self.replaced(ended);
            }
            (Work::Index, done) => {
                self.index_due = done.is_err();
                self.replaced(ended);
            }
            (Work::Words, Ok(replaced)) => {
                self.words_at = None;
                self.rested_at = ended + (ended - begun) * REST;
                if *replaced {
                    self.replaced(ended);
                }
            }
            (Work::Words, Err(_)) => self.replaced(ended),
            // What was replaced since was not old enough.
            (Work::Prune, Ok(_)) => {
                let next = self.replaced_at.map(|at| at + self.retained);
                self.prune_at = next.filter(|at| *at > begun);
            }
            (Work::Prune, Err(_)) => {}
            (Work::Expire, _) => self.expire_at = Some(ended + retention::EVERY),
        }
    }

    /// Files were replaced, or some were begun, and it failed: pruning makes the room that may have been lacking. Not later than it
    /// was due, or a store that is always written to would never be pruned.
    fn replaced(&mut self, at: Instant) {
        self.replaced_at = Some(at);
        self.prune_at = self.prune_at.or(Some(at + self.retained));
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

    fn failed() -> Result<bool, StoreError> {
        Err(StoreError::Corrupt { problem: "x".into() })
    }

    #[test]
    fn a_store_that_is_always_written_to_is_pruned_too() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RETAIN, start);
        let due = schedule.prune_at.unwrap();
        for minute in 0..120 {
            let at = start + MINUTE * minute;
            schedule.note(Work::Compact, &Ok(true), at, at);
            assert_eq!(schedule.prune_at, Some(due));
        }
        let begun = start + MINUTE * 121;
        schedule.note(Work::Prune, &Ok(true), begun, begun);
        let last = start + MINUTE * 119;
        assert_eq!(
            schedule.prune_at,
            Some(last + schedule.retained),
            "the last one's files"
        );
        let begun = last + schedule.retained;
        schedule.note(Work::Prune, &Ok(true), begun, begun);
        assert_eq!(schedule.prune_at, None, "nothing is left to remove");
        schedule.note(Work::Compact, &Ok(true), begun, begun + MINUTE);
        assert_eq!(schedule.prune_at, Some(begun + MINUTE + schedule.retained));
    }

    #[test]
    fn what_failed_is_due_again() {
        let now = Instant::now();
        let mut schedule = Schedule::new(RETAIN, now);
        let due = schedule.prune_at;
        schedule.note(Work::Prune, &failed(), now, now);
        assert_eq!(schedule.prune_at, due);
        schedule.note(Work::Prune, &Ok(true), now, now);
        schedule.note(Work::Compact, &Err(StoreError::Busy), now, now);
        assert!(
            schedule.prune_at.is_some() && schedule.index_due,
            "some tables may have been joined"
        );
        let mut schedule = Schedule::new(RETAIN, now);
        schedule.note(Work::Prune, &Ok(true), now, now);
        schedule.note(Work::Compact, &failed(), now, now);
        assert!(schedule.prune_at.is_some() && !schedule.index_due, "pruning makes room");
        schedule.note(Work::Compact, &Ok(true), now, now);
        assert!(schedule.index_due);
        schedule.note(Work::Index, &failed(), now, now);
        assert!(schedule.index_due);
        schedule.note(Work::Index, &Ok(true), now, now);
        assert!(!schedule.index_due);
        for done in [Ok(true), failed()] {
            schedule.note(Work::Expire, &done, now, now + MINUTE);
            assert_eq!(schedule.expire_at, Some(now + MINUTE + retention::EVERY));
        }
    }

    #[test]
    fn words_are_indexed_soon_after_a_write_and_never_most_of_the_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RETAIN, start);
        assert_eq!(
            schedule.words_at,
            Some(start + WORDS_AFTER),
            "what the last process left"
        );
        schedule.prune_at = None;
        schedule.note(Work::Words, &Ok(false), start, start + MINUTE);
        assert_eq!(schedule.words_at, None, "nothing was written since");
        assert_eq!(schedule.prune_at, None, "there was nothing to do");
        schedule.written(start + MINUTE);
        schedule.written(start + MINUTE * 2);
        assert_eq!(schedule.words_at, Some(start + MINUTE * 5));
        schedule.note(Work::Words, &failed(), start + MINUTE * 5, start + MINUTE * 6);
        assert_eq!(schedule.words_at, Some(start + MINUTE * 5), "it is due again");
        let due = Some(start + MINUTE * 6 + schedule.retained);
        assert_eq!(schedule.prune_at, due, "what was begun is in the way");
        schedule.note(Work::Words, &Ok(true), start + MINUTE * 7, start + MINUTE * 7);
        schedule.written(start + MINUTE * 8);
        assert_eq!(schedule.words_at, Some(start + MINUTE * 8 + WORDS_AFTER));
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
