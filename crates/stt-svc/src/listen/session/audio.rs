//! The newest samples of a stream, by their position in it.

use std::collections::VecDeque;

/// The samples that are kept.
#[derive(Default)]
pub(super) struct Audio {
    pub(super) first: u64,
    pub(super) samples: VecDeque<i16>,
}

impl Audio {
    pub(super) fn start_at(&mut self, first: u64) {
        self.first = first;
    }

    pub(super) fn push(&mut self, samples: &[i16]) {
        self.samples.extend(samples);
    }

    pub(super) fn drop_before(&mut self, position: u64) {
        let count = (position.saturating_sub(self.first) as usize).min(self.samples.len());
        self.samples.drain(..count);
        self.first += count as u64;
    }

    /// The samples from `start` to before `end`, as far as they are kept.
    pub(super) fn range(&self, start: u64, end: u64) -> Vec<i16> {
        let len = self.samples.len();
        let index = |position: u64| (position.saturating_sub(self.first) as usize).min(len);
        self.samples
            .range(index(start)..index(end.max(start)))
            .copied()
            .collect()
    }
}
