//! How the next token is chosen: one place for every engine, on its raw logits.
//!
//! In order: logit bias; penalties; then, at temperature 0, the likeliest token; else temperature, top-k, top-p, min-p,
//! and a draw. That is the order of Hugging Face's and vLLM's warpers. The repetition penalty looks at the prompt and the
//! answer (Keskar et al. 2019, <https://arxiv.org/abs/1909.05858>), frequency and presence at the answer alone (as
//! OpenAI's API defines them). Ties go to the lower token, so a seed decides everything.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0: the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest tokens; 0: all.
    pub top_k: usize,
    /// Only the likeliest tokens whose probabilities reach this sum.
    pub top_p: f32,
    /// Only tokens at least this share as likely as the likeliest.
    pub min_p: f32,
    /// Divides the logits of tokens that occurred.
    pub repetition_penalty: f32,
    /// Subtracted for each occurrence in the answer.
    pub frequency_penalty: f32,
    /// Subtracted once for tokens in the answer.
    pub presence_penalty: f32,
    /// Decides the draws; `None`: a random one.
    pub seed: Option<u64>,
    /// Added to logits, by token.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Sampling {
    /// Greedy, nothing added.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
            logit_bias: Vec::new(),
        }
    }
}

/// The model gave no scores to choose from: its weights are damaged, or nothing is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's scores are no numbers; its file may be damaged")]
pub struct NoScores;

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The token.
    pub token: u32,
    /// At most 0.
    pub logprob: f32,
}

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: StdRng,
    /// Tokens of the prompt and the answer.
    occurred: HashSet<u32>,
    /// How often tokens occur in the answer.
    answered: HashMap<u32, u32>,
}

impl Sampler {
    /// A sampler for the answer to `prompt`.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let rng = sampling.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        let penalised = sampling.repetition_penalty != 1.0;
        let occurred = if penalised {
            prompt.iter().copied().collect()
        } else {
            HashSet::new()
        };
        Self {
            sampling,
            rng,
            occurred,
            answered: HashMap::new(),
        }
    }

    /// Chooses the next token; what becomes of it is for [`Sampler::note`]. `logits`, one for each token, are changed on the way.
    ///
    /// # Errors
    /// [`NoScores`].
    pub fn choose(&mut self, logits: &mut [f32]) -> Result<u32, NoScores> {
        self.adjust(logits);
        let best = likeliest(logits)?;
        let token = if self.sampling.temperature == 0.0 {
            best
        } else {
            self.draw(logits, logits[best as usize])
        };
        Ok(token)
    }

    /// Remembers a token of the answer.
    pub fn note(&mut self, token: u32) {
        if self.sampling.repetition_penalty != 1.0 {
            self.occurred.insert(token);
        }
        *self.answered.entry(token).or_default() += 1;
    }

    /// Applies bias and penalties.
    fn adjust(&self, logits: &mut [f32]) {
        let Sampling {
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            ..
        } = self.sampling;
        for &(token, bias) in &self.sampling.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        for &token in &self.occurred {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 {
                    *logit / repetition_penalty
                } else {
                    *logit * repetition_penalty
                };
            }
        }
        if frequency_penalty != 0.0 || presence_penalty != 0.0 {
            for (&token, &count) in &self.answered {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit -= frequency_penalty * count as f32 + presence_penalty;
                }
            }
        }
    }

    /// Draws from the distribution that temperature, top-k, top-p and min-p leave.
    fn draw(&mut self, logits: &[f32], best: f32) -> u32 {
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let weight = |logit: f32| f64::from((logit - best) / temperature).exp();
        let limited = top_k > 0 && top_k < logits.len();
        let mut kept: Vec<(u32, f64)>;
        if limited {
            kept = weighted(&largest(logits, top_k), weight);
        } else if top_p < 1.0 {
            // The nucleus is mostly small: look at a few, then at more, rather than sort a whole vocabulary.
            let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
            let mut count = 256.min(logits.len());
            loop {
                kept = weighted(&largest(logits, count), weight);
                let reached: f64 = kept.iter().map(|(_, weight)| weight).sum();
                if reached >= f64::from(top_p) * total || count == logits.len() {
                    break;
                }
                count = (count * 8).min(logits.len());
            }
            nucleus(&mut kept, f64::from(top_p) * total);
        } else {
            kept = (0..)
                .zip(logits)
                .map(|(token, &logit)| (token, weight(logit)))
                .collect();
        }
        if limited && top_p < 1.0 {
            let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
            nucleus(&mut kept, f64::from(top_p) * total);
        }
        // The likeliest token weighs 1, so it always stays.
        kept.retain(|&(_, weight)| weight >= f64::from(min_p));
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.random::<f64>() * total;
        for &(token, weight) in &kept {
            left -= weight;
            if left < 0.0 {
                return token;
            }
        }
        // Rounding can leave a crumb; it belongs to the last token that can be drawn at all.
        kept.iter()
            .rev()
            .find(|(_, weight)| *weight > 0.0)
            .map_or(0, |&(token, _)| token)
    }
}

