//! What a person sees while bytes move: one line that vanishes when it is done, and remarks above it.
//!
//! Where standard error is no terminal nothing moves; only the remarks are written.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

const BYTES: &str =
    "{prefix} {bar:24} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {eta:>4} {wide_msg:.dim}";

/// The line of one model.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A line named `prefix`, at 0 of `total` bytes.
    pub(super) fn new(prefix: &str, total: u64) -> Self {
        let bar = ProgressBar::new(total).with_prefix(prefix.to_owned());
        if let Ok(style) = ProgressStyle::with_template(BYTES) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Starts over: another `total`, and what is being done.
    pub(super) fn phase(&self, total: u64, doing: &str) {
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_message(doing.to_owned());
    }

    /// Says what is being done now.
    pub(super) fn doing(&self, doing: &str) {
        self.bar.set_message(doing.to_owned());
    }

    /// So many bytes are done.
    pub(super) fn set(&self, bytes: u64) {
        // A download may be larger than the manifest thinks; a bar beyond its end looks broken.
        self.bar.set_position(bytes.min(self.bar.length().unwrap_or(bytes)));
    }

    /// So many more bytes are done.
    pub(super) fn add(&self, bytes: u64) {
        self.set(self.bar.position().saturating_add(bytes));
    }

    /// Writes a line above the moving one.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| terminal::remark(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
