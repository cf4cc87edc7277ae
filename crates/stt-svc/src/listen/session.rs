//! What a live stream has heard, and what follows from the next sample. No clock, no engine, no waiting.
//!
//! An utterance is kept as stretches that the engine can take: it is cut at 28 s, where voice was least likely, and
//! where somebody paused for long without the turn being over. While nobody speaks only the pre-roll is kept.

mod audio;
mod pausing;

use solo_audio::Framer;

use super::{Input, Output, PauseSettings, Settings};
use crate::endpoint::{Endpointer, Event};
use crate::engine::MAX_WINDOW;
use crate::error::SttError;
use crate::gate::Reason;
use crate::vad::{FRAME, VoiceDetector};
use crate::windows::CutFinder;
use audio::Audio;

/// Silence kept after the last voiced sample, in samples: 200 ms.
const TAIL: u64 = 3_200;
/// A pause after which a stretch is closed although the turn is not over, in samples: 1.5 s.
const LONG_PAUSE: u64 = 24_000;
/// Lost audio is replaced by silence up to this length, in samples: 2 s.
const MAX_GAP: u64 = 32_000;
/// Room between the point where a stretch is cut and the longest that the engine takes.
const CUT_MARGIN: u64 = 8_000;

/// What follows from an input.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Say this.
    Say(Output),
    /// Decode this, then say what comes of it.
    Decode(Utterance),
    /// Nobody speaks since a moment, seldom for long: decode this if the engine has nothing else to do, unless it is being
    /// decoded already.
    Foresee(Utterance),
    /// Decode this, which may be all that is said, unless it is being decoded already.
    Rehearse(Utterance),
    /// Judge whether who pauses has finished.
    Judge(Pause),
    /// What was decoded ahead is void.
    Forget,
}

/// A pause that may be the end of a turn.
#[derive(Debug, PartialEq)]
pub(super) struct Pause {
    /// What was heard last, the pause included: mono samples at 16,000 Hz, at most as many as the model looks at.
    pub(super) samples: Vec<i16>,
    /// Samples since the last voiced one.
    pub(super) silence: u64,
    /// Samples heard so far.
    pub(super) heard: u64,
}

/// What somebody said, ready for the engine.
#[derive(Debug, PartialEq)]
pub(super) struct Utterance {
    /// Mono samples at 16,000 Hz, at most 28 s each.
    pub(super) stretches: Vec<Vec<i16>>,
    /// First sample, pre-roll included.
    pub(super) start_sample: u64,
    /// Last voiced sample.
    pub(super) end_sample: u64,
}

/// Names the stretch that grows, so that late partial transcripts can be told from timely ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Counts utterances.
    pub(super) utterance: u64,
    /// Counts stretches of the utterance.
    pub(super) stretch: usize,
}

/// An utterance that is not over.
struct Turn {
    start: u64,
    /// Sample after the last voiced one.
    voiced_end: u64,
    done: Vec<Vec<i16>>,
    /// Where the stretch that grows begins; `None` in a long pause.
    open: Option<u64>,
    next_partial: u64,
}

/// One live stream.
pub(super) struct Session {
    detector: VoiceDetector,
    framer: Framer<i16>,
    endpointer: Endpointer,
    cuts: CutFinder,
    /// What words are read from.
    audio: Audio,
    turn: Option<Turn>,
    /// No utterance begins before this sample: what is before it belongs to the last one.
    floor: u64,
    utterances: u64,
    begun: bool,
    auto_finalize: bool,
    partial_interval: Option<u64>,
    pausing: Option<PauseSettings>,
    /// Somebody pauses: the silence after which it is judged again, [`u64::MAX`] for never.
    judge_at: Option<u64>,
    /// Nobody speaks since a moment that is not called a pause yet.
    foreseen: bool,
    max_utterance: u64,
}

impl Session {
    pub(super) fn new(settings: &Settings, detector: VoiceDetector, max_utterance: u64) -> Self {
        Self {
            detector,
            framer: Framer::new(FRAME),
            endpointer: Endpointer::new(settings.endpoint),
            cuts: CutFinder::default(),
            audio: Audio::default(),
            turn: None,
            floor: 0,
            utterances: 0,
            begun: false,
            auto_finalize: settings.auto_finalize,
            partial_interval: settings.partial_interval,
            pausing: settings.pause,
            judge_at: None,
            foreseen: false,
            max_utterance,
        }
    }