/// Keeps the first tokens whose weights reach `sum`, at least one. `kept` is sorted, heaviest first.
fn nucleus(kept: &mut Vec<(u32, f64)>, sum: f64) {
    let mut reached = 0.0;
    let count = kept.iter().take_while(|(_, weight)| {
        let wanted = reached < sum;
        reached += weight;
        wanted
    });
    let count = count.count().max(1);
    kept.truncate(count);
}

fn weighted(tokens: &[(u32, f32)], weight: impl Fn(f32) -> f64) -> Vec<(u32, f64)> {
    tokens.iter().map(|&(token, logit)| (token, weight(logit))).collect()
}

/// The token with the largest logit, the lowest of several.
fn likeliest(logits: &[f32]) -> Result<u32, NoScores> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0..).zip(logits) {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(NoScores);
        }
        if best.is_none_or(|(_, largest)| logit > largest) {
            best = Some((token, logit));
        }
    }
    best.filter(|(_, logit)| logit.is_finite())
        .map(|(token, _)| token)
        .ok_or(NoScores)
}

/// The `count` largest logits with their tokens, largest first; of equal ones the lower token first.
fn largest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(2 * count + 1);
    let mut least = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        // An equal logit of a later token is never among the first `count` once they are full.
        if top.len() >= count && logit <= least {
            continue;
        }
        top.push((token, logit));
        if top.len() > 2 * count {
            top.select_nth_unstable_by(count - 1, order);
            top.truncate(count);
            least = top[count - 1].1;
        }
    }
    top.sort_unstable_by(order);
    top.truncate(count);
    top
}

