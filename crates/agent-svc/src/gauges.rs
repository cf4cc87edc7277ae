//! The figures of this service, kept in step with the status page: totals, and what runs right now. A turn or stream that
//! outlived its owner would show here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use solo_service::StatusBoard;

/// The figures; clones share them.
#[derive(Clone)]
pub struct Gauges(Arc<Inner>);

struct Inner {
    status: StatusBoard,
    values: [AtomicI64; FIGURES.len()],
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Dialogues in the database.
    Dialogues,
    /// Turns in the database.
    Turns,
    /// Converse streams that are open.
    Streams,
    /// Turns that run.
    Running,
    /// Prepared replies that were adopted, since the start.
    Adopted,
    /// Prepared replies that were thrown away, since the start.
    Wasted,
}

/// Name and UCUM unit of each figure, in the order of [`Figure`].
const FIGURES: [(&str, &str); 6] = [
    ("dialogues", "{dialogue}"),
    ("turns", "{turn}"),
    ("open_streams", "{stream}"),
    ("running_turns", "{turn}"),
    ("drafts_adopted", "{draft}"),
    ("drafts_wasted", "{draft}"),
];

impl Gauges {
    /// All zero.
    pub fn new(status: StatusBoard) -> Self {
        let gauges = Self(Arc::new(Inner {
            status,
            values: Default::default(),
        }));
        for figure in [Figure::Streams, Figure::Running, Figure::Adopted, Figure::Wasted] {
            gauges.add(figure, 0);
        }
        gauges
    }

    /// Sets the totals as the database has them.
    pub fn set_totals(&self, (dialogues, turns): (i64, i64)) {
        for (figure, value) in [(Figure::Dialogues, dialogues), (Figure::Turns, turns)] {
            self.0.values[figure as usize].store(value, Ordering::Relaxed);
            self.add(figure, 0);
        }
    }

    /// Adds to a figure.
    pub fn add(&self, figure: Figure, difference: i64) {
        let value = self.0.values[figure as usize].fetch_add(difference, Ordering::Relaxed) + difference;
        let (name, unit) = FIGURES[figure as usize];
        self.0.status.gauge(name, unit, value as f64);
    }

    /// Counts one while the guard lives.
    pub fn enter(&self, figure: Figure) -> Inside {
        self.add(figure, 1);
        Inside(self.clone(), figure)
    }
}

/// Counts one until it is dropped.
pub struct Inside(Gauges, Figure);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.add(self.1, -1);
    }
}