    /// True when no utterance is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.turn.is_none()
    }

    /// True when nobody speaks since a moment that is not called a pause yet: words of it are nobody's business.
    pub(super) fn foresees(&self) -> bool {
        self.foreseen
    }

    /// The stretch that grows now.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            utterance: self.utterances,
            stretch: self.turn.as_ref().map_or(0, |turn| turn.done.len()),
        }
    }

    /// Takes an input.
    pub(super) fn take(&mut self, input: Input) -> Result<Vec<Step>, SttError> {
        let mut steps = Vec::new();
        match input {
            Input::Audio {
                first_sample,
                samples,
                words,
            } => self.hear(first_sample, &samples, words.as_deref(), &mut steps)?,
            Input::Playing(playing) => self.endpointer.set_playing(playing),
            Input::Finalize => {
                self.end_voice(&mut steps);
                if self.turn.is_none() {
                    let (start_sample, end_sample) = (self.floor, self.heard().max(self.floor + 1) - 1);
                    let reason = Reason::NoVoice;
                    steps.push(Step::Say(Output::Rejected {
                        reason,
                        text: String::new(),
                        start_sample,
                        end_sample,
                    }));
                    self.floor = self.heard();
                }
                self.finalize(&mut steps);
            }
            Input::Reset => {
                self.end_voice(&mut steps);
                self.turn = None;
                self.floor = self.heard();
                self.utterances += 1;
                steps.push(Step::Forget);
            }
        }
        Ok(steps)
    }

    /// The stream ends: with `auto_finalize`, so does the utterance.
    pub(super) fn close(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.end_voice(&mut steps);
        if self.auto_finalize {
            self.finalize(&mut steps);
        }
        steps
    }

    /// What to decode for a partial transcript, where one is due: the stretch so far, and the sample it reaches to.
    pub(super) fn partial_due(&mut self) -> Option<(Mark, u64, Vec<i16>)> {
        let (interval, heard, mark) = (self.partial_interval?, self.heard(), self.mark());
        let turn = self.turn.as_mut()?;
        // Not in the shortest pause: it may become a long one, and then the engine is wanted at once for all that was said.
        if !self.endpointer.speaking() || !self.endpointer.voiced() || heard < turn.next_partial {
            return None;
        }
        turn.next_partial = heard + interval;
        Some((mark, heard, self.audio.range(turn.open?, heard)))
    }

    fn heard(&self) -> u64 {
        self.framer.position()
    }

    fn hear(
        &mut self,
        first_sample: u64,
        samples: &[i16],
        words: Option<&[i16]>,
        steps: &mut Vec<Step>,
    ) -> Result<(), SttError> {
        if !self.begun {
            self.begun = true;
            self.framer.skip_to(first_sample);
            self.audio.start_at(first_sample);
            self.floor = first_sample;
        }
        let (expected, found) = (self.heard(), first_sample);
        let order = |problem| SttError::OutOfOrder {
            expected,
            found,
            problem,
        };
        let gap = found
            .checked_sub(expected)
            .ok_or_else(|| order("samples come in order, once each"))?;
        if gap > MAX_GAP {
            return Err(order("more than 2 s were lost; open a new stream"));
        }
        let lost = vec![0; gap as usize];
        self.append(&lost, &lost, steps)?;
        self.append(samples, words.unwrap_or(samples), steps)
    }

    fn append(&mut self, samples: &[i16], words: &[i16], steps: &mut Vec<Step>) -> Result<(), SttError> {
        self.audio.push(words);
        self.framer.push(samples);
        while let Some(frame) = self.framer.next_frame() {
            let probability = self.detector.probability(&frame.samples)?;
            self.frame(frame.first_sample, probability, steps);
        }
        self.forget();
        Ok(())
    }

    fn frame(&mut self, first: u64, probability: f32, steps: &mut Vec<Step>) {
        let end = first + FRAME as u64;
        self.cuts.push(first, probability);
        let heard = self.heard();
        match self.endpointer.push(first, FRAME as u64, probability) {
            Some(Event::Started { sample }) => {
                steps.push(Step::Say(Output::VoiceStarted { sample, heard }));
                self.voice_started(sample, end);
            }
            Some(Event::Ended { sample }) => {
                self.voice_ended(sample, heard, steps);
                if self.auto_finalize {
                    self.finalize(steps);
                }
            }
            None => {}
        }
        self.pause(first, end, steps);
        self.cut(end, steps);
    }

    /// What was said up to `voiced_end`, ready for the engine.
    fn utterance(&self, turn: &Turn, voiced_end: u64) -> Utterance {
        let mut stretches = turn.done.clone();
        if let Some(start) = turn.open {
            stretches.push(self.audio.range(start, (voiced_end + TAIL).min(self.heard())));
        }
        Utterance {
            stretches,
            start_sample: turn.start,
            end_sample: voiced_end - 1,
        }
    }

    fn voice_started(&mut self, sample: u64, end: u64) {
        let start = sample
            .saturating_sub(self.endpointer.settings().pre_roll)
            .max(self.floor)
            .max(self.audio.first);
        let next_partial = end + self.partial_interval.unwrap_or(0);
        match &mut self.turn {
            Some(turn) => {
                turn.open.get_or_insert(start);
                (turn.voiced_end, turn.next_partial) = (end, next_partial);
            }
            None => {
                self.utterances += 1;
                self.turn = Some(Turn {
                    start,
                    voiced_end: end,
                    done: Vec::new(),
                    open: Some(start),
                    next_partial,
                });
            }
        }
    }

    fn voice_ended(&mut self, sample: u64, heard: u64, steps: &mut Vec<Step>) {
        steps.push(Step::Say(Output::VoiceEnded { sample, heard }));
        if let Some(turn) = &mut self.turn {
            turn.voiced_end = sample + 1;
        }
    }

    fn end_voice(&mut self, steps: &mut Vec<Step>) {
        if let Some(Event::Ended { sample }) = self.endpointer.stop() {
            self.voice_ended(sample, self.heard(), steps);
        }
    }

    /// Cuts stretches that grow too long or that nobody speaks in, and utterances that never end.
    fn cut(&mut self, end: u64, steps: &mut Vec<Step>) {
        let speaking = self.endpointer.speaking();
        let Some(turn) = &mut self.turn else { return };
        if speaking {
            turn.voiced_end = end;
        }
        if end - turn.start >= self.max_utterance {
            self.finalize(steps);
            if speaking {
                self.voice_started(end, end);
            }
            return;
        }
        let Some(start) = turn.open else { return };
        if !speaking && end - turn.voiced_end >= LONG_PAUSE {
            turn.done.push(self.audio.range(start, turn.voiced_end + TAIL));
            (turn.open, self.floor) = (None, turn.voiced_end + TAIL);
        } else if end - start >= MAX_WINDOW - CUT_MARGIN
            && let Some(at) = self.cuts.cut()
        {
            let at = at.clamp(start + 1, end);
            turn.done.push(self.audio.range(start, at));
            (turn.open, self.floor) = (Some(at), at);
        }
    }

    /// Hands the utterance over, if there is one.
    fn finalize(&mut self, steps: &mut Vec<Step>) {
        let Some(turn) = self.turn.take() else { return };
        if turn.open.is_some() {
            self.floor = (turn.voiced_end + TAIL).min(self.heard());
        }
        self.utterances += 1;
        steps.push(Step::Decode(self.utterance(&turn, turn.voiced_end)));
    }

    /// Drops audio that no utterance can need any more.
    fn forget(&mut self) {
        let settings = self.endpointer.settings();
        let before_voice = settings.pre_roll + settings.min_speech + 4 * FRAME as u64;
        let recent = self.heard().saturating_sub(before_voice);
        self.audio
            .drop_before(self.turn.as_ref().and_then(|turn| turn.open).unwrap_or(recent));
    }
}

#[cfg(test)]
mod tests;
