//! Usage that looks measured, from a seed.

/// A generator of pseudo-random numbers: Steele, Lea and Flood,
/// "Fast Splittable Pseudorandom Number Generators" (2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What one invocation used.
pub struct Row {
    pub start: u64,
    pub run: u64,
    pub cpu: u64,
    pub memory: u64,
    pub peak: u64,
    pub cycles: u64,
    pub ref_cycles: u64,
}

const SIZES_MIB: [u64; 6] = [128, 256, 512, 1024, 1769, 2048];

impl Row {
    /// Runs from 50 us to 3 s, as many of each order of magnitude; a tenth are
    /// cold starts.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "nanoseconds and bytes of a positive size"
    )]
    pub fn random(random: &mut Random) -> Self {
        let start = if random.below(10) == 0 { random.below(5_000_000) } else { 0 };
        let (shortest, longest) = (50e3_f64.ln(), 3e9_f64.ln());
        let run = (shortest + (longest - shortest) * random.share()).exp() as u64;
        let cpu = (run as f64 * random.share()) as u64;
        let memory = SIZES_MIB[random.below(6) as usize] << 20;
        let peak = (memory as f64 * random.share()) as u64;
        let cycles = (cpu as f64 * (2.2 + 0.2 * random.share())) as u64;
        let ref_cycles = (cpu as f64 * 2.3) as u64;
        Self { start, run, cpu, memory, peak, cycles, ref_cycles }
    }
}
