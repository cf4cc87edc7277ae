//! Numbers that look random and are the same everywhere and for ever, which no crate promises of its small generators.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly from 0.0 (included) to 1.0 (excluded).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Evenly from `low` to `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Evenly below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The remainder prefers small numbers by less than 2^-40 for any list that a test has.
        (self.bits() % limit as u64) as usize
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Normally distributed, mean 0, deviation 1: the sum of twelve even numbers (Irwin and Hall), which needs no logarithm
    /// and never leaves ±6.
    pub fn normal(&mut self) -> f32 {
        // Six numbers of 10 bits a draw.
        let mut sum = 0;
        for _ in 0..2 {
            let bits = self.bits();
            sum += (0..6).map(|i| (bits >> (10 * i)) & 1023).sum::<u64>();
        }
        (sum as f32 + 6.0) / 1024.0 - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The first numbers of the reference implementation for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn distributions_have_their_mean_and_deviation() {
        let mut random = Random::new(1);
        let count = 50_000;
        let (mut sum, mut square, mut even) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let x = f64::from(random.normal());
            sum += x;
            square += x * x;
            even += f64::from(random.unit());
        }
        let count = f64::from(count);
        assert!((sum / count).abs() < 0.02, "{}", sum / count);
        assert!((square / count - 1.0).abs() < 0.03, "{}", square / count);
        assert!((even / count - 0.5).abs() < 0.01, "{}", even / count);
        assert!((0..100).all(|_| random.below(3) < 3));
    }
}
