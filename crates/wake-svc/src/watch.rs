//! One stream of audio, watched: positions, thresholds, trigger counts, refractory time. Pure but for the detector that it drives.

use crate::WakeError;
use crate::engine::{EngineError, KeywordDetector, KeywordModel, Score};

/// Samples a millisecond at 16 kHz.
const SAMPLES_A_MS: u64 = 16;

/// What is wanted of one keyword.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Identifier.
    pub keyword: String,
    /// Probability from which it counts. `None`: the model's own cut-off.
    pub threshold: Option<f32>,
    /// Time after a detection in which the same keyword is not reported again.
    pub refractory_ms: u32,
    /// Scores at or above the threshold that it takes; a lower one between takes one back.
    pub trigger_count: u32,
}

/// A keyword was spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Wake {
    /// Identifier.
    pub keyword: String,
    /// Probability, 0.0 to 1.0.
    pub score: f32,
    /// About where it began.
    pub start_sample: u64,
    /// Where the detector became sure.
    pub end_sample: u64,
}

/// Watches one stream.
pub struct Watch {
    detector: Box<dyn KeywordDetector>,
    keywords: Vec<Watched>,
    /// First sample of the stream, once there was one.
    first: Option<u64>,
    /// Where the next chunk begins if nothing is lost.
    expected: u64,
}

struct Watched {
    model: KeywordModel,
    threshold: f32,
    refractory: u64,
    wanted: u32,
    /// Scores at or above the threshold, less those below it since.
    triggers: u32,
    /// Position before which it is not reported.
    quiet_until: u64,
}

impl Watch {
    /// Watches with a detector that was opened for the keywords of `rules`, in their order.
    pub fn new(detector: Box<dyn KeywordDetector>, rules: &[Rule]) -> Self {
        let watched = |(model, rule): (&KeywordModel, &Rule)| Watched {
            model: model.clone(),
            threshold: rule.threshold.unwrap_or(model.cutoff),
            refractory: u64::from(rule.refractory_ms) * SAMPLES_A_MS,
            wanted: rule.trigger_count,
            triggers: 0,
            quiet_until: 0,
        };
        let keywords = detector.keywords().iter().zip(rules).map(watched).collect();
        Self {
            detector,
            keywords,
            first: None,
            expected: 0,
        }
    }

    /// Takes the next samples, the first of which stands at `first_sample`, and gives what was heard in them.
    ///
    /// # Errors
    /// When the position goes back, or the model cannot be run.
    pub fn feed(&mut self, first_sample: u64, samples: &[i16]) -> Result<Vec<Wake>, WakeError> {
        let end = first_sample.checked_add(samples.len() as u64);
        let (Some(end), true) = (end, self.first.is_none() || first_sample >= self.expected) else {
            return Err(WakeError::Backwards {
                expected: self.expected,
                found: first_sample,
            });
        };
        let first = *self.first.get_or_insert(first_sample);
        self.expected = end;
        let mut wakes = Vec::new();
        let keywords = &mut self.keywords;
        let heard: Result<(), EngineError> = self.detector.process(first_sample, samples, &mut |score| {
            wakes.extend(keywords[score.keyword].judge(score, first));
        });
        heard?;
        Ok(wakes)
    }
}

