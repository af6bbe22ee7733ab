//! Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC'11), addressed by (seed, purpose, index).
//!
//! A stream depends on its address alone, never on what was drawn before elsewhere: scene `i` is the same
//! whichever thread makes it, and a resumed run draws what the uninterrupted one would have drawn.

/// A stream of random numbers; cheap to create, so make one per (purpose, index) and never share one.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    /// Block counter in word 0, the index in words 1 and 2, the purpose in word 3.
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Rng {
    /// The stream `index` for `purpose` (a short fixed name such as `"scene"`) under `seed`.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let hash = blake3::hash(purpose.as_bytes());
        let tag: [u8; 4] = hash.as_bytes()[..4].try_into().expect("a hash has 32 bytes");
        Rng {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, index as u32, (index >> 32) as u32, u32::from_le_bytes(tag)],
            block: [0; 4],
            used: 4,
        }
    }

    /// The key, and the counter of the next block of four words: what a kernel needs to draw the same numbers.
    pub fn address(&self) -> ([u32; 2], [u32; 4]) {
        (self.key, self.counter)
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].checked_add(1).expect("a stream holds 2^34 numbers");
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32() as u64;
        low | (self.next_u32() as u64) << 32
    }

    /// Uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n. Panics when `n` is 0.
    #[track_caller]
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "Rng::below(0)");
        // Lemire's multiply-shift with 64 bits: the bias is below 2^-40 for every n in use.
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }

    /// Standard normal (Box-Muller, cosine branch only: one number per call keeps streams simple).
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Fisher-Yates shuffle in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// An index drawn with probability proportional to `weights` (non-negative, not all zero).
    #[track_caller]
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let total: f64 = weights.iter().sum();
        assert!(total > 0.0, "Rng::weighted needs a positive weight");
        let mut left = self.uniform() * total;
        for (i, &w) in weights.iter().enumerate() {
            left -= w;
            if left < 0.0 {
                return i;
            }
        }
        weights.iter().rposition(|&w| w > 0.0).expect("a positive weight exists")
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = 0xD251_1F53u64 * counter[0] as u64;
        let p1 = 0xCD9E_8D57u64 * counter[2] as u64;
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key[0] = key[0].wrapping_add(0x9E37_79B9);
        key[1] = key[1].wrapping_add(0xBB67_AE85);
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_matches_the_published_vectors() {
        // Known-answer vectors of the Random123 distribution for philox4x32-10.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn streams_are_addressed_and_moments_are_right() {
        let draw = |seed, purpose, index| Rng::new(seed, purpose, index).next_u64();
        assert_eq!(draw(1, "scene", 7), draw(1, "scene", 7));
        assert_ne!(draw(1, "scene", 7), draw(1, "scene", 8));
        assert_ne!(draw(1, "scene", 7), draw(1, "noise", 7));
        let mut rng = Rng::new(3, "moments", 0);
        let n = 100_000;
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let x = rng.normal();
            sum += x;
            square += x * x;
        }
        assert!((sum / n as f64).abs() < 0.02 && (square / n as f64 - 1.0).abs() < 0.02);
    }
}
