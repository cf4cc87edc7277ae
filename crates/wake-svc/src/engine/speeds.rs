//! One stream, heard at several speeds.
//!
//! The keywords' models know grown-ups who speak at an easy pace. Slowed down, a child's or a high voice becomes such a voice,
//! and a very low one does when it is sped up: the vocal tract seems longer or shorter by as much (test-time speed
//! perturbation; Ko et al., "Audio Augmentation for Speech Recognition", Interspeech 2015, trains with the same factors). So a
//! detector listens at each speed, and the surest of them counts. `docs/adr/0018` has what it brings and costs.

use serde::Deserialize;
use solo_audio::{Resampler, SampleRate};

use super::{EngineError, KeywordDetector, KeywordEngine, KeywordModel, Rule, Score};

/// A speed in percent of the speaker's own, 50 to 200; written as a factor, 0.5 to 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Speed(u32);

impl Speed {
    /// As it was spoken.
    pub const SPOKEN: Self = Self(100);

    /// For the speeds that are known to be right.
    pub(super) const fn percent(percent: u32) -> Self {
        Self(percent)
    }

    /// What it does to a stream of speech: 16 kHz are taken for a multiple, and resampled.
    fn resampler(self) -> Resampler {
        let taken_for = SampleRate::new(SampleRate::SPEECH.hz() / 100 * self.0);
        let taken_for = taken_for.expect("half to twice 16 kHz is a rate for speech");
        Resampler::new(taken_for, SampleRate::SPEECH)
    }

    /// Samples of the speaker's that so many of the changed stream last.
    fn spoken(self, samples: u64) -> u64 {
        samples * u64::from(self.0) / 100
    }

    /// The other way round.
    fn changed(self, samples: u64) -> u64 {
        samples * 100 / u64::from(self.0)
    }
}

impl TryFrom<f64> for Speed {
    type Error = String;

    fn try_from(factor: f64) -> Result<Self, String> {
        if !(0.5..=2.0).contains(&factor) {
            return Err(format!("{factor}: a speed is a factor of 0.5 to 2.0"));
        }
        Ok(Self((factor * 100.0).round() as u32))
    }
}

/// Another engine, whose detectors hear each stream at several speeds.
pub(super) struct AtSpeeds<E> {
    pub(super) engine: E,
    /// At least one.
    pub(super) speeds: Vec<Speed>,
}

impl<E: KeywordEngine> KeywordEngine for AtSpeeds<E> {
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
        let mut ears = Vec::new();
        for speed in &self.speeds {
            ears.push(Ear::new(*speed, self.engine.open(rules)?));
        }
        Ok(Box::new(Ears {
            ears,
            scores: Vec::new(),
        }))
    }
}

/// A detector that hears the stream at a speed of its own.
struct Ear {
    speed: Speed,
    resampler: Resampler,
    detector: Box<dyn KeywordDetector>,
    /// A position of the stream, and the one of the changed stream that is the same moment.
    anchor: (u64, u64),
    /// Where the next samples begin if nothing is lost, in the stream and in the changed one.
    next: (u64, u64),
    /// The last score of each keyword.
    last: Vec<f32>,
}

impl Ear {
    fn new(speed: Speed, detector: Box<dyn KeywordDetector>) -> Self {
        Self {
            speed,
            resampler: speed.resampler(),
            last: vec![0.0; detector.keywords().len()],
            detector,
            anchor: (0, 0),
            next: (0, 0),
        }
    }

    /// Takes the samples and gives the scores, at positions of the stream.
    fn hear(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        if first_sample != self.next.0 {
            // What still waits in the resampler is from before the gap.
            self.resampler = self.speed.resampler();
            // Never less than one sample further, so that the detector learns of every gap.
            let lost = self.speed.changed(first_sample.saturating_sub(self.next.0)).max(1);
            self.anchor = (first_sample, self.next.1.saturating_add(lost));
            self.next.1 = self.anchor.1;
        }
        self.next.0 = first_sample.saturating_add(samples.len() as u64);
        let changed = self.resampler.push_i16(samples);
        let first_changed = self.next.1;
        self.next.1 = first_changed.saturating_add(changed.len() as u64);
        let (speed, anchor, end) = (self.speed, self.anchor, self.next.0);
        self.detector.process(first_changed, &changed, &mut |score| {
            let since = speed.spoken(score.end_sample.saturating_sub(anchor.1));
            // The last sample of a changed stream may stand for a part of one that has not come yet.
            let end_sample = anchor.0.saturating_add(since).min(end);
            emit(Score { end_sample, ..score });
        })
    }
}