impl Watched {
    fn judge(&mut self, score: Score, first: u64) -> Option<Wake> {
        if score.end_sample < self.quiet_until {
            return None;
        }
        // One low score among high ones is a hiccup, not the end of the phrase: it costs one, not all (the rule of Wyoming's
        // openWakeWord server).
        if score.probability < self.threshold {
            self.triggers = self.triggers.saturating_sub(1);
            return None;
        }
        self.triggers += 1;
        if self.triggers < self.wanted {
            return None;
        }
        self.triggers = 0;
        self.quiet_until = score.end_sample.saturating_add(self.refractory);
        Some(Wake {
            keyword: self.model.id.clone(),
            score: score.probability,
            start_sample: score.end_sample.saturating_sub(self.model.window).max(first),
            end_sample: score.end_sample,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores each block of 160 samples by its first sample, in per mille: the same for all keywords.
    struct Echo(Vec<KeywordModel>);

    impl KeywordDetector for Echo {
        fn keywords(&self) -> &[KeywordModel] {
            &self.0
        }

        fn process(&mut self, first: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
            for (block, samples) in samples.chunks(160).enumerate() {
                for keyword in 0..self.0.len() {
                    let probability = f32::from(samples[0]) / 1000.0;
                    emit(Score {
                        keyword,
                        probability,
                        end_sample: first + block as u64 * 160 + 160,
                    });
                }
            }
            Ok(())
        }
    }

    fn watch(rules: &[(&str, Option<f32>, u32)]) -> Watch {
        let model = |id: &str| KeywordModel {
            id: id.into(),
            cutoff: 0.9,
            window: 480,
        };
        let rules: Vec<_> = rules
            .iter()
            .map(|(id, threshold, ms)| Rule {
                keyword: (*id).into(),
                threshold: *threshold,
                refractory_ms: *ms,
                trigger_count: 1,
            })
            .collect();
        Watch::new(
            Box::new(Echo(rules.iter().map(|rule| model(&rule.keyword)).collect())),
            &rules,
        )
    }

    fn ends(wakes: &[Wake]) -> Vec<u64> {
        wakes.iter().map(|wake| wake.end_sample).collect()
    }

    #[test]
    fn a_keyword_counts_from_its_threshold() {
        let mut own = watch(&[("a", None, 0)]);
        assert!(own.feed(0, &[899; 160]).unwrap().is_empty());
        assert_eq!(own.feed(160, &[900; 160]).unwrap().len(), 1);
        let mut strict = watch(&[("a", Some(0.95), 0), ("b", Some(0.5), 0)]);
        let heard = strict.feed(0, &[940; 160]).unwrap();
        assert_eq!(
            heard.iter().map(|wake| wake.keyword.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn one_utterance_is_reported_once() {
        let mut watch = watch(&[("a", None, 20)]);
        // 20 ms are two blocks: of five above the threshold the first, third and fifth are 20 ms apart.
        assert_eq!(ends(&watch.feed(0, &[1000; 800]).unwrap()), [160, 480, 800]);
        assert!(watch.feed(800, &[1000; 160]).unwrap().is_empty());
        assert_eq!(ends(&watch.feed(960, &[1000; 160]).unwrap()), [1120]);
    }

    #[test]
    fn a_keyword_may_have_to_be_sure_several_times() {
        let blocks = |per_mille: &[i16]| -> Vec<i16> { per_mille.iter().flat_map(|score| [*score; 160]).collect() };
        let model = KeywordModel {
            id: "a".into(),
            cutoff: 0.9,
            window: 480,
        };
        let rule = Rule {
            keyword: "a".into(),
            threshold: None,
            refractory_ms: 20,
            trigger_count: 3,
        };
        let watch = || Watch::new(Box::new(Echo(vec![model.clone()])), std::slice::from_ref(&rule));
        let heard = |scores: &[i16]| ends(&watch().feed(0, &blocks(scores)).unwrap());
        assert_eq!(
            heard(&[950, 950, 0, 0, 950, 950]),
            [0u64; 0],
            "twice and twice is not three times"
        );
        assert_eq!(heard(&[950, 950, 0, 950, 950]), [800], "one low score takes one back");
        // After a detection it begins at nought, and what comes in the refractory time does not count.
        assert_eq!(heard(&[950; 9]), [480, 1_120]);
    }

    #[test]
    fn positions_are_those_of_the_stream() {
        let mut watch = watch(&[("a", None, 0)]);
        let early = watch.feed(5_000, &[1000; 160]).unwrap();
        assert_eq!(
            (early[0].start_sample, early[0].end_sample),
            (5_000, 5_160),
            "not before the stream began"
        );
        let gap = watch.feed(90_000, &[1000; 160]).unwrap();
        assert_eq!((gap[0].start_sample, gap[0].end_sample), (89_680, 90_160));
        let back = watch.feed(90_100, &[0; 160]);
        assert!(matches!(
            back,
            Err(WakeError::Backwards {
                expected: 90_160,
                found: 90_100
            })
        ));
        assert!(watch.feed(u64::MAX, &[0; 160]).is_err());
    }
}
