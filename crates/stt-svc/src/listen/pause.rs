//! What is done while somebody pauses and may have finished: the words are written down already, and it is judged how
//! finished the pause sounds. Both are for nothing if somebody goes on; dropping them cancels them.

use std::future::Future;

use tokio::task::JoinHandle;

use super::session::Pause;
use super::{FinalJob, Output};
use crate::error::SttError;
use crate::turn_end::{TurnEndError, TurnModel};

/// The words of an utterance that may be over, decoded once: what a Final takes if nobody goes on.
#[derive(Default)]
pub(super) enum Rehearsal {
    /// Nobody pauses.
    #[default]
    None,
    /// The words are being written down.
    Running {
        /// Last voiced sample of the utterance.
        end_sample: u64,
        /// What will be said of it.
        job: FinalJob,
    },
    /// The words are there.
    Done {
        /// Last voiced sample of the utterance.
        end_sample: u64,
        /// What a Final will say.
        said: Box<Output>,
        /// Whether they were given as a candidate.
        told: bool,
    },
}

impl Rehearsal {
    /// Begins with an utterance, in place of the one before.
    pub(super) fn begin(
        &mut self,
        end_sample: u64,
        job: impl Future<Output = Result<Output, SttError>> + Send + 'static,
    ) {
        let job = Box::pin(job);
        *self = Self::Running { end_sample, job };
    }

    /// Whether the words of the utterance that ends here are there, or being written down.
    pub(super) fn covers(&self, end_sample: u64) -> bool {
        match self {
            Self::None => false,
            Self::Running { end_sample: end, .. } | Self::Done { end_sample: end, .. } => *end == end_sample,
        }
    }

    /// Whether words are being written down.
    pub(super) fn runs(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Somebody goes on: the words are void.
    pub(super) fn drop_words(&mut self) {
        *self = Self::None;
    }

    /// Waits for the words, and for somebody to pause for long enough (`pausing`) to be told of them; for ever where none
    /// are written down. What is not believed is no candidate. Cancel safe.
    pub(super) async fn next(&mut self, pausing: bool) -> Result<Option<Output>, SttError> {
        if let Self::Running { end_sample, job } = self {
            let (end_sample, said) = (*end_sample, job.await);
            // Should it have failed, nothing is left to wait for.
            *self = Self::None;
            *self = Self::Done {
                end_sample,
                said: Box::new(said?),
                told: false,
            };
        }
        match self {
            Self::Done { said, told, .. } if pausing && !*told => {
                *told = true;
                Ok(candidate(said))
            }
            _ => std::future::pending().await,
        }
    }

    /// Hands over what there is of the utterance that ends here; `None` where it has to be decoded.
    pub(super) fn take(&mut self, end_sample: u64) -> Option<FinalJob> {
        match std::mem::take(self) {
            Self::Running { end_sample: end, job } if end == end_sample => Some(job),
            Self::Done {
                end_sample: end, said, ..
            } if end == end_sample => Some(Box::pin(async { Ok(*said) })),
            _ => None,
        }
    }
}

/// The words of a Final that is not sure yet.
fn candidate(said: &Output) -> Option<Output> {
    match said {
        Output::Final {
            decoded,
            end_sample,
            spent,
            ..
        } => Some(Output::Candidate {
            decoded: decoded.clone(),
            end_sample: *end_sample,
            spent: *spent,
        }),
        _ => None,
    }
}

/// Asks the model how finished a pause sounds, one question at a time, off the streams' threads.
pub(super) struct Judge {
    model: Option<TurnModel>,
    asked: Option<Question>,
    /// This pause was judged.
    judged: bool,
    /// What is asked when the words are there.
    put_off: Option<Pause>,
}

struct Question {
    silence: u64,
    heard: u64,
    answer: JoinHandle<Result<f32, TurnEndError>>,
}

impl Judge {
    pub(super) fn new(model: Option<TurnModel>) -> Self {
        Self {
            model,
            asked: None,
            judged: false,
            put_off: None,
        }
    }

    /// Asks, unless an answer is still waited for: under load there are fewer answers, not later ones. While the words
    /// are being written down (`writing`) a pause is judged once: no turn ends before them, and they want the cores.
    pub(super) fn ask(&mut self, pause: Pause, writing: bool) {
        let Some(model) = &self.model else { return };
        if self.asked.is_some() {
            return;
        }
        if writing && self.judged {
            self.put_off = Some(pause);
            return;
        }
        (self.judged, self.put_off) = (true, None);
        let (model, samples) = (model.clone(), pause.samples);
        self.asked = Some(Question {
            silence: pause.silence,
            heard: pause.heard,
            answer: tokio::task::spawn_blocking(move || model.probability(&samples)),
        });
    }

    /// The words are there: asks what was put off until then.
    pub(super) fn ask_at_last(&mut self) {
        if let Some(pause) = self.put_off.take() {
            self.ask(pause, false);
        }
    }

    /// The pause is over: nobody wants the answer any more.
    pub(super) fn dismiss(&mut self) {
        (self.asked, self.judged, self.put_off) = (None, false, None);
    }

    /// Waits for an answer; for ever where nothing was asked. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Output>, SttError> {
        let Some(question) = &mut self.asked else {
            return std::future::pending().await;
        };
        let (silence, heard) = (question.silence, question.heard);
        let answer = (&mut question.answer).await;
        self.asked = None;
        let probability = answer.map_err(SttError::JudgeFailed)??;
        Ok(Some(Output::TurnEnd {
            probability,
            silence,
            heard,
        }))
    }
}