/// The detectors of one stream. The first counts as it is and sets the pace: when it scores, the best of what all of them said
/// last is reported. Of the others, who are so many more chances to be wrong, each has to be as many times as sure as there
/// are detectors (Bonferroni): at a cut-off of 0.97 and three detectors, 0.99.
struct Ears {
    ears: Vec<Ear>,
    /// What they say of one piece: who says it, and what. Kept for its memory.
    scores: Vec<(usize, Score)>,
}

impl KeywordDetector for Ears {
    fn keywords(&self) -> &[KeywordModel] {
        self.ears[0].detector.keywords()
    }

    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        self.scores.clear();
        for (index, ear) in self.ears.iter_mut().enumerate() {
            let scores = &mut self.scores;
            ear.hear(first_sample, samples, &mut |score| scores.push((index, score)))?;
        }
        // At the same moment the first speaks last, so that it knows what the others say.
        self.scores
            .sort_by_key(|(ear, score)| (score.end_sample, std::cmp::Reverse(*ear)));
        let chances = self.ears.len() as f32;
        for (ear, score) in &self.scores {
            self.ears[*ear].last[score.keyword] = match ear {
                0 => score.probability,
                _ => 1.0 - chances * (1.0 - score.probability),
            };
            if *ear == 0 {
                let said = self.ears.iter().map(|ear| ear.last[score.keyword]);
                emit(Score {
                    probability: said.fold(0.0, f32::max),
                    ..*score
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Scores each block of 160 samples with its mean, in per mille, and its place.
    struct Mean {
        models: Vec<KeywordModel>,
        waiting: Vec<i16>,
        next: u64,
    }

    impl KeywordDetector for Mean {
        fn keywords(&self) -> &[KeywordModel] {
            &self.models
        }

        fn process(&mut self, first: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
            if first != self.next {
                self.waiting.clear();
            }
            self.next = first + samples.len() as u64;
            self.waiting.extend(samples);
            while self.waiting.len() >= 160 {
                let block: Vec<i16> = self.waiting.drain(..160).collect();
                let sum: f32 = block.iter().copied().map(f32::from).sum();
                emit(Score {
                    keyword: 0,
                    probability: sum / 160_000.0,
                    end_sample: self.next - self.waiting.len() as u64,
                });
            }
            Ok(())
        }
    }

    struct Means;

    impl KeywordEngine for Means {
        fn open(&mut self, _: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
            let model = KeywordModel {
                id: "a".into(),
                cutoff: 0.5,
                window: 160,
            };
            Ok(Box::new(Mean {
                models: vec![model],
                waiting: Vec::new(),
                next: 0,
            }))
        }
    }

    fn open(speeds: &[u32]) -> Box<dyn KeywordDetector> {
        let speeds = speeds.iter().copied().map(Speed::percent).collect();
        AtSpeeds { engine: Means, speeds }.open(&[]).unwrap()
    }

    fn scores(detector: &mut dyn KeywordDetector, first: u64, samples: &[i16]) -> Vec<Score> {
        let mut scores = Vec::new();
        for (index, piece) in samples.chunks(700).enumerate() {
            let first = first + index as u64 * 700;
            detector.process(first, piece, &mut |score| scores.push(score)).unwrap();
        }
        scores
    }

    /// Loud from 10,000 samples on, for as many.
    fn sound() -> Vec<i16> {
        [vec![0; 10_000], vec![800; 10_000], vec![0; 10_000]].concat()
    }

    #[test]
    fn at_the_speed_of_the_speaker_nothing_changes() {
        let alone = scores(&mut *Means.open(&[]).unwrap(), 0, &sound());
        assert_eq!(scores(&mut *open(&[100]), 0, &sound()), alone);
    }

    #[test]
    fn positions_are_those_of_the_stream_at_any_speed() {
        for speed in [50, 85, 110, 200] {
            let scores = scores(&mut *open(&[speed]), 0, &sound());
            let loud: Vec<u64> = scores
                .iter()
                .filter(|score| score.probability > 0.4)
                .map(|score| score.end_sample)
                .collect();
            // The blocks are whole ones of the changed stream: up to 320 samples of this one.
            for (at, wanted) in [(loud.first(), 10_000), (loud.last(), 20_000)] {
                let at = *at.unwrap();
                assert!(at.abs_diff(wanted) <= 320, "{speed} %: {at} is not about {wanted}");
            }
            assert!(scores.is_sorted_by_key(|score| score.end_sample));
        }
    }

    #[test]
    fn the_surest_counts_at_the_pace_of_the_first() {
        let alone = scores(&mut *open(&[100]), 0, &sound());
        let together = scores(&mut *open(&[100, 85, 110]), 0, &sound());
        assert_eq!(together.len(), alone.len());
        for (one, all) in alone.iter().zip(&together) {
            assert_eq!(one.end_sample, all.end_sample);
            assert!(all.probability >= one.probability);
        }
    }

    /// Gives detectors that are always as sure as this, one after another.
    struct Sure(VecDeque<f32>);

    struct AsSure {
        models: Vec<KeywordModel>,
        probability: f32,
    }

    impl KeywordDetector for AsSure {
        fn keywords(&self) -> &[KeywordModel] {
            &self.models
        }

        fn process(&mut self, first: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
            if !samples.is_empty() {
                emit(Score {
                    keyword: 0,
                    probability: self.probability,
                    end_sample: first + samples.len() as u64,
                });
            }
            Ok(())
        }
    }

    impl KeywordEngine for Sure {
        fn open(&mut self, _: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
            let models = Means.open(&[])?.keywords().to_vec();
            let probability = self.0.pop_front().unwrap();
            Ok(Box::new(AsSure { models, probability }))
        }
    }

    #[test]
    fn who_hears_at_another_speed_has_to_be_as_many_times_as_sure() {
        let surest = |detectors: &[f32]| {
            let engine = Sure(detectors.iter().copied().collect());
            let speeds = vec![Speed::SPOKEN; detectors.len()];
            let mut detector = AtSpeeds { engine, speeds }.open(&[]).unwrap();
            scores(&mut *detector, 0, &sound()).last().unwrap().probability
        };
        for (detectors, wanted) in [
            (&[0.97][..], 0.97),
            (&[0.97, 0.5], 0.97),
            (&[0.5, 0.97], 0.94),
            (&[0.5, 0.97, 0.99], 0.97),
            (&[0.0, 0.5, 0.5], 0.0),
        ] {
            let found = surest(detectors);
            assert!((found - wanted).abs() < 1e-4, "{detectors:?}: {found}");
        }
    }

    #[test]
    fn what_is_lost_moves_all_of_them() {
        let mut detector = open(&[100, 85]);
        scores(&mut *detector, 0, &vec![800; 5_000]);
        let after = scores(&mut *detector, 50_000, &sound());
        let loud = after.iter().rev().find(|score| score.probability > 0.4).unwrap();
        assert!(loud.end_sample.abs_diff(70_000) <= 320, "{}", loud.end_sample);
        assert!(after.iter().all(|score| score.end_sample > 50_000));
    }

    #[test]
    fn a_speed_is_a_factor() {
        assert_eq!(Speed::try_from(0.85), Ok(Speed(85)));
        assert_eq!(Speed::try_from(1.0), Ok(Speed::SPOKEN));
        for wrong in [0.0, 0.49, 2.01, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Speed::try_from(wrong).unwrap_err().contains("0.5 to 2.0"), "{wrong}");
        }
    }
}
