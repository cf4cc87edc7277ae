//! Pauses: when one is foreseen, begins, is judged, and is over.

use super::{Output, Pause, Session, Step};
use crate::turn_end;

impl Session {
    /// Says when somebody pauses and when they go on, and has words and end ready in case they do not.
    pub(super) fn pause(&mut self, first: u64, end: u64, steps: &mut Vec<Step>) {
        let Some(settings) = self.pausing else { return };
        let heard = self.heard();
        let Some(voiced_end) = self.endpointer.voiced_end() else {
            (self.judge_at, self.foreseen) = (None, false);
            return;
        };
        let silence = end - voiced_end;
        if silence == 0 {
            if self.judge_at.take().is_some() {
                steps.push(Step::Say(Output::VoiceResumed { sample: first, heard }));
            } else if std::mem::take(&mut self.foreseen) {
                steps.push(Step::Forget);
            }
            return;
        }
        let Some(turn) = &self.turn else { return };
        let begins = self.judge_at.is_none();
        if silence < self.judge_at.unwrap_or(settings.candidate) {
            // Most such moments pass. Who wants no partial words keeps the engine free until there is a reason.
            if begins && self.partial_interval.is_some() {
                steps.push(Step::Foresee(self.utterance(turn, voiced_end)));
                self.foreseen = true;
            }
            return;
        }
        self.foreseen = false;
        self.judge_at = Some(settings.judge_every.map_or(u64::MAX, |every| silence + every));
        if begins {
            let sample = voiced_end - 1;
            steps.push(Step::Say(Output::VoicePaused { sample, heard }));
            steps.push(Step::Rehearse(self.utterance(turn, voiced_end)));
        }
        if settings.judge_every.is_some() {
            let from = turn
                .open
                .unwrap_or(voiced_end)
                .max(heard.saturating_sub(turn_end::SAMPLES as u64));
            let samples = self.audio.range(from, heard);
            steps.push(Step::Judge(Pause {
                samples,
                silence,
                heard,
            }));
        }
    }
}
