//! Ways to meter the same function, to find what metering itself costs.

use cyclometer_core::units::Nanos;

/// A way to meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// What it is compared within: the lane that people name.
    pub base: &'static str,
    /// Its own name.
    pub word: &'static str,
    /// The lane that runs it.
    pub lane: &'static str,
    /// Whether perf counts.
    pub counters: bool,
    /// Time between two samples of memory, and of the counters where they are on.
    pub every: Option<Nanos>,
}

/// The word of what all others are compared with: no counters, no samples.
pub const PLAIN: &str = "plain";

/// What metering there is, the plain one of each lane first. Samples are taken
/// with the counters on, as `record` takes them.
pub const METERINGS: [Metering; 12] = [
    Metering::of("native", PLAIN, "native", false, 0),
    Metering::of("native", "counters", "native", true, 0),
    Metering::of("native", "100ms", "native", true, 100),
    Metering::of("native", "10ms", "native", true, 10),
    Metering::of("native", "1ms", "native", true, 1),
    Metering::of("wasmtime", PLAIN, "wasmtime", false, 0),
    Metering::of("wasmtime", "counters", "wasmtime", true, 0),
    Metering::of("wasmtime", "100ms", "wasmtime", true, 100),
    Metering::of("wasmtime", "10ms", "wasmtime", true, 10),
    Metering::of("wasmtime", "1ms", "wasmtime", true, 1),
    Metering::of("wasmtime", "fuel", "wasmtime:fuel", false, 0),
    Metering::of("wasmtime", "epoch", "wasmtime:epoch", false, 0),
];

impl Metering {
    const fn of(
        base: &'static str,
        word: &'static str,
        lane: &'static str,
        counters: bool,
        millis: u64,
    ) -> Self {
        let every = if millis == 0 { None } else { Some(Nanos(millis * 1_000_000)) };
        Self { base, word, lane, counters, every }
    }

    /// The name of its lane in the recording.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.base, self.word)
    }

    /// What it does, in words.
    #[must_use]
    pub fn note(&self) -> String {
        let counters = if self.counters { "counted by perf" } else { "no counters" };
        let samples = match self.every {
            Some(span) => format!("sampled every {span}"),
            None => "no samples".to_owned(),
        };
        format!("{}: {counters}, {samples}", self.lane)
    }
}
