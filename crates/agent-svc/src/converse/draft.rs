//! A reply that is prepared for what may be said: begun, shown, dropped, and found to fit what was said.

use std::time::{Duration, Instant};

use super::{End, Said, Session};
use crate::gauges::Figure;
use crate::reply::Preparation;
use crate::wishes;

/// A reply that was prepared longer ago tells an old time, and knows nothing that was stored since.
const DRAFT_STAYS_TRUE: Duration = Duration::from_secs(30);

/// A reply that is prepared for what may be said.
pub(super) struct Draft {
    /// Which draft of the stream it was, from 1.
    number: u32,
    pub(super) text: String,
    begun: Instant,
    pub(super) preparation: Preparation,
    /// Steps of the preparation that the client was shown.
    shown: usize,
}

impl Draft {
    /// True when it was prepared for these words, and lately.
    pub(super) fn answers(&self, text: &str) -> bool {
        same_words(&self.text, text) && self.begun.elapsed() < DRAFT_STAYS_TRUE
    }
}

impl Session {
    /// Prepares a reply to what may be said. The same words again change nothing; no words end it.
    pub(super) fn draft(&mut self, text: String) {
        if self.turn.is_some() {
            self.waiting = Some(text);
            return;
        }
        if self.draft.as_ref().is_some_and(|draft| draft.answers(&text)) {
            return;
        }
        self.drop_draft();
        if text.trim().is_empty() || self.check(&text).is_err() {
            // The commit will say what is wrong with it.
            return;
        }
        if wishes::wish(&text).is_some() && self.settings.recalls {
            // It is done when it was said, not when it may be said.
            return;
        }
        let preparation = self.prepare(&text, self.mind.config.max_tokens, self.deadline());
        self.draft = Some(Draft {
            number: self.drafts,
            text,
            begun: Instant::now(),
            preparation,
            shown: 0,
        });
    }

    /// Shows more of the draft, where that is wanted. One of which nothing will come is dropped, so that the same words
    /// begin a new one.
    pub(super) async fn look_at_draft(&mut self) -> Result<(), End> {
        let failure = self.draft.as_ref().and_then(|draft| draft.preparation.failure());
        if let Some(error) = failure {
            tracing::debug!(error = %solo_service::error::chain(error), "the draft failed");
            self.drop_draft();
        }
        let Some(draft) = self.draft.as_mut().filter(|_| self.settings.shows_drafts) else {
            return Ok(());
        };
        let (text, seen) = draft.preparation.text_from(draft.shown);
        draft.shown = seen;
        if text.is_empty() {
            return Ok(());
        }
        let draft = draft.number;
        self.tell("", Said::DraftText { draft, text }).await
    }

    pub(super) fn drop_draft(&mut self) {
        self.waiting = None;
        if self.draft.take().is_some() {
            self.mind.gauges.add(Figure::Wasted, 1);
        }
    }

    /// Prepares what was drafted while a turn ran.
    pub(super) fn draft_what_waits(&mut self) {
        if self.turn.is_none()
            && let Some(text) = self.waiting.take()
        {
            self.draft(text);
        }
    }
}

/// Works on the draft; never returns when there is none.
pub(super) async fn prepare(draft: &mut Option<Draft>) {
    match draft {
        Some(draft) => draft.preparation.advance().await,
        None => std::future::pending().await,
    }
}

/// True when two texts differ at most in white space.
fn same_words(left: &str, right: &str) -> bool {
    left.split_whitespace().eq(right.split_whitespace())
}
