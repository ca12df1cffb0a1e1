//! A small seeded random number generator, so that a comparison can be repeated
//! with the same result.

/// Random number generator `SplitMix64` (Steele, Lea, Flood 2014): passes
/// `BigCrush`, and any seed will do.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Creates a generator that gives the same numbers for the same seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number evenly from 0 to 1, neither included.
    pub(crate) fn next_unit_f64(&mut self) -> f64 {
        // 52 bits and a half: exact in a double, and never 0.
        let bits = u32::try_from(self.next_u64() >> 38).unwrap_or(0);
        let more = u32::try_from(self.next_u64() >> 38).unwrap_or(0);
        (f64::from(bits) + (f64::from(more) + 0.5) / 67_108_864.0) / 67_108_864.0
    }

    /// Draws one of `0..count` evenly.
    pub fn next_below(&mut self, count: usize) -> usize {
        // Lemire's multiplication; its bias is below count / 2^64.
        let product = u128::from(self.next_u64()) * (count as u128);
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// Shuffles `items`, each order as likely as any other (Fisher and Yates,
    /// by Durstenfeld).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.next_below(end + 1));
        }
    }

    /// Draws from the standard normal distribution, by Marsaglia's polar
    /// method.
    pub fn next_normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.next_unit_f64() - 1.0, 2.0 * self.next_unit_f64() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// Draws the waiting time for `shape` events at rate 1 (Marsaglia and Tsang
    /// 2000); `shape` is at least 1.
    pub(crate) fn next_gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.next_normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.next_unit_f64().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Draws the waiting time for one event at rate 1.
    pub(crate) fn next_exponential(&mut self) -> f64 {
        -self.next_unit_f64().ln()
    }
}
