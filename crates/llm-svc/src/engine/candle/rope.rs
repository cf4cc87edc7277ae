//! The angles of rotary positions (Su et al. 2021, <https://arxiv.org/abs/2104.09864>), stretched as a file says: linearly,
//! by YaRN (Peng et al. 2023, <https://arxiv.org/abs/2309.00071>), or by factors of its own, as Llama 3.1 does.

use std::f64::consts::PI;

use super::{EngineError, unsupported};
use crate::gguf::Header;

/// How far each pair of numbers turns from one position to the next.
#[derive(Debug, Clone)]
pub(super) struct Rope {
    /// Radians per position, one for each pair.
    frequencies: Vec<f64>,
    /// What sines and cosines are multiplied by.
    magnitude: f64,
}

impl Rope {
    /// Rotations of `rotated` numbers that are not stretched.
    pub(super) fn plain(base: f64, rotated: usize) -> Self {
        let frequency = |pair: usize| base.powf(-2.0 * pair as f64 / rotated as f64);
        Self {
            frequencies: (0..rotated / 2).map(frequency).collect(),
            magnitude: 1.0,
        }
    }

    /// Rotations as a header says.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] names a way of stretching that is not known here.
    pub(super) fn of(
        header: &Header,
        architecture: &str,
        rotated: usize,
        factors: Option<Vec<f32>>,
    ) -> Result<Self, EngineError> {
        let float = |name: &str| header.float(&format!("{architecture}.{name}"));
        let base = float("rope.freq_base").unwrap_or(10_000.0);
        if !(base.is_finite() && base > 1.0) {
            return Err(unsupported(format!("rope.freq_base is {base}")));
        }
        let mut rope = Self::plain(base, rotated);
        for (frequency, factor) in rope.frequencies.iter_mut().zip(factors.iter().flatten()) {
            *frequency /= f64::from(*factor);
        }
        let stretch = float("rope.scaling.factor").filter(|factor| factor.is_finite() && *factor > 0.0);
        match (header.text(&format!("{architecture}.rope.scaling.type")), stretch) {
            (Some("none"), _) | (None | Some("linear" | "yarn"), None) => {}
            (None | Some("linear"), Some(stretch)) => {
                rope.frequencies.iter_mut().for_each(|frequency| *frequency /= stretch);
            }
            (Some("yarn"), Some(stretch)) => {
                if float("rope.scaling.yarn_log_multiplier").is_some_and(|factor| factor != 0.0) {
                    return Err(unsupported(
                        "YaRN with a log multiplier: use the llama-cpp engine for it",
                    ));
                }
                let trained = header.uint(&format!("{architecture}.rope.scaling.original_context_length"));
                let trained = trained.or_else(|| header.uint(&format!("{architecture}.context_length")));
                rope.yarn(base, rotated, stretch, trained.unwrap_or(0) as f64, float);
            }
            (Some(other), _) => {
                return Err(unsupported(format!(
                    "RoPE scaling `{other}`: use the llama-cpp engine for it"
                )));
            }
        }
        Ok(rope)
    }

    /// Slow pairs are stretched, fast ones are not, those between are mixed.
    fn yarn(&mut self, base: f64, rotated: usize, stretch: f64, trained: f64, float: impl Fn(&str) -> Option<f64>) {
        let number = |name: &str, default: f64| float(name).filter(|n| n.is_finite() && *n > 0.0).unwrap_or(default);
        let extrapolate = number("rope.scaling.yarn_ext_factor", 1.0);
        let turns = |turns: f64| rotated as f64 * (trained / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
        let low = turns(number("rope.scaling.yarn_beta_fast", 32.0)).floor().max(0.0);
        let high = turns(number("rope.scaling.yarn_beta_slow", 1.0))
            .ceil()
            .min(rotated as f64 - 1.0);
        for (pair, frequency) in self.frequencies.iter_mut().enumerate() {
            let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
            let kept = (1.0 - ramp) * extrapolate;
            *frequency = *frequency / stretch * (1.0 - kept) + *frequency * kept;
        }
        self.magnitude = number("rope.scaling.attn_factor", 1.0) * (1.0 + 0.1 * stretch.ln());
    }

    /// Pairs of numbers that rotate.
    pub(super) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Appends the cosines and sines of a position.
    pub(super) fn at(&self, position: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        for frequency in &self.frequencies {
            let (s, c) = (position as f64 * frequency).sin_cos();
            cos.push((c * self.magnitude) as f32);
            sin.push((s * self.magnitude) as f32);
        }
    }
}
