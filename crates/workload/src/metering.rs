//! Methods of metering the same function, to measure the cost of metering itself.

use cyclometer_core::units::Nanos;

/// Method of metering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// Lane that users name, within which methods are compared.
    pub base: &'static str,
    /// Name of the method.
    pub label: &'static str,
    /// Lane that runs it.
    pub lane: &'static str,
    /// Whether perf counters are on.
    pub counters: bool,
    /// Time between two samples of memory, and of the counters where they are on; `None`
    /// without sampling.
    pub sample_interval: Option<Nanos>,
}

/// Name of the baseline that all other methods are compared with: no counters, no samples.
pub const PLAIN: &str = "plain";

/// All methods of metering, the plain one of each lane first. Samples are taken with the
/// counters on, as `record` takes them.
pub const METERINGS: [Metering; 12] = [
    Metering::for_lane("native", PLAIN, "native", false, 0),
    Metering::for_lane("native", "counters", "native", true, 0),
    Metering::for_lane("native", "100ms", "native", true, 100),
    Metering::for_lane("native", "10ms", "native", true, 10),
    Metering::for_lane("native", "1ms", "native", true, 1),
    Metering::for_lane("wasmtime", PLAIN, "wasmtime", false, 0),
    Metering::for_lane("wasmtime", "counters", "wasmtime", true, 0),
    Metering::for_lane("wasmtime", "100ms", "wasmtime", true, 100),
    Metering::for_lane("wasmtime", "10ms", "wasmtime", true, 10),
    Metering::for_lane("wasmtime", "1ms", "wasmtime", true, 1),
    Metering::for_lane("wasmtime", "fuel", "wasmtime:fuel", false, 0),
    Metering::for_lane("wasmtime", "epoch", "wasmtime:epoch", false, 0),
];

impl Metering {
    const fn for_lane(
        base: &'static str,
        word: &'static str,
        lane: &'static str,
        counters: bool,
        millis: u64,
    ) -> Self {
        let every = if millis == 0 { None } else { Some(Nanos(millis * 1_000_000)) };
        Self { base, label: word, lane, counters, sample_interval: every }
    }

    /// Returns the name of its lane in the recording.
    #[must_use]
    pub fn lane_name(&self) -> String {
        format!("{}/{}", self.base, self.label)
    }

    /// Returns a description of the method.
    #[must_use]
    pub fn lane_note(&self) -> String {
        let counters = if self.counters { "counted by perf" } else { "no counters" };
        let samples = match self.sample_interval {
            Some(span) => format!("sampled every {span}"),
            None => "no samples".to_owned(),
        };
        format!("{}: {counters}, {samples}", self.lane)
    }
}
