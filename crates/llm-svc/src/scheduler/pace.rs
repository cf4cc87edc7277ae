//! How much one step takes on: learned from how long steps took.
//!
//! Two things differ from machine to machine and model to model. How many tokens of prompts fit the time that a step may
//! take: others wait for it, and so does a cancellation. And how many answers are best decoded together: on a processor
//! two at once can be slower in all than one after the other (a product with few rows reads the weights once for each),
//! while eight at once are twice as fast. Both are measured as work goes by.

use std::time::Duration;

/// Decisions after which the widest step is measured anew.
const LOOK_AGAIN: u64 = 256;
/// How much faster a narrower step must be, per token.
const MARGIN: f64 = 1.03;

/// How much one step takes on.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Most tokens of a step.
    most: usize,
    /// How long a step may take.
    target: Duration,
    /// Set where every prompt is to be cut in the same pieces.
    exact: Option<usize>,
    /// Seconds that a token takes in steps with prompts.
    prompt_token: Option<f64>,
    /// The same, as warming up saw it: what the first step goes by.
    expected: Option<f64>,
    /// Seconds that a step takes, by the number of answers decoded in it.
    widths: Vec<Option<f64>>,
    decisions: u64,
}

impl Pace {
    /// Tokens of prompts in a step, however slow it is.
    pub const LEAST: usize = 16;

    /// Steps of at most `most` tokens that take about `target`.
    pub fn adaptive(most: usize, target: Duration) -> Self {
        Self {
            most: most.max(1),
            target,
            exact: None,
            prompt_token: None,
            expected: None,
            widths: Vec::new(),
            decisions: 0,
        }
    }

    /// One sequence a step, its prompt in pieces that end at multiples of `piece`.
    pub fn exact(piece: usize) -> Self {
        Self {
            exact: Some(piece.max(1)),
            ..Self::adaptive(piece, Duration::ZERO)
        }
    }

    /// True when every prompt is cut in the same pieces.
    pub fn is_exact(&self) -> bool {
        self.exact.is_some()
    }

    /// The next piece of an exact prompt of which `start` tokens are computed and `pending` are not.
    pub fn piece(&self, start: usize, pending: usize) -> usize {
        let piece = self.exact.unwrap_or(self.most);
        pending.min(piece - start % piece)
    }

    /// Tokens that a step with prompts may have.
    pub fn tokens(&self) -> usize {
        let (seconds, most) = match (self.prompt_token, self.expected) {
            (Some(seconds), _) => (seconds, self.most),
            // No prompt has been seen yet: begin small, learn fast.
            (None, expected) => (expected.unwrap_or(0.0), self.most.min(4 * Self::LEAST)),
        };
        let affordable = self.target.as_secs_f64() / seconds.max(1e-9);
        // Kernels like whole tiles.
        let whole = affordable as usize / Self::LEAST * Self::LEAST;
        whole.clamp(Self::LEAST, most.max(Self::LEAST)).min(most)
    }

    /// Tokens of prompts in a step, however many answers are in it.
    pub fn least(&self) -> usize {
        Self::LEAST.min(self.most)
    }

    /// How many of `ready` answers are best decoded together.
    pub fn width(&mut self, ready: usize) -> usize {
        let ready = ready.min(self.most);
        if ready <= 1 || self.exact.is_some() {
            return ready.min(1);
        }
        self.decisions += 1;
        let seconds = |width: usize| self.widths.get(width).copied().flatten();
        let Some(widest) = seconds(ready).filter(|_| !self.decisions.is_multiple_of(LOOK_AGAIN)) else {
            return ready;
        };
        let rate = |width: usize| seconds(width).map(|seconds| width as f64 / seconds);
        let narrower = (1..ready).filter_map(|width| Some((width, rate(width)?)));
        match narrower.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((width, rate)) if rate > MARGIN * ready as f64 / widest => width,
            _ => ready,
        }
    }

    /// Notes how long a prompt's tokens took while warming up.
    pub fn expect(&mut self, tokens: usize, took: Duration) {
        self.expected = Some(took.as_secs_f64() / tokens.max(1) as f64);
    }

    /// Notes a step: the tokens of each of its sequences, and how long it took.
    pub fn learn(&mut self, counts: &[usize], took: Duration) {
        let seconds = took.as_secs_f64();
        let tokens: usize = counts.iter().sum();
        if tokens == 0 {
            return;
        }
        if counts.iter().all(|&count| count == 1) {
            if self.widths.len() <= tokens {
                self.widths.resize(tokens + 1, None);
            }
            self.widths[tokens] = Some(blend(self.widths[tokens], seconds));
        } else if tokens >= Self::LEAST {
            self.prompt_token = Some(blend(self.prompt_token, seconds / tokens as f64));
        }
    }
}

/// Follows quickly downwards and slowly upwards: whatever else the machine did makes steps longer, never shorter.
fn blend(known: Option<f64>, seen: f64) -> f64 {
    match known {
        None => seen,
        Some(known) if seen < known => 0.5 * known + 0.5 * seen,
        Some(known) => 0.9 * known + 0.1 * seen.min(4.0 * known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace() -> Pace {
        Pace::adaptive(512, 100 * MS)
    }

    #[test]
    fn prompts_take_as_many_tokens_as_fit_the_time() {
        let mut pace = pace();
        assert_eq!(pace.tokens(), 64);
        for _ in 0..20 {
            pace.learn(&[64], 200 * MS);
        }
        assert_eq!(pace.tokens(), 32);
        for _ in 0..20 {
            pace.learn(&[32], MS);
        }
        assert_eq!(pace.tokens(), 512);
        for _ in 0..50 {
            pace.learn(&[512], 60_000 * MS);
        }
        assert_eq!(pace.tokens(), 16, "never fewer");
    }

    #[test]
    fn warming_up_makes_the_first_step_smaller_and_never_larger() {
        let mut slow = pace();
        slow.expect(16, 80 * MS);
        assert_eq!(slow.tokens(), 16);
        let mut fast = pace();
        fast.expect(16, MS);
        assert_eq!(fast.tokens(), 64);
        fast.learn(&[64], MS);
        assert_eq!(fast.tokens(), 512);
    }

    #[test]
    fn two_answers_take_turns_where_that_is_faster() {
        let mut pace = pace();
        assert_eq!(pace.width(2), 2, "nothing is known: try");
        pace.learn(&[1], 16 * MS);
        pace.learn(&[1, 1], 38 * MS);
        assert_eq!(pace.width(2), 1);
        pace.learn(&[1; 8], 69 * MS);
        assert_eq!(pace.width(8), 8);
        assert_eq!(pace.width(9), 9, "not measured");
        pace.learn(&[1; 9], 200 * MS);
        assert_eq!(pace.width(9), 8);
    }

    #[test]
    fn a_verdict_is_looked_at_again() {
        let mut pace = pace();
        pace.learn(&[1], 16 * MS);
        pace.learn(&[1, 1], 38 * MS);
        let widths: Vec<usize> = (0..2 * LOOK_AGAIN).map(|_| pace.width(2)).collect();
        assert_eq!(widths.iter().filter(|&&width| width == 2).count(), 2);
    }

    #[test]
    fn exact_pieces_end_at_their_multiples() {
        let pace = Pace::exact(32);
        assert_eq!((pace.piece(0, 100), pace.piece(32, 68), pace.piece(96, 4)), (32, 32, 4));
        assert_eq!(pace.piece(40, 100), 24);
    }
}