/// Log-probabilities of the model itself, before bias, penalties and temperature: of `token`, and of the `count`
/// likeliest tokens.
pub fn logprobs(logits: &[f32], token: u32, count: usize) -> (f32, Vec<Scored>) {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - best).exp()).sum();
    let log_sum = f64::from(best) + sum.ln();
    let logprob = |logit: f32| ((f64::from(logit) - log_sum) as f32).min(0.0);
    let alternatives = if count == 0 {
        Vec::new()
    } else {
        largest(logits, count.min(logits.len()))
    };
    let alternatives = alternatives.into_iter().map(|(token, logit)| Scored {
        token,
        logprob: logprob(logit),
    });
    (
        logits
            .get(token as usize)
            .map_or(f32::NEG_INFINITY, |&logit| logprob(logit)),
        alternatives.collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(sampling: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling.clone(), &[]);
        let mut choose = || {
            let token = sampler.choose(&mut logits.to_vec()).unwrap();
            sampler.note(token);
            token
        };
        (0..count).map(|_| choose()).collect()
    }

    fn at(temperature: f32) -> Sampling {
        Sampling {
            temperature,
            seed: Some(7),
            ..Sampling::default()
        }
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_the_lowest_of_equals() {
        assert_eq!(drawn(&at(0.0), &[0.5, 2.0, 2.0, -1.0], 3), [1, 1, 1]);
    }

    #[test]
    fn a_seed_decides_everything() {
        let logits: Vec<f32> = (0..500).map(|i| ((i * 37) % 101) as f32 / 25.0).collect();
        let sampling = Sampling { top_p: 0.9, ..at(1.0) };
        assert_eq!(drawn(&sampling, &logits, 50), drawn(&sampling, &logits, 50));
        let other = Sampling {
            seed: Some(8),
            ..sampling.clone()
        };
        assert_ne!(drawn(&sampling, &logits, 50), drawn(&other, &logits, 50));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 1.0_f32.exp().ln(), 3.0_f32.ln()];
        let counts = drawn(&at(1.0), &logits, 20_000)
            .into_iter()
            .fold([0_u32; 3], |mut counts, token| {
                counts[token as usize] += 1;
                counts
            });
        let sum = 1.0 + 1.0_f64.exp() + 3.0;
        for (count, weight) in counts.into_iter().zip([1.0, 1.0_f64.exp(), 3.0]) {
            assert!((f64::from(count) / 20_000.0 - weight / sum).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn the_filters_keep_what_they_say() {
        let logits = [4.0, 3.0, 2.0, 1.0, 0.0].map(|x: f32| x * 0.5);
        let kept = |sampling: &Sampling| {
            drawn(sampling, &logits, 3_000)
                .into_iter()
                .collect::<HashSet<u32>>()
                .len()
        };
        assert_eq!(kept(&at(2.0)), 5);
        assert_eq!(kept(&Sampling { top_k: 2, ..at(2.0) }), 2);
        // At temperature 1 the probabilities are 0.43, 0.26, 0.16, 0.10, 0.06.
        assert_eq!(kept(&Sampling { top_p: 0.6, ..at(1.0) }), 2);
        assert_eq!(kept(&Sampling { top_p: 0.4, ..at(1.0) }), 1);
        assert_eq!(
            kept(&Sampling {
                top_k: 3,
                top_p: 0.6,
                ..at(1.0)
            }),
            2
        );
        assert_eq!(kept(&Sampling { min_p: 0.3, ..at(1.0) }), 3);
    }

    #[test]
    fn penalties_and_bias_change_the_choice() {
        let logits = [2.0, 1.9, -5.0];
        let repeated = Sampling {
            repetition_penalty: 1.5,
            ..at(0.0)
        };
        assert_eq!(drawn(&repeated, &logits, 3), [0, 1, 0]);
        let mut prompted = Sampler::new(repeated, &[0]);
        assert_eq!(prompted.choose(&mut logits.to_vec()), Ok(1));
        assert_eq!(
            drawn(
                &Sampling {
                    frequency_penalty: 0.06,
                    ..at(0.0)
                },
                &logits,
                4
            ),
            [0, 0, 1, 0]
        );
        assert_eq!(
            drawn(
                &Sampling {
                    presence_penalty: 0.2,
                    ..at(0.0)
                },
                &logits,
                3
            ),
            [0, 1, 0]
        );
        assert_eq!(
            drawn(
                &Sampling {
                    logit_bias: vec![(2, 10.0), (9, 1.0)],
                    ..at(0.0)
                },
                &logits,
                1
            ),
            [2]
        );
    }

    #[test]
    fn scores_that_are_no_numbers_are_an_error() {
        let mut sampler = Sampler::new(at(0.0), &[]);
        assert_eq!(sampler.choose(&mut [0.0, f32::NAN]), Err(NoScores));
        assert_eq!(sampler.choose(&mut [f32::NEG_INFINITY; 2]), Err(NoScores));
        assert_eq!(sampler.choose(&mut []), Err(NoScores));
    }

    #[test]
    fn logprobs_sum_to_one() {
        let logits = [1.0, 2.0, 3.0];
        let (chosen, all) = logprobs(&logits, 0, 5);
        assert_eq!(all.iter().map(|scored| scored.token).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(all[2].logprob, chosen);
        let sum: f32 = all.iter().map(|scored| scored.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn the_largest_are_what_sorting_gives(logits in proptest::collection::vec(-3_i8..3, 1..80), count in 1_usize..20) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let count = count.min(logits.len());
            let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            sorted.truncate(count);
            prop_assert_eq!(largest(&logits, count), sorted);
        }
    }
}
